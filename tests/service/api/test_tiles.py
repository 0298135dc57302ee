"""Images too large for one run through the API: restored in tiles, answered as if there were none."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest

from imaging.formats import encode_npy

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
LEAST = 512 * 512


def picture(shape=(700, 1100)):
    return np.random.default_rng(0).normal(0, 300, shape).astype(np.float32)


async def test_a_large_image_is_seen_in_tiles_and_comes_back_whole(serve):
    image = picture()
    async with serve(offset=2.0, tile_pixels=LEAST) as client:
        answer = await client.post(encode_npy([image]), **HU)
        seen = client.restorers["ct-tiny@1"].seen
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), image + np.float32(2))
    assert len(seen) > 3
    assert max(batch.size for batch in seen) <= LEAST
    assert answer.headers["server-timing"].count("infer") == 1


async def test_others_have_their_turn_between_the_tiles_of_one(serve):
    async with serve(tile_pixels=LEAST, waits=True) as client:
        restorer = client.restorers["ct-tiny@1"]
        large = asyncio.ensure_future(client.post(encode_npy([picture()]), **HU))
        while not restorer.started.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)
        small = asyncio.ensure_future(client.post(encode_npy([picture((8, 8))]), **HU))
        while "clearslice_queue_depth 1.0" not in (await client.http.get("/metrics")).text:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        restorer.go_on.set()
        assert (await small).status_code == (await large).status_code == 200
        sizes = [batch.size for batch in restorer.seen]
    assert sizes.index(64) == 1


async def test_a_nonsensical_answer_to_a_tile_is_not_delivered(serve):
    async with serve(tile_pixels=LEAST, answer=lambda batch: batch[:, :5]) as client:
        answer = await client.post(encode_npy([picture()]), **HU)
    assert answer.status_code == 500
    assert "nothing is delivered" in answer.json()["detail"]
