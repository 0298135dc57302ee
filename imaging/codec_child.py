"""One codec worker as its caller sees it: a process and the socket to it.

Worker(modules) --starts--> python -m imaging.codec_worker --call--> answer, or Gone, TimeoutError, MalformedMessage
                                                                     after which it is of no more use
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imaging.codec_message import MalformedMessage, Value, receive, send

START_SECONDS = 60.0
"""For a worker to load its modules, on a slow disk under load."""

_END_SECONDS = 5.0
"""For the kernel to take down a process that was killed or closed its socket."""

FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit statuses of a worker that somebody else ended: the system for want of memory, or an administrator."""


class Gone(Exception):
    """A worker ended in the middle of a call, with this exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Worker:
    """One process and the socket to it; used by one thread at a time.

    Raises:
        OSError: no process can be started, as where there are too many.
    """

    def __init__(self, modules: Sequence[str], folders: Sequence[Path]) -> None:
        self._modules = tuple(modules)
        self._connection, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
        environment |= {
            "PYTHONPATH": os.pathsep.join(str(folder) for folder in (Path(__file__).parent.parent, *folders)),
            # one thread each, and one heap: both are counted as address space
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
        }
        with contextlib.ExitStack() as unless_it_starts, theirs:
            unless_it_starts.callback(self._connection.close)
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                [sys.executable, "-P", "-m", "imaging.codec_worker", *modules],
                env=environment,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,  # decoders chatter, and might quote what they read
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            unless_it_starts.pop_all()
        self._ready = False

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it can be called: the process has not ended, and nobody has ended it."""
        return self._connection.fileno() >= 0 and self._process.poll() is None

    def call(
        self, head: dict[str, Any], arguments: Sequence[Value], *, seconds: float, max_bytes: int
    ) -> tuple[dict[str, Any], list[Value]]:
        """One call and its answer; raises Gone, TimeoutError, MalformedMessage, after which the worker is useless."""
        try:
            if not self._ready:
                self._await_start()
            deadline = time.monotonic() + seconds
            self._connection.settimeout(seconds)
            send(self._connection, head, arguments)
            return receive(self._connection, max_bytes=max_bytes, deadline=deadline)
        except (EOFError, ConnectionError):
            raise Gone(self.end()) from None

    def _await_start(self) -> None:
        try:
            receive(self._connection, max_bytes=0, deadline=time.monotonic() + START_SECONDS)
        except (EOFError, ConnectionError, TimeoutError, MalformedMessage) as error:
            late = isinstance(error, TimeoutError)
            status = self.kill() if late else self.end()
            if status in FROM_OUTSIDE and not late:
                raise Gone(status) from None
            raise RuntimeError(
                f"a codec worker did not start (status {status}); `python -m imaging.codec_worker"
                f" {' '.join(self._modules)} < /dev/null` tells why"
            ) from error
        self._ready = True

    def end(self) -> int:
        """The exit status of a process that has closed its socket, which it does by ending."""
        self._connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_END_SECONDS)
        return self.kill()

    def kill(self) -> int:
        """Ends the process now; the exit status, which it will have where the kernel takes its time."""
        self._connection.close()
        self._process.kill()
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
