"""Where instances belong is known from the moment on at which they came."""

from __future__ import annotations

import pytest

from service.pacs.overview import Place, whereabouts

pytestmark = pytest.mark.anyio

UIDS = ("1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3")


def found(node, uids=UIDS):
    return whereabouts(node.node._live, uids, node.node.arrivals)


async def test_of_a_series_that_still_arrives(noding, kit):
    async with noding(quiet_seconds=3600) as node:
        await node.bring(kit.series(2, StudyInstanceUID="1.2.9"))
        assert found(node) == dict.fromkeys(UIDS[:2], Place("1.2.9", "1.2.3.4", arriving=True))


async def test_of_a_complete_series_and_of_what_comes_late(noding, kit):
    async with noding() as node:
        await node.bring(kit.series(2, StudyInstanceUID="1.2.9"))
        await node.ended()
        assert found(node) == dict.fromkeys(UIDS[:2], Place("1.2.9", "1.2.3.4", arriving=False))
    async with noding(quiet_seconds=3600) as node:
        await node.bring(kit.series(1, first=3, StudyInstanceUID="1.2.9"))
        assert found(node) == dict.fromkeys(UIDS, Place("1.2.9", "1.2.3.4", arriving=True))


async def test_of_instances_that_are_left_out(noding, kit):
    async with noding(rules=({"name": "all", "modality": "CT", "action": "keep"},)) as node:
        await node.bring(kit.series(1, StudyInstanceUID="1.2.9"))
        await node.ended()
        assert found(node) == {UIDS[0]: Place("1.2.9", "1.2.3.4", arriving=False)}


async def test_a_source_that_the_disk_has_damaged_is_not_known(noding, kit, spool):
    async with noding(quiet_seconds=3600) as node:
        await node.bring(kit.series(1))
        (source,) = spool.rglob("source/*.dcm")
        source.write_bytes(b"nothing")
        assert found(node) == {}
