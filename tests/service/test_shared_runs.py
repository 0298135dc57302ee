"""Runs that callers share: which and how many, what becomes of a run that fails, clients that leave."""

from __future__ import annotations

import asyncio
import runpy
import types
from pathlib import Path

import numpy as np
import pytest

from model_store.errors import OutOfDeviceMemory
from service.device_work import Alike, Work

pytestmark = pytest.mark.anyio

KIT = types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("executing.py"))))
DEVICE, Gate, executor, restore = KIT.DEVICE, KIT.Gate, KIT.executor, KIT.restore
soon, figure, entered, until_waiting = KIT.soon, KIT.figure, KIT.entered, KIT.until_waiting


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


@pytest.mark.parametrize(("pays", "sizes"), [(None, [4, 2]), (2 * 256, [2, 2, 2]), (256, [1] * 6), (1, [1] * 6)])
async def test_no_more_share_a_run_than_pay(pays, sizes):
    runs = Runs()
    with executor(max_queue=20, batch_pixels=4 * 256) as made:
        await together(made, runs, [image(0)] * 7, [Alike((runs,), (16, 16), pays)] * 7)
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
