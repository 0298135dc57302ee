"""A series comes in, is restored when it is complete, and goes out: once, whatever comes again, late, or is broken."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

pytestmark = pytest.mark.anyio


async def test_a_series_goes_out_restored_next_to_the_original(noding, kit):
    sources = [dcmread(DicomBytesIO(data)) for data in kit.series(4)]
    async with noding() as node:
        answer = await node.bring(kit.series(4))
        assert answer.status_code == 200
        (told,) = await node.ended()
        assert await node.counts() == {"delivered": 4}
    assert told["state"] == "delivered"
    assert (told["rule"], told["model"], told["instances"], told["done"]) == ("all CT", "ct-tiny@1", 4, 4)
    derived = node.derived()
    assert len(derived) == 4
    assert {each.StudyInstanceUID for each in derived} == {sources[0].StudyInstanceUID}
    assert {each.SeriesInstanceUID for each in derived} == {told["derived_series"]}
    named = {each.SourceImageSequence[0].ReferencedSOPInstanceUID for each in derived}
    assert named == {each.SOPInstanceUID for each in sources}
    assert {(each.SeriesDate, each.SeriesTime) for each in derived} == {("20260304", "050607.000000")}


async def test_a_series_that_is_sent_again_is_the_same_and_nothing_is_done(noding, kit):
    async with noding() as node:
        for _ in range(3):
            await node.bring(kit.series(3))
            await node.ended()
        assert len(await node.series()) == 1
        assert len(node.client.restorers["ct-tiny@1"].seen) == 3
    assert len(node.peer.sent) == 3


async def test_late_slices_join_the_derived_series(noding, kit):
    async with noding() as node:
        await node.bring(kit.series(3))
        await node.ended()
        before = dict(node.peer.files)
        node.clock.forward(100)
        await node.bring(kit.series(2, first=4))
        late, first = await node.ended(2)
        assert len(node.client.restorers["ct-tiny@1"].seen) == 5
        assert await node.counts() == {"delivered": 5}
    assert late["joins"] == first["id"]
    assert late["derived_series"] == first["derived_series"]
    assert late["instances"] == 2
    assert before.items() <= node.peer.files.items()
    assert len(node.peer.files) == 5
    assert len({each.SeriesTime for each in node.derived()}) == 1


def beyond(number):
    """Stored values that leave the encoding of the source when 100 HU are added."""
    return np.full((12, 16), 32760 if number >= 4 else 100, np.int16)


async def test_a_late_slice_that_leaves_the_encoding_makes_the_whole_series_anew(noding, kit):
    narrow = {"RescaleSlope": "0.1", "RescaleIntercept": "0"}
    async with noding(settings={"offset": 100.0}) as node:
        await node.bring(kit.series(3, stored=beyond, **narrow))
        await node.ended()
        await node.bring(kit.series(1, first=4, stored=beyond, **narrow))
        told = await node.ended(2)
        counts = await node.counts()
    anew = next(each for each in told if each["revision"] == 1)
    assert len(told) == 2
    assert anew["instances"] == 4
    assert anew["reencoded"]
    assert anew["derived_series"] != next(each for each in told if each["revision"] == 0)["derived_series"]
    made = [each for each in node.derived() if each.SeriesInstanceUID == anew["derived_series"]]
    assert {(float(each.RescaleSlope), each.BitsStored) for each in made} == {(1.0, 16)}
    assert len(made) == 4
    assert counts == {"delivered": 4}


async def test_a_late_slice_joins_a_series_in_hounsfield(noding, kit):
    narrow = {"RescaleSlope": "0.1", "RescaleIntercept": "0"}
    async with noding(settings={"offset": 100.0}) as node:
        await node.bring(kit.series(3, first=2, stored=beyond, **narrow))
        await node.ended()
        await node.bring(kit.series(1, first=5, stored=lambda _: None, **narrow))
        late, first = sorted(await node.ended(2), key=lambda each: each["instances"])
    assert first["reencoded"]
    assert late["derived_series"] == first["derived_series"]
    assert {float(each.RescaleSlope) for each in node.derived()} == {1.0}


async def test_localizers_are_left_out(noding, kit):
    localizer = kit.series(1, first=9, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    async with noding() as node:
        await node.bring([*kit.series(2), *localizer])
        (told,) = await node.ended()
        counts = await node.counts()
    assert (told["instances"], told["left_out"]) == (2, 1)
    assert counts == {"delivered": 2, "left_out": 1}


async def test_two_series_of_one_study_that_come_mixed(noding, kit):
    one, other = kit.series(3), kit.series(3, series="1.2.3.5")
    async with noding() as node:
        await node.bring([file for pair in zip(one, other, strict=True) for file in pair])
        told = await node.ended(2)
        counts = await node.counts()
    assert {each["series"] for each in told} == {"1.2.3.4", "1.2.3.5"}
    assert {each["instances"] for each in told} == {3}
    assert counts == {"delivered": 6}


async def test_a_rule_that_keeps_makes_nothing_of_a_series(noding, kit):
    rules = ({"name": "bone", "kernel": ["B70*"], "action": "keep"}, kit.to_out)
    async with noding(rules=rules) as node:
        await node.bring(kit.series(2, ConvolutionKernel="B70f"))
        (told,) = await node.ended()
        counts = await node.counts()
    assert (told["state"], told["rule"], counts) == ("kept", "bone", {"kept": 2})
    assert not node.peer.sent


async def test_rules_that_have_changed_fail_a_series_and_requeue_looks_again(noding, kit):
    async with noding(quiet_seconds=1000) as node:
        await node.bring(kit.series(2))
        assert await node.counts() == {"arriving": 2}
    async with noding(rules=({"name": "nothing", "action": "refuse"},)) as node:
        node.node.arrivals.mark_complete(node.node.arrivals.series("1.2.3.4"))
        (told,) = await node.ended()
        assert (told["state"], told["problem"]["type"]) == ("failed", "/problems/not-wanted")
    async with noding() as node:
        answer = await node.client.http.post(f"/v1/pacs/series/{told['id']}/requeue")
        assert (answer.status_code, answer.json()) == (202, {"series": None})
        (told,) = await node.ended()
    assert told["state"] == "delivered"
    assert len(node.peer.files) == 2


async def test_another_model_makes_another_series_of_what_comes_again(noding, kit, published, add_version):
    async with noding() as node:
        await node.bring(kit.series(2))
        (first,) = await node.ended()
        add_version(published, "ct-tiny")
        published.promote("ct-tiny", "stable", 2)
        node.clock.forward(10)
        await node.client.engine.codecs.run(float("inf"), node.client.engine.store.refresh)
        await node.client.engine.codecs.run(float("inf"), node.client.engine.store.refresh)
        await node.client.engine._follow_store()
        await node.bring(kit.series(2))
        second, before = await node.ended(2)
    assert before["id"] == first["id"]
    assert (before["model"], second["model"]) == ("ct-tiny@1", "ct-tiny@2")
    assert second["derived_series"] != before["derived_series"]
    assert len(node.peer.files) == 4


async def test_a_multi_frame_instance_goes_out_with_its_frames(noding, enhanced):
    source = enhanced.enhanced_file(enhanced.enhanced_ct(enhanced.stack_of(5)))
    async with noding() as node:
        assert (await node.bring([source])).status_code == 200
        (told,) = await node.ended()
    (derived,) = node.derived()
    assert (told["state"], told["instances"]) == ("delivered", 1)
    assert derived.NumberOfFrames == 5
    assert derived.SOPClassUID == dcmread(DicomBytesIO(source)).SOPClassUID
    assert derived.SOPInstanceUID != dcmread(DicomBytesIO(source)).SOPInstanceUID
