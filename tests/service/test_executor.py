"""The device's queue: order, places, deadlines, clients that leave."""

from __future__ import annotations

import asyncio
import runpy
import time
import types
from pathlib import Path

import numpy as np
import pytest

from service.device_work import Work
from service.errors import DeadlinePassed, TooBusy

pytestmark = pytest.mark.anyio

KIT = types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("executing.py"))))
BATCH, DEVICE, Gate, executor, restore = KIT.BATCH, KIT.DEVICE, KIT.Gate, KIT.executor, KIT.restore
soon, figure, entered, until_waiting = KIT.soon, KIT.figure, KIT.entered, KIT.until_waiting


def plus(number):
    return lambda batch: batch + np.float32(number)


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
        assert made._pace.expected([work], made._together, unknown=0) < 1


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


async def test_even_an_exception_that_is_none_leaves_the_thread_alive():
    def fail(_):
        raise SystemExit

    with executor() as made:
        with pytest.raises(RuntimeError, match="SystemExit"):
            await restore(made, fail, deadline=soon())
        assert (await restore(made, plus(1), deadline=soon())).batch[0, 0, 0, 0] == 1
