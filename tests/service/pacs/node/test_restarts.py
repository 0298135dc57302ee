"""The node goes on where it was, whenever it stopped; and forgets in the end."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import types

import pytest

from service.errors import UnsafeConfiguration
from service.jobs import jobs as jobs_module
from service.jobs.durable import Durable
from service.pacs import arrivals, completeness
from service.pacs.peers import PeerUnavailable
from service.pacs.promises import INSTANCE_BYTES
from service.pacs.requests import AdminRequest, AdminRequests

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _really_durable(noding, monkeypatch):
    """With DBOS."""
    del noding  # which has put a fake in its place
    monkeypatch.setattr(jobs_module, "Durable", Durable)


async def test_what_was_still_coming_in_is_complete_after_a_restart(noding, kit):
    async with noding(quiet_seconds=1000) as node:
        await node.bring(kit.series(2))
    async with noding(quiet_seconds=0.05) as node:
        await node.bring(kit.series(1, first=3))
        (told,) = await node.ended()
    assert told["instances"] == 3


async def test_restoring_goes_on_and_does_nothing_twice(noding, kit, spool):
    seen, gate, answer = kit.gated(2)
    peer = kit.peer()
    async with noding(peer=peer, settings={"answer": answer}) as node:
        await node.bring(kit.series(5))
        await node.until(lambda: len(list(spool.rglob("derived/*.json"))) == 2)
        gate.set()
    before = len(list(spool.rglob("derived/*.json")))
    async with noding(peer=peer) as node:
        await node.ended()
        assert len(node.client.restorers["ct-tiny@1"].seen) == 5 - before
    assert len(seen) < 5 + 2
    assert len(peer.sent) == len(peer.files) == 5


async def test_a_delivery_that_waits_goes_on_after_a_restart(noding, kit):
    peer, clock = kit.peer(broken=PeerUnavailable("nobody is there")), kit.clock(kit.now())
    async with noding(peer=peer, clock=clock) as node:
        await node.bring(kit.series(2))
        await node.waiting("nobody is there")
    peer.broken = None
    async with noding(peer=peer, clock=clock) as node:
        assert (await node.series())[0]["state"] == "delivering"
        assert peer.attempts == 1, "the pause outlives the restart"
        clock.forward(11)
        await node.ended()
    assert len(peer.files) == 2


async def test_a_peer_that_is_configured_no_more_makes_a_dead_letter(noding, kit):
    peer = kit.peer(broken=PeerUnavailable("nobody is there"))
    async with noding(peer=peer) as node:
        await node.bring(kit.series(1))
        await node.waiting("nobody is there")
        node.node._outboxes.clear()
        (told,) = await node.ended()
    assert told["problem"]["detail"] == "out: it is not configured any more"


async def test_a_damaged_record_does_not_stop_the_others(noding, kit, spool):
    async with noding() as node:
        await node.bring(kit.series(1))
        await node.ended()
    (spool / "pacs" / "series" / "9.9").mkdir()
    (spool / "pacs" / "series" / "9.9" / "jobs" / "x").mkdir(parents=True)
    (spool / "pacs" / "series" / "9.9" / "jobs" / "x" / "job.json").write_text("{", encoding="utf-8")
    (spool / "pacs" / "series" / "no uid").mkdir()
    async with noding() as node:
        assert len(await node.series()) == 1
        await node.bring(kit.series(1, series="1.2.3.6"))
        assert len(await node.ended(2)) == 2


async def test_images_go_after_the_retention_and_what_was_sent_before_is_still_known(noding, kit, spool):
    async with noding(retention_seconds=100.0) as node:
        await node.bring(kit.series(2))
        await node.ended()
        node.clock.forward(99)
        await node.node._tidy()
        assert len(list(spool.rglob("*.dcm"))) == 4
        node.clock.forward(2)
        await node.node._tidy()
        assert not list(spool.rglob("*.dcm"))
        await node.bring(kit.series(2))
        await node.until(lambda: not node.node.arrivals.arriving())
        assert len(await node.series()) == 1
        assert len(node.peer.sent) == 2
        for _ in range(200):  # the series may be looked at this very moment
            await node.node._tidy()
            if not list(spool.rglob("*.dcm")):
                break
            await asyncio.sleep(0.01)
        assert not list(spool.rglob("*.dcm")), "and what came again goes, too"


async def test_other_content_is_noticed_after_the_images_are_gone(noding, kit):
    async with noding(retention_seconds=0) as node:
        await node.bring(kit.series(1))
        await node.ended()
        node.clock.forward(1)
        await node.node._tidy()
        await node.bring(kit.series(1, SeriesDescription="other"))
        assert (await node.counts())["quarantined"] == 1


async def test_all_is_forgotten_in_the_end(noding, kit, spool):
    async with noding(retention_seconds=0, remember_days=1.0) as node:
        await node.bring(kit.series(1))
        await node.ended()
        node.clock.forward(24 * 3600 + 1)
        await node.node._tidy()
        assert await node.series() == []
        assert not list((spool / "pacs" / "series").iterdir())
        await node.bring(kit.series(1))
        await node.ended()
    assert len(node.peer.sent) == 2


async def test_a_part_that_is_sent_again_whose_others_are_gone_cannot_be_another_series(
    noding, kit, published, add_version
):
    async with noding(retention_seconds=0) as node:
        await node.bring(kit.series(2))
        await node.ended()
        node.clock.forward(1)
        await node.node._tidy()
    add_version(published, "ct-tiny")
    published.promote("ct-tiny", "stable", 2)
    async with noding() as node:
        await node.bring(kit.series(1))
        (told,) = [each for each in await node.ended(2) if "problem" in each]
    assert told["problem"]["type"] == "/problems/incomplete"
    assert told["problem"]["detail"].startswith("1 of the series' instances came before and are not kept any more")


async def test_what_is_asked_on_the_command_line_is_done(noding, kit):
    peer = kit.peer(refuse={1})
    async with noding(peer=peer) as node:
        await node.bring(kit.series(1))
        (told,) = await node.ended()
        peer.refuse = set()
        requests = AdminRequests(node.node.arrivals.folder)
        place = requests.put(AdminRequest("requeue", told["id"]))
        await node.until(lambda: not place.exists())
        (told,) = await node.ended()
        assert told["state"] == "delivered"
        nonsense = requests.put(AdminRequest("discard", "nothing"))
        await node.until(lambda: not nonsense.exists())


async def test_a_peer_is_asked_how_many_there_are_before_a_series_is_complete(noding, kit, monkeypatch):
    monkeypatch.setattr(completeness, "ASK_SECONDS", 0.05)
    peer = kit.peer()
    peer.files = {f"1.2.3.4.{number}": b"" for number in (1, 2, 3)}
    async with noding(peer=peer, rules=({**kit.to_out, "expect": "out"},), out={"url": "http://127.0.0.1:9"}) as node:
        await node.bring(kit.series(2))
        await node.until(lambda: node.node._completeness._asked)
        assert await node.series() == []
        await node.bring(kit.series(1, first=3))
        (told,) = await node.ended()
    assert told["instances"] == 3


async def test_records_hold_nothing_of_a_patient(noding, kit, spool):
    async with noding() as node:
        await node.bring(kit.series(2, PatientName="Doe^Jane", PatientID="4711-X", AccessionNumber="ACC-77"))
        (told,) = await node.ended()
        text = json.dumps(told)
    records = [path.read_text(encoding="utf-8") for path in spool.rglob("*.json")]
    names = [str(path.relative_to(spool)) for path in spool.rglob("*")]
    for canary in ("Doe", "Jane", "4711", "ACC-77"):
        assert not any(canary in each for each in (text, *records, *names))


async def test_a_long_transfer_ends_with_the_process_and_goes_on_with_the_next(noding, kit):
    class Slow(kit.peer):
        def send(self, files, told):
            super().send(files[:1], told)
            first.set()
            gate.wait(20)
            super().send(files[1:], told)

    first, gate, peer, clock = threading.Event(), threading.Event(), Slow(), kit.clock(kit.now())
    async with noding(peer=peer, clock=clock) as node:
        await node.bring(kit.series(4))
        await node.until(first.is_set)
        node.node.begin_stop()
        gate.set()
        await node.until(lambda: not any(live.sending for live in node.node.jobs()))
        assert len(peer.files) == 2, "and the one that was on its way"
    async with noding(peer=peer, clock=clock) as node:
        (told,) = await node.ended()
    assert (told["deliveries"][0]["attempts"], len(peer.sent)) == (0, 4)


async def test_what_is_yet_to_be_written_takes_room_at_the_door(noding, kit, monkeypatch):
    free = 10 * INSTANCE_BYTES
    monkeypatch.setattr(arrivals.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))
    async with noding(quiet_seconds=1000, reserve=5 * INSTANCE_BYTES) as node:
        assert (await node.bring(kit.series(5))).status_code == 200
        await node.node._keep_promises()
        answer = await node.bring(kit.series(1, first=6))
        assert answer.status_code == 503
        assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA700]


async def test_a_port_that_somebody_has_is_told_at_the_start(noding):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UnsafeConfiguration, match=f"the node cannot listen on 127.0.0.1:{port}: "):
            async with noding(port=port):
                pass
