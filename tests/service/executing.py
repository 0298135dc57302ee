"""An executor for tests, a restorer that waits, and the waits for what they come to."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

import numpy as np

from service.device_work import Work
from service.executor import Executor
from service.telemetry import Instruments

BATCH = np.zeros((1, 2, 3, 1), np.float32)
DEVICE = "CPU:0"


class Gate:
    """A restorer that waits until it is opened, and counts its runs."""

    def __init__(self):
        self.entered, self.opened, self.runs = threading.Event(), threading.Event(), 0

    def __call__(self, batch):
        self.runs += 1
        self.entered.set()
        assert self.opened.wait(20)
        return batch


async def restore(made, restorer, *, deadline, batch=BATCH, admitted=False, alike=None):
    (answer,) = await made.restore([Work({DEVICE: restorer}, batch, alike=alike)], deadline=deadline, admitted=admitted)
    return answer


@contextmanager
def executor(max_queue=2, batch_pixels=1):
    made = Executor(max_queue=max_queue, batch_pixels=batch_pixels, instruments=Instruments())
    try:
        yield made
    finally:
        made.close()
        for thread in made._threads.values():
            thread.join(20)
            assert not thread.is_alive()


def soon():
    return time.monotonic() + 20


def figure(made, name, *labels):
    metric = getattr(made._instruments, name)
    return (metric.labels(*labels) if labels else metric)._value.get()


async def entered(gate):
    await asyncio.to_thread(gate.entered.wait, 20)


async def until_waiting(made, count):
    while made.waiting() != count:  # noqa: ASYNC110 - the queue has no event to wait for
        await asyncio.sleep(0)
