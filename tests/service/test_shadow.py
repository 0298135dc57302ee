"""A shadow counts how far it is from what is answered, and answers nobody."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from model_store.errors import RefusedVersion

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
IMAGE = np.random.default_rng(0).normal(0, 100, (9, 11)).astype(np.float32)


@pytest.fixture
def shadowed(serve, published, add_version):
    add_version(published, "ct-tiny")
    published.promote("ct-tiny", "canary", 2)
    return lambda **settings: serve(shadow="ct-tiny@canary", **settings)


def observed(client):
    text = client.engine.instruments.shadow_difference.labels("ct-tiny@1", "ct-tiny@2")
    return text._sum.get(), sum(bucket.get() for bucket in text._buckets)


async def settled(client):
    while client.engine._shadow._comparing is None or not client.engine._shadow._comparing.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_its_difference_is_counted_and_the_answer_is_the_other_versions(shadowed, npy):
    def load(version):
        return Restorer(version, 0.0 if version.version == 1 else 7.0)

    async with shadowed(load=load) as client:
        answer = await client.post(npy(IMAGE), **HU)
        await settled(client)
        assert answer.headers["clearslice-model"] == "ct-tiny@1"
        assert observed(client) == (pytest.approx(7.0, rel=1e-5), 1)


async def test_it_has_nothing_to_say_of_itself_or_of_other_models(shadowed, npy):
    async with shadowed() as client:
        await client.post(npy(np.full((9, 11), 0.5, np.float32)), model="gray-tiny")
        assert client.engine._shadow._comparing is None
        await client.post(npy(IMAGE), model="ct-tiny@2", **HU)
        await settled(client)
        assert observed(client) == (0, 0)


async def test_a_shadow_that_fails_harms_nobody(shadowed, npy):
    def load(version):
        if version.version == 2:
            raise RefusedVersion("ct-tiny@2: damaged")
        return Restorer(version, 0.0)

    async with shadowed(load=load) as client:
        for _ in range(2):
            assert (await client.post(npy(IMAGE), **HU)).status_code == 200
            await settled(client)
        assert client.engine.versions.refused() == {"ct-tiny@2": "ct-tiny@2: damaged"}


class Restorer:
    precision, device, timings, with_uncertainty = "float32", "CPU:0", {}, None

    def __init__(self, version, offset):
        self.version, self.offset = version, offset

    def __call__(self, batch):
        return batch + np.float32(self.offset)
