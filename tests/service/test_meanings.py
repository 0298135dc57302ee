"""What refs mean: the store, what is in memory, canaries."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.errors import RefusedVersion
from service.meanings import Meanings, drawn_canary, draws, meant_by, names_taking, resolve_standing
from service.models import LoadedVersions
from service.telemetry import Instruments

pytestmark = pytest.mark.anyio


class Restorer:
    precision, device, timings = "float32", "CPU:0", {}

    def __init__(self, version):
        self.version = version

    def __call__(self, batch):
        return batch


def loaded_versions(load=Restorer, *, max_loaded=4):
    return LoadedVersions(
        lambda version: [load(version)],
        warm_shapes=(),
        max_loaded=max_loaded,
        memory_budget=None,
        instruments=Instruments(),
    )


def soon():
    return time.monotonic() + 20


def test_names_by_unit(published):
    assert names_taking(published, "HU") == ["ct-tiny"]
    assert names_taking(published, "relative") == ["gray-tiny"]
    (published.writable / "gray-tiny" / "1" / "manifest.json").write_text("{}")
    assert names_taking(published, "relative") == []


def other_version(published, number, **changes):
    """ct-tiny@number as a store would give it, without its files."""
    version = published.resolve("ct-tiny")
    manifest = version.manifest.model_copy(update={"version": number, **changes})
    return replace(version, version=number, manifest=manifest)


async def used(meanings, ref, version, outputs=("restored",)):
    """Which version a request for `ref` ran on."""
    chosen = meanings.swap(ref, version, outputs)
    async with meanings._versions.lease(chosen, deadline=soon()):
        return chosen.ref


async def test_until_a_new_version_is_warm_the_one_before_answers(published):
    go_on = threading.Event()

    def load(version):
        if version.version == 2:
            assert go_on.wait(20)
        return Restorer(version)

    versions = loaded_versions(load)
    meanings = Meanings(versions)
    first, second = published.resolve("ct-tiny"), other_version(published, 2)
    assert await used(meanings, "ct-tiny@stable", first) == "ct-tiny@1"
    assert await used(meanings, "ct-tiny@stable", second) == "ct-tiny@1"  # and the second loads beside
    assert versions.loading() == {"ct-tiny@2"}
    assert await used(meanings, "ct-tiny@stable", second) == "ct-tiny@1"
    go_on.set()
    while versions.loading():  # noqa: ASYNC110 - a thread loads
        await asyncio.sleep(0.01)
    assert await used(meanings, "ct-tiny@stable", second) == "ct-tiny@2"
    assert await used(meanings, "ct-tiny@stable", first) == "ct-tiny@1"  # back at once: it is still in memory
    versions.close()


async def test_a_refused_version_never_takes_over(published):
    def load(version):
        if version.version == 2:
            raise RefusedVersion("ct-tiny@2: saved_model.pb was changed")
        return Restorer(version)

    versions = loaded_versions(load)
    meanings = Meanings(versions)
    first, second = published.resolve("ct-tiny"), other_version(published, 2)
    assert await used(meanings, "ct-tiny", first) == "ct-tiny@1"
    for _ in range(3):
        assert await used(meanings, "ct-tiny", second) == "ct-tiny@1"
        await asyncio.sleep(0.05)
    assert set(versions.refused()) == {"ct-tiny@2"}
    with pytest.raises(RefusedVersion):  # asked for by its number it is not replaced by another
        await used(meanings, "ct-tiny@2", second)
    versions.close()


@pytest.mark.parametrize(
    ("ref", "changes", "outputs"),
    [
        ("ct-tiny@2", {}, ("restored",)),  # a number means itself
        ("ct-tiny", {"unit": "relative"}, ("restored",)),  # the one before takes other images
        ("ct-tiny", {}, ("restored", "sigma")),  # ... gives less
        ("ct-tiny@canary", {}, ("restored",)),  # meant nothing before
    ],
)
async def test_where_the_one_before_will_not_do_the_new_one_is_waited_for(published, ref, changes, outputs):
    versions = loaded_versions()
    meanings = Meanings(versions)
    assert await used(meanings, "ct-tiny", published.resolve("ct-tiny")) == "ct-tiny@1"
    assert await used(meanings, ref, other_version(published, 2, **changes), outputs) == "ct-tiny@2"
    versions.close()


async def test_with_one_place_the_new_one_is_waited_for(published):
    versions = loaded_versions(max_loaded=1)
    meanings = Meanings(versions)
    assert await used(meanings, "ct-tiny", published.resolve("ct-tiny")) == "ct-tiny@1"
    assert await used(meanings, "ct-tiny", other_version(published, 2)) == "ct-tiny@2"
    versions.close()


async def test_a_damaged_version_leaves_what_the_ref_meant_before(published):
    first = published.resolve("ct-tiny")
    half = published.writable / "ct-tiny" / "2"
    half.mkdir()
    (half / "saved_model.pb").write_bytes(b"graph")
    (half / "manifest.json").write_text('{"schema_version": 1, "name"', encoding="utf-8")
    published.remove_label("ct-tiny", "stable")
    with pytest.raises(RefusedVersion):
        resolve_standing(published, "ct-tiny", {})
    assert resolve_standing(published, "ct-tiny", {"ct-tiny": first}) is first
    assert resolve_standing(published, "ct-tiny@1", {}).ref == "ct-tiny@1"


async def test_a_changed_store_is_followed_before_anyone_asks(published):
    versions = loaded_versions()
    meanings = Meanings(versions)
    assert await used(meanings, "ct-tiny", published.resolve("ct-tiny")) == "ct-tiny@1"
    meanings.follow({"ct-tiny": other_version(published, 2)})
    assert versions.loading() == {"ct-tiny@2"}
    versions.close()


def test_refs_that_mean_nothing_any_more_are_left_out(published):
    found, gone = meant_by(published, ["ct-tiny", "ct-tiny@9", "gone"])
    assert (set(found), gone) == ({"ct-tiny"}, {"ct-tiny@9", "gone"})
    (published.writable / "ct-tiny" / "labels.json").write_text("{oops")
    assert meant_by(published, ["ct-tiny", "ct-tiny@1"]) == ({}, set())  # damaged is not gone
    stable = published.resolve("gray-tiny")
    assert drawn_canary(published, "ct-tiny", series("1.2.3"), replace(stable, name="ct-tiny")) is None


def series(uid):
    """Images of a DICOM series, or of another file."""
    return SimpleNamespace(first=SimpleNamespace(dataset=None if uid is None else {"SeriesInstanceUID": uid}))


@pytest.fixture
def with_canary(published, add_version):
    add_version(published, "ct-tiny")
    published.promote("ct-tiny", "canary", 2, weight=1.0)
    return published


@pytest.mark.parametrize(
    ("asked", "uid", "drawn"),
    [
        (None, "1.2.3", True),
        ("ct-tiny", "1.2.3", True),
        ("ct-tiny@stable", "1.2.3", False),  # a label means itself
        ("ct-tiny@1", "1.2.3", False),
        ("ct-tiny", None, False),  # a PNG, say, belongs to no series
    ],
)
def test_only_who_names_no_version_may_get_the_canary(with_canary, asked, uid, drawn):
    stable = with_canary.resolve("ct-tiny@stable")
    found = drawn_canary(with_canary, asked, series(uid), stable)
    assert (found is not None and found.ref == "ct-tiny@2") == drawn


def test_without_weight_or_label_there_is_no_canary(with_canary):
    stable = with_canary.resolve("ct-tiny@stable")
    with_canary.promote("ct-tiny", "canary", 2, weight=0.0)
    assert drawn_canary(with_canary, None, series("1.2.3"), stable) is None
    with_canary.promote("ct-tiny", "canary", 2, weight=1.0)
    with_canary.remove_label("ct-tiny", "canary")
    assert drawn_canary(with_canary, None, series("1.2.3"), stable) is None
    with_canary.promote("ct-tiny", "canary", 2)  # the weight went with the label
    assert drawn_canary(with_canary, None, series("1.2.3"), stable) is None


@given(uid=st.text(max_size=64), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_larger_share_holds_a_smaller_one_and_all_is_all(uid, low, high):
    low, high = sorted((low, high))
    assert draws(uid, "m", high) or not draws(uid, "m", low)
    assert draws(uid, "m", 1.0)
    assert not draws(uid, "m", 0.0)


def test_the_share_is_about_the_weight():
    assert sum(draws(f"1.2.840.{number}", "ct-l2", 0.25) for number in range(10_000)) == pytest.approx(2500, abs=150)
