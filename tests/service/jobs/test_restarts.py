"""What is accepted is done, whatever happens meanwhile; and nothing is done twice that is finished."""

from __future__ import annotations

import json
import time

import pytest

from model_store.errors import OutOfDeviceMemory
from service.errors import NotReady
from service.jobs import runner

pytestmark = pytest.mark.anyio


async def test_a_restart_goes_on_with_what_is_there(serving, kit, spool):
    _, gate, answer = kit.gated(3)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(8)))).json()
        await kit.until(lambda: len(list(spool.rglob("derived/*.dcm"))) == 3)
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
    _, gate, answer = kit.gated(0)
    async with serving(answer=answer, jobs_at_once=1) as client:
        ids = [(await kit.submit(client, kit.zipped(kit.series(1)))).json()["id"] for _ in range(3)]
        gate.set()
    async with serving() as client:
        assert [(await kit.finished(client, one))["state"] for one in ids] == ["done"] * 3


async def test_a_series_begins_again_where_it_would_be_computed_otherwise(serving, kit, spool, restorer):
    _, gate, answer = kit.gated(2)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(6)))).json()
        await kit.until(lambda: len(list(spool.rglob("derived/*.dcm"))) == 2)
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
    _, gate, answer = kit.gated(0)
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
    _, gate, answer = kit.gated(0)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(2)))).json()
        gate.set()
    for path in spool.glob("jobs.sqlite*"):
        path.unlink()
    async with serving() as client:
        assert (await kit.finished(client, job["id"]))["state"] == "done"


async def test_a_job_that_ends_the_process_again_and_again_is_given_up(serving, kit, spool):
    _, gate, answer = kit.gated(0)
    async with serving(answer=answer) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(2)))).json()
        await kit.until(lambda: client.restorers["ct-tiny@1"].seen)
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
        await kit.until(lambda: client.restorers["ct-tiny@1"].seen)
    for _ in range(runner.MAX_ATTEMPTS + 1):
        async with serving(answer=slowly) as client:
            await kit.until(lambda client=client: client.restorers["ct-tiny@1"].seen)
    async with serving() as client:
        assert (await kit.finished(client, job["id"]))["state"] == "done"


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
