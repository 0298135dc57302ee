"""The list of series: some of them, in one state, and never too many at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from service.api import pacs as pacs_api
from service.api import pacs_schemas
from service.pacs.job_folder import JobFolder

pytestmark = pytest.mark.anyio

KEPT = {"name": "all", "modality": "CT", "action": "keep"}
MANY = 250


async def ask(node, **query):
    answer = await node.client.http.get("/v1/pacs/series", params=query)
    assert answer.status_code == 200
    found = answer.json()
    return [each["id"] for each in found["series"]], found["more"]


async def many(node, kit):
    """As if so many series had come, one each second; their ids, the newest first."""
    await node.bring(kit.series(1))
    await node.ended()
    live = node.node._live
    (one,) = live.values()
    for number in range(1, MANY):
        job = one.job.model_copy(
            update={"id": f"{number:032x}", "created": one.job.created.replace(year=2027 + number)}
        )
        live[job.id] = replace(one, folder=JobFolder(one.folder.series, job))
    return [each.job.id for each in node.node.jobs()]


async def test_so_many_and_whether_there_are_more(noding, kit):
    async with noding(rules=(KEPT,)) as node:
        ids = await many(node, kit)
        assert await ask(node) == (ids[: pacs_schemas.SERIES_LIMIT], True)
        assert await ask(node, limit=3) == (ids[:3], True)
        assert await ask(node, limit=MANY - 1) == (ids[:-1], True)
        assert await ask(node, limit=MANY) == (ids, False)
        assert await ask(node, limit="", state="") == (ids[: pacs_schemas.SERIES_LIMIT], True)


async def test_those_in_one_state(noding, kit):
    async with noding(rules=(KEPT,)) as node:
        ids = await many(node, kit)
        failed = ids[::50]
        for job_id in failed:
            live = node.node._live[job_id]
            live.ended = live.ended.model_copy(update={"state": "failed"})
        gone = node.node._live[failed[1]]
        gone.ended = gone.ended.model_copy(update={"tidied": True})
        assert await ask(node, state="failed") == ([failed[0], *failed[2:]], False)
        assert await ask(node, state="discarded") == ([failed[1]], False)
        assert await ask(node, state="failed", limit=2) == ([failed[0], failed[2]], True)
        assert await ask(node, state="waiting") == ([], False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"state": "lost"}, "state"),
        ({"state": "Failed"}, "state"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"limit": "9" * 400}, "limit"),
    ],
)
async def test_what_cannot_be_asked(noding, query, field):
    async with noding() as node:
        answer = await node.client.http.get("/v1/pacs/series", params=query)
        found = answer.json()
        assert (answer.status_code, found["type"], list(found["fields"])) == (422, "/problems/invalid-field", [field])


async def test_a_long_list_is_made_on_a_thread(noding, kit, monkeypatch):
    def loops():
        try:
            return asyncio.get_running_loop() is not None
        except RuntimeError:
            return False

    def describe(live):
        in_loop.append(loops())
        return {"id": live.job.id}

    async with noding(rules=(KEPT,)) as node:
        await many(node, kit)
        monkeypatch.setattr(pacs_api, "describe", describe)
        in_loop = []
        await ask(node)
        assert not any(in_loop)
        in_loop = []
        await ask(node, limit=1)
        assert in_loop == [True]
