"""Native codecs run in worker processes: what they do to hostile bytes does not happen here.

    run(function, bytes ...) --> a free worker --(address space, seconds)--> arrays --> the caller
                                     | crash, hang, too much memory, its own ImagingError
                                     +--> NotAnImage or that error; the worker is replaced, other calls go on

A worker is a fresh program (`python -m imaging.codec_worker`), not a fork of this process: a fork would copy the memory
map and the locks of TensorFlow's threads, and crashed workers are replaced long after TensorFlow was loaded. Starting
one takes a quarter of a second, once, and nobody waits for it: workers are started ahead.

There is one set of workers per process. It starts with the first call, so that commands and training need to know
nothing about it; the service says how many and how long (`configure`) and starts them ahead (`start`). They end with
the process (`close`), by themselves if it was killed. Signals to its group do not reach them, so a server that drains
can still decode what it accepted.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from imaging.codec_child import FROM_OUTSIDE, Gone, Worker
from imaging.codec_message import MalformedMessage, Value
from imaging.codec_worker import MODULES
from imaging.errors import ImagingError, NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat

log = logging.getLogger(__name__)

R = TypeVar("R")

DEFAULT_SECONDS = 15.0
"""For one call: some 15 times what the slowest codec (JPEG 2000) needs for 2048 x 2048 pixels of noise on one core."""

FIXED_BYTES = 32 << 20
"""Address space that every call may use, for tables and buffers that do not grow with the image."""

PER_ARGUMENT_BYTE = 3
"""The worker holds the compressed bytes as received, as bytes, and a library may copy them once more."""

PER_OUTPUT_BYTE = 16
"""GDCM, the hungriest, was measured at 9 with noise of 4096 x 4096, OpenJPEG at 5; the rest is reserve."""

_EXPECTED = {kind.__name__: kind for kind in (NotAnImage, UnsupportedFormat, UnsuitableImage)}

MAX_MESSAGE = 1000
"""Characters of a worker's message; a message is a sentence or two."""


class CodecProcesses:
    """A bounded set of codec workers. All methods may be called from any thread.

    Args:
        workers: how many at most; more calls than that wait for each other.
        seconds: for one call, from sending the bytes to the last byte of the result.
        modules: whose functions may be called.
        folders: more places to import them from.
    """

    def __init__(
        self,
        *,
        workers: int,
        seconds: float = DEFAULT_SECONDS,
        modules: Sequence[str] = MODULES,
        folders: Sequence[Path] = (),
    ) -> None:
        if workers < 1 or not 0 < seconds < math.inf:
            raise ValueError(f"at least one worker and a positive time are needed, not {workers} and {seconds} s")
        self._closed = False
        self.workers = workers
        self.seconds = seconds
        self._modules = tuple(modules)
        self._folders = tuple(folders)
        self._changed = threading.Condition()
        self._idle: list[Worker] = []
        self._busy = 0

    def start(self) -> None:
        """Starts all workers, without waiting until they have loaded their modules."""
        with self._changed:
            while not self._closed and len(self._idle) + self._busy < self.workers:
                self._idle.append(self._new())

    def pids(self) -> list[int]:
        """Of the workers that wait for a call."""
        with self._changed:
            return [worker.pid for worker in self._idle if worker.is_alive()]

    def run(self, function: Callable[..., R], *arguments: Value, output_bytes: int) -> R:
        """`function(*arguments)`, called in a worker.

        Args:
            function: of one of the modules, found there by its name; it returns one `Value` or a tuple of them.
            arguments: plain values, bytes, arrays.
            output_bytes: of all arrays in the result, at most, known before the call. With the size of the arguments
                it decides how much memory the call may take (`memory_of`).

        Raises:
            NotAnImage: the function crashed, took too long or too much memory, or raised an unexpected exception.
            ImagingError: what the function raised, of the same class and message.
            ValueError: a function that is in none of the modules.
            RuntimeError, OSError: no worker can be started, which has nothing to do with the arguments.
        """
        module, name = function.__module__, function.__qualname__
        if module not in self._modules or "." in name:
            raise ValueError(f"{module}.{name} is no function of {', '.join(self._modules)}")
        given = sum(len(value) if isinstance(value, bytes) else getattr(value, "nbytes", 0) for value in arguments)
        memory = memory_of(given, output_bytes)
        head = {"module": module, "function": name, "seconds": self.seconds, "memory": memory}
        try:
            answer, results = self._call(head, arguments, output_bytes)
        except Gone as gone:
            if gone.status not in FROM_OUTSIDE:
                raise self._crashed(gone.status) from None
            # Not the function's doing, as far as can be known, so it gets a second chance.
            try:
                answer, results = self._call(head, arguments, output_bytes)
            except Gone as again:
                raise self._crashed(again.status) from None
        if "failed" in answer or not results:
            raise _failure(answer, memory)
        return cast("R", tuple(results) if answer.get("many") else results[0])

    def close(self) -> None:
        """Ends the workers: idle ones now, busy ones after their call. Later calls are refused."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for worker in idle:
            worker.kill()

    def _call(
        self, head: dict[str, Any], arguments: Sequence[Value], max_bytes: int
    ) -> tuple[dict[str, Any], list[Value]]:
        with self._worker() as worker:
            try:
                answer, results = worker.call(head, arguments, seconds=self.seconds, max_bytes=max_bytes)
            except TimeoutError:
                raise NotAnImage(
                    f"the image could not be decoded: the decoder took longer than {self.seconds:g} s and was stopped"
                ) from None
            except MalformedMessage as error:
                raise NotAnImage(f"the image could not be decoded: the decoder answered with {error}") from None
            if answer.get("retire") or not (results or "failed" in answer):
                worker.kill()
            return answer, results

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Worker]:
        """A worker for one call; whatever is raised meanwhile makes another take its place."""
        with self._changed:
            while not self._closed and not self._idle and self._busy >= self.workers:
                self._changed.wait()
            if self._closed:
                raise _Closed
            worker = self._idle.pop() if self._idle else self._new()
            if not worker.is_alive():
                worker.kill()
                worker = self._new()
            self._busy += 1
        try:
            yield worker
        except BaseException:
            worker.kill()
            raise
        finally:
            self._give_back(worker)

    def _give_back(self, worker: Worker) -> None:
        with self._changed:
            self._busy -= 1
            if self._closed:
                worker.kill()
            elif worker.is_alive():
                self._idle.append(worker)
            else:
                with contextlib.suppress(OSError):  # then the next call tries again, and tells
                    self._idle.append(self._new())
            self._changed.notify()

    def _new(self) -> Worker:
        return Worker(self._modules, self._folders)

    def _crashed(self, status: int) -> NotAnImage:
        if status == -signal.SIGALRM:
            how = f"took longer than {self.seconds:g} s and was stopped"
        elif status in FROM_OUTSIDE:
            how = f"was ended by the system (signal {-status}), perhaps for want of memory"
        elif status < 0:
            how = f"crashed ({signal.strsignal(-status)})"
        else:
            how = f"ended with status {status}"
        log.warning("a codec worker was replaced: the decoder %s", how)
        return NotAnImage(f"the image could not be decoded: the decoder {how}; the file is damaged or malicious")


class _Closed(RuntimeError):
    """The workers were ended before the call got one."""


def memory_of(argument_bytes: int, output_bytes: int) -> int:
    """Bytes of address space that a call may take on top of what its worker has loaded."""
    return FIXED_BYTES + PER_ARGUMENT_BYTE * argument_bytes + PER_OUTPUT_BYTE * output_bytes


def _failure(answer: dict[str, Any], memory: int) -> ImagingError:
    """What a failed call is to its caller; `answer` may hold anything."""
    failed, message = str(answer.get("failed")), str(answer.get("message", ""))[:MAX_MESSAGE]
    if failed == "memory":
        return NotAnImage(
            f"the image could not be decoded: the decoder needed more than the {memory >> 20} MiB that an image of this"
            " size may take"
        )
    limit = answer.get("limit")
    if failed == TooLarge.__name__ and limit in ("max_bytes", "max_pixels", "max_frames"):
        return TooLarge(message, limit=limit)
    kind = _EXPECTED.get(failed)
    if kind is not None:
        return kind(message)
    log.warning("an unexpected %s in a codec worker:\n%s", message, answer.get("trace"))
    return NotAnImage(f"the image could not be decoded: the decoder refuses it ({message})")


_lock = threading.Lock()
_shared = CodecProcesses(workers=os.cpu_count() or 1)


def configure(*, workers: int, seconds: float) -> None:
    """How many workers this process has and how long a call may take; if that is new, present ones end after calls."""
    global _shared
    with _lock:
        if (workers, seconds) == (_shared.workers, _shared.seconds):
            return
        before, _shared = _shared, CodecProcesses(workers=workers, seconds=seconds)
    before.close()


def seconds() -> float:
    """How long one call may take in this process."""
    return _current().seconds


def start() -> None:
    """Starts the workers of this process ahead, without waiting for them."""
    _current().start()


def run(function: Callable[..., R], *arguments: Value, output_bytes: int) -> R:
    """As `CodecProcesses.run`, in the workers of this process."""
    while True:
        try:
            return _current().run(function, *arguments, output_bytes=output_bytes)
        except _Closed:
            continue  # closed or configured anew between the two calls above


def close() -> None:
    """Ends the workers of this process; a later call starts them again."""
    global _shared
    with _lock:
        before, _shared = _shared, CodecProcesses(workers=_shared.workers, seconds=_shared.seconds)
    before.close()


def _current() -> CodecProcesses:
    with _lock:
        return _shared


atexit.register(close)
