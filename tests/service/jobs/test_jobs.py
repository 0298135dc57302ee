"""A series in, a series out: what comes back, who sees it, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
import stat
import types
from datetime import UTC, datetime

import numpy as np
import pytest

from service.jobs import live as jobs_live
from service.keys import ApiKey, Scope, digest_of

pytestmark = pytest.mark.anyio


async def _result(client, kit, answer, *, headers=None):
    assert answer.status_code == 202, answer.text
    job = await kit.finished(client, answer.json()["id"], headers=headers)
    assert job["state"] == "done", job
    found = await client.http.get(job["links"]["result"], headers=headers)
    assert found.status_code == 200
    return job, found


async def test_a_series_comes_back_as_one_derived_series(serving, kit):
    sources = kit.series(5)
    async with serving(offset=10.0) as client:
        answer = await kit.submit(client, kit.zipped({**sources, "notes.txt": b"no image", "DICOMDIR": b"index"}))
        job, result = await _result(client, kit, answer)
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["progress"] == {"done": 5, "total": 5}
    assert job["left_out"] == {"no DICOM": 1}
    assert (job["model"], job["precision"], job["strength"]) == ("ct-tiny@1", "float32", 1.0)
    assert (job["reencoded"], job["clipped"], job["warned"]) == (False, 0, 0)
    files = kit.unzipped(result.content)
    assert list(files) == [f"{number:05d}.dcm" for number in range(1, 6)] + ["report.json"]
    derived = [kit.parsed(files[f"{number:05d}.dcm"]) for number in range(1, 6)]
    for number, (source, made) in enumerate(zip(map(kit.parsed, sources.values()), derived, strict=True), start=1):
        assert (made.pixel_array == source.pixel_array + 10).all()
        assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == f"1.2.3.4.{number}"
        assert made.InstanceNumber == number
    assert len({made.SeriesInstanceUID for made in derived}) == 1
    assert {made.SeriesDate + made.SeriesTime for made in derived} == {"20260304050607.890000"}
    assert len({made.SOPInstanceUID for made in derived}) == 5
    report = json.loads(files["report.json"])
    assert report["model"] == "ct-tiny@1"
    assert report["files"][0] == {"file": "00001.dcm", "clipped": 0, "warnings": [], "source": "1.2.3.4.1"}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
async def test_tar_files_work_as_well(serving, kit, mode):
    async with serving() as client:
        _, result = await _result(client, kit, await kit.submit(client, kit.tarred(kit.series(3), mode=mode)))
    assert len(kit.unzipped(result.content)) == 4


async def test_one_instance_is_a_series_too(serving, ct_slice, kit):
    async with serving() as client:
        _, result = await _result(client, kit, await kit.submit(client, ct_slice()))
    assert list(kit.unzipped(result.content)) == ["00001.dcm", "report.json"]


async def test_multi_frame_instances_come_back_with_their_frames(serving, enhanced, kit):
    stored = np.arange(3 * 12 * 16, dtype=np.int16).reshape(3, 12, 16)
    async with serving(offset=1.0) as client:
        source = enhanced.enhanced_file(enhanced.enhanced_ct(stored.astype(np.uint16)))
        _, result = await _result(client, kit, await kit.submit(client, kit.zipped({"one": source})))
    assert (kit.parsed(kit.unzipped(result.content)["00001.dcm"]).pixel_array == stored + 1).all()


async def test_strength_and_model_are_as_asked(serving, kit):
    sources = kit.series(2)
    async with serving(offset=10.0) as client:
        answer = await kit.submit(client, kit.zipped(sources), strength="0.5", model="ct-tiny@stable")
        job, result = await _result(client, kit, answer)
    assert job["strength"] == 0.5
    made = kit.parsed(kit.unzipped(result.content)["00002.dcm"])
    assert (made.pixel_array == kit.parsed(sources["IM002"]).pixel_array + 5).all()


async def test_a_slice_beyond_its_encoding_changes_the_encoding_of_all(serving, kit):
    def stored(number):
        pixels = np.full((12, 16), 1000, np.uint16)
        if number == 2:
            pixels[3, 4] = 4095
        return pixels

    sources = kit.series(4, stored=stored, BitsStored=12, HighBit=11)
    async with serving(offset=10.0) as client:
        job, result = await _result(client, kit, await kit.submit(client, kit.zipped(sources)))
    assert job["reencoded"] is True
    files = kit.unzipped(result.content)
    for number in range(1, 5):
        made = kit.parsed(files[f"{number:05d}.dcm"])
        assert (made.BitsStored, made.PixelRepresentation, made.RescaleSlope, made.RescaleIntercept) == (16, 1, 1, 0)
        assert (made.pixel_array == stored(number).astype(int) - 1024 + 10).all()
    assert len({kit.parsed(files[f"{number:05d}.dcm"]).SeriesInstanceUID for number in range(1, 5)}) == 1


async def test_events_tell_how_far_it_is(serving, kit):
    async with serving() as client:
        job = (await kit.submit(client, kit.zipped(kit.series(4)))).json()
        answer = await client.http.get(job["links"]["events"])
        again = await client.http.get(job["links"]["events"])
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in answer.text.strip().split("\n\n")]
    assert events[-1]["event"] == "done"
    assert {event["event"] for event in events} <= {"queued", "running", "done"}
    done = [json.loads(event["data"])["progress"]["done"] for event in events]
    assert done == sorted(done)
    assert done[-1] == 4
    assert again.text.startswith("event: done\n")


async def test_an_instance_that_cannot_be_restored_fails_the_series(serving, kit, spool):
    def answer(batch):
        return batch if batch[0, 0, 0, 0] < 2000 else np.full_like(batch, np.nan)

    sources = kit.series(3, stored=lambda number: np.full((12, 16), 4000 if number == 2 else 1000, np.int16))
    async with serving(answer=answer) as client:
        job = await kit.finished(client, (await kit.submit(client, kit.zipped(sources))).json()["id"])
        result = await client.http.get(f"/v1/jobs/{job['id']}/result")
    assert job["state"] == "failed"
    assert job["problem"]["type"] == "/problems/model-failed"
    assert job["problem"]["detail"].startswith("instance 2 of 3: ")
    assert (result.status_code, result.json()["type"]) == (409, "/problems/not-finished")
    assert job["problem"]["detail"] in result.json()["detail"]
    assert not list(spool.rglob("*.dcm"))


async def test_a_result_is_not_there_before_the_end(serving, kit):
    async with serving(waits=True) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(2)))).json()
        early = await client.http.get(f"/v1/jobs/{job['id']}/result")
        client.restorers["ct-tiny@1"].go_on.set()
        await kit.finished(client, job["id"])
    assert (early.status_code, early.headers["retry-after"]) == (409, "2")


async def test_the_same_key_is_the_same_job(serving, kit):
    archive, headers = kit.zipped(kit.series(2)), {"Idempotency-Key": '"8e03978e-40d5-43dd"'}
    async with serving() as client:
        first = await kit.submit(client, archive, headers=headers)
        second = await kit.submit(client, archive, headers={"Idempotency-Key": "8e03978e-40d5-43dd"})
        both = await asyncio.gather(*(kit.submit(client, archive, headers={"Idempotency-Key": "b"}) for _ in range(3)))
        other = await kit.submit(client, archive, headers=headers, strength="0.5")
        without = await kit.submit(client, archive)
        bad = await kit.submit(client, archive, headers={"Idempotency-Key": '"'})
        jobs = (await client.http.get("/v1/jobs")).json()["jobs"]
        await kit.finished(client, without.json()["id"])
    assert first.json()["id"] == second.json()["id"]
    assert ("idempotency-replayed" in first.headers, second.headers["idempotency-replayed"]) == (False, "true")
    assert len({answer.json()["id"] for answer in both}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in both) == 2
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert bad.status_code == 422
    assert len(jobs) == 3
    assert jobs[0]["id"] == without.json()["id"]


async def test_jobs_belong_to_the_key_that_made_them(serving, kit, tmp_path):
    keys = [ApiKey(name, frozenset({Scope.RECONSTRUCT}), digest_of(name.encode())).line() for name in ("one", "two")]
    (tmp_path / "keys").write_text("\n".join(keys))
    mine, other = {"X-API-Key": "one"}, {"X-API-Key": "two"}
    async with serving(api_keys_file=tmp_path / "keys") as client:
        answer = await kit.submit(client, kit.zipped(kit.series(1)), headers=mine)
        job, _ = await _result(client, kit, answer, headers=mine)
        for path in ("", "/events", "/result"):
            assert (await client.http.get(f"/v1/jobs/{job['id']}{path}", headers=other)).status_code == 404
        assert (await client.http.delete(f"/v1/jobs/{job['id']}", headers=other)).status_code == 404
        assert (await client.http.get("/v1/jobs", headers=other)).json() == {"jobs": []}
        assert len((await client.http.get("/v1/jobs", headers=mine)).json()["jobs"]) == 1


async def test_deleting_stops_a_job_and_leaves_nothing(serving, kit, spool):
    async with serving(waits=True) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(3)))).json()
        await asyncio.to_thread(client.restorers["ct-tiny@1"].started.wait, 20)
        listening = asyncio.ensure_future(client.http.get(job["links"]["events"]))
        await asyncio.sleep(0.1)
        deleted = await client.http.delete(f"/v1/jobs/{job['id']}")
        gone = await client.http.get(f"/v1/jobs/{job['id']}")
        client.restorers["ct-tiny@1"].go_on.set()
        events = (await listening).text
    assert (deleted.status_code, gone.status_code) == (204, 404)
    assert "event: removed" in events
    assert not list((spool / "jobs").iterdir())
    assert not list((spool / "incoming").iterdir())


async def test_what_has_expired_is_removed(serving, kit, spool, monkeypatch):
    monkeypatch.setattr("service.jobs.jobs.SWEEP_SECONDS", 0.05)
    async with serving(job_retention=0.001) as client:
        client.engine.clock = lambda: datetime.now(UTC)
        job = (await kit.submit(client, kit.zipped(kit.series(1)))).json()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if (await client.http.get(f"/v1/jobs/{job['id']}")).status_code == 404:
                break
        else:
            pytest.fail("it never expired")
    assert not list((spool / "jobs").iterdir())


async def test_only_so_many_jobs_may_wait(serving, kit):
    archive = kit.zipped(kit.series(1))
    async with serving(waits=True, max_jobs=2) as client:
        answers = [await kit.submit(client, archive) for _ in range(3)]
        client.restorers["ct-tiny@1"].go_on.set()
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].headers["retry-after"] == "10"


async def test_a_job_is_taken_however_many_wait_for_the_device(serving, kit, npy):
    async with serving(waits=True, max_queue=1) as client:
        image, fields = npy(np.zeros((4, 5), np.float32)), {"rescale_slope": "1", "rescale_intercept": "0"}
        requests = [asyncio.ensure_future(client.post(image, **fields))]
        await asyncio.to_thread(client.restorers["ct-tiny@1"].started.wait, 20)
        requests.append(asyncio.ensure_future(client.post(image, **fields)))
        await kit.until(lambda: client.engine._executor.waiting() == 1)
        answer = await kit.submit(client, kit.zipped(kit.series(1)))
        client.restorers["ct-tiny@1"].go_on.set()
        await _result(client, kit, answer)
        assert [found.status_code for found in await asyncio.gather(*requests)] == [200, 200]


async def test_a_full_disk_takes_no_job(serve, spool, kit):
    async with serve(spool=spool, spool_reserve=2**62) as client:
        answer = await kit.submit(client, kit.zipped(kit.series(1)))
    assert (answer.status_code, answer.json()["type"]) == (507, "/problems/spool-full")
    assert answer.headers["retry-after"] == "60"
    assert "CLEARSLICE_SPOOL_RESERVE" in answer.json()["detail"]


async def test_without_a_spool_it_is_said_what_to_do(serve, kit):
    async with serve() as client:
        answer = await kit.submit(client, kit.zipped(kit.series(1)))
        listed = await client.http.get("/v1/jobs")
    assert {answer.status_code, listed.status_code} == {503}
    assert "CLEARSLICE_SPOOL" in answer.json()["detail"]


async def test_auto_without_evidence_is_refused(serving, kit):
    async with serving() as client:
        answer = await kit.submit(client, kit.zipped(kit.series(2)), model="auto")
    assert answer.status_code == 404
    assert "no evidence" in answer.json()["detail"]


async def test_auto_names_its_reason(serving, kit, monkeypatch):
    def choose(store, unit, images):
        assert (unit, len(images)) == ("HU", 6)
        return types.SimpleNamespace(version=store.resolve("ct-tiny@1"), reason="because of the noise")

    monkeypatch.setattr("service.auto.choose_for", choose)
    async with serving() as client:
        answer = await kit.submit(client, kit.zipped(kit.series(20)), model="auto")
        job, _ = await _result(client, kit, answer)
    assert (job["model"], job["chosen"]) == ("ct-tiny@1", "because of the noise")


async def test_a_canary_gets_whole_series(serving, kit, published, add_version):
    add_version(published, "ct-tiny")
    published.promote("ct-tiny", "canary", 2, weight=1.0)
    async with serving() as client:
        job, _ = await _result(client, kit, await kit.submit(client, kit.zipped(kit.series(3)), model="ct-tiny"))
        seen = {ref: len(restorer.seen) for ref, restorer in client.restorers.items()}
    assert job["model"] == "ct-tiny@2"
    assert seen == {"ct-tiny@1": 0, "ct-tiny@2": 3}


async def test_only_the_owner_of_the_process_can_read_the_spool(serving, kit, spool):
    async with serving() as client:
        await _result(client, kit, await kit.submit(client, kit.zipped(kit.series(1))))
    for path in (spool, spool / "jobs", *(spool / "jobs").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


async def test_nothing_of_a_patient_is_in_names_records_or_the_log(serving, kit, spool, capfd):
    files = {
        f"Doe^John/{name}": data for name, data in kit.series(2, PatientName="Doe^John", PatientID="Doe42").items()
    }
    async with serving() as client:
        job, result = await _result(client, kit, await kit.submit(client, kit.zipped(files)))
    names = " ".join(str(path.relative_to(spool)) for path in spool.rglob("*"))
    records = "".join(path.read_text() for path in spool.rglob("*.json"))
    database = (spool / "jobs.sqlite").read_bytes().decode("latin-1")
    log = "".join(capfd.readouterr())
    for text in (names, records, database, log, json.dumps(job)):
        assert "Doe" not in text
    assert result.headers["content-disposition"] == f'attachment; filename="clearslice-{job["id"]}.zip"'


def test_ids_of_keys_are_apart_by_owner():
    assert jobs_live.job_id_of("a", "k") != jobs_live.job_id_of("b", "k")
    assert jobs_live.job_id_of("a", "k") == jobs_live.job_id_of("a", "k")
