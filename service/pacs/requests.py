"""What an administrator asks of a node on the same machine, without a key: who may write into the spool may ask.

clearslice pacs requeue ID --put--> requests/<id>.json --waiting--> done by the node, and removed
                           <--refusal-- requests/<id>.refused <--refuse-- or not done, and this is why
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from service.files import write_file
from service.pacs.series_folder import OWNER_ONLY

What = Literal["requeue", "discard"]

UNREAD_SECONDS = 86400.0
"""After which the reason of a refusal goes that nobody has read: whoever asked did not wait for it."""


@dataclass(frozen=True)
class AdminRequest:
    """One thing that is asked."""

    what: What
    job: str


class AdminRequests:
    """Those to one node.

    Args:
        folder: `pacs/` in the spool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "requests"
        self._folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)

    def put(self, request: AdminRequest) -> Path:
        """Asks; the file that is given vanishes when it has been done, or refused."""
        place = self._folder / f"{uuid.uuid4().hex}.json"
        write_file(place, json.dumps({"what": request.what, "job": request.job}).encode(), replace=False)
        return place

    def waiting(self) -> list[tuple[Path, AdminRequest]]:
        """What is asked, with the files to be removed when it has been done."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                asked = json.loads(path.read_bytes())
                if asked["what"] in get_args(What):
                    found.append((path, AdminRequest(asked["what"], str(asked["job"]))))
        return found

    def refuse(self, place: Path, reason: str) -> None:
        """Answers that something is not done.

        Args:
            place: from `waiting`; removed.
            reason: one line.

        Raises:
            OSError: the disk refuses it; it stays asked.
        """
        self._forget_unread()
        write_file(_refused(place), reason.encode(), replace=True)
        place.unlink(missing_ok=True)

    def refusal(self, place: Path) -> str | None:
        """Why something was not done, told once; None: it has been done.

        Args:
            place: from `put`; it has vanished.
        """
        with contextlib.suppress(FileNotFoundError):
            reason = _refused(place).read_text(encoding="utf-8")
            _refused(place).unlink(missing_ok=True)
            return reason
        return None

    def _forget_unread(self) -> None:
        for path in self._folder.glob("*.refused"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > UNREAD_SECONDS:
                    path.unlink()


def _refused(place: Path) -> Path:
    return place.with_suffix(".refused")
