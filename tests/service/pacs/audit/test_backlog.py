"""Messages that wait: in order, bounded, counted when lost, and never in the way of the work."""

from __future__ import annotations

import threading
import time

import pytest
import structlog

from service.pacs.audit.backlog import Backlog
from service.pacs.audit.collector import Address
from service.pacs.audit.sinks import SyslogSink, Unsendable

SECONDS = 20


class FakeSink:
    """Keeps what it gets; fails with each of `failures`, and with `failure` while it has one; waits at a gate."""

    def __init__(self) -> None:
        self.got, self.failure, self.failures, self.closed = [], None, [], False
        self.gate, self.tried, self.taken = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
        self.gate.set()

    def write(self, record) -> None:
        self.tried.release()
        assert self.gate.wait(SECONDS)
        if self.failures:
            raise self.failures.pop()
        if self.failure is not None:
            raise self.failure
        self.got.append(record)
        self.taken.release()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def keep():
    """(sink, ...) -> a Backlog that is closed afterwards."""
    made = []

    def keep(sink, **arguments):
        made.append(Backlog(sink, **{"pauses": (0.001, 0.01), **arguments}))
        return made[-1]

    yield keep
    for each in made:
        each.close()


def wait_for(semaphore, count=1):
    for _ in range(count):
        assert semaphore.acquire(timeout=SECONDS)


def test_messages_leave_in_order(keep, record):
    sink = FakeSink()
    backlog = keep(sink)
    sent = [record(number) for number in range(100)]
    for each in sent:
        backlog.put(each)
    backlog.close()
    assert (sink.got, backlog.lost, backlog.waiting, sink.closed) == (sent, 0, 0, True)


def test_a_sink_that_fails_is_tried_again(keep, record):
    sink = FakeSink()
    sink.failure = OSError("down")
    with structlog.testing.capture_logs() as logs:
        backlog = keep(sink)
        sent = [record(1), record(2)]
        for each in sent:
            backlog.put(each)
        wait_for(sink.tried, 5)
        sink.failure = None
        wait_for(sink.taken, 2)
        backlog.close()
    assert sink.got == sent
    assert [(line["event"], line.get("reason")) for line in logs] == [("audit_waits", "down"), ("audit_goes_on", None)]
    assert "AuditMessage" not in str(logs)


def test_a_full_backlog_loses_the_newest_and_counts(keep, record):
    sink = FakeSink()
    sink.gate.clear()
    with structlog.testing.capture_logs() as logs:
        backlog = keep(sink, most=3)
        for number in range(10):
            backlog.put(record(number))
        assert (backlog.waiting, backlog.lost) == (3, 7)
        sink.gate.set()
        wait_for(sink.taken, 3)
        backlog.put(record(10))
        wait_for(sink.taken)
    assert sink.got == [record(0), record(1), record(2), record(10)]
    assert [line["lost"] for line in logs if line["event"] == "audit_lost"] == [1, 2, 4]


def test_a_sink_that_hangs_delays_nobody(keep, record):
    sink = FakeSink()
    sink.gate.clear()
    backlog = keep(sink)
    backlog.put(record(1))
    wait_for(sink.tried)
    backlog.put(record(2))
    began = time.monotonic()
    backlog.close(0.05)
    assert time.monotonic() - began < SECONDS / 2
    assert (backlog.lost, backlog.waiting) == (2, 0)
    sink.gate.set()


def test_close_does_not_wait_for_a_collector_that_is_down(keep, record):
    sink = FakeSink()
    sink.failure = OSError("down")
    backlog = keep(sink, pauses=(3600.0, 3600.0))
    backlog.put(record(1))
    wait_for(sink.tried)
    with structlog.testing.capture_logs() as logs:
        backlog.close(SECONDS)
        backlog.close()
        backlog.put(record(2))
    assert sink.closed
    assert backlog.lost == 2
    assert [line["lost"] for line in logs] == [1, 2]


def test_close_makes_a_last_attempt(keep, record):
    sink = FakeSink()
    sink.failure = OSError("down")
    backlog = keep(sink, pauses=(3600.0, 3600.0))
    backlog.put(record(1))
    wait_for(sink.tried)
    sink.failure = None
    backlog.close(SECONDS)
    assert (sink.got, backlog.lost) == ([record(1)], 0)


@pytest.mark.parametrize(("failure", "event"), [(Unsendable("too long"), "audit_unsendable"), (KeyError(), "defect")])
def test_what_can_never_be_sent_does_not_hold_up_the_rest(keep, record, failure, event):
    sink = FakeSink()
    sink.failures = [failure]
    with structlog.testing.capture_logs() as logs:
        backlog = keep(sink)
        backlog.put(record(1))
        backlog.put(record(2))
        wait_for(sink.taken)
    assert (sink.got, backlog.lost) == ([record(2)], 1)
    assert event in [line["event"] for line in logs]


def test_a_real_collector_is_down_and_comes_back(keep, record, collect):
    collector = collect(listening=False)
    sink = SyslogSink(Address("tcp", "127.0.0.1", collector.port), host="ct")
    failed = threading.Event()

    class Watched:
        def write(self, record) -> None:
            try:
                sink.write(record)
            except OSError:
                failed.set()
                raise

        def close(self) -> None:
            sink.close()

    backlog = keep(Watched())
    for number in range(5):
        backlog.put(record(number))
    assert failed.wait(SECONDS)
    collector.listen()
    got = [collector.got.get(timeout=SECONDS) for _ in range(5)]
    assert [each.partition(b"\xef\xbb\xbf")[2] for each in got] == [record(number).xml for number in range(5)]
    assert backlog.lost == 0
