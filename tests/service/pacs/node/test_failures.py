"""What cannot be restored ends with its reason, keeps its sources, and can be tried again."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


def problem(told):
    return told["problem"]["type"].rpartition("/")[2], told["problem"]["detail"]


async def test_a_slice_that_could_not_be_taken_is_a_hole_and_fails_the_series(noding, kit):
    broken = kit.series(1, first=3, RescaleSlope="0")
    async with noding() as node:
        answer = await node.bring([*kit.series(2), *broken])
        assert answer.status_code == 202
        (told,) = await node.ended()
        kind, detail = problem(told)
        assert (told["state"], kind) == ("failed", "unsuitable-image")
        assert detail.startswith("the series is not whole, since an instance of it could not be taken: 1.2.3.4.3: ")
        assert "rescale slope 0.0" in detail
        assert await node.counts() == {"failed": 2}
        assert not node.peer.sent
        answer = await node.client.http.post(f"/v1/pacs/series/{told['id']}/requeue")
        assert answer.json() == {"series": None}
        (told,) = await node.ended()
        assert await node.counts() == {"delivered": 2}
    assert told["state"] == "delivered"


async def test_a_hole_is_mended_by_the_slice_in_order(noding, kit):
    async with noding(quiet_seconds=0.3) as node:
        await node.bring([*kit.series(2), *kit.series(1, first=3, RescaleSlope="0")])
        await node.bring(kit.series(1, first=3))
        (told,) = await node.ended()
    assert (told["state"], told["instances"]) == ("delivered", 3)


async def test_two_patients_in_one_series_fail_it(noding, kit):
    async with noding() as node:
        await node.bring([*kit.series(2), *kit.series(1, first=3, PatientID="another")])
        (told,) = await node.ended()
        assert problem(told)[0] == "unsuitable-image"
        assert "mixes patients (PatientID)" in problem(told)[1]
        assert await node.counts() == {"failed": 3}
        assert "another" not in str(told)


async def test_a_slice_that_cannot_be_restored_fails_the_series_and_sources_stay(noding, kit, spool):
    bad = {"now": True}

    def answer(batch):
        return batch * float("nan") if bad["now"] else batch

    async with noding(settings={"answer": answer}) as node:
        await node.bring(kit.series(3))
        (told,) = await node.ended()
        assert problem(told)[0] == "model-failed"
        assert len(list(spool.rglob("source/*.dcm"))) == 3
        assert await node.counts() == {"failed": 3}
        bad["now"] = False
        answered = await node.client.http.post(f"/v1/pacs/series/{told['id']}/requeue")
        assert answered.json()["series"]["id"] == told["id"]
        (told,) = await node.ended()
    assert told["state"] == "delivered"
    assert len(node.peer.files) == 3


async def test_a_model_that_there_is_not_fails_the_series(noding, kit):
    async with noding(rules=({**kit.to_out, "model": "ct-other"},)) as node:
        await node.bring(kit.series(1))
        (told,) = await node.ended()
    assert problem(told)[0] == "unknown-model"


async def test_burned_in_text_fails_the_series(noding, kit):
    async with noding() as node:
        await node.bring(kit.series(2, BurnedInAnnotation="YES"))
        (told,) = await node.ended()
    assert problem(told)[0] == "derivation-refused"
    assert problem(told)[1].startswith("instance 1.2.3.4.1: BurnedInAnnotation is YES")


async def test_what_failed_can_be_discarded(noding, kit, spool):
    async with noding(rules=({**kit.to_out, "model": "ct-other"},), retention_seconds=0) as node:
        await node.bring(kit.series(2))
        (told,) = await node.ended()
        await node.node._tidy()
        assert len(list(spool.rglob("source/*.dcm"))) == 2, "failed ones stay"
        answer = await node.client.http.delete(f"/v1/pacs/series/{told['id']}")
        assert answer.status_code == 204
        await node.node._tidy()
        assert not list(spool.rglob("source/*.dcm"))
        assert (await node.client.http.post(f"/v1/pacs/series/{told['id']}/requeue")).status_code == 404


async def test_an_unknown_series_is_not_found(noding):
    async with noding() as node:
        for call, path in (("GET", ""), ("POST", "/requeue"), ("DELETE", "")):
            answer = await node.client.http.request(call, f"/v1/pacs/series/nothing{path}")
            assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no-such-series")


async def test_a_series_that_was_delivered_cannot_be_requeued(noding, kit):
    async with noding() as node:
        await node.bring(kit.series(1))
        (told,) = await node.ended()
        answer = await node.client.http.post(f"/v1/pacs/series/{told['id']}/requeue")
        assert answer.status_code == 404
        assert "the series is delivered" in answer.json()["detail"]


async def test_the_same_uid_with_other_content_is_set_aside(noding, kit):
    async with noding() as node:
        await node.bring(kit.series(2))
        await node.ended()
        other = kit.series(1, SeriesDescription="not the same")
        answer = await node.bring(other * 2)
        assert answer.status_code == 200
        assert await node.counts() == {"delivered": 2, "quarantined": 1}
        (found,) = (await node.client.http.get("/v1/pacs/quarantine")).json()["instances"]
        assert found["instance"] == "1.2.3.4.1"
        fetched = await node.client.http.get(f"/v1/pacs/quarantine/{found['id']}")
        assert fetched.content[132:] != b""
        assert b"not the same" in fetched.content
        assert (await node.client.http.delete(f"/v1/pacs/quarantine/{found['id']}")).status_code == 204
        assert (await node.client.http.get(f"/v1/pacs/quarantine/{found['id']}")).status_code == 404
        assert len(await node.series()) == 1


async def test_a_server_without_a_node_says_so(serve):
    async with serve() as client:
        for path in ("/v1/pacs", "/v1/pacs/series", "/v1/pacs/quarantine"):
            answer = await client.http.get(path)
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/no-node")
