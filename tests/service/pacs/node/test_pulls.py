"""A series is fetched because somebody asked for it; asked again it is the same; a peer that is down is asked later."""

from __future__ import annotations

import asyncio
from io import BytesIO

import pytest
from pydicom import dcmread

from service.pacs import pulls
from service.pacs.peers import PeerRefused, PeerUnavailable

pytestmark = pytest.mark.anyio

SERIES = {"peer": "out", "series": "1.2.3.4"}


class FakeWeb:
    """A DICOMweb peer that has a series, or does what `broken` says."""

    def __init__(self, files):
        self.files = files
        self.broken = None
        self.asked = []

    def __call__(self, name, peer):
        del name, peer
        return self

    def find_series(self, *, series):
        return [("1.2.3", series)] if self.files else []

    def fetch(self, study, series, *, max_bytes):
        assert max_bytes > 0
        self.asked.append((study, series))
        for data in self.files:
            if self.broken is not None:
                raise self.broken
            yield data


@pytest.fixture
def web(monkeypatch, kit):
    """A peer with a series of three."""
    fake = FakeWeb(kit.series(3))
    monkeypatch.setattr(pulls, "WebPeer", fake)
    monkeypatch.setattr(pulls, "_study_of", lambda peer, series: _study(peer, series, kit))
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
        refused = await node.client.http.post("/v1/pacs/pulls", json=other, headers=key)
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
