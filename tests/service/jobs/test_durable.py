"""What becomes of tickets is known without asking the database again and again; what is over does not stay in it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from dbos import DBOS

from service.jobs import durable as durable_module
from service.jobs.durable import Durable, Queue

pytestmark = pytest.mark.anyio

PATIENCE = 20.0
QUEUE = "jobs"
TICKETS = ("one", "two", "three")


class Work:
    """Tickets that have begun, whether a second has, and a gate behind which they end."""

    def __init__(self):
        self.begun = []
        self.gate, self.second = asyncio.Event(), asyncio.Event()

    async def run(self, ticket):
        self.begun.append(ticket)
        if len(self.begun) > 1:
            self.second.set()
        await self.gate.wait()


@pytest.fixture
def looks(monkeypatch):
    """Names of which the database was asked."""
    found = []
    ask = DBOS.get_workflow_status

    def get_workflow_status(named):
        found.append(named)
        return ask(named)

    monkeypatch.setattr(DBOS, "get_workflow_status", get_workflow_status)
    return found


@asynccontextmanager
async def running(folder, *, at_once=1):
    durable, work = Durable(folder / "jobs.sqlite"), Work()
    durable.add(QUEUE, Queue(work.run, at_once))
    await durable.start()
    try:
        yield durable, work
    finally:
        await durable.stop()


async def fates(durable, tickets=TICKETS):
    return [await durable.fate(QUEUE, ticket) for ticket in tickets]


async def until(durable, wanted, tickets=TICKETS):
    """When the fates are these."""
    end, found = time.monotonic() + PATIENCE, []
    while time.monotonic() < end:
        found = await fates(durable, tickets)
        if found == wanted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"they never were: {found}")


async def enqueue(durable, tickets=TICKETS):
    for ticket in tickets:
        await durable.enqueue(QUEUE, ticket)


async def test_what_waits_is_looked_up_once(tmp_path, looks):
    async with running(tmp_path) as (durable, work):
        await enqueue(durable)
        await until(durable, ["runs", "waits", "waits"])
        looks.clear()
        for _ in range(10):
            assert await fates(durable) == ["runs", "waits", "waits"]
        assert set(looks) == {"one"}
        work.gate.set()
        await until(durable, ["over"] * 3)
    assert work.begun == list(TICKETS)


async def test_what_was_left_by_another_process_is_looked_up_once_too(tmp_path, looks):
    async with running(tmp_path) as (durable, _):
        await enqueue(durable)
        await until(durable, ["runs", "waits", "waits"])
    async with running(tmp_path) as (durable, work):
        await until(durable, ["runs", "waits", "waits"])
        looks.clear()
        await fates(durable)
        assert set(looks) == {"one"}
        work.gate.set()
        await until(durable, ["over"] * 3)


async def test_what_begins_while_it_is_looked_up_is_not_remembered_as_waiting(tmp_path, monkeypatch):
    async with running(tmp_path) as (durable, work):
        await enqueue(durable, ["one", "two"])
        await until(durable, ["runs", "waits", "unknown"])
        monkeypatch.setattr(durable_module, "TRUST_SECONDS", 0.0)
        ask, loop = DBOS.get_workflow_status, asyncio.get_running_loop()

        async def open_the_gate():
            work.gate.set()
            await asyncio.wait_for(work.second.wait(), PATIENCE)

        def slowly(named):
            found = ask(named)
            asyncio.run_coroutine_threadsafe(open_the_gate(), loop).result(PATIENCE)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(DBOS, "get_workflow_status", slowly)
            assert await durable.fate(QUEUE, "two") == "waits", "which it did when the database was asked"
        monkeypatch.setattr(durable_module, "TRUST_SECONDS", 300.0)
        await until(durable, ["over", "over", "unknown"])


async def test_a_look_that_fails_is_not_remembered(tmp_path, monkeypatch):
    def broken(_):
        raise OSError(5, "Input/output error")

    async with running(tmp_path) as (durable, _):
        with monkeypatch.context() as patch:
            patch.setattr(DBOS, "get_workflow_status", broken)
            with pytest.raises(OSError, match="Input/output"):
                await durable.fate(QUEUE, "one")
        assert await durable.fate(QUEUE, "one") == "unknown"


async def test_what_vanishes_from_the_database_is_seen_in_the_end(tmp_path, monkeypatch):
    async with running(tmp_path) as (durable, _):
        await enqueue(durable)
        await until(durable, ["runs", "waits", "waits"])
        await asyncio.to_thread(DBOS.delete_workflow, "two")
        assert (await fates(durable))[1] == "waits"
        monkeypatch.setattr(durable_module, "TRUST_SECONDS", 0.0)
        assert (await fates(durable))[1] == "unknown"


async def test_what_is_forgotten_while_it_waits_can_be_enqueued_anew(tmp_path):
    async with running(tmp_path) as (durable, work):
        await enqueue(durable)
        await until(durable, ["runs", "waits", "waits"])
        await durable.forget(QUEUE, "two")
        assert await fates(durable) == ["runs", "unknown", "waits"]
        await enqueue(durable, ["two"])
        work.gate.set()
        await until(durable, ["over"] * 3)
    assert sorted(work.begun) == sorted(TICKETS)


async def test_what_is_over_is_removed_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(durable_module, "TIDIED_AT_ONCE", 2)
    many = [f"ticket-{number}" for number in range(7)]
    async with running(tmp_path, at_once=7) as (durable, work):
        await enqueue(durable, many)
        work.gate.set()
        await until(durable, ["over"] * 7, many)
        await durable.tidy(timedelta(hours=1))
        assert await fates(durable, many) == ["over"] * 7
        work.gate.clear()
        await enqueue(durable, ["one"])
        await until(durable, ["runs", "unknown", "unknown"])
        await durable.tidy(timedelta(0))
        assert await fates(durable, [*many, "one"]) == ["unknown"] * 7 + ["runs"]
        await enqueue(durable, many[:1])
        work.gate.set()
        await until(durable, ["over", "over"], [many[0], "one"])
        assert work.begun.count(many[0]) == 2
