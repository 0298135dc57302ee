"""Who asks this node to keep something is told what the archive has, and nothing else."""

from __future__ import annotations

import pytest

from service.pacs import commitments
from service.pacs.commitment import CommitmentRequest
from service.pacs.commitments import NO_SUCH_INSTANCE, CommitmentRequests, Commitments
from service.pacs.configuration import parse_configuration
from service.pacs.peers import PeerUnavailable

pytestmark = pytest.mark.anyio

CT = "1.2.840.10008.5.1.4.1.1.2"
KNOWN = {"1.1": ("9", "9.1"), "1.2": ("9", "9.1"), "1.3": ("9", "9.2")}
ARCHIVE = {("9", "9.1"): frozenset({"1.1"}), ("9", "9.2"): frozenset({"1.3"})}


@pytest.fixture
def told(monkeypatch):
    """What peers were told; `broken` may be set."""

    class Told(list):
        broken = None

    found = Told()

    def report_to(name, peer, node, event_type, data):
        del peer, node
        if found.broken is not None:
            raise found.broken
        found.append((name, event_type, data))

    monkeypatch.setattr(commitments, "report_to", report_to)
    monkeypatch.setattr(commitments, "asker_of", lambda *_: lambda study, series: ARCHIVE[study, series])
    return found


def commitments_of(folder, *, commit_by="web"):
    node = {"commit_by": commit_by} if commit_by else {}
    configuration = parse_configuration(
        {
            "node": node,
            "peers": {"web": {"url": "http://127.0.0.1:9"}, "ct": {"aet": "CT01", "host": "127.0.0.1", "port": 104}},
        },
        folder=folder,
    )
    requests = CommitmentRequests(folder)
    return requests, Commitments(requests, configuration, KNOWN.get)


def asked(*uids):
    return CommitmentRequest("1.2.3.4", tuple((CT, uid) for uid in uids))


def uids(data, sequence):
    return [item.ReferencedSOPInstanceUID for item in data.get(sequence, ())]


async def test_what_the_archive_has_is_committed_and_the_rest_is_not(tmp_path, told):
    requests, answering = commitments_of(tmp_path)
    requests.keep("CT01", asked("1.1", "1.2", "1.3", "1.4"))
    await answering.answer_due()
    ((name, event_type, data),) = told
    assert (name, event_type, data.TransactionUID) == ("ct", 2, "1.2.3.4")
    assert uids(data, "ReferencedSOPSequence") == ["1.1", "1.3"]
    assert uids(data, "FailedSOPSequence") == ["1.2", "1.4"]
    assert {item.FailureReason for item in data.FailedSOPSequence} == {NO_SUCH_INSTANCE}
    assert not requests.waiting()


async def test_all_of_it(tmp_path, told):
    requests, answering = commitments_of(tmp_path)
    requests.keep("CT01", asked("1.1"))
    await answering.answer_due()
    ((_, event_type, data),) = told
    assert event_type == 1
    assert "FailedSOPSequence" not in data


async def test_without_an_archive_nothing_is_committed(tmp_path, told):
    requests, answering = commitments_of(tmp_path, commit_by=None)
    requests.keep("CT01", asked("1.1"))
    await answering.answer_due()
    assert uids(told[0][2], "FailedSOPSequence") == ["1.1"]


async def test_a_report_that_cannot_be_sent_is_sent_later(tmp_path, told, monkeypatch):
    monkeypatch.setattr(commitments, "PAUSES", (0.0, 0.0))
    requests, answering = commitments_of(tmp_path)
    requests.keep("CT01", asked("1.1"))
    told.broken = PeerUnavailable("nobody is there")
    await answering.answer_due()
    assert requests.waiting()
    told.broken = None
    await commitments_of(tmp_path)[1].answer_due()
    assert len(told) == 1


async def test_and_is_given_up_at_last(tmp_path, told, monkeypatch):
    monkeypatch.setattr(commitments, "PAUSES", (0.0, 0.0))
    requests, answering = commitments_of(tmp_path)
    requests.keep("STRANGER", asked("1.1"))
    for _ in range(3):
        assert requests.waiting()
        await answering.answer_due()
    assert not requests.waiting()
    assert not told
