"""The device's queue: order, places, deadlines, clients that leave."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from model_store.errors import OutOfDeviceMemory
from service.device_work import Alike, Work
from service.errors import DeadlinePassed, TooBusy
from service.executor import Executor
from service.telemetry import Instruments

pytestmark = pytest.mark.anyio

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


def plus(number):
    return lambda batch: batch + np.float32(number)


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


KNOWN = Work({}, BATCH)


async def test_who_would_wait_too_long_is_sent_away_at_once():
    gate = Gate()
    with executor() as made:
        made._pace.ran(KNOWN, 5.0)
        running = asyncio.create_task(restore(made, gate, deadline=soon()))
        await entered(gate)
        waiting = asyncio.create_task(restore(made, plus(1), deadline=time.monotonic() + 2))  # behind none: it can try
        await until_waiting(made, 1)
        with pytest.raises(TooBusy, match=r"will take it 5\.0 seconds or more") as caught:
            await restore(made, plus(2), deadline=time.monotonic() + 3)
        assert caught.value.retry_after in {2, 3}
        assert figure(made, "shed", "deadline") == 1
        patient = asyncio.create_task(restore(made, plus(3), deadline=time.monotonic() + 12))
        await until_waiting(made, 2)
        gate.opened.set()
        assert [answer.batch[0, 0, 0, 0] for answer in await asyncio.gather(running, waiting, patient)] == [0, 1, 3]
        assert (await restore(made, plus(2), deadline=time.monotonic() + 3)).batch[0, 0, 0, 0] == 2


async def test_an_admitted_request_waits_however_long_and_so_does_who_stands_behind_what_nobody_knows():
    gate = Gate()
    with executor() as made:
        made._pace.ran(KNOWN, 5.0)
        unknown = np.zeros((1, 64, 64, 1), np.float32)
        running = asyncio.create_task(restore(made, gate, deadline=soon()))
        await entered(gate)
        first = asyncio.create_task(restore(made, plus(1), deadline=soon(), batch=unknown))
        await until_waiting(made, 1)
        second = asyncio.create_task(restore(made, plus(1), deadline=time.monotonic() + 4))
        await until_waiting(made, 2)
        third = asyncio.create_task(restore(made, plus(1), deadline=time.monotonic() + 4, admitted=True))
        await until_waiting(made, 3)
        gate.opened.set()
        await asyncio.gather(running, first, second, third)
        assert figure(made, "shed", "deadline") == 0


async def test_a_model_whose_first_run_was_slow_is_not_shut_out():
    gate = Gate()
    with executor() as made:
        made._pace.ran(Work({}, BATCH, ref="slow@1"), 5.0)
        running = asyncio.create_task(restore(made, gate, deadline=soon()))
        await entered(gate)
        other = asyncio.create_task(restore(made, plus(1), deadline=soon()))
        await until_waiting(made, 1)
        work = Work({DEVICE: plus(2)}, BATCH, ref="slow@1")
        slow = asyncio.create_task(made.restore([work], deadline=time.monotonic() + 3))
        await until_waiting(made, 2)
        gate.opened.set()
        await asyncio.gather(running, other, slow)
        assert made._pace.expected([work], made.images_per_run, unknown=0) < 1


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


def image(value, shape=(14, 15)):
    return np.full((1, *shape, 1), value, np.float32)


class Runs:
    """A restorer that adds 1, waits at first until it is opened, and keeps what it was given."""

    def __init__(self, fails=lambda _: None):
        self.gate, self.seen, self.fails = Gate(), [], fails

    def __call__(self, batch):
        if not self.seen:
            self.gate(batch)
        self.seen.append(batch.shape)
        error = self.fails(batch)
        if error is not None:
            raise error
        return batch + 1

    def alike(self, bucket=(16, 16)):
        return Alike((self,), bucket)


async def together(made, runs, images, alike=None):
    """Their answers or errors; the first goes alone, and the others wait together."""
    first = asyncio.ensure_future(restore(made, runs, deadline=soon(), batch=images[0], alike=runs.alike()))
    await entered(runs.gate)
    kinds = alike or [runs.alike()] * len(images)
    rest = [
        asyncio.ensure_future(restore(made, runs, deadline=soon(), batch=each, alike=kind))
        for each, kind in zip(images[1:], kinds[1:], strict=True)
    ]
    await until_waiting(made, len(rest))
    runs.gate.opened.set()
    return await asyncio.gather(first, *rest, return_exceptions=True)


async def test_what_waits_shares_a_run_whatever_its_size_in_the_bucket():
    runs = Runs()
    images = [image(number, (10 + number, 16 - number)) for number in range(5)]
    with executor(max_queue=20, batch_pixels=4 * 256) as made:
        answers = await together(made, runs, images)
        assert made._instruments.batch_images.labels("")._sum.get() == 5
        assert figure(made, "device_pixels", "") == 160 + 4 * 256
        assert figure(made, "padded_pixels", "") == sum(256 - each.size for each in images[1:])
    assert runs.seen == [(1, 10, 16, 1), (4, 16, 16, 1)]
    for answer, each in zip(answers, images, strict=True):
        np.testing.assert_array_equal(answer.batch, each + 1)


@pytest.mark.parametrize(
    ("waiting", "budget", "sizes"),
    [(1, 16, [1]), (2, 16, [2]), (3, 16, [2, 1]), (7, 4, [4, 2, 1]), (9, 2.5, [2, 2, 2, 2, 1]), (2, 0.1, [1, 1])],
)
async def test_runs_have_a_power_of_two_of_images_within_the_budget(waiting, budget, sizes):
    runs = Runs()
    with executor(max_queue=20, batch_pixels=max(1, int(budget * 256))) as made:
        await together(made, runs, [image(0)] * (1 + waiting))
    assert [shape[0] for shape in runs.seen[1:]] == sizes


async def test_other_buckets_and_other_work_keep_their_turns():
    runs = Runs()
    other = runs.alike((32, 32))
    kinds = [runs.alike(), other, runs.alike(), None, other, runs.alike()]
    images = [image(number, (30, 30) if kind == other else (14, 15)) for number, kind in enumerate(kinds)]
    with executor(max_queue=20, batch_pixels=2**20) as made:
        answers = await together(made, runs, images, kinds)
    assert [shape[0] for shape in runs.seen] == [1, 2, 2, 1]
    for answer, each in zip(answers, images, strict=True):
        np.testing.assert_array_equal(answer.batch, each + 1)


async def test_a_run_without_the_memory_is_repeated_in_halves_and_all_are_answered():
    runs = Runs(lambda batch: OutOfDeviceMemory("full") if len(batch) > 1 else None)
    with executor(max_queue=20, batch_pixels=2**20) as made:
        answers = await together(made, runs, [image(number) for number in range(5)])
        assert figure(made, "out_of_memory") == 3
    assert [shape[0] for shape in runs.seen] == [1, 4, 2, 1, 1, 2, 1, 1]
    assert [answer.batch[0, 0, 0, 0] for answer in answers] == [1, 2, 3, 4, 5]


async def test_an_image_that_cannot_be_restored_harms_no_other_in_its_run():
    runs = Runs(lambda batch: ZeroDivisionError() if (batch == 3).any() else None)
    with executor(max_queue=20, batch_pixels=2**20) as made:
        answers = await together(made, runs, [image(number) for number in range(5)])
    assert isinstance(answers[3], ZeroDivisionError)
    assert [answer.batch[0, 0, 0, 0] for answer in answers[:3] + answers[4:]] == [1, 2, 3, 5]


async def test_who_left_takes_no_part_in_a_run():
    runs = Runs()
    with executor(max_queue=20, batch_pixels=2**20) as made:
        first = asyncio.ensure_future(restore(made, runs, deadline=soon(), batch=image(0), alike=runs.alike()))
        await entered(runs.gate)
        rest = [
            asyncio.ensure_future(restore(made, runs, deadline=soon(), batch=image(number), alike=runs.alike()))
            for number in range(3)
        ]
        await until_waiting(made, 3)
        rest[1].cancel()
        await until_waiting(made, 2)
        runs.gate.opened.set()
        answers = await asyncio.gather(first, rest[0], rest[2])
    assert [answer.batch[0, 0, 0, 0] for answer in answers] == [1, 1, 3]
    assert [shape[0] for shape in runs.seen] == [1, 2]


async def test_a_failed_run_is_not_repeated_for_who_left_and_nothing_is_told_twice(caplog):
    runs = Runs(lambda batch: OutOfDeviceMemory("full") if batch.max() > 0 else None)
    works = [Work({DEVICE: runs}, image(1), alike=runs.alike())] * 4
    with executor(max_queue=20, batch_pixels=2**20) as made:
        gate = asyncio.ensure_future(restore(made, runs, deadline=soon(), batch=image(0), alike=runs.alike()))
        await entered(runs.gate)
        waiting = asyncio.ensure_future(made.restore(works, deadline=soon()))
        await until_waiting(made, 4)
        runs.gate.opened.set()
        await gate
        with pytest.raises(OutOfDeviceMemory):
            await waiting
        del waiting
        await asyncio.sleep(0.05)
    assert "never retrieved" not in caplog.text


async def test_even_an_exception_that_is_none_leaves_the_thread_alive():
    def fail(_):
        raise SystemExit

    with executor() as made:
        with pytest.raises(RuntimeError, match="SystemExit"):
            await restore(made, fail, deadline=soon())
        assert (await restore(made, plus(1), deadline=soon())).batch[0, 0, 0, 0] == 1
