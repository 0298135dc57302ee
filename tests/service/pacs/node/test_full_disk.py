"""The disk is full at any write: nothing that was acknowledged is lost, and all goes on when there is room again."""

from __future__ import annotations

import errno

import pytest

from service.pacs import job_folder, restore, work
from service.pacs import node as node_module

pytestmark = pytest.mark.anyio

WRITES = ("job.json", "restored.json", "ended.json", "out.json", "00002.dcm", "known.json")
"""Of all that is written for a series, in turn."""


@pytest.fixture
def full_at(monkeypatch):
    """(name, times) -> the disk refuses that file so often; how often it did is counted."""
    monkeypatch.setattr(restore, "RETRY_SECONDS", (0.01,) * 6)
    monkeypatch.setattr(work, "FAULT_SECONDS", 0.01)
    monkeypatch.setattr(node_module, "FAULT_SECONDS", 0.01)

    def prepare(name, times):
        refused = []

        def refusing(write):
            def attempt(target, *arguments, **named):
                if target.name == name and len(refused) < times:
                    refused.append(name)
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(target, *arguments, **named)

            return attempt

        for module in (job_folder, "service.pacs.series_folder", "service.pacs.arrivals"):
            path = module if isinstance(module, str) else module.__name__
            monkeypatch.setattr(f"{path}.write_file", refusing(job_folder_write))
        derived = job_folder.JobFolder.write_derived

        def write_derived(self, number, data, facts):
            if self.derived(number).name == name and len(refused) < times:
                refused.append(name)
                raise OSError(errno.ENOSPC, "No space left on device")
            derived(self, number, data, facts)

        monkeypatch.setattr(job_folder.JobFolder, "write_derived", write_derived)
        return refused

    job_folder_write = job_folder.write_file
    return prepare


@pytest.mark.parametrize("name", WRITES)
async def test_a_series_is_delivered_when_there_is_room_again(noding, kit, full_at, name):
    refused = full_at(name, 3)
    async with noding() as node:
        await node.bring(kit.series(3))
        await node.until(lambda: len(refused) == 3 or any(live.ended for live in node.node.jobs()))
        node.clock.forward(3600)
        (told,) = await node.ended()
        assert await node.counts() == {"delivered": 3}
    assert told["state"] == "delivered"
    assert len(node.peer.files) == 3
    assert refused


async def test_what_is_not_on_the_disk_is_not_acknowledged(noding, kit, full_at):
    full_at("1.2.3.4.2.dcm", 1)
    async with noding() as node:
        answer = await node.bring(kit.series(3))
        assert answer.status_code == 202
        (failed,) = answer.json()["00081198"]["Value"]
        assert failed["00081155"]["Value"] == ["1.2.3.4.2"]
        assert failed["00081197"]["Value"] == [0xA700]
        await node.bring(kit.series(1, first=2))
        await node.until(lambda: len(node.peer.files) == 3)
