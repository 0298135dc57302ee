"""One thread for each device, and the line before them.

    restore() --(place free?)--> line --(who else fits into this run?)--> a device's thread --> Restored
                 TooBusy          |                                          |
                            DeadlinePassed                 ModelFailed, OutOfDeviceMemory of one image

Who would wait for longer than he has is sent away at once, as far as that can be known. A device that is free takes
what has waited longest, of what it has the model for. The batch is what waits then and may share a run, as far as the
pixel budget goes. Nothing ever waits for a batch to fill. The numbers of images in a run are powers of two, so that
few shapes have to be warm. A run that fails, because the device has not the memory for it, say, is repeated in halves.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_store.errors import OutOfDeviceMemory
from service.batching import stack, unstack
from service.device_work import Alike, Restored, Work
from service.errors import DeadlinePassed, TooBusy
from service.pace import Pace
from service.telemetry import Instruments
from service.turns import Turn, Turns


class Executor:
    """A thread for each device, which runs restorers, one batch at a time, first come first served.

    A device gets its thread with the first work that can be done on it.

    Args:
        max_queue: how many images may wait (those that run are not counted).
        batch_pixels: how many pixels, padding included, images may have together to share a run.
        instruments: where depth, runs and shedding are counted.
    """

    def __init__(self, *, max_queue: int, batch_pixels: int, instruments: Instruments) -> None:
        self._max_queue = max_queue
        self._batch_pixels = batch_pixels
        self._instruments = instruments
        self._turns: Turns[Work, Restored] = Turns(instruments.queue_depth.set)
        self._began: dict[str, float] = {}
        self._pace = Pace()
        self._threads: dict[str, threading.Thread] = {}

    async def restore(self, works: Sequence[Work], *, deadline: float, admitted: bool = False) -> list[Restored]:
        """Does the works of one request when their turn comes.

        Args:
            works: to be done: no more than a batch, so that others have their turn in between.
            deadline: in `time.monotonic()` seconds.
            admitted: earlier works of the request found a place: these wait in any case, because what was done would
                be lost.

        Raises:
            TooBusy: the line is full, or so long that the deadline would pass before their turn.
            DeadlinePassed: the deadline passed while waiting or running.
            OutOfDeviceMemory: the device cannot run one of them, even alone.
        """
        if not admitted:
            self.check_place()
            self._check_time(deadline)
        for device in works[0].restore:
            self._serve_on(device)
        turns = [Turn[Work, Restored](work, deadline) for work in works]
        for turn in turns:
            self._turns.add(turn)
        try:
            return [await turn.result() for turn in turns]
        except TimeoutError:
            self._instruments.expired.inc()
            raise DeadlinePassed(
                "the request's time was over before the device finished the image; ask for more with X-Request-Timeout,"
                " or try again when the service is less busy"
            ) from None
        finally:
            for turn in turns:
                self._turns.drop(turn)

    def check_place(self) -> None:
        """Before anything is done for a request that will need one.

        Raises:
            TooBusy: the line is full.
        """
        if len(self._turns) >= self._max_queue:
            self._instruments.shed.labels("queue").inc()
            raise TooBusy(
                f"{len(self._turns)} images already wait for the device, and no more may; try again later",
                retry_after=max(1, math.ceil(self._wait(self._turns.works(), unknown=1.0))),
            )

    def _check_time(self, deadline: float) -> None:
        wait = self._wait(self._turns.works(), unknown=0.0)
        late = wait - (deadline - time.monotonic())
        if wait > 0 and late > 0:
            self._instruments.shed.labels("deadline").inc()
            raise TooBusy(
                f"the images that wait for the device will take it {wait:.1f} seconds or more, and then the request's"
                " time would be over; try again later, or ask for more with X-Request-Timeout",
                retry_after=max(1, math.ceil(late)),
            )

    def _wait(self, works: Sequence[Work], *, unknown: float) -> float:
        """Seconds until these are done, at least."""
        return self._pace.expected(works, self._together, unknown=unknown) / max(1, self.devices())

    def images_per_run(self, bucket: tuple[int, int]) -> int:
        """How many images of a bucket may share a run; at least one."""
        return _power_of_two(max(1, self._batch_pixels // math.prod(bucket)))

    def _together(self, alike: Alike) -> int:
        """How many of these share a run at most: as many as may, and pay."""
        most = self.images_per_run(alike.bucket)
        return (
            most if alike.pixels is None else _power_of_two(max(1, min(most, alike.pixels // math.prod(alike.bucket))))
        )

    def images_at_once(self, bucket: tuple[int, int]) -> int:
        """How many images of a bucket one request may wait with: a run's, and no more than half of the places."""
        return min(self.images_per_run(bucket), max(1, self._max_queue // 2))

    def waiting(self) -> int:
        """How many images wait."""
        return len(self._turns)

    def devices(self) -> int:
        """How many have had work so far."""
        return len(self._threads)

    def running_seconds(self) -> float:
        """Age of the oldest run in progress; 0 when there is none."""
        began = list(self._began.values())
        return time.monotonic() - min(began) if began else 0.0

    def close(self) -> None:
        """Ends the threads after their present runs."""
        self._turns.close()

    def _serve_on(self, device: str) -> None:
        if device not in self._threads:
            # A daemon, so that a run that hangs cannot keep a terminated process alive.
            thread = threading.Thread(target=self._run, args=(device,), name=device, daemon=True)
            thread.start()
            self._threads[device] = thread

    def _run(self, device: str) -> None:
        def can(work: Work) -> bool:
            return device in work.restore

        while self._serve(device, self._turns.first(can)):
            pass  # no variable here outlives its turn: images and answers are freed before the thread waits again

    def _serve(self, device: str, first: Turn[Work, Restored] | None) -> bool:
        if first is None:
            return False
        turns = [first]
        alike = first.work.alike
        if alike is not None:
            most = self._together(alike)
            free = sum(other not in self._began for other in first.work.restore)  # this one, too: they share
            turns += self._turns.more(
                lambda work: work.alike == alike,
                lambda fitting: _power_of_two(min(most, math.ceil((1 + fitting) / free))) - 1,
            )
        self._began[device] = time.monotonic()
        try:
            self._restore(device, turns)
        finally:
            del self._began[device]
        return True

    def _restore(self, device: str, turns: Sequence[Turn[Work, Restored]]) -> None:
        """Settles all turns of one run; where that fails, of ever smaller ones."""
        turns = [turn for turn in turns if turn.wanted()]
        if not turns:
            return
        begin, run = time.monotonic(), object()
        answers: list[NDArray[np.float32]] = []
        try:
            answers = _answers(device, [turn.work for turn in turns])
        except BaseException as error:  # noqa: BLE001 - whatever is raised belongs to the callers, not to this thread
            if isinstance(error, OutOfDeviceMemory):
                self._instruments.out_of_memory.inc()
            self._ran(device, turns[0].work.ref, time.monotonic() - begin)
            if len(turns) == 1:
                turns[0].settle(error)
                return
        if not answers:  # and not while the error holds on to what did not fit
            # less at once; and whose image it was that cannot be restored, nobody else shall feel
            middle = len(turns) // 2
            self._restore(device, turns[:middle])
            self._restore(device, turns[middle:])
            return
        seconds = time.monotonic() - begin
        self._pace.ran(turns[0].work, seconds)
        # in the figures first, and then given: who has an answer finds it there
        self._ran(device, turns[0].work.ref, seconds)
        self._account([turn.work for turn in turns])
        for turn, answer in zip(turns, answers, strict=True):
            turn.settle(Restored(answer, seconds, device, run))

    def _ran(self, device: str, ref: str, seconds: float) -> None:
        self._instruments.device_seconds.labels(ref, device).inc(seconds)

    def _account(self, works: Sequence[Work]) -> None:
        ref, alike = works[0].ref, works[0].alike
        own = sum(work.pixels() for work in works)
        given = own if alike is None or len(works) == 1 else len(works) * math.prod(alike.bucket)
        self._instruments.device_pixels.labels(ref).inc(given)
        self._instruments.padded_pixels.labels(ref).inc(given - own)
        self._instruments.batch_images.labels(ref).observe(len(works))


def _answers(device: str, works: Sequence[Work]) -> list[NDArray[np.float32]]:
    restore, alike = works[0].restore[device], works[0].alike
    images = [work.batch for work in works]
    if alike is None or len(images) == 1:
        return [restore(images[0])]
    return unstack(restore(stack(images, alike.bucket)), images, alike.bucket)


def _power_of_two(number: int) -> int:
    """The largest that is no more than `number`, which is at least 1."""
    return 1 << (number.bit_length() - 1)
