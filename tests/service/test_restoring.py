"""Batches and tiles of a request's images, and what happens where the device has not the memory."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest

from model_store.errors import OutOfDeviceMemory
from service.executor import Executor
from service.restoring import warm_shapes
from service.telemetry import Instruments

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
STACK = np.random.default_rng(0).normal(0, 100, (7, 30, 40)).astype(np.float32)


async def test_the_frames_of_a_file_share_runs(serve, npy):
    async with serve(offset=1.0, batch_pixels=4 * 32 * 48) as client:
        answer = await client.post(npy(STACK), **HU)
        runs = [batch.shape[0] for batch in client.restorers["ct-tiny@1"].seen]
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), STACK + np.float32(1))
    assert sum(runs) == 7
    assert max(runs) <= 4
    assert len(runs) < 7


@pytest.mark.parametrize("fits", [4 * 192 * 192, 192 * 192])
async def test_an_image_that_does_not_fit_is_restored_in_tiles(serve, npy, fits):
    def answer(batch):
        if batch.size > fits:
            raise OutOfDeviceMemory("full")
        return batch + np.float32(1)

    image = np.random.default_rng(1).normal(0, 100, (900, 800)).astype(np.float32)
    async with serve(answer=answer, tile_pixels=1024 * 1024) as client:
        told = await client.post(npy(image), **HU)
        assert client.engine.instruments.out_of_memory._value.get() >= 1
    assert told.status_code == 200
    np.testing.assert_array_equal(np.load(io.BytesIO(told.content)), image + np.float32(1))


async def test_where_nothing_fits_it_is_told_and_the_service_lives_on(serve, npy):
    full = True

    def answer(batch):
        if full:
            raise OutOfDeviceMemory("full")
        return batch

    async with serve(answer=answer) as client:
        told = await client.post(npy(np.zeros((600, 700), np.float32)), **HU)
        assert (told.status_code, told.json()["type"]) == (503, "/problems/not-ready")
        assert int(told.headers["retry-after"]) > 0
        assert "not the memory" in told.json()["detail"]
        full = False
        assert (await client.post(npy(np.zeros((600, 700), np.float32)), **HU)).status_code == 200
        assert client.engine.readiness()[0]


def test_every_number_of_images_that_a_run_can_have_is_warm():
    executor = Executor(max_queue=1, batch_pixels=5 * 512 * 512, instruments=Instruments())
    assert warm_shapes([(512, 512), (2048, 2048)], executor) == (
        (1, 512, 512),
        (2, 512, 512),
        (4, 512, 512),
        (1, 2048, 2048),
    )
    executor.close()


async def test_a_run_that_frames_share_counts_once(serve, npy):
    def slow(batch):
        time.sleep(0.1)
        return batch

    async with serve(answer=slow, batch_pixels=4 * 32 * 48) as client:
        answer = await client.post(npy(STACK[:4]), headers={"accept": "application/json"}, **HU)
        seconds = answer.json()["seconds"]
    assert seconds["queue"] >= 0
