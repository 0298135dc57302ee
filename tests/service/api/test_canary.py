"""Canaries and a store that others change, through the API."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from model_store.errors import RefusedVersion
from service.meanings import draws

pytestmark = pytest.mark.anyio

STORED = np.full((9, 11), 1024, np.int16)
HU = {"rescale_slope": "1", "rescale_intercept": "0"}
POLL = {"store_poll_seconds": 0.02}


@pytest.fixture
def with_canary(published, add_version):
    add_version(published, "ct-tiny")
    published.promote("ct-tiny", "canary", 2, weight=0.5)
    return published


def model_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.headers["clearslice-model"]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a task of the service polls
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("with_canary")
async def test_all_slices_of_a_series_go_through_one_version(serve, ct_slice):
    async with serve() as client:
        for number in range(6):
            uid = f"1.2.3.{number}"
            models = [
                model_of(await client.post(ct_slice(STORED, SeriesInstanceUID=uid, InstanceNumber=slice_)))
                for slice_ in (1, 2)
            ]
            assert models == [f"ct-tiny@{2 if draws(uid, 'ct-tiny', 0.5) else 1}"] * 2


async def test_who_names_a_version_or_sends_no_series_stays_with_it(serve, with_canary, ct_slice, npy):
    with_canary.promote("ct-tiny", "canary", 2, weight=1.0)
    async with serve() as client:
        assert model_of(await client.post(ct_slice(STORED))) == "ct-tiny@2"
        assert model_of(await client.post(ct_slice(STORED), model="ct-tiny")) == "ct-tiny@2"
        assert model_of(await client.post(ct_slice(STORED), model="ct-tiny@stable")) == "ct-tiny@1"
        assert model_of(await client.post(npy(STORED.astype(np.float32)), **HU)) == "ct-tiny@1"


async def test_a_canary_that_is_refused_leaves_its_series_to_the_version_before(serve, with_canary, ct_slice, restorer):
    with_canary.promote("ct-tiny", "canary", 2, weight=1.0)

    def load(version):
        if version.version == 2:
            raise RefusedVersion("ct-tiny@2: damaged")
        return restorer(version)

    async with serve(load=load) as client:
        for _ in range(2):
            assert model_of(await client.post(ct_slice(STORED))) == "ct-tiny@1"
        models = (await client.http.get("/v1/models/ct-tiny")).json()
        assert models["canary_weight"] == 1
        assert models["versions"][1]["reason"] == "ct-tiny@2: damaged"
        assert "clearslice_refused_versions 1.0" in (await client.http.get("/metrics")).text


async def test_a_label_that_another_process_moves_is_followed_before_anyone_asks(serve, with_canary, npy):
    async with serve(**POLL) as client:
        assert model_of(await client.post(npy(STORED.astype(np.float32)), **HU)) == "ct-tiny@1"
        with_canary.promote("ct-tiny", "stable", 2)
        await until(lambda: "ct-tiny@2" in client.engine.versions.loaded())
        assert model_of(await client.post(npy(STORED.astype(np.float32)), **HU)) == "ct-tiny@2"


async def test_a_version_that_was_removed_is_unloaded(serve, with_canary, npy):
    async with serve(**POLL) as client:
        assert model_of(await client.post(npy(STORED.astype(np.float32)), model="ct-tiny@2", **HU)) == "ct-tiny@2"
        with_canary.remove_label("ct-tiny", "canary")
        with_canary.remove("ct-tiny", 2)
        await until(lambda: set(client.engine.versions.loaded()) == {"ct-tiny@1"})
        assert (await client.post(npy(STORED.astype(np.float32)), model="ct-tiny@2", **HU)).status_code == 404


async def test_a_refused_version_that_was_repaired_serves_without_a_restart(serve, with_canary, npy, restorer):
    damaged = True

    def load(version):
        if damaged and version.version == 2:
            raise RefusedVersion("ct-tiny@2: damaged")
        return restorer(version)

    image = npy(STORED.astype(np.float32))
    async with serve(load=load, **POLL) as client:
        assert (await client.post(image, model="ct-tiny@2", **HU)).status_code == 503
        damaged = False
        (with_canary.writable / "ct-tiny" / "2" / "variables" / "variables.index").write_bytes(b"repaired")
        await until(lambda: not client.engine.versions.refused())
        assert model_of(await client.post(image, model="ct-tiny@2", **HU)) == "ct-tiny@2"


async def test_a_damaged_label_file_takes_nothing_out_of_memory(serve, with_canary, ct_slice):
    async with serve(**POLL) as client:
        assert model_of(await client.post(ct_slice(STORED), model="ct-tiny@1")) == "ct-tiny@1"
        (with_canary.writable / "ct-tiny" / "labels.json").write_text("{oops")
        await asyncio.sleep(0.3)
        assert "ct-tiny@1" in client.engine.versions.loaded()
        assert model_of(await client.post(ct_slice(STORED))) == "ct-tiny@1"


async def test_a_comparison_gives_the_models_that_it_names(serve, with_canary, ct_slice):
    with_canary.promote("ct-tiny", "canary", 2, weight=1.0)
    async with serve() as client:
        files = {"image": ct_slice(STORED)}
        named, told = {"models": "ct-tiny,ct-tiny@canary"}, {"accept": "application/json"}
        answer = await client.http.post("/v1/comparisons", files=files, data=named, headers=told)
        assert [each["model"]["ref"] for each in answer.json()["models"]] == ["ct-tiny@1", "ct-tiny@2"]
