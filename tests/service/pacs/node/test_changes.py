"""What changes between two sends of a series: its rule, its peers, its patient, the clock, what somebody decided."""

from __future__ import annotations

import io
import os
import threading
import time

import pydicom
import pytest

from model_store.errors import OutOfDeviceMemory
from service.pacs import closing, completeness
from service.pacs import node as node_module
from service.pacs.job_folder import JobFolder
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.record import PacsJob
from service.pacs.series_folder import SeriesFolder

pytestmark = pytest.mark.anyio

TO_BOTH = {"name": "all CT", "modality": "CT", "to": ["out", "other"]}


def described(peer):
    """Of each derived instance that a peer has, what tells it from others."""
    found = [pydicom.dcmread(io.BytesIO(data)) for data in peer.files.values()]
    return {(each.SOPInstanceUID, each.SeriesInstanceUID, each.SeriesTime) for each in found}


async def test_another_peer_in_the_rule_gets_what_was_made_and_nothing_is_made_again(noding, kit):
    first, other = kit.peer(), kit.peer()
    async with noding(peer=first) as node:
        await node.bring(kit.series(3))
        await node.ended()
    async with noding(peer=first, others={"other": other}, rules=(TO_BOTH,)) as node:
        node.clock.forward(100)
        await node.bring(kit.series(3))
        await node.until(lambda: len(other.files) == 3)
        (told,) = await node.ended()
        assert not node.client.restorers["ct-tiny@1"].seen
    assert {each["peer"]: each["state"] for each in told["deliveries"]} == {"out": "delivered", "other": "delivered"}
    assert first.files == other.files
    assert len(first.sent) == 3


async def test_another_peer_after_the_images_are_gone_gets_a_series_of_its_own(noding, kit):
    first, other, clock = kit.peer(), kit.peer(), kit.clock(kit.now())
    async with noding(peer=first, clock=clock, retention_seconds=0) as node:
        await node.bring(kit.series(2))
        await node.ended()
        clock.forward(1)
        await node.node._tidy()
    async with noding(peer=first, others={"other": other}, rules=(TO_BOTH,), clock=clock) as node:
        await node.bring(kit.series(2))
        await node.until(lambda: len(other.files) == 2)
        await node.ended(2)
    uids, series, times = (set(values) for values in zip(*described(first), strict=True))
    assert (len(uids), len(series), len(times)) == (4, 2, 2), "no UID stands for two files"


async def test_what_was_discarded_is_made_when_it_is_sent_again_under_other_uids(noding, kit):
    peer = kit.peer(refuse={1})
    async with noding(peer=peer) as node:
        await node.bring(kit.series(3))
        (told,) = await node.ended()
        assert (await node.client.http.delete(f"/v1/pacs/series/{told['id']}")).status_code == 204
        before, peer.refuse = described(peer), set()
        node.clock.forward(100)
        await node.bring(kit.series(3))
        await node.until(lambda: len(peer.files) == 2 + 3)
        told = await node.ended(2)
    after = described(peer) - before
    assert {each["revision"] for each in told} == {0, 1}
    assert not {uid for uid, *_ in after} & {uid for uid, *_ in before}


async def test_what_failed_is_tried_again_when_it_is_sent_again(noding, kit):
    bad = {"now": True}
    async with noding(settings={"answer": lambda batch: batch * float("nan") if bad["now"] else batch}) as node:
        await node.bring(kit.series(2))
        assert [each["state"] for each in await node.ended()] == ["failed"]
        bad["now"] = False
        await node.bring(kit.series(2))
        await node.until(lambda: len(node.peer.files) == 2)
        assert [each["state"] for each in await node.ended()] == ["delivered"]


async def test_a_failed_part_is_none_any_more_when_the_whole_is_made(noding, kit):
    bad = {"now": True}
    async with noding(settings={"answer": lambda batch: batch * float("nan") if bad["now"] else batch}) as node:
        await node.bring(kit.series(2))
        await node.ended()
        bad["now"] = False
        await node.bring(kit.series(1, first=3))
        await node.until(lambda: len(node.peer.files) == 3)
        (told,) = await node.ended()
        assert (told["state"], told["instances"]) == ("delivered", 3)
        assert await node.counts() == {"delivered": 3}


@pytest.mark.parametrize("attribute", ["PatientID", "StudyInstanceUID"])
async def test_a_late_slice_of_another_patient_or_study_does_not_join(noding, kit, attribute):
    async with noding(retention_seconds=0) as node:
        await node.bring(kit.series(2))
        await node.ended()
        node.clock.forward(1)
        await node.node._tidy()
        await node.bring(kit.series(1, first=3, **{attribute: "1.2.99"}))
        told = await node.ended(2)
    (failed,) = [each for each in told if each["state"] == "failed"]
    assert "with those of what came of it before" in failed["problem"]["detail"]
    assert len(node.peer.files) == 2


async def test_identities_do_not_go_out_after_it_was_told_that_they_must_not(noding, kit):
    peer, clock = kit.peer(broken=PeerUnavailable("nobody is there")), kit.clock(kit.now())
    out = {"url": "http://127.0.0.1:9", "verify": "none", "compress": "rle"}
    async with noding(peer=peer, clock=clock, out=out) as node:
        await node.bring(kit.series(2, PatientName="Doe^Jane"))
        await node.waiting("nobody is there")
    peer.broken = None
    async with noding(peer=peer, clock=clock, out={**out, "deidentify": True}) as node:
        clock.forward(20)
        await node.ended()
    assert len(peer.files) == 2
    assert not any(b"Jane" in data for data in peer.files.values())


async def test_late_slices_take_the_model_of_the_others(noding, kit, published, add_version):
    async with noding() as node:
        await node.bring(kit.series(2))
        await node.ended()
    add_version(published, "ct-tiny")
    published.promote("ct-tiny", "stable", 2)
    async with noding() as node:
        await node.bring(kit.series(1, first=3))
        told = await node.ended(2)
    assert {each["model"] for each in told} == {"ct-tiny@1"}
    assert len({each["derived_series"] for each in told}) == 1


async def test_late_slices_in_another_precision_make_the_whole_series_anew_also_after_a_restart(noding, kit, restorer):
    peer, loaded = kit.peer(), []
    gate = threading.Event()

    def load(version):
        def answer(batch):
            loaded.append(batch)
            gate.wait(20 if len(loaded) > 1 else 0)
            return batch

        return restorer(version, precision="bfloat16", answer=answer)

    async with noding(peer=peer) as node:
        await node.bring(kit.series(2))
        (first,) = await node.ended()
    async with noding(peer=peer, settings={"load": load}) as node:
        await node.bring(kit.series(2, first=3))
        await node.until(lambda: len(loaded) == 2)
        gate.set()
    async with noding(peer=peer, settings={"load": load}) as node:
        await node.until(lambda: any(each.job.revision == 1 for each in node.node.jobs()))
        told = await node.ended(2)
    anew = next(each for each in told if each["revision"] == 1)
    assert (anew["instances"], anew["precision"]) == (4, "bfloat16")
    assert anew["derived_series"] != first["derived_series"]


async def test_what_is_missing_for_now_fails_no_series(noding, kit, monkeypatch):
    monkeypatch.setattr(node_module, "WAIT_SECONDS", 0.01)
    settle, tries = closing.settle, []

    def short_of_memory(*arguments, **named):
        tries.append(1)
        if len(tries) < 3:
            raise OutOfDeviceMemory("not enough")
        return settle(*arguments, **named)

    monkeypatch.setattr(closing, "settle", short_of_memory)
    async with noding() as node:
        await node.bring(kit.series(1))
        (told,) = await node.ended()
    assert (told["state"], len(tries)) == ("delivered", 3)


async def test_a_series_that_the_disk_does_not_give_holds_up_no_other(noding, kit, spool):
    async with noding(quiet_seconds=1000) as node:
        await node.bring(kit.series(1))
    place = spool / "pacs" / "series" / "1.2.3.4" / "source" / "1.2.3.4.1.dcm"
    place.unlink()
    place.mkdir()
    async with noding() as node:
        node.node.arrivals.mark_complete(node.node.arrivals.series("1.2.3.4"))
        await node.bring(kit.series(1, series="1.2.3.5"))
        await node.until(lambda: len(node.peer.files) == 1)
        assert [each["series"] for each in await node.series()] == ["1.2.3.5"]


class StuckPeer:
    """Never answers, until it is let go."""

    def __init__(self):
        self.begun, self.go = [], threading.Event()

    def send(self, files, told):
        del told
        self.begun.append(files)
        self.go.wait(20)
        raise PeerRefused("that was it")

    def instances(self, study, series):
        del study, series
        return frozenset()


async def test_peers_that_do_not_answer_hold_up_nobody(noding, kit):
    stuck = {f"stuck{number}": StuckPeer() for number in range(6)}
    rules = ({"name": "stuck", "description": "stuck", "to": list(stuck)}, kit.to_out)
    try:
        async with noding(others=stuck, rules=rules) as node:
            for number in (6, 7):
                await node.bring(kit.series(1, series=f"1.2.3.{number}", SeriesDescription="stuck"))
            await node.until(lambda: all(len(peer.begun) == 2 for peer in stuck.values()))
            await node.bring(kit.series(1))
            await node.until(lambda: len(node.peer.files) == 1)
            await node.until(lambda: any(live.state == "delivered" for live in node.node.jobs()))
            assert (await node.counts())["delivered"] == 1
            for peer in stuck.values():
                peer.go.set()
    finally:
        for peer in stuck.values():
            peer.go.set()


async def test_a_clock_that_was_set_back_loses_no_series(noding, kit):
    async with noding(quiet_seconds=0.2) as node:
        await node.bring(kit.series(1))
        marker = node.node.arrivals.arriving_marker("1.2.3.4")
        marker.write_text(str(time.time() + 1e5), encoding="ascii")
        os.utime(marker, (time.time() + 1e5,) * 2)
        (told,) = await node.ended()
    assert told["state"] == "delivered"


async def test_at_the_hard_cap_what_is_there_is_made_and_the_rest_comes_late(noding, kit, monkeypatch):
    look, once = closing.look, []

    def look_and_bring(series, *arguments):
        found = look(series, *arguments)
        if not once:
            once.append(1)
            series.write_source("1.2.3.4.3", kit.series(1, first=3)[0])
        return found

    monkeypatch.setattr(closing, "look", look_and_bring)
    async with noding(quiet_seconds=0.3, longest_seconds=0.2) as node:
        await node.bring(kit.series(2))
        told = await node.ended(2)
        assert await node.counts() == {"delivered": 3}
    assert sorted(each["instances"] for each in told) == [1, 2]
    assert len({each["derived_series"] for each in told}) == 1


def test_a_line_that_a_full_disk_cut_off_spoils_no_other(tmp_path, kit):
    job = PacsJob(id="a", study="1", series="1.2", created=kit.now(), begun=kit.now(), rule="x", uids=("1", "2"))
    series = SeriesFolder(tmp_path / "1.2")
    folder = JobFolder(series, job)
    folder.folder.mkdir(parents=True)
    folder.note_taken("out", 12)
    place = folder.folder / "deliveries" / "out.taken"
    whole = place.read_bytes()
    for end in range(len(whole)):
        place.write_bytes(whole[:end])
        folder.note_taken("out", 7)
        assert folder.taken("out") in ({7}, {7, 12})
        assert (12 in folder.taken("out")) == (end >= len(whole) - 1)


async def test_a_peer_that_is_asked_is_asked_again_after_its_answer_only(noding, kit, monkeypatch):
    monkeypatch.setattr(completeness, "ASK_SECONDS", 1000.0)
    asked = []

    class Slow(kit.peer):
        def instances(self, study, series):
            asked.append((study, series))
            return frozenset({"1.2.3.4.1", "1.2.3.4.2"})

    async with noding(peer=Slow(), rules=({**kit.to_out, "expect": "out"},)) as node:
        await node.bring(kit.series(1))
        await node.until(lambda: asked)
        await node.until(lambda: node.node._completeness.waits("1.2.3.4"))
        await node.bring(kit.series(1, series="1.2.3.5", first=1))
        await node.until(lambda: len(asked) == 2)
    assert len(asked) == 2
