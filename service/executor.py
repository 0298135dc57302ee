"""The device's only thread, and the queue before it.

    restore() --(place free?)--> queue --(still wanted? in time?)--> device thread --> Restored
                 TooBusy                  ClientLeft DeadlinePassed      ModelFailed

A caller waits in the event loop and holds no thread. Work whose caller was cancelled (its client left) or whose
deadline passed is skipped when its turn comes, so the device never runs for nobody. A run that has begun cannot be
stopped; its result is then dropped.

Everything that knows how work reaches the device is here: batching replaces `_Job` and `_serve`, nothing else.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import DeadlinePassed, TooBusy
from service.telemetry import Instruments

_RECENT = 0.2
"""Weight of the newest run in the moving average that `Retry-After` is estimated from."""


class Restores(Protocol):
    """What the executor needs of a restorer."""

    def __call__(self, batch: NDArray[np.float32], /) -> NDArray[np.float32]:
        """(N, H, W, 1) -> (N, H, W, 1)."""


@dataclass(frozen=True, eq=False)
class Restored:
    """What came back from the device, unchecked.

    Attributes:
        batch: as the restorer returned it.
        infer_seconds: the run itself.
    """

    batch: NDArray[np.float32]
    infer_seconds: float


@dataclass(frozen=True, eq=False)
class Ran:
    """What came back for all images of a request, unchecked.

    Attributes:
        batches: of each image, (1, H, W, C) with a channel for each output.
        infer_seconds: all runs together.
        precision, device: of the runs.
    """

    batches: list[NDArray[np.float32]]
    infer_seconds: float
    precision: str
    device: str


@dataclass(eq=False)
class _Job:
    restorer: Restores
    batch: NDArray[np.float32]
    deadline: float
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Restored]
    wanted: bool = True


class Executor:
    """One thread that runs restorers, one batch at a time, first come first served.

    Args:
        max_queue: how many jobs may wait (the running one is not counted).
        instruments: where depth and shedding are counted.
    """

    def __init__(self, *, max_queue: int, instruments: Instruments) -> None:
        self._max_queue = max_queue
        self._instruments = instruments
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._began: float | None = None
        self._typical_seconds = 1.0
        # A daemon, so that a run that hangs cannot keep a terminated process alive.
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    async def restore(
        self, restorer: Restores, batch: NDArray[np.float32], *, deadline: float, admitted: bool = False
    ) -> Restored:
        """Runs `restorer` on `batch` when its turn comes.

        Args:
            restorer: loaded, and kept loaded by the caller until this returns.
            batch: (N, H, W, 1) float32.
            deadline: in `time.monotonic()` seconds.
            admitted: a later frame of a request whose first one found a place: it waits in any case, because what was
                done for the others would be lost. No request waits with more than one frame at a time.

        Raises:
            TooBusy: the queue is full.
            DeadlinePassed: the deadline passed while waiting or running.
        """
        loop = asyncio.get_running_loop()
        job = _Job(restorer, batch, deadline, loop, loop.create_future())
        self._enqueue(job, admitted=admitted)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await job.answer
        except TimeoutError:
            self._instruments.expired.inc()
            raise DeadlinePassed(
                "the request's time was over before the device finished the image; ask for more with X-Request-Timeout,"
                " or try again when the service is less busy"
            ) from None
        finally:
            self._forget(job)

    def running_seconds(self) -> float:
        """How long the present run has taken; 0 while idle."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def close(self) -> None:
        """Ends the thread after the present run; what waits is not run any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _enqueue(self, job: _Job, *, admitted: bool) -> None:
        with self._changed:
            if len(self._waiting) >= self._max_queue and not admitted:
                self._instruments.shed.labels("queue").inc()
                seconds = max(1, math.ceil(self._typical_seconds * len(self._waiting)))
                raise TooBusy(
                    f"{len(self._waiting)} images already wait for the device, and no more may; try again later",
                    retry_after=seconds,
                )
            self._waiting.append(job)
            self._instruments.queue_depth.set(len(self._waiting))
            self._changed.notify()

    def _forget(self, job: _Job) -> None:
        """Frees the job's place when it has not begun."""
        with self._changed:
            job.wanted = False
            if job in self._waiting:
                self._waiting.remove(job)
                self._instruments.queue_depth.set(len(self._waiting))

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._closed and not self._waiting:
                self._changed.wait()
            if self._closed:
                return None
            job = self._waiting.popleft()
            self._instruments.queue_depth.set(len(self._waiting))
            return job

    def _run(self) -> None:
        # No variable here outlives its turn: a batch and its answer are freed before the thread waits again.
        while self._serve(self._next()):
            pass

    def _serve(self, job: _Job | None) -> bool:
        if job is None:
            return False
        begin = time.monotonic()
        if not job.wanted or begin >= job.deadline:
            return True
        self._began = begin
        try:
            batch = job.restorer(job.batch)
        except Exception as error:  # noqa: BLE001 - whatever the model raises belongs to its caller, not to this thread
            _deliver(job, error)
        else:
            seconds = time.monotonic() - begin
            self._typical_seconds += _RECENT * (seconds - self._typical_seconds)
            _deliver(job, Restored(batch, seconds))
        finally:
            self._began = None
        return True


def _deliver(job: _Job, result: Restored | Exception) -> None:
    def settle() -> None:
        if job.answer.done():
            return
        if isinstance(result, Exception):
            job.answer.set_exception(result)
        else:
            job.answer.set_result(result)

    try:
        job.loop.call_soon_threadsafe(settle)
    except RuntimeError:
        # the loop is closed: nobody waits any more
        return
