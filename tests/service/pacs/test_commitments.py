"""Who asks this node to keep something is told what the archive has, and nothing else."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.pacs import commitments
from service.pacs.commitment import CommitmentRequest
from service.pacs.commitments import NO_SUCH_INSTANCE, CommitmentRequests, Commitments
from service.pacs.configuration import parse_configuration
from service.pacs.overview import Place
from service.pacs.peers import PeerUnavailable

pytestmark = pytest.mark.anyio

CT = "1.2.840.10008.5.1.4.1.1.2"
KNOWN = {uid: Place("9", series, arriving=False) for uid, series in {"1.1": "9.1", "1.2": "9.1", "1.3": "9.2"}.items()}
ARCHIVE = {("9", "9.1"): frozenset({"1.1"}), ("9", "9.2"): frozenset({"1.3"})}


@pytest.fixture
def told(monkeypatch):
    """What peers were told; `broken` may be set."""

    class Told(list):
        broken = None
        threads = ()

    found = Told()

    def report_to(name, peer, node, event_type, data):
        del peer, node
        found.threads += (threading.current_thread().name,)
        if found.broken is not None:
            raise found.broken
        found.append((name, event_type, data))

    monkeypatch.setattr(commitments, "report_to", report_to)
    monkeypatch.setattr(commitments, "asker_of", lambda *_: lambda study, series: ARCHIVE[study, series])
    return found


def commitments_of(folder, *, commit_by="web", known=KNOWN, threads=None):
    node = {"commit_by": commit_by} if commit_by else {}
    configuration = parse_configuration(
        {
            "node": node,
            "peers": {"web": {"url": "http://127.0.0.1:9"}, "ct": {"aet": "CT01", "host": "127.0.0.1", "port": 104}},
        },
        folder=folder,
    )
    requests = CommitmentRequests(folder)

    def whereabouts(uids):
        return {uid: known[uid] for uid in uids if uid in known}

    return requests, Commitments(requests, configuration, whereabouts, threads=threads)


async def answered(answering):
    """When all that was due has been tried."""
    await answering.answer_due()
    await answering._task


def came(requests, seconds):
    """As if all that waits had been asked so long ago."""
    for path in requests.waiting():
        os.utime(path, (time.time() - seconds,) * 2)


def asked(*uids):
    return CommitmentRequest("1.2.3.4", tuple((CT, uid) for uid in uids))


def uids(data, sequence):
    return [item.ReferencedSOPInstanceUID for item in data.get(sequence, ())]


async def test_what_the_archive_has_is_committed_and_the_rest_is_not(tmp_path, told):
    requests, answering = commitments_of(tmp_path)
    requests.keep("CT01", asked("1.1", "1.2", "1.3", "1.4"))
    came(requests, 700)
    await answered(answering)
    ((name, event_type, data),) = told
    assert (name, event_type, data.TransactionUID) == ("ct", 2, "1.2.3.4")
    assert uids(data, "ReferencedSOPSequence") == ["1.1", "1.3"]
    assert uids(data, "FailedSOPSequence") == ["1.2", "1.4"]
    assert {item.FailureReason for item in data.FailedSOPSequence} == {NO_SUCH_INSTANCE}
    assert not requests.waiting()


async def test_all_of_it(tmp_path, told):
    requests, answering = commitments_of(tmp_path)
    requests.keep("CT01", asked("1.1"))
    await answered(answering)
    ((_, event_type, data),) = told
    assert event_type == 1
    assert "FailedSOPSequence" not in data


async def test_without_an_archive_nothing_is_committed(tmp_path, told):
    requests, answering = commitments_of(tmp_path, commit_by=None)
    requests.keep("CT01", asked("1.1"))
    await answered(answering)
    assert uids(told[0][2], "FailedSOPSequence") == ["1.1"]


async def test_a_report_that_cannot_be_sent_is_sent_later(tmp_path, told, monkeypatch):
    monkeypatch.setattr(commitments, "PAUSES", (0.0, 0.0))
    requests, answering = commitments_of(tmp_path)
    requests.keep("CT01", asked("1.1"))
    told.broken = PeerUnavailable("nobody is there")
    await answered(answering)
    assert requests.waiting()
    told.broken = None
    await answered(commitments_of(tmp_path)[1])
    assert len(told) == 1


async def test_and_is_given_up_at_last(tmp_path, told, monkeypatch):
    monkeypatch.setattr(commitments, "PAUSES", (0.0, 0.0))
    requests, answering = commitments_of(tmp_path)
    requests.keep("STRANGER", asked("1.1"))
    for _ in range(3):
        assert requests.waiting()
        await answered(answering)
    assert not requests.waiting()
    assert not told


@pytest.mark.parametrize("known", [{}, {"1.2": Place("9", "9.1", arriving=True)}])
async def test_what_is_still_on_its_way_is_answered_later(tmp_path, told, monkeypatch, known):
    monkeypatch.setattr(commitments, "LOOK_AGAIN_SECONDS", 0.0)
    requests, answering = commitments_of(tmp_path, known=known)
    requests.keep("CT01", asked("1.2"))
    await answered(answering)
    assert not told
    assert requests.waiting()
    monkeypatch.setitem(ARCHIVE, ("9", "9.1"), frozenset({"1.2"}))
    known = {"1.2": Place("9", "9.1", arriving=True)}
    await answered(commitments_of(tmp_path, known=known)[1])
    assert uids(told[0][2], "ReferencedSOPSequence") == ["1.2"]


async def test_but_not_for_ever(tmp_path, told):
    requests, answering = commitments_of(tmp_path)
    requests.keep("CT01", asked("1.1", "1.4"))
    came(requests, commitments.PATIENCE_SECONDS - 60)
    await answered(answering)
    assert not told
    came(requests, commitments.PATIENCE_SECONDS + 1)
    await answered(commitments_of(tmp_path)[1])
    assert uids(told[0][2], "ReferencedSOPSequence") == ["1.1"]
    assert uids(told[0][2], "FailedSOPSequence") == ["1.4"]


async def test_what_is_complete_and_not_in_the_archive_is_said_at_once(tmp_path, told):
    requests, answering = commitments_of(tmp_path)
    requests.keep("CT01", asked("1.2"))
    await answered(answering)
    assert uids(told[0][2], "FailedSOPSequence") == ["1.2"]


async def test_where_instances_are_is_asked_once_for_a_request(tmp_path, told):
    calls = []

    class Known(dict):
        def __contains__(self, uid):
            calls.append(uid)
            return super().__contains__(uid)

    requests, answering = commitments_of(tmp_path, known=Known(KNOWN))
    requests.keep("CT01", asked("1.1", "1.2", "1.3"))
    await answered(answering)
    assert calls == ["1.1", "1.2", "1.3"]
    assert len(told) == 1


async def test_a_request_that_breaks_the_node_delays_no_other(tmp_path, told, monkeypatch):
    monkeypatch.setattr(commitments, "PAUSES", (0.0, 3600.0))
    requests, answering = commitments_of(tmp_path)

    def asker_of(*_):
        def ask(_, series):
            if series == "9.1":
                raise RuntimeError("a defect")
            return ARCHIVE["9", series]

        return ask

    monkeypatch.setattr(commitments, "asker_of", asker_of)
    requests.keep("CT01", CommitmentRequest("1.2.3.4", ((CT, "1.1"),)))
    for number in range(5):
        requests.keep("CT01", CommitmentRequest(f"1.2.3.4.{number}", ((CT, "1.3"),)))
    await answered(answering)
    assert len(told) == 5
    (left,) = requests.waiting()
    await answered(answering)
    assert answering._tried[left][0] == 2, "it was tried again, and has its pause"
    await answered(answering)
    assert answering._tried[left][0] == 2


async def test_a_peer_that_is_slow_holds_up_nothing_but_its_own_thread(tmp_path, told, monkeypatch):
    begun, gate = threading.Event(), threading.Event()
    plain = commitments.report_to

    def report_to(*arguments):
        begun.set()
        assert gate.wait(20)
        plain(*arguments)

    monkeypatch.setattr(commitments, "report_to", report_to)
    with ThreadPoolExecutor(1, thread_name_prefix="answers") as threads:
        requests, answering = commitments_of(tmp_path, threads=threads)
        for number in range(2):
            requests.keep("CT01", CommitmentRequest(f"1.2.3.4.{number}", ((CT, "1.1"),)))
        await answering.answer_due()
        task = answering._task
        await answering.answer_due()
        assert answering._task is task, "one at a time"
        assert await asyncio.to_thread(begun.wait, 20)
        stopping = asyncio.create_task(answering.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        gate.set()
        await stopping
    assert len(told) == len(requests.waiting()) == 1, "what had begun was brought to its end, and nothing else begun"
    assert all(name.startswith("answers") for name in told.threads)
    await answering.answer_due()
    assert answering._task is task, "nothing is begun any more"
