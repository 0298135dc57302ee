"""The file of API keys: read at the start, and again whenever it changes, so that keys rotate without a restart.

    start --> read --> KeyRing            InvalidKeysFile: the service does not start
                         ^
    every 5 seconds --> read --(other content?)--> KeyRing replaced, logged
                          | InvalidKeysFile: the keys before stay in force, logged as an error, figure api_keys_stale 1

The content is compared and not the time stamp, because mounted secrets of Kubernetes change behind symbolic links.
A file with a mistake locks nobody out who was in, and lets nobody in who was not.
"""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import structlog

from service.errors import InvalidKeysFile
from service.keys import KeyRing, parse_keys
from service.telemetry import Instruments, log_defect

MAX_FILE_BYTES = 1 << 20
"""A thousand keys with long comments fit; anything larger is another file."""

REREAD_SECONDS = 5.0
"""A removed key works so much longer. Kubernetes itself takes a minute to bring a changed secret to a pod."""


class KeysFile:
    """The keys that are in force.

    Args:
        path: of the file; links are followed.
        instruments: where a file that cannot be read is shown.

    Raises:
        InvalidKeysFile: as `read_keys_text` and `parse_keys_of` say.
    """

    def __init__(self, path: Path, *, instruments: Instruments) -> None:
        self._path = path
        self._instruments = instruments
        self._text = read_keys_text(path)
        self._problem = ""
        self.ring = parse_keys_of(path, self._text)

    def refresh(self) -> None:
        """Reads the file again; the log and a figure tell what came of it, nothing is raised."""
        log = structlog.get_logger("clearslice")
        problem = ""
        try:
            text = read_keys_text(self._path)
            if text != self._text:
                self.ring, self._text = parse_keys_of(self._path, text), text
                log.info("api_keys", names=[key.name for key in self.ring.keys])
        except InvalidKeysFile as error:
            problem = str(error)
        if problem and problem != self._problem:  # once, not every few seconds
            log.error("api_keys", reason=f"{problem}; the keys that were read before stay in force")
        self._problem = problem
        self._instruments.api_keys_stale.set(bool(problem))

    async def watch(self) -> None:
        """Refreshes for ever, on a thread, since the file may lie on a network."""
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            try:
                await asyncio.to_thread(self.refresh)
            except Exception as error:  # noqa: BLE001 - no thread, say: were this the end, removed keys would work on
                log_defect(error)
                self._instruments.api_keys_stale.set(1)


def read_keys(path: Path) -> KeyRing:
    """The keys in a file; raises as the two steps do."""
    return parse_keys_of(path, read_keys_text(path))


def parse_keys_of(path: Path, text: str) -> KeyRing:
    """As `parse_keys`, with the file named in the error.

    Raises:
        InvalidKeysFile: a mistake in the text.
    """
    try:
        return parse_keys(text)
    except InvalidKeysFile as error:
        raise InvalidKeysFile(f"keys file {path}: {error}") from None


def read_keys_text(path: Path) -> str:
    """The text of a keys file.

    Others may read it, as mounted secrets of Docker (mode 0444) and Kubernetes (0644) let them: it holds hashes. Others
    may not write it, because whoever can add a line lets himself in.

    Raises:
        InvalidKeysFile: it is not there, no regular file, may not be read, may be written by everybody, is too large or
            not UTF-8.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # looked at before it is opened, since opening a pipe waits for its writer
            raise InvalidKeysFile(f"keys file {path}: it is no regular file, which could be read again and again")
        if mode & stat.S_IWOTH:
            raise InvalidKeysFile(f"keys file {path}: everybody may write it and so add keys; run: chmod o-w {path}")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidKeysFile(f"keys file {path}: {error.strerror or 'cannot be read'}") from None
    if len(data) > MAX_FILE_BYTES:
        raise InvalidKeysFile(f"keys file {path}: more than {MAX_FILE_BYTES} bytes; this is another kind of file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidKeysFile(f"keys file {path}: it is not UTF-8 text") from None
