"""Loaded versions: one load for many requests, eviction, failures, deadlines."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from unittest import mock

import pytest

from model_store.errors import RefusedVersion
from service.errors import NotReady
from service.models import NICENESS, LoadedVersions
from service.telemetry import Instruments

pytestmark = pytest.mark.anyio


class Restorer:
    precision, device, timings = "float32", "CPU:0", {}

    def __init__(self, version):
        self.version, self.shapes, self.values = version, [], set()

    def __call__(self, batch):
        self.shapes.append(batch.shape)
        self.values.add(float(batch.max()))
        return batch


def loaded_versions(load=Restorer, *, max_loaded=4, warm_shapes=(), memory_budget=None, instruments=None):
    return LoadedVersions(
        lambda version: [load(version)],
        warm_shapes=warm_shapes,
        max_loaded=max_loaded,
        memory_budget=memory_budget,
        instruments=instruments or Instruments(),
    )


def soon():
    return time.monotonic() + 20


async def test_many_requests_load_once(published):
    loads = []

    def load(version):
        loads.append(version.ref)
        return Restorer(version)

    versions = loaded_versions(load)
    version = published.resolve("ct-tiny")

    async def use():
        async with versions.lease(version, deadline=soon()) as restorer:
            return restorer

    used = await asyncio.gather(*(use() for _ in range(10)))
    assert loads == ["ct-tiny@1"]
    assert len(set(used)) == 1
    assert set(versions.loaded()) == {"ct-tiny@1"}
    assert versions._instruments.loaded._value.get() == 1
    versions.close()


@pytest.mark.parametrize(("ref", "empty"), [("ct-tiny", -1000.0), ("gray-tiny", 0.0)])
async def test_every_size_is_warm_before_the_first_request(published, ref, empty):
    versions = loaded_versions(warm_shapes=((1, 8, 9), (1, 512, 512)))
    async with versions.lease(published.resolve(ref), deadline=soon()) as replicas:
        (restorer,) = replicas.restorers
        assert list(dict.fromkeys(restorer.shapes)) == [(1, 8, 9, 1), (1, 512, 512, 1)]
        assert restorer.values == {empty}
    versions.close()


async def test_what_pays_is_found_out_once_for_the_same_weights(published):
    first, other = published.resolve("ct-tiny"), published.resolve("gray-tiny")
    versions = loaded_versions(max_loaded=1, warm_shapes=((1, 8, 9), (2, 8, 9)))
    runs = []
    for version in (first, other, first):  # of which each makes room for the next
        async with versions.lease(version, deadline=soon()) as replicas:
            runs.append((len(replicas.restorers[0].shapes), replicas.shared_pixels))
    assert runs[0][0] >= 4
    assert runs[2] == (len({1, 2} if runs[0][1] is None else {1}), runs[0][1])
    versions.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a priority is the whole process's")
async def test_a_load_beside_requests_lets_them_first(published):
    """Its thread, and no other; not at the start, when there are none, and others' threads would inherit it."""
    mine = os.getpriority(os.PRIO_PROCESS, os.getpid())
    nice = []

    def load(version):
        nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) - mine)
        return Restorer(version)

    versions = loaded_versions(load)
    for ref in ("ct-tiny", "gray-tiny", "ct-tiny"):
        async with versions.lease(published.resolve(ref), deadline=soon()):
            pass
        versions.unload(ref)
    nicer = min(19, mine + NICENESS) - mine
    assert nice == [0, nicer, nicer]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine
    versions.close()


async def test_a_load_that_may_not_yield_is_done_all_the_same(published, monkeypatch):
    monkeypatch.setattr("os.setpriority", mock.Mock(side_effect=PermissionError))
    versions = loaded_versions()
    for ref in ("ct-tiny", "gray-tiny"):
        async with versions.lease(published.resolve(ref), deadline=soon()):
            pass
    assert len(versions.loaded()) == 2
    versions.close()


@pytest.mark.parametrize(("device", "shown"), [("GPU:0", {"current": 5.0, "peak": 7.0}), ("CPU:0", {})])
async def test_the_memory_of_a_device_that_has_its_own_is_in_the_figures(published, monkeypatch, device, shown):
    asked = {("GPU:0", "current"): 5.0, ("GPU:0", "peak"): 7.0}
    monkeypatch.setattr("service.models.memory_bytes", lambda *what: asked[what])
    monkeypatch.setattr(Restorer, "device", device)
    instruments = Instruments()
    versions = loaded_versions(instruments=instruments)
    async with versions.lease(published.resolve("ct-tiny"), deadline=soon()):
        pass
    samples = [sample for metric in instruments.device_memory.collect() for sample in metric.samples]
    assert {sample.labels["kind"]: sample.value for sample in samples} == shown
    assert {sample.labels["device"] for sample in samples} <= {device}


async def test_the_longest_idle_version_makes_room(published):
    first, second = published.resolve("ct-tiny"), published.resolve("gray-tiny")
    versions = loaded_versions(max_loaded=1)
    async with versions.lease(first, deadline=soon()):
        with pytest.raises(NotReady, match="CLEARSLICE_MAX_LOADED"):
            async with versions.lease(second, deadline=soon()):
                pytest.fail("a version in use was evicted")
    async with versions.lease(second, deadline=soon()):
        assert set(versions.loaded()) == {"gray-tiny@1"}
    versions.close()


async def test_a_refused_version_is_remembered_with_its_reason(published):
    loads = []

    def refuse(version):
        loads.append(version)
        raise RefusedVersion("ct-tiny@1: saved_model.pb was changed")

    versions = loaded_versions(refuse)
    version = published.resolve("ct-tiny")
    for _ in range(2):
        with pytest.raises(RefusedVersion, match=r"saved_model\.pb was changed"):
            async with versions.lease(version, deadline=soon()):
                pytest.fail("a refused version was leased")
    assert len(loads) == 1
    assert versions.refused() == {"ct-tiny@1": "ct-tiny@1: saved_model.pb was changed"}
    versions.close()


async def test_another_failure_is_tried_again(published):
    tries = []

    def load(version):
        tries.append(version)
        if len(tries) == 1:
            raise MemoryError
        return Restorer(version)

    versions = loaded_versions(load)
    version = published.resolve("ct-tiny")
    with pytest.raises(MemoryError):
        async with versions.lease(version, deadline=soon()):
            pytest.fail("leased without loading")
    async with versions.lease(version, deadline=soon()) as replicas:
        assert replicas.devices == ("CPU:0",)
    versions.close()


async def test_a_deadline_does_not_stop_the_loading_that_others_wait_for(published):
    go_on = threading.Event()

    def load(version):
        assert go_on.wait(20)
        return Restorer(version)

    versions = loaded_versions(load)
    version = published.resolve("ct-tiny")
    with pytest.raises(NotReady) as caught:
        async with versions.lease(version, deadline=time.monotonic() + 0.01):
            pytest.fail("leased before it was loaded")
    assert caught.value.retry_after > 0
    assert versions.loading() == {"ct-tiny@1"}
    go_on.set()
    async with versions.lease(version, deadline=soon()):
        assert versions.loading() == set()
    versions.close()


async def test_beyond_the_memory_budget_the_longest_idle_make_room_and_the_newest_stays(published, add_version):
    for _ in range(2):
        add_version(published, "ct-tiny")
    versions = loaded_versions(memory_budget=1)
    for number in (1, 2, 3):
        async with versions.lease(published.resolve(f"ct-tiny@{number}"), deadline=soon()):
            pass
    async with asyncio.timeout(20):
        while set(versions.loaded()) != {"ct-tiny@3"}:  # noqa: ASYNC110 - memory is given back on a thread
            await asyncio.sleep(0.01)
    third, first = published.resolve("ct-tiny@3"), published.resolve("ct-tiny@1")
    async with versions.lease(third, deadline=soon()), versions.lease(first, deadline=soon()):
        assert set(versions.loaded()) == {"ct-tiny@1", "ct-tiny@3"}  # in use, so it stays
    versions.close()


async def test_what_was_refused_is_tried_again_when_the_store_has_changed(published):
    damaged = True

    def load(version):
        if damaged:
            raise RefusedVersion("ct-tiny@1: damaged")
        return Restorer(version)

    versions = loaded_versions(load)
    version = published.resolve("ct-tiny")
    for _ in range(2):
        with pytest.raises(RefusedVersion):
            async with versions.lease(version, deadline=soon()):
                pytest.fail("leased what was refused")
    assert versions._instruments.refused._value.get() == 1
    damaged = False
    versions.forgive()
    assert versions._instruments.refused._value.get() == 0
    async with versions.lease(version, deadline=soon()):
        assert set(versions.loaded()) == {"ct-tiny@1"}
    versions.close()


async def test_no_more_is_evicted_than_the_budget_needs(published, add_version, monkeypatch):
    for _ in range(3):
        add_version(published, "ct-tiny")
    versions = loaded_versions(memory_budget=300)
    monkeypatch.setattr("service.models.resident_bytes", lambda: 100 * len(versions._entries))
    for number in (1, 2, 3, 4):
        async with versions.lease(published.resolve(f"ct-tiny@{number}"), deadline=soon()):
            pass
    await asyncio.sleep(0.2)
    assert set(versions.loaded()) == {"ct-tiny@2", "ct-tiny@3", "ct-tiny@4"}
    versions.close()
