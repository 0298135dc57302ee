"""A part of a body on its way to a file.

pieces --take--> memory --flush, a megabyte at a time--> file        SHA-256 of all of it
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import BinaryIO


class FileSink:
    """A part on its way to a file: written on a thread, a megabyte at a time, and its SHA-256.

    Args:
        file: buffered, for writing.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting = bytearray()
        self._digest = hashlib.sha256()
        self.size = 0

    def take(self, data: memoryview) -> None:
        """More bytes, in memory until `flush`."""
        self._waiting += data
        self._digest.update(data)
        self.size += len(data)

    async def flush(self, *, least: int = 0) -> None:
        """Writes what waits, if it is more than `least` bytes."""
        if len(self._waiting) > least:
            waiting, self._waiting = self._waiting, bytearray()
            await asyncio.to_thread(self._file.write, waiting)

    def sha256(self) -> str:
        """Of all bytes."""
        return self._digest.hexdigest()
