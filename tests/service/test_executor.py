"""The device's queue: order, places, deadlines, clients that leave."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from service.errors import DeadlinePassed, TooBusy
from service.executor import Executor, Work
from service.telemetry import Instruments

pytestmark = pytest.mark.anyio

BATCH = np.zeros((1, 2, 3, 1), np.float32)


class Gate:
    """A restorer that waits until it is opened, and counts its runs."""

    def __init__(self):
        self.entered, self.opened, self.runs = threading.Event(), threading.Event(), 0

    def __call__(self, batch):
        self.runs += 1
        self.entered.set()
        assert self.opened.wait(20)
        return batch


async def restore(made, restorer, *, deadline, batch=BATCH, **options):
    (answer,) = await made.restore([Work(restorer, batch, **options)], deadline=deadline)
    return answer


def plus(number):
    return lambda batch: batch + np.float32(number)


@contextmanager
def executor(max_queue=2, batch_pixels=1):
    made = Executor(max_queue=max_queue, batch_pixels=batch_pixels, instruments=Instruments())
    try:
        yield made
    finally:
        made.close()
        made._thread.join(20)
        assert not made._thread.is_alive()


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


async def test_answers_go_to_their_own_callers():
    with executor(max_queue=20) as made:
        answers = await asyncio.gather(*(restore(made, plus(number), deadline=soon()) for number in range(15)))
    assert [answer.batch[0, 0, 0, 0] for answer in answers] == list(range(15))
    assert all(answer.infer_seconds >= 0 for answer in answers)


async def test_a_full_queue_refuses_at_once_and_recovers():
    gate = Gate()
    with executor(max_queue=2) as made:
        running = asyncio.ensure_future(restore(made, gate, deadline=soon()))
        await entered(gate)
        waiting = [asyncio.ensure_future(restore(made, plus(1), deadline=soon())) for _ in range(2)]
        await until_waiting(made, 2)
        assert figure(made, "queue_depth") == 2
        with pytest.raises(TooBusy) as caught:
            await restore(made, plus(2), deadline=soon())
        assert caught.value.retry_after >= 1
        assert figure(made, "shed", "queue") == 1
        gate.opened.set()
        await asyncio.gather(running, *waiting)
        assert (await restore(made, plus(3), deadline=soon())).batch[0, 0, 0, 0] == 3
        assert figure(made, "queue_depth") == 0


async def test_a_deadline_in_the_queue_frees_the_place_and_the_work_never_runs():
    gate, late = Gate(), Gate()
    with executor(max_queue=1) as made:
        running = asyncio.ensure_future(restore(made, gate, deadline=soon()))
        await entered(gate)
        with pytest.raises(DeadlinePassed):
            await restore(made, late, deadline=time.monotonic() + 0.01)
        assert figure(made, "queue_depth") == 0
        assert figure(made, "expired") == 1
        gate.opened.set()
        await running
    assert late.runs == 0


async def test_a_deadline_while_running_answers_and_the_next_job_runs():
    gate = Gate()
    with executor() as made:
        with pytest.raises(DeadlinePassed):
            await restore(made, gate, deadline=time.monotonic() + 0.05)
        gate.opened.set()
        assert (await restore(made, plus(1), deadline=soon())).batch[0, 0, 0, 0] == 1


async def test_work_of_a_client_that_left_is_dropped():
    gate, dropped = Gate(), Gate()
    with executor() as made:
        running = asyncio.ensure_future(restore(made, gate, deadline=soon()))
        await entered(gate)
        leaving = asyncio.ensure_future(restore(made, dropped, deadline=soon()))
        await until_waiting(made, 1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert figure(made, "queue_depth") == 0
        gate.opened.set()
        await running
    assert dropped.runs == 0


async def test_an_exception_belongs_to_its_caller_and_the_thread_lives_on():
    def fail(_):
        raise ZeroDivisionError

    with executor() as made:
        with pytest.raises(ZeroDivisionError):
            await restore(made, fail, deadline=soon())
        assert (await restore(made, plus(1), deadline=soon())).batch[0, 0, 0, 0] == 1


async def test_the_age_of_the_running_job_is_known():
    gate = Gate()
    with executor() as made:
        assert made.running_seconds() == 0
        running = asyncio.ensure_future(restore(made, gate, deadline=soon()))
        await entered(gate)
        assert made.running_seconds() > 0
        gate.opened.set()
        await running
    assert made.running_seconds() == 0


async def test_a_later_frame_of_an_admitted_request_waits_even_where_the_queue_is_full():
    gate = Gate()
    with executor(max_queue=1) as made:
        running = asyncio.create_task(restore(made, gate, deadline=soon()))
        await entered(gate)
        waiting = asyncio.create_task(restore(made, plus(1), deadline=soon()))
        await asyncio.sleep(0)  # it takes the only place
        with pytest.raises(TooBusy):
            await restore(made, plus(2), deadline=soon())
        later = asyncio.create_task(restore(made, plus(3), deadline=soon(), admitted=True))
        await asyncio.sleep(0)
        gate.opened.set()
        answers = [await task for task in (running, waiting, later)]
    assert [float(answer.batch.max()) for answer in answers] == [0, 1, 3]
