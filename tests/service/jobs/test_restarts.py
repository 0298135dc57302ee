"""What is accepted is done, whatever happens meanwhile; and nothing is done twice that is finished."""

from __future__ import annotations

import asyncio
import json
import threading
import weakref

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


async def test_a_job_that_ends_the_process_again_and_again_is_given_up(serving, kit, monkeypatch):
    monkeypatch.setattr("service.jobs.jobs.SWEEP_SECONDS", 0.05)
    _, gate, answer = _gated(0)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(2)))).json()
        gate.set()

    async def given_up(*_):
        return "given up"

    async def nothing(*_):
        return None

    monkeypatch.setattr("service.jobs.durable.Durable.fate", given_up)
    monkeypatch.setattr("service.jobs.runner.Runner.run", nothing)
    async with serving() as client:
        ended = await kit.finished(client, job["id"])
    assert ended["problem"]["type"] == "/problems/given-up"


async def test_a_damaged_record_stops_no_other_job(serving, kit, spool):
    async with serving() as client:
        job = (await kit.submit(client, kit.zipped(kit.series(1)))).json()
        await kit.finished(client, job["id"])
    (spool / "jobs" / "damaged").mkdir()
    (spool / "jobs" / "damaged" / "job.json").write_text("{")
    async with serving() as client:
        jobs = (await client.http.get("/v1/jobs")).json()["jobs"]
    assert [each["id"] for each in jobs] == [job["id"]]


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


async def test_a_client_that_leaves_early_leaves_nothing(serving, kit, spool, monkeypatch):
    began = asyncio.Event()
    loop = asyncio.get_running_loop()
    slow = jobs.unpack

    def unpack(entry, settings, *, wanted):
        loop.call_soon_threadsafe(began.set)
        while wanted():
            pass
        return slow(entry, settings, wanted=wanted)

    monkeypatch.setattr(jobs, "unpack", unpack)
    async with serving() as client:
        kept = client.app.state.jobs
        with kept.place() as entry:
            entry.upload.write_bytes(kit.zipped(kit.series(3)))
            accepting = asyncio.ensure_future(
                kept.accept(entry, model=None, strength=1.0, owner="", key=None, request_sha256="0")
            )
            await began.wait()
            accepting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await accepting
        assert not list((spool / "incoming").iterdir())
        assert kept.of("") == []


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
