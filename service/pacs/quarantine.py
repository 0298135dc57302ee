"""Instances whose UID had come before with other content: taken, kept apart, and nothing is made of them.

instance --put--> quarantine/<id>/instance.dcm, about.json --index, find--> whoever looks at it
                             +--remove--> quarantine/.removing-<id>-... --> gone, at the next start at the latest
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from service.files import flush_folder, write_file
from service.pacs.errors import NoSuchPacsJob
from service.pacs.series_folder import OWNER_ONLY

_ID = re.compile(r"[0-9a-f]{32}")
_REMOVING = ".removing-"
_NONE = "there is no instance with this id in quarantine"


class Quarantine:
    """Of one node.

    Args:
        folder: made if need be; what was about to be removed when a process ended is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        for left in folder.glob(f"{_REMOVING}*"):
            shutil.rmtree(left, ignore_errors=True)

    def put(self, data: bytes, about: dict[str, str], *, digest: str, aside: Path) -> None:
        """Keeps an instance, once however often it comes; on the disk when this returns.

        Args:
            data: a whole DICOM file.
            about: what is known of it.
            digest: of its content.
            aside: a new folder on the same disk.

        Raises:
            OSError: the disk refuses it.
        """
        name = f"{about['series']}\n{about['instance']}\n{digest}"
        place = self._folder / hashlib.sha256(name.encode()).hexdigest()[:32]
        try:
            if not place.is_dir():
                write_file(aside / "instance.dcm", data, replace=False)
                write_file(aside / "about.json", json.dumps(about, indent=1).encode(), replace=False)
                with contextlib.suppress(OSError):  # two senders may have brought it at once
                    aside.rename(place)
            flush_folder(self._folder)
            if not place.is_dir():
                raise OSError(None, "the instance could not be put into quarantine")
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def index(self) -> list[dict[str, Any]]:
        """What is there, the newest first; no patient data."""
        found = []
        for path in self._all():
            with contextlib.suppress(OSError, ValueError):
                found.append({"id": path.name, **json.loads((path / "about.json").read_bytes())})
        return sorted(found, key=lambda each: str(each.get("received", "")), reverse=True)

    def count(self) -> int:
        """How many there are."""
        return len(self._all())

    def _all(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if _ID.fullmatch(path.name)]

    def find(self, identity: str) -> Path:
        """The file of one.

        Raises:
            NoSuchPacsJob: there is none.
        """
        path = self._folder / identity / "instance.dcm"
        if not _ID.fullmatch(identity) or not path.is_file():
            raise NoSuchPacsJob(_NONE)
        return path

    def remove(self, identity: str) -> None:
        """Removes one, wholly or not at all.

        Raises:
            NoSuchPacsJob: as `find`.
            OSError: the disk refuses it.
        """
        place = self.find(identity).parent
        aside = place.with_name(f"{_REMOVING}{identity}-{secrets.token_hex(4)}")
        try:
            place.rename(aside)
        except FileNotFoundError:  # somebody else was faster
            raise NoSuchPacsJob(_NONE) from None
        flush_folder(self._folder)
        shutil.rmtree(aside, ignore_errors=True)
