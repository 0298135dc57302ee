"""Claims: who works on what, when the same command runs several times on one folder.

    worker --Claim.take(file)--> claim --work--> release
               None: another process has it       '-- or the process dies, however: the kernel lets go at once

A claim is an exclusive lock on a file (flock), so a worker that was killed leaves nothing that looks alive, and nobody
waits for a heartbeat to stop. It holds between the processes of one machine, and on network file systems with locks.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class Claim:
    """A lock that is held until `release`, the end of a `with` block or of the process.

    The file stays: were it removed, another worker could lock a file that no longer has a name.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, file: Path) -> Claim | None:
        """The claim, or None when somebody else has it.

        Raises:
            OSError: the file cannot be made or locked.
        """
        try:
            return cls._lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    @classmethod
    def wait(cls, file: Path) -> Claim:
        """The claim, as soon as nobody else has it; raises as `take`."""
        return cls._lock(file, fcntl.LOCK_EX)

    @classmethod
    def _lock(cls, file: Path, operation: int) -> Claim:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, operation)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Lets go; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.release()
