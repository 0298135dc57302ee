"""A series is fetched because somebody asked for it; asked again it is the same; a peer that is down is asked later."""

from __future__ import annotations

import asyncio
import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from pydicom import dcmread

from service.pacs import fetching, pulls
from service.pacs.peers import PeerRefused, PeerUnavailable

pytestmark = pytest.mark.anyio

SERIES = {"peer": "out", "series": "1.2.3.4"}


class FakeWeb:
    """A DICOMweb peer that has a series, or does what `broken` says; from the instance on that `breaks_at` says."""

    def __init__(self, files):
        self.files = files
        self.broken = None
        self.breaks_at = 0
        self.lists = True
        self.asked = []
        self.threads = set()
        self.fetching = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, name, peer):
        del name, peer
        return self

    def find_series(self, *, series):
        return [("1.2.3", series)] if self.files else []

    def fetch(self, study, series, *, max_bytes):
        assert max_bytes > 0
        self.asked.append((study, series))
        self.threads.add(threading.current_thread().name)
        for number, data in enumerate(self.files):
            if self.broken is not None and number >= self.breaks_at:
                raise self.broken
            self.fetching.set()
            assert self.go_on.wait(20)
            yield data

    def instances(self, study, series):
        del study
        if not self.lists:
            raise PeerUnavailable("nobody is there")
        return frozenset(f"{series}.{number}" for number in range(1, len(self.files) + 1))


@pytest.fixture
def web(monkeypatch, kit):
    """A peer with a series of three."""
    fake = FakeWeb(kit.series(3))
    monkeypatch.setattr(fetching, "WebPeer", fake)
    monkeypatch.setattr(fetching, "_study_of", lambda peer, series: _study(peer, series, kit))
    return fake


def _study(peer, series, kit):
    del series
    if not peer.files:
        raise PeerRefused("it has no such series")
    return str(dcmread(BytesIO(kit.series(1)[0])).StudyInstanceUID)


async def ended(node, place):
    async def look():
        return (await node.client.http.get(place)).json()

    found = await look()
    for _ in range(500):
        if found["state"] in ("done", "failed"):
            return found
        await asyncio.sleep(0.01)
        found = await look()
    raise AssertionError(f"it never ended: {found}")


async def test_a_series_is_fetched_and_restored(noding, web):
    async with noding() as node:
        answer = await node.client.http.post("/v1/pacs/pulls", json=SERIES)
        assert answer.status_code == 202
        found = await ended(node, answer.headers["location"])
        assert (found["state"], found["fetched"], found["refused"]) == ("done", 3, 0)
        (told,) = await node.ended()
    assert (told["state"], told["sender"]) == ("delivered", "out")
    assert len(web.asked) == 1


async def test_a_repeated_request_is_the_same_pull(noding, web):
    key = {"Idempotency-Key": "once"}
    async with noding() as node:
        first = await node.client.http.post("/v1/pacs/pulls", json=SERIES, headers=key)
        again = await node.client.http.post("/v1/pacs/pulls", json=SERIES, headers=key)
        assert again.json()["id"] == first.json()["id"]
        assert again.headers["idempotency-replayed"] == "true"
        await ended(node, first.headers["location"])
        other = {**SERIES, "series": "1.2.3.5"}
        for body in (other, {**SERIES, "study": "1.2.4"}):
            refused = await node.client.http.post("/v1/pacs/pulls", json=body, headers=key)
            assert (refused.status_code, refused.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert len(web.asked) == 1


async def test_a_peer_that_is_down_is_asked_later_and_over_a_restart(noding, kit, web):
    web.broken, clock = PeerUnavailable("nobody is there"), kit.clock(kit.now())
    async with noding(clock=clock) as node:
        place = (await node.client.http.post("/v1/pacs/pulls", json=SERIES)).headers["location"]
        await node.until(lambda: web.asked)
        await node.until(lambda: node.node.pulls.find(place.rpartition("/")[2], "").attempts == 1)
        assert (await node.client.http.get(place)).json()["reason"] == "nobody is there"
    web.broken = None
    async with noding(clock=clock) as node:
        assert (await node.client.http.get(place)).json()["state"] == "waiting"
        clock.forward(11)
        assert (await ended(node, place))["state"] == "done"
        await node.ended()


async def test_a_peer_that_stays_down_fails_the_pull(noding, web):
    web.broken = PeerUnavailable("nobody is there")
    async with noding(out={"url": "http://127.0.0.1:9", "give_up_seconds": 60.0}) as node:
        place = (await node.client.http.post("/v1/pacs/pulls", json=SERIES)).headers["location"]
        await node.until(lambda: web.asked)
        await node.until(lambda: node.node.pulls.find(place.rpartition("/")[2], "").attempts == 1)
        node.clock.forward(61)
        found = await ended(node, place)
    assert (found["state"], found["reason"]) == ("failed", "nobody is there")


async def test_a_series_that_is_not_there_fails_the_pull_at_once(noding, web):
    web.files = []
    async with noding() as node:
        place = (await node.client.http.post("/v1/pacs/pulls", json=SERIES)).headers["location"]
        found = await ended(node, place)
    assert (found["state"], found["reason"]) == ("failed", "it has no such series")


async def test_a_pull_that_failed_is_tried_again_when_it_is_asked_for_again(noding, web):
    files, web.files, key = web.files, [], {"Idempotency-Key": "once"}
    async with noding() as node:
        place = (await node.client.http.post("/v1/pacs/pulls", json=SERIES, headers=key)).headers["location"]
        assert (await ended(node, place))["state"] == "failed"
        (listed,) = (await node.client.http.get("/v1/pacs/pulls")).json()["pulls"]
        assert (listed["state"], listed["reason"]) == ("failed", "it has no such series")
        web.files = files
        again = await node.client.http.post("/v1/pacs/pulls", json=SERIES, headers=key)
        assert again.headers["location"] == place
        assert (await ended(node, place))["state"] == "done"
        await node.ended()


async def pulled(node, **headers):
    """Where a pull is told of, that was asked for just now."""
    return (await node.client.http.post("/v1/pacs/pulls", json=SERIES, headers=headers)).headers["location"]


async def attempted(node, place, times=1):
    """When a pull has failed so often, and waits."""
    await node.until(lambda: node.node.pulls.find(place.rpartition("/")[2], "").attempts == times)


def holes(node):
    return node.node.arrivals.series("1.2.3.4").refused()


@pytest.mark.parametrize(("lists", "missing"), [(True, "1.2.3.4.3"), (False, "1.2.3.4")])
async def test_a_series_whose_peer_refuses_the_rest_is_not_delivered(noding, web, lists, missing):
    web.broken, web.breaks_at, web.lists = PeerRefused("it answers 404"), 2, lists
    async with noding() as node:
        found = await ended(node, await pulled(node))
        assert (found["state"], found["reason"]) == ("failed", "it answers 404")
        (told,) = await node.ended()
        assert told["state"] == "failed"
        assert f"since an instance of it could not be taken: {missing}: it answers 404" in told["problem"]["detail"]
        assert node.peer.sent == []
        # once the peer has it all, it is as if nothing had happened
        web.broken = None
        assert (await ended(node, await pulled(node)))["state"] == "done"
        await node.until(lambda: len(node.peer.files) == 3)
        told = (await node.ended())[0]
    assert (told["state"], told["instances"]) == ("delivered", 3)


async def test_a_series_is_not_complete_while_its_pull_waits(noding, web):
    web.broken, web.breaks_at = PeerUnavailable("it broke off"), 2
    async with noding() as node:
        place = await pulled(node)
        await attempted(node, place)
        assert node.node.arrivals.series("1.2.3.4").sources() == ["1.2.3.4.1", "1.2.3.4.2"]
        assert node.node.pulls.series_coming() == {"1.2.3.4"}
        await node.until(lambda: node.node._completeness.quiet() == ["1.2.3.4"])
        await node.node._close_complete()
        assert await node.series() == []
        web.broken = None
        node.clock.forward(11)
        await ended(node, place)
        assert node.node.pulls.series_coming() == frozenset()
        (told,) = await node.ended()
    assert (told["state"], told["instances"]) == ("delivered", 3)


async def test_a_pull_that_is_given_up_half_way_leaves_a_hole(noding, web):
    web.broken, web.breaks_at, web.lists = PeerUnavailable("it broke off"), 2, False
    async with noding(out={"url": "http://127.0.0.1:9", "give_up_seconds": 60.0}) as node:
        place = await pulled(node)
        await attempted(node, place)
        assert holes(node) == {}
        node.clock.forward(61)
        assert (await ended(node, place))["state"] == "failed"
        (told,) = await node.ended()
    assert told["state"] == "failed"
    assert "1.2.3.4: it broke off" in told["problem"]["detail"]


async def test_holes_that_the_disk_refuses_are_noted_later(noding, web, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    web.broken, web.breaks_at = PeerRefused("it answers 404"), 2
    async with noding() as node:
        with monkeypatch.context() as full:
            full.setattr("service.pacs.series_folder.SeriesFolder.refuse", fail)
            place = await pulled(node)
            await attempted(node, place)
            assert "No space left on device" in (await node.client.http.get(place)).json()["reason"]
        node.clock.forward(11)
        assert (await ended(node, place))["reason"] == "it answers 404"
        (told,) = await node.ended()
    assert told["state"] == "failed"


async def test_a_failed_pull_makes_no_hole_in_what_others_sent(noding, kit, web):
    web.broken = PeerRefused("it answers 404")
    async with noding(quiet_seconds=3600) as node:
        await node.bring(kit.series(2))
        assert (await ended(node, await pulled(node)))["state"] == "failed"
        assert holes(node) == {}


async def test_an_instance_that_cannot_be_read_is_a_hole(noding, kit, web):
    web.files = [*kit.series(2), b"no DICOM file"]
    async with noding() as node:
        found = await ended(node, await pulled(node))
        assert (found["state"], found["fetched"], found["refused"]) == ("done", 2, 1)
        (told,) = await node.ended()
    assert told["state"] == "failed"
    assert "1.2.3.4.3: " in told["problem"]["detail"]


async def test_what_the_rules_do_not_want_is_no_hole(noding, kit, web):
    web.files = [*kit.series(2), *kit.series(1, first=3, BodyPartExamined="HEAD"), b"no DICOM file"]
    rules = ({"name": "no heads", "body_part": "HEAD", "action": "refuse"}, kit.to_out)
    async with noding(rules=rules, quiet_seconds=3600) as node:
        found = await ended(node, await pulled(node))
        assert (found["fetched"], found["refused"]) == (2, 2)
        assert list(holes(node)) == ["1.2.3.4.4"]


async def test_what_is_fetched_ends_between_two_instances_and_goes_on_after_the_restart(noding, web):
    web.go_on.clear()
    async with noding() as node:
        place = await pulled(node)
        await node.until(web.fetching.is_set)
        node.node.pulls.stop()
        web.go_on.set()
        identity = place.rpartition("/")[2]
        await node.until(lambda: identity not in node.node.pulls._busy)
        assert node.node.pulls.find(identity, "").attempts == 0
        assert node.node.pulls.due() == []
        assert node.node.pulls.series_coming() == {"1.2.3.4"}
        assert len(node.node.arrivals.series("1.2.3.4").sources()) < 3
    async with noding() as node:
        assert (await ended(node, place))["fetched"] == 3
        (told,) = await node.ended()
    assert (told["state"], told["instances"]) == ("delivered", 3)


async def test_it_waits_for_peers_on_the_threads_that_it_is_given(noding, web):
    async with noding() as node:
        with ThreadPoolExecutor(1, thread_name_prefix="ours") as threads:
            node.node.pulls._threads = threads
            assert (await ended(node, await pulled(node)))["state"] == "done"
        await node.ended()
    assert web.threads == {"ours_0"}


async def test_a_pull_that_is_not_on_the_disk_does_not_run(noding, web, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with noding() as node:
        with monkeypatch.context() as full:
            full.setattr(pulls, "write_file", fail)
            answer = await node.client.http.post("/v1/pacs/pulls", json=SERIES, headers={"Idempotency-Key": "once"})
        assert answer.status_code == 507
        assert node.node.pulls.all() == []
        assert (await ended(node, await pulled(node, **{"Idempotency-Key": "once"})))["state"] == "done"
        await node.ended()
    assert len(web.asked) == 1


async def test_a_full_disk_does_not_make_it_ask_again_and_again(noding, web, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    web.broken = PeerUnavailable("nobody is there")
    web.go_on.clear()
    async with noding() as node:
        place = await pulled(node)
        with monkeypatch.context() as full:
            full.setattr(pulls, "write_file", fail)
            await attempted(node, place)
            assert node.node.pulls.due() == []
        assert (await node.client.http.get(place)).json()["reason"] == "nobody is there"
        web.broken = None
        web.go_on.set()
        node.clock.forward(11)
        assert (await ended(node, place))["state"] == "done"
        await node.ended()


async def test_instances_that_are_not_taken_are_counted(noding, kit, web):
    web.files = [*kit.series(2), *kit.series(1, first=3, RescaleSlope="0")]
    async with noding() as node:
        place = (await node.client.http.post("/v1/pacs/pulls", json=SERIES)).headers["location"]
        found = await ended(node, place)
        (told,) = await node.ended()
    assert (found["fetched"], found["refused"]) == (2, 1)
    assert "rescale slope" in found["reason"]
    assert told["state"] == "failed", "a hole is told"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"peer": "nobody", "series": "1.2"}, "must be a DICOMweb peer of pacs.toml: out"),
        ({"peer": "out", "series": "../etc"}, "must be a SeriesInstanceUID"),
        ({"peer": "out", "series": "1.2", "study": "a"}, "must be a StudyInstanceUID, or left out"),
        ({"peer": "out"}, "series: Field required"),
        ({"peer": "out", "series": "1.2", "more": 1}, "more: Extra inputs are not permitted"),
    ],
)
async def test_impossible_pulls_are_refused(noding, body, wrong):
    async with noding() as node:
        answer = await node.client.http.post("/v1/pacs/pulls", json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert wrong in answer.json()["detail"]


async def test_an_unknown_pull_is_not_found(noding):
    async with noding() as node:
        answer = await node.client.http.get("/v1/pacs/pulls/nothing")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-such-job")
