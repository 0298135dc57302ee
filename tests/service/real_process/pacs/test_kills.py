"""A PACS node that is killed at every step: what it acknowledged is delivered, once each and as it was made."""

from __future__ import annotations

import signal

import pytest

PATIENCE = 20.0
SERIES = "1.2.3.70"


def kill(server):
    """As the kernel does when memory is short."""
    server.process.kill()
    assert server.process.wait(PATIENCE) == -signal.SIGKILL


def deliveries(server):
    """Their states."""
    return [each["state"] for job in server.get("/v1/pacs/series").json()["series"] for each in job["deliveries"]]


def test_while_it_receives(node, kit):
    files = kit.series(24, SERIES)
    with node.serving() as server:
        sending = kit.Sending(node, files.values())
        server.until(lambda: len(sending.heard) > 3)
        kill(server)
        sending.join(PATIENCE)
    heard = set(sending.heard)
    assert 3 < len(heard) < len(files)
    assert heard <= {path.stem for path in node.there(f"series/{SERIES}/source/*.dcm")}
    with node.serving() as server:
        kit.check(node, server, {path.stem for path in node.there(f"series/{SERIES}/source/*.dcm")})
        node.send(files.values())  # the scanner tries again with all of it
        kit.check(node, server, files)
        series = {job["derived_series"] for job in server.get("/v1/pacs/series").json()["series"]}
        assert len(series) == 1


@pytest.mark.parametrize("node", [{"quiet": 2.0}], indirect=True)
def test_before_the_series_is_complete(node, kit):
    files = kit.series(4, SERIES)
    with node.serving() as server:
        node.send(files.values())
        kill(server)
    assert not node.there("series/*/jobs/*")
    with node.serving() as server:
        kit.check(node, server, files)


@pytest.mark.parametrize("passed", [0, 1, 4])
def test_while_it_restores(node, kit, passed):
    files = kit.series(5, SERIES)
    with node.serving(gated=True) as server:
        node.send(files.values())
        kit.pass_through(node, server, passed)
        with server.open_gate():  # it restores the next one
            kill(server)
    before = {path: path.read_bytes() for path in node.there("series/*/jobs/*/derived/*.dcm")}
    assert len(before) == passed
    with node.serving() as server:
        kit.check(node, server, files)
    assert {path: path.read_bytes() for path in before} == before


def test_before_it_delivers(node, kit):
    node.archive.stop()
    files = kit.series(4, SERIES)
    with node.serving() as server:
        node.send(files.values())
        server.until(lambda: bool(node.there("series/*/jobs/*/restored.json")))
        kill(server)
    assert not node.archive.stored
    node.archive.start()
    with node.serving() as server:
        kit.check(node, server, files)


def test_in_the_middle_of_a_delivery(node, kit):
    node.archive.hold_at(3)
    files = kit.series(5, SERIES)
    with node.serving() as server:
        node.send(files.values())
        server.until(lambda: node.archive.count == 3)
        kill(server)
    node.archive.go_on()
    with node.serving() as server:
        kit.check(node, server, files)
    # the third had been stored, and the node did not hear of it
    assert sorted(node.archive.attempts) == sorted([*files, f"{SERIES}.3"])


@pytest.mark.parametrize("node", [{"verify": "commitment", "verify_seconds": 120}], indirect=True)
def test_before_what_was_sent_is_verified(node, kit):
    node.archive.reports = False
    files = kit.series(4, SERIES)
    with node.serving() as server:
        node.send(files.values())
        server.until(lambda: len(node.archive.asked) == 1)
        kill(server)
    with node.serving() as server:
        assert node.archive.report(*node.archive.asked)
        kit.check(node, server, files)
        assert deliveries(server) == ["verified"]
    assert len(node.archive.attempts) == len(files)
    assert len(node.archive.asked) == 1


@pytest.mark.parametrize("node", [{"verify": "commitment", "verify_seconds": 4}], indirect=True)
def test_before_a_report_that_never_comes(node, kit):
    node.archive.reports = False
    files = kit.series(4, SERIES)
    with node.serving() as server:
        node.send(files.values())
        server.until(lambda: len(node.archive.asked) == 1)
        kill(server)
    node.archive.reports = True
    with node.serving() as server:
        kit.check(node, server, files)
        assert deliveries(server) == ["verified"]
    assert len(node.archive.attempts) == len(files)
    assert len(node.archive.asked) == 2


@pytest.mark.parametrize("node", [{"verify": "commitment", "verify_seconds": 12}], indirect=True)
def test_before_a_report_that_is_slower_than_the_next_question(node, kit):
    node.archive.reports = False
    files = kit.series(2, SERIES)
    with node.serving() as server:
        node.send(files.values())
        server.until(lambda: len(node.archive.asked) == 1)
        kill(server)
    with node.serving() as server:
        server.until(lambda: len(node.archive.asked) == 2)
        assert node.archive.report(next(iter(node.archive.asked)))
        kit.check(node, server, files)
        assert deliveries(server) == ["verified"]


def test_after_the_end(node, kit):
    files, kept = kit.series(3, SERIES), kit.series(2, "1.2.3.71", SeriesDescription="Kept for a while")
    mixed = [kit.series(1, "1.2.3.72", first=number, PatientID=f"P{number}") for number in (1, 2)]
    other = kit.series(1, SERIES, ImageComments="another content")
    ends = {"delivered": 3, "kept": 2, "failed": 2, "quarantined": 1}
    with node.serving() as server:
        node.send([data for each in (files, kept, *mixed, other) for data in each.values()])
        assert kit.settled(server, 8) == ends
        before = server.get("/v1/pacs/series").json()
        kill(server)
    with node.serving() as server:
        assert kit.settled(server, 8) == ends
        assert server.get("/v1/pacs/series").json() == before
        node.send(files.values())
        server.until(lambda: not node.there("arriving/*"))
        assert kit.settled(server, 8) == ends
    assert len(node.archive.attempts) == 3


STEPS = (
    "arriving/*",
    "series/*/source/*.dcm",
    "series/*/jobs/*/job.json",
    "series/*/jobs/*/derived/*.dcm",
    "series/*/jobs/*/derived/*.json",
    "series/*/jobs/*/restored.json",
    "series/*/jobs/*/deliveries/*.taken",
    "series/*/jobs/*/deliveries/*.json",
    "series/*/jobs/*/ended.json",
)
"""Files of the spool, in the order in which they come."""


@pytest.mark.parametrize("node", [{"verify": "commitment"}], indirect=True)
def test_one_series_with_a_kill_as_soon_as_each_file_is_there(node, kit):
    files = kit.series(6, SERIES)
    heard: set[str] = set()
    for step in STEPS:
        with node.serving() as server:
            sending = kit.Sending(node, [data for uid, data in files.items() if uid not in heard])
            server.until(lambda step=step: bool(node.there(step)))
            kill(server)
            sending.join(PATIENCE)
            heard |= set(sending.heard)
    with node.serving() as server:
        node.send(files.values())
        kit.check(node, server, files)
        assert set(deliveries(server)) == {"verified"}
