"""The folder of one source series in the spool; paths below it are made here and nowhere else.

    series/<SeriesInstanceUID>/
        written               locked by who writes into it, and by who closes the series
        present               locked by each association that has sent something of it, until it ends
        source/<UID>.dcm      each instance as it came, under its SOPInstanceUID
        refused/<UID>.json    instances that came and could not be taken: a hole in the series
        known.json            SOPInstanceUID -> digest, of all that ever came
        jobs/<id>/            what was made of them (`service.pacs.job_folder`)

Only UIDs of digits and dots become names.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from service.files import flush_folder, write_file

OWNER_ONLY = 0o700

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


def is_file_name(uid: str) -> bool:
    """Whether a UID may be the name of a file: digits and single dots, at most 64 of them (PS3.5 9.1)."""
    return len(uid) <= _LONGEST_UID and _UID.fullmatch(uid) is not None


def digest_of(syntax: str, dataset: bytes) -> str:
    """What two instances of one UID have in common exactly if they are the same: SHA-256 of encoding and data set."""
    return hashlib.sha256(syntax.encode("ascii", "replace") + b"\n" + dataset).hexdigest()


class SeriesFolder:
    """Of one series.

    Args:
        folder: need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.folder.name

    @property
    def jobs(self) -> Path:
        """Where what was made of the series lies."""
        return self.folder / "jobs"

    def source(self, uid: str) -> Path:
        """An instance as it came.

        Raises:
            ValueError: the UID can be no file name.
        """
        return self.folder / "source" / f"{_checked(uid)}.dcm"

    def sources(self) -> list[str]:
        """SOPInstanceUIDs of those that lie here."""
        folder = self.folder / "source"
        return sorted(path.stem for path in folder.glob("*.dcm")) if folder.is_dir() else []

    def write_source(self, uid: str, data: bytes) -> None:
        """Keeps an instance; on the disk when this returns.

        Raises:
            FileExistsError: it is there already.
        """
        place = self.source(uid)
        if not place.parent.is_dir():
            place.parent.mkdir(mode=OWNER_ONLY, exist_ok=True)
            flush_folder(self.folder)
        try:
            write_file(place, data, replace=False)
        except FileExistsError:
            flush_folder(place.parent)  # whoever wrote it may be about to
            raise

    def remove_sources(self) -> None:
        """Removes all instances as they came; what is `known` stays."""
        shutil.rmtree(self.folder / "source", ignore_errors=True)

    def known(self) -> Mapping[str, str]:
        """SOPInstanceUID -> `digest_of`, of instances that came before the series was last closed."""
        try:
            found = json.loads((self.folder / "known.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_known(self, known: Mapping[str, str]) -> None:
        """Remembers which instances came."""
        write_file(self.folder / "known.json", json.dumps(known, indent=0).encode(), replace=True)

    def refuse(self, uid: str, reason: str) -> None:
        """Remembers that an instance of the series could not be taken."""
        place = self.folder / "refused" / f"{_checked(uid)}.json"
        place.parent.mkdir(mode=OWNER_ONLY, exist_ok=True)
        write_file(place, json.dumps({"reason": reason}).encode(), replace=True)

    def refused(self) -> dict[str, str]:
        """SOPInstanceUID -> why it could not be taken, of those that did not come again in order."""
        folder = self.folder / "refused"
        found = {}
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError):
                found[path.stem] = str(json.loads(path.read_bytes()).get("reason", ""))
        return found

    def forgive(self, uid: str | None = None) -> None:
        """Forgets that an instance, or any, could not be taken."""
        for one in [uid] if uid is not None else list(self.refused()):
            (self.folder / "refused" / f"{_checked(one)}.json").unlink(missing_ok=True)

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """While somebody writes into it: it is there, and nobody closes it."""
        lock = self._lock("written", fcntl.LOCK_SH)
        try:
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def closed(self) -> Iterator[bool]:
        """While nobody can write into it; gives false where somebody does."""
        with self._alone("written") as alone:
            yield alone

    def be_present(self) -> int:
        """Says that more may come; until the file descriptor that is given is closed, or the process has ended."""
        return self._lock("present", fcntl.LOCK_SH)

    def anybody_present(self) -> bool:
        """Whether more may come of those who have begun."""
        with self._alone("present") as alone:
            return not alone

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[bool]:
        try:
            lock = self._lock(name, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            os.close(lock)

    def _lock(self, name: str, kind: int) -> int:
        place = self.folder / name
        while True:
            if not self.folder.is_dir():
                self.folder.mkdir(mode=OWNER_ONLY, exist_ok=True)
                flush_folder(self.folder.parent)
            try:
                lock = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # removed this very moment, since all of it had expired
            try:
                fcntl.flock(lock, kind)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock), place.stat()):
                        return lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)


def _checked(uid: str) -> str:
    if not is_file_name(uid):
        raise ValueError("a UID that is no file name")
    return uid
