"""A derived series gets to its peer, however the peer behaves, or is a dead letter that says why."""

from __future__ import annotations

import asyncio
import io

import pydicom
import pytest

from service.pacs.commitment import CommitmentReport
from service.pacs.outbox import MAX_RESENDS
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.reports import Reports

pytestmark = pytest.mark.anyio

COUNT = {"url": "http://127.0.0.1:9", "verify": "count"}
COMMITMENT = {"aet": "ARCHIVE", "host": "127.0.0.1", "port": 9, "verify": "commitment"}
APART = {"port": 11112, "apart": True}  # reports come to another process


async def test_a_peer_that_is_down_is_tried_again_later_and_later(noding, kit):
    peer = kit.peer(broken=PeerUnavailable("nobody is there"))
    async with noding(peer=peer, out={"url": "http://127.0.0.1:9", "verify": "none", "retry_seconds": 10.0}) as node:
        await node.bring(kit.series(2))
        told = await node.waiting("nobody is there")
        start = node.clock.now.timestamp()
        dues = [pydicom.valuerep.DT(told["deliveries"][0]["due"].replace("-", "").replace("T", "").replace(":", ""))]
        assert dues[0].timestamp() == start + 10
        node.clock.forward(9.9)
        assert peer.attempts == 1
        node.clock.forward(0.2)
        await node.failed(2)
        node.clock.forward(10.1)
        assert peer.attempts == 2
        node.clock.forward(10)
        await node.failed(3)
        peer.broken = None
        node.clock.forward(41)
        (told,) = await node.ended()
    assert told["deliveries"][0]["state"] == "delivered"
    assert len(peer.files) == 2


async def test_a_peer_that_asks_for_a_pause_gets_it(noding, kit):
    peer = kit.peer(broken=PeerUnavailable("busy", retry_after=300))
    async with noding(peer=peer) as node:
        await node.bring(kit.series(1))
        await node.waiting("busy")
        peer.broken = None
        node.clock.forward(299)
        assert peer.attempts == 1
        node.clock.forward(2)
        await node.ended()
    assert peer.attempts == 2


async def test_a_peer_that_stays_down_makes_a_dead_letter_and_requeue_delivers(noding, kit):
    peer = kit.peer(broken=PeerUnavailable("nobody is there"))
    out = {"url": "http://127.0.0.1:9", "verify": "none", "retry_seconds": 1.0, "give_up_seconds": 60.0}
    async with noding(peer=peer, out=out) as node:
        await node.bring(kit.series(2))
        await node.waiting("nobody is there")
        node.clock.forward(61)
        (told,) = await node.ended()
        assert told["state"] == "dead"
        assert told["problem"]["type"] == "/problems/not-delivered"
        assert told["problem"]["detail"] == "out: nobody is there"
        assert await node.counts() == {"dead": 2}
        seen = len(node.client.restorers["ct-tiny@1"].seen)
        peer.broken = None
        answer = await node.client.http.post(f"/v1/pacs/series/{told['id']}/requeue")
        assert answer.json()["series"]["state"] == "delivering"
        (told,) = await node.ended()
        assert len(node.client.restorers["ct-tiny@1"].seen) == seen, "nothing is restored again"
    assert told["state"] == "delivered"
    assert len(peer.files) == 2


async def test_a_peer_that_refuses_us_for_good_is_not_tried_again(noding, kit):
    peer = kit.peer(broken=PeerRefused("it does not know us"))
    async with noding(peer=peer) as node:
        await node.bring(kit.series(2))
        (told,) = await node.ended()
        node.clock.forward(1e6)
        assert (told["state"], peer.attempts) == ("dead", 1)
    assert told["problem"]["detail"] == "out: it does not know us"


async def test_an_instance_that_is_refused_makes_a_dead_letter_and_the_others_are_there(noding, kit):
    peer = kit.peer(refuse={2})
    async with noding(peer=peer) as node:
        await node.bring(kit.series(3))
        (told,) = await node.ended()
        assert told["problem"]["detail"] == "out: 1 of 3 instances, as number 2: A900: it says no"
        assert len(peer.files) == 2
        peer.refuse = set()
        await node.client.http.post(f"/v1/pacs/series/{told['id']}/requeue")
        (told,) = await node.ended()
    assert told["state"] == "delivered"
    assert len(peer.sent) == 4, "only the one that was refused is sent again"


async def test_an_instance_for_which_there_is_no_room_is_sent_later(noding, kit):
    peer = kit.peer(later={1, 3})
    async with noding(peer=peer) as node:
        await node.bring(kit.series(3))
        told = await node.waiting("A700")
        assert told["deliveries"][0]["reason"] == "2 of 3 instances, as number 1: A700: it is full"
        peer.later = set()
        node.clock.forward(11)
        await node.ended()
    assert len(peer.sent) == 5
    assert len(peer.files) == 3


async def test_what_a_peer_took_before_it_broke_off_is_not_sent_again(noding, kit):
    peer = kit.peer(breaks_after=2)
    async with noding(peer=peer) as node:
        await node.bring(kit.series(5))
        await node.waiting("it broke off")
        node.clock.forward(11)
        await node.failed(2)
        assert len(peer.files) == 4
        node.clock.forward(30)
        await node.ended()
    assert sorted(peer.sent) == sorted(peer.files)


async def test_a_count_verifies(noding, kit):
    async with noding(out=COUNT) as node:
        await node.bring(kit.series(2))
        (told,) = await node.ended()
    assert told["deliveries"][0]["state"] == "verified"


async def test_what_a_peer_does_not_list_is_sent_again_and_at_last_is_a_dead_letter(noding, kit):
    peer = kit.peer(lists_less=1)
    async with noding(peer=peer, out=COUNT) as node:
        await node.bring(kit.series(2))
        told = await node.waiting("it does not list 1 of 2 instances")
        while "finished" not in told:
            node.clock.forward(1000)
            told = (await node.series())[0]
            await asyncio.sleep(0.01)
    assert told["problem"]["detail"] == "out: it does not list 1 of 2 instances"
    assert len(peer.sent) == 2 + MAX_RESENDS


async def test_storage_commitment_on_the_spot(noding, kit):
    peer = kit.peer(commits=True)
    async with noding(peer=peer, out=COMMITMENT, **APART) as node:
        await node.bring(kit.series(2))
        (told,) = await node.ended()
    assert told["deliveries"][0]["state"] == "verified"
    assert len(peer.asked_to_commit) == 1


async def test_storage_commitment_that_comes_later(noding, kit):
    peer = kit.peer()
    async with noding(peer=peer, out=COMMITMENT, **APART) as node:
        await node.bring(kit.series(2))
        await node.until(lambda: peer.asked_to_commit)
        reports = Reports(node.node.arrivals.folder)
        reports.keep(CommitmentReport("1.2.3", frozenset(peer.files), {}))
        reports.keep(CommitmentReport(peer.asked_to_commit[0], frozenset(peer.files), {}))
        (told,) = await node.ended()
        await node.until(lambda: not reports.waiting())
    assert told["deliveries"][0]["state"] == "verified"


async def test_what_is_not_committed_is_sent_again(noding, kit):
    peer = kit.peer()
    async with noding(peer=peer, out=COMMITMENT, **APART) as node:
        await node.bring(kit.series(2))
        await node.until(lambda: peer.asked_to_commit)
        lost = min(peer.files)
        report = CommitmentReport(peer.asked_to_commit[0], frozenset(peer.files) - {lost}, {lost: "it is lost"})
        Reports(node.node.arrivals.folder).keep(report)
        await node.until(lambda: len(peer.asked_to_commit) == 2)
        assert peer.sent.count(lost) == 2
        assert len(peer.sent) == 3
        Reports(node.node.arrivals.folder).keep(CommitmentReport(peer.asked_to_commit[1], frozenset(peer.files), {}))
        (told,) = await node.ended()
    assert told["deliveries"][0]["state"] == "verified"


async def test_a_peer_that_never_says_whether_it_keeps_them_makes_a_dead_letter(noding, kit):
    peer = kit.peer()
    async with noding(peer=peer, out={**COMMITMENT, "verify_seconds": 100.0}, **APART) as node:
        await node.bring(kit.series(1))
        for asked in range(1, 5):
            await node.until(lambda asked=asked: len(peer.asked_to_commit) == asked)
            node.clock.forward(25.1)
        (told,) = await node.ended()
    assert told["problem"]["detail"].startswith("out: it never said whether it keeps what it took")


async def test_a_peer_gets_instances_compressed_or_without_identities(noding, kit, spool):
    large = {"stored": lambda _: None}
    out = {"url": "http://127.0.0.1:9", "verify": "count", "compress": "rle", "deidentify": True}
    async with noding(out=out) as node:
        await node.bring(kit.series(2, PatientName="Doe^Jane", **large))
        (told,) = await node.ended()
    assert told["deliveries"][0]["state"] == "verified"
    for data in node.peer.files.values():
        found = pydicom.dcmread(io.BytesIO(data))
        assert found.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
        assert found.PatientIdentityRemoved == "YES"
        assert found.SeriesInstanceUID != told["derived_series"]
        assert b"Jane" not in data
    assert (spool / "pacs" / "pseudonyms.key").stat().st_mode & 0o777 == 0o600
