"""What was discarded is told apart from what waits for somebody; what cannot be done is refused with its reason."""

from __future__ import annotations

import pytest

from clearslice.commands import pacs
from service.errors import SpoolFull
from service.pacs.requests import AdminRequest, AdminRequests

pytestmark = pytest.mark.anyio

NO_MODEL = {"name": "all", "modality": "CT", "model": "ct-other", "to": ["out"]}


async def test_a_series_that_failed_and_was_discarded(noding, kit, spool):
    async with noding(rules=(NO_MODEL,)) as node:
        await node.bring(kit.series(2))
        (told,) = await node.ended()
        assert (told["state"], await node.counts()) == ("failed", {"failed": 2})
        await node.client.http.delete(f"/v1/pacs/series/{told['id']}")
        (told,) = await node.series()
        assert (told["state"], told["problem"]["type"]) == ("discarded", "/problems/unknown-model")
        counts = (await node.client.http.get("/v1/pacs")).json()
        assert counts["instances"] == {"discarded": 2}
        assert counts["series"] == {"discarded": 1, "arriving": 0}
        answer = await node.client.http.post(f"/v1/pacs/series/{told['id']}/requeue")
        assert "the series is discarded" in answer.json()["detail"]
    (live,), _ = pacs._read_jobs(spool / "pacs")
    assert live.state == "discarded"


async def test_a_dead_letter_that_was_discarded(noding, kit):
    peer = kit.peer(refuse={1})
    async with noding(peer=peer) as node:
        await node.bring(kit.series(2))
        (told,) = await node.ended()
        assert told["state"] == "dead"
        await node.client.http.delete(f"/v1/pacs/series/{told['id']}")
        assert [each["state"] for each in await node.series()] == ["discarded"]
        assert await node.counts() == {"discarded": 2}


async def test_what_was_delivered_is_not_discarded_when_its_images_are_gone(noding, kit):
    async with noding(retention_seconds=0) as node:
        await node.bring(kit.series(1))
        await node.ended()
        await node.node._tidy()
        assert node.node.jobs()[0].ended.tidied
        assert await node.counts() == {"delivered": 1}


async def test_one_request_that_cannot_be_done_keeps_no_other_waiting(noding, monkeypatch):
    async with noding() as node:
        repair, requests = node.node.repair, AdminRequests(node.node.arrivals.folder)
        outcomes = {
            "full": SpoolFull("there is no room", retry_after=60),
            "broken": OSError(5, "Input/output error"),
            "defect": RuntimeError("a defect"),
        }
        done = []

        async def requeue(job_id):
            if job_id in outcomes:
                raise outcomes[job_id]
            done.append(job_id)

        monkeypatch.setattr(repair, "requeue", requeue)
        asked = {name: requests.put(AdminRequest("requeue", name)) for name in (*outcomes, "fine")}
        asked["nothing"] = requests.put(AdminRequest("discard", "nothing"))
        await node.until(lambda: not any(place.exists() for place in asked.values()))
        assert done == ["fine"]
        assert {name: requests.refusal(place) for name, place in asked.items()} == {
            "full": "there is no room",
            "broken": "the spool's disk failed: Input/output error",
            "defect": "the node failed; its log says more",
            "fine": None,
            "nothing": "there is no series with this id; it may have been forgotten since",
        }
        assert not requests.waiting()


async def test_a_refusal_that_cannot_be_written_stays_asked(noding, monkeypatch):
    async with noding() as node:
        repair, requests = node.node.repair, AdminRequests(node.node.arrivals.folder)
        tried = []

        def refuse(place, reason):
            tried.append((place, reason))
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(repair._requests, "refuse", refuse)
            place = requests.put(AdminRequest("requeue", "nothing"))
            await node.until(lambda: len(tried) > 1)
            assert place.exists()
        await node.until(lambda: not place.exists())
        assert requests.refusal(place) is not None
