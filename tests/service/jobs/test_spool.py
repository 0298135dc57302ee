"""What lies on the disk: who may use it, how much of it, and that nothing is cleared away under anybody."""

from __future__ import annotations

import asyncio
import threading
import weakref
from datetime import UTC, datetime

import numpy as np
import pytest

from service.errors import UnsafeConfiguration
from service.jobs import jobs
from service.jobs.spool import Spool

pytestmark = pytest.mark.anyio


async def test_a_damaged_record_stops_no_other_job(serving, kit, spool):
    async with serving() as client:
        job = (await kit.submit(client, kit.zipped(kit.series(1)))).json()
        await kit.finished(client, job["id"])
    (spool / "jobs" / "damaged").mkdir()
    (spool / "jobs" / "damaged" / "job.json").write_text("{")
    async with serving() as client:
        jobs = (await client.http.get("/v1/jobs")).json()["jobs"]
    assert [each["id"] for each in jobs] == [job["id"]]


async def test_a_disk_that_fails_once_does_not_end_the_sweep(serving, kit, monkeypatch):
    monkeypatch.setattr("service.jobs.jobs.SWEEP_SECONDS", 0.02)
    calls = []

    def fail(*_):
        calls.append(1)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Spool, "expire_unknown", fail)
    async with serving() as client:
        await kit.until(lambda: len(calls) > 2)
        assert (await kit.submit(client, kit.zipped(kit.series(1)))).status_code == 202


async def test_what_was_coming_in_is_gone_after_a_crash(spool):
    kept = Spool(spool)
    (spool / "incoming" / "half").mkdir()
    kept.close()
    Spool(spool).close()
    assert not list((spool / "incoming").iterdir())


async def test_two_processes_do_not_share_a_spool(serving, spool):
    async with serving():
        with pytest.raises(UnsafeConfiguration, match="another process uses the spool"):
            Spool(spool)
    Spool(spool).close()


async def test_a_spool_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsafeConfiguration, match="cannot be used: Not a directory"):
        Spool(tmp_path / "file" / "spool")


@pytest.mark.parametrize("step", ["unpack", "settle", "commit"])
async def test_a_client_that_leaves_early_leaves_nothing_or_a_whole_job(serving, kit, spool, monkeypatch, step):
    """Cancelled while a thread works: in each step before the job is there, and in the one that makes it."""
    began, go_on = threading.Event(), threading.Event()
    place = jobs.Spool if step == "commit" else jobs
    work = getattr(place, step)

    def slow(*args, **kwargs):
        began.set()
        go_on.wait(5)
        return work(*args, **kwargs)

    monkeypatch.setattr(place, step, slow)
    async with serving() as client:
        kept = client.app.state.jobs

        async def accept():
            async with kept.places.take(upload_bytes=0, repeats=False) as entry:
                entry.upload.write_bytes(kit.zipped(kit.series(3)))
                await kept.accept(entry, model=None, strength=1.0, owner="", key=None, request_sha256="0")

        accepting = asyncio.ensure_future(accept())
        await asyncio.to_thread(began.wait, 5)
        accepting.cancel()
        await asyncio.sleep(0.05)
        accepting.cancel()  # impatient
        assert not accepting.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        assert not list((spool / "incoming").iterdir())
        found = kept.of("")
        assert len(found) == (1 if step == "commit" else 0)
        if found:
            ended = await kit.finished(client, found[0].job.id)
            assert (ended["state"], ended["progress"]["total"]) == ("done", 3)


async def test_a_job_that_cannot_be_removed_stays_as_it_was(serving, kit, monkeypatch):
    async with serving() as client:
        job = (await kit.submit(client, kit.zipped(kit.series(1)))).json()
        await kit.finished(client, job["id"])

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Spool, "remove", full)
            failed = await client.http.delete(f"/v1/jobs/{job['id']}")
        there = await client.http.get(f"/v1/jobs/{job['id']}")
        gone = await client.http.delete(f"/v1/jobs/{job['id']}")
    assert (failed.status_code, there.status_code, gone.status_code) == (507, 200, 204)


async def test_a_removed_job_that_the_engine_cannot_forget_runs_nothing(serving, kit, monkeypatch):
    async def locked(*_):
        raise RuntimeError("database is locked")

    archive, headers = kit.zipped(kit.series(1)), {"Idempotency-Key": "k"}
    async with serving() as client:
        job = (await kit.submit(client, archive, headers=headers)).json()
        await kit.finished(client, job["id"])
        with monkeypatch.context() as patched:
            patched.setattr("service.jobs.durable.Durable.forget", locked)
            assert (await client.http.delete(f"/v1/jobs/{job['id']}")).status_code == 204
        again = await kit.submit(client, archive, headers=headers)
        assert "idempotency-replayed" not in again.headers
        assert (await kit.finished(client, again.json()["id"]))["state"] == "done"


async def test_a_repeat_is_answered_although_the_server_is_full(serving, kit):
    archive, headers = kit.zipped(kit.series(1)), {"Idempotency-Key": "k"}
    async with serving(waits=True, max_jobs=1) as client:
        first = await kit.submit(client, archive, headers=headers)
        other = await kit.submit(client, archive)
        again = await kit.submit(client, archive, headers=headers)
        client.restorers["ct-tiny@1"].go_on.set()
    assert (first.status_code, other.status_code, again.status_code) == (202, 429, 202)
    assert again.json()["id"] == first.json()["id"]


async def test_a_disk_that_fills_up_while_it_comes_in_is_said(serving, kit, spool, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    async with serving() as client:
        with monkeypatch.context() as patched:
            patched.setattr("service.api.uploads.FileSink.flush", full)
            upload = await kit.submit(client, kit.zipped(kit.series(1)))
        with monkeypatch.context() as patched:
            patched.setattr(Spool, "commit", full)
            commit = await kit.submit(client, kit.zipped(kit.series(1)))
        assert not list((spool / "incoming").iterdir())
    for answer in (upload, commit):
        assert (answer.status_code, answer.json()["type"]) == (507, "/problems/spool-full")


async def test_promised_disk_is_not_promised_twice(serving, kit, monkeypatch):
    archive = kit.zipped(kit.series(3))
    room = 4 * len(archive) + 200_000
    monkeypatch.setattr(Spool, "free_bytes", lambda _: room)
    async with serving(waits=True) as client:
        answers = [(await kit.submit(client, archive)).status_code for _ in range(6)]
        client.restorers["ct-tiny@1"].go_on.set()
    assert answers[0] == 202
    assert answers[-1] == 507


async def test_unreadable_jobs_expire_too(serving, kit, spool, monkeypatch):
    monkeypatch.setattr("service.jobs.jobs.SWEEP_SECONDS", 0.05)
    (spool / "jobs" / "damaged").mkdir(parents=True)
    (spool / "jobs" / "damaged" / "job.json").write_text("{")
    async with serving() as client:
        await asyncio.sleep(0.2)
        assert (spool / "jobs" / "damaged").exists()
        client.engine.clock = lambda: datetime(2100, 1, 1, tzinfo=UTC)
        await kit.until(lambda: not (spool / "jobs" / "damaged").exists())


async def test_memory_does_not_grow_with_the_series(serving, kit):
    """However many instances there are, only a few images are alive at once."""
    alive, most = [0], [0]

    def answer(batch):
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        made = np.array(batch)
        weakref.finalize(made, lambda: alive.__setitem__(0, alive[0] - 1))
        return made

    async with serving(answer=answer) as client:
        await kit.finished(client, (await kit.submit(client, kit.zipped(kit.series(60)))).json()["id"])
    assert most[0] <= 8
