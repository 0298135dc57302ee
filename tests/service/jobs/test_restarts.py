"""What is accepted is done, whatever happens meanwhile; and nothing is done twice that is finished."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import weakref
from datetime import UTC, datetime

import numpy as np
import pytest

from model_store.errors import OutOfDeviceMemory
from service.errors import NotReady, UnsafeConfiguration
from service.jobs import jobs, runner
from service.jobs.spool import Spool

pytestmark = pytest.mark.anyio


def _gated(passes):
    """A restorer that passes a number of images and waits at the next."""
    seen = []
    gate = threading.Event()

    def answer(batch):
        seen.append(batch)
        if len(seen) > passes:
            gate.wait(20)
        return batch

    return seen, gate, answer


async def _until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never happened")


async def test_a_restart_goes_on_with_what_is_there(serving, kit, spool):
    _, gate, answer = _gated(3)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(8)))).json()
        await _until(lambda: len(list(spool.rglob("derived/*.dcm"))) == 3)
        gate.set()
    before = {path.name: path.stat().st_mtime_ns for path in spool.rglob("derived/*.dcm")}
    assert 3 <= len(before) < 8
    async with serving() as client:
        told = (await client.http.get(f"/v1/jobs/{job['id']}")).json()
        assert told["progress"]["total"] == 8
        assert told["progress"]["done"] >= len(before)
        ended = await kit.finished(client, job["id"])
        files = kit.unzipped((await client.http.get(ended["links"]["result"])).content)
        again = len(client.restorers["ct-tiny@1"].seen)
    assert ended["state"] == "done"
    assert len(files) == 9
    assert again == 8 - len(before)


async def test_a_job_that_waited_is_done_after_a_restart(serving, kit):
    _, gate, answer = _gated(0)
    async with serving(answer=answer, jobs_at_once=1) as client:
        ids = [(await kit.submit(client, kit.zipped(kit.series(1)))).json()["id"] for _ in range(3)]
        gate.set()
    async with serving() as client:
        assert [(await kit.finished(client, one))["state"] for one in ids] == ["done"] * 3


async def test_a_series_begins_again_where_it_would_be_computed_otherwise(serving, kit, spool, restorer):
    _, gate, answer = _gated(2)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(6)))).json()
        await _until(lambda: len(list(spool.rglob("derived/*.dcm"))) == 2)
        gate.set()
    loaded = {}

    def load(version):
        loaded[version.ref] = restorer(version, precision="bfloat16")
        return loaded[version.ref]

    async with serving(load=load) as client:
        ended = await kit.finished(client, job["id"])
    assert ended["precision"] == "bfloat16"
    assert len(loaded["ct-tiny@1"].seen) == 6


async def test_a_job_whose_model_is_gone_says_so(serving, kit, published, add_version):
    add_version(published, "ct-tiny")
    _, gate, answer = _gated(0)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(2)), model="ct-tiny@2")).json()
        gate.set()
    published.remove("ct-tiny", 2)
    async with serving() as client:
        ended = await kit.finished(client, job["id"])
    assert (ended["state"], ended["problem"]["type"]) == ("failed", "/problems/unknown-model")


@pytest.mark.parametrize(
    "error", [NotReady("all places are taken", retry_after=1), OutOfDeviceMemory("none left"), OSError(28, "No space")]
)
async def test_what_is_temporary_is_tried_again(serving, kit, monkeypatch, error):
    monkeypatch.setattr(runner, "RETRY_SECONDS", (0.01, 0.01))
    work, calls = runner.SeriesWork.run, []

    async def flaky(self):
        calls.append(1)
        if len(calls) < 3:
            raise error
        return await work(self)

    monkeypatch.setattr(runner.SeriesWork, "run", flaky)
    async with serving() as client:
        ended = await kit.finished(client, (await kit.submit(client, kit.zipped(kit.series(1)))).json()["id"])
    assert (ended["state"], len(calls)) == ("done", 3)


async def test_what_stays_fails_the_job_with_its_reason(serving, kit, monkeypatch):
    monkeypatch.setattr(runner, "RETRY_SECONDS", (0.01,))

    async def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runner.SeriesWork, "run", full)
    async with serving() as client:
        ended = await kit.finished(client, (await kit.submit(client, kit.zipped(kit.series(1)))).json()["id"])
    assert ended["problem"]["type"] == "/problems/spool-full"
    assert "No space left" in ended["problem"]["detail"]


async def test_a_defect_fails_its_job_and_no_other(serving, kit, monkeypatch):
    work, calls = runner.SeriesWork.run, []

    async def broken(self):
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("Doe^John")
        return await work(self)

    monkeypatch.setattr(runner.SeriesWork, "run", broken)
    async with serving(jobs_at_once=1) as client:
        ids = [(await kit.submit(client, kit.zipped(kit.series(1)))).json()["id"] for _ in range(2)]
        first, second = [await kit.finished(client, one) for one in ids]
    assert (first["problem"]["type"], second["state"]) == ("/problems/internal-error", "done")
    assert "Doe" not in json.dumps(first)


async def test_a_job_the_engine_forgot_is_enqueued_again(serving, kit, spool):
    _, gate, answer = _gated(0)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(2)))).json()
        gate.set()
    for path in spool.glob("jobs.sqlite*"):
        path.unlink()
    async with serving() as client:
        assert (await kit.finished(client, job["id"]))["state"] == "done"


async def test_a_job_that_ends_the_process_again_and_again_is_given_up(serving, kit, spool):
    _, gate, answer = _gated(0)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(2)))).json()
        await _until(lambda: client.restorers["ct-tiny@1"].seen)
        gate.set()
    place = spool / "jobs" / job["id"] / "attempts"
    assert place.read_text() == "0"  # it was stopped in order
    place.write_text(str(runner.MAX_ATTEMPTS))  # as if it had not been, each time
    async with serving() as client:
        ended = await kit.finished(client, job["id"])
    assert ended["problem"]["type"] == "/problems/given-up"


async def test_any_number_of_orderly_restarts_is_fine(serving, kit):
    def slowly(batch):
        time.sleep(0.03)
        return batch

    async with serving(answer=slowly) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(150)))).json()
        await _until(lambda: client.restorers["ct-tiny@1"].seen)
    for _ in range(runner.MAX_ATTEMPTS + 1):
        async with serving(answer=slowly) as client:
            await _until(lambda client=client: client.restorers["ct-tiny@1"].seen)
    async with serving() as client:
        assert (await kit.finished(client, job["id"]))["state"] == "done"


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
        await _until(lambda: len(calls) > 2)
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


async def test_a_model_that_is_loaded_anew_and_computes_otherwise_begins_again(serving, kit, monkeypatch, restorer):
    monkeypatch.setattr(runner, "RETRY_SECONDS", (0.01, 0.01))
    loaded, client_of = [], []

    def load(version):
        made = restorer(version, precision="float32" if not loaded else "bfloat16")
        if not loaded:

            def answer(batch):
                if len(made.seen) == 3:
                    client_of[0].engine.versions._entries.clear()  # as unloading does
                return batch

            made.answer = answer
        loaded.append(made)
        return made

    async with serving(load=load) as client:
        client_of.append(client)
        ended = await kit.finished(client, (await kit.submit(client, kit.zipped(kit.series(12)))).json()["id"])
    assert (ended["state"], ended["precision"], len(loaded)) == ("done", "bfloat16", 2)
    assert len(loaded[1].seen) >= 12


async def test_promised_disk_is_not_promised_twice(serving, kit, monkeypatch):
    archive = kit.zipped(kit.series(3))
    room = 4 * len(archive) + 200_000
    monkeypatch.setattr(Spool, "free_bytes", lambda _: room)
    async with serving(waits=True) as client:
        answers = [(await kit.submit(client, archive)).status_code for _ in range(6)]
        client.restorers["ct-tiny@1"].go_on.set()
    assert answers[0] == 202
    assert answers[-1] == 507


async def test_unreadable_jobs_expire_too(serving, spool, monkeypatch):
    monkeypatch.setattr("service.jobs.jobs.SWEEP_SECONDS", 0.05)
    (spool / "jobs" / "damaged").mkdir(parents=True)
    (spool / "jobs" / "damaged" / "job.json").write_text("{")
    async with serving() as client:
        await asyncio.sleep(0.2)
        assert (spool / "jobs" / "damaged").exists()
        client.engine.clock = lambda: datetime(2100, 1, 1, tzinfo=UTC)
        await _until(lambda: not (spool / "jobs" / "damaged").exists())


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
