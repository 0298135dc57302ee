"""A PACS node that runs on while the PACS does not, and while several senders come at once."""

from __future__ import annotations

import httpx
import pytest

from service.pacs.record import Delivery

PATIENCE = 20.0


class Busy:
    """One node and one server for all tests of this file; `ends` says how all that was sent ends."""

    def __init__(self, node, server, kit):
        self.node, self.server, self.archive, self._kit = node, server, node.archive, kit
        self.ends = {}

    def send(self, files, *, end="delivered"):
        """In one association; all of it is acknowledged."""
        self.node.send(files.values())
        self.ends |= dict.fromkeys(files, end)

    def check(self):
        """As `kit.check`, of all that was ever sent."""
        self._kit.check(self.node, self.server, self.ends)

    def job(self, series):
        """What the node says of the newest job of a series; empty: nothing yet."""
        told = self.server.get("/v1/pacs/series").json()["series"]
        return next((job for job in told if job["series"] == series), {})

    def delivery(self, series):
        """Of the newest job of a series."""
        return next(iter(self.job(series).get("deliveries", [])), Delivery(peer="archive").model_dump())

    def post(self, path):
        """Something that an administrator asks."""
        return httpx.post(self.server.url + path, timeout=PATIENCE)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, start_server, published_once, kit):
    """The node, its server and its archive."""
    node = kit.Node(tmp_path_factory.mktemp("node"), start_server, published_once.writable, timeout=1)
    node.archive.start()
    with node.serving() as server:
        yield Busy(node, server, kit)
    node.archive.stop()


@pytest.fixture
def busy(shared):
    """The same; the archive does nothing out of the ordinary, before and after."""
    yield shared
    shared.archive.refuses = set()
    shared.archive.go_on()


def test_two_series_of_one_study_in_turns(busy, kit):
    first, second = kit.series(4, "1.2.3.1"), kit.series(4, "1.2.3.2")
    turns = [pair for both in zip(first.items(), second.items(), strict=True) for pair in both]
    busy.send(dict(turns))
    busy.check()
    jobs = [busy.job("1.2.3.1"), busy.job("1.2.3.2")]
    assert [job["instances"] for job in jobs] == [4, 4]
    assert {job["study"] for job in jobs} == {"1.2.3"}
    assert jobs[0]["derived_series"] != jobs[1]["derived_series"]


def test_five_associations_at_once(busy, kit):
    together = list(kit.series(10, "1.2.3.3").items())
    own = [kit.series(3, f"1.2.3.3{number}") for number in range(5)]
    parts = [{**files, **dict(together[number::5])} for number, files in enumerate(own)]
    sendings = [kit.Sending(busy.node, files.values()) for files in parts]
    for sending, files in zip(sendings, parts, strict=True):
        sending.join(PATIENCE)
        assert sending.heard == list(files)
        busy.ends |= dict.fromkeys(files, "delivered")
    busy.check()
    assert busy.job("1.2.3.3")["instances"] == 10
    assert not busy.job("1.2.3.3")["revision"]


def test_a_pacs_that_is_down_for_a_while(busy, kit):
    busy.archive.stop()
    try:
        busy.send(kit.series(3, "1.2.3.4"))
        busy.server.until(lambda: busy.delivery("1.2.3.4")["attempts"] >= 2)
        told = busy.delivery("1.2.3.4")
        assert told["state"] == "waiting"
        assert "cannot be reached" in told["reason"]
    finally:
        busy.archive.start()
    busy.check()
    assert busy.delivery("1.2.3.4") == {"peer": "archive", "state": "delivered", "attempts": 0}


def test_a_pacs_that_does_not_answer_in_time(busy, kit):
    files = kit.series(4, "1.2.3.5")
    busy.archive.hold_at(busy.archive.count + 2)
    busy.send(files)
    busy.server.until(lambda: busy.delivery("1.2.3.5")["attempts"] >= 1)
    assert "did not answer within 1 s" in busy.delivery("1.2.3.5")["reason"]
    busy.archive.go_on()
    busy.check()
    attempts = [uid for uid in busy.archive.attempts if uid in files]
    assert attempts.count("1.2.3.5.1") == 1
    assert attempts.count("1.2.3.5.2") >= 2


def test_an_instance_that_is_never_taken_and_makes_no_loop(busy, kit):
    files = kit.series(4, "1.2.3.6")
    busy.archive.refuses = {"1.2.3.6.3"}
    busy.send(files, end="dead")
    busy.check()
    assert "1 of 4 instances, as number 3: C000H" in busy.delivery("1.2.3.6")["reason"]
    associations = busy.archive.associations
    busy.send(kit.series(2, "1.2.3.7"))  # while that is delivered, a loop would have gone round
    busy.check()
    assert busy.archive.associations == associations + 1
    requeue = f"/v1/pacs/series/{busy.job('1.2.3.6')['id']}/requeue"
    assert busy.post(requeue).status_code == 202
    busy.server.until(lambda: busy.archive.attempts.count("1.2.3.6.3") == 2)
    busy.check()
    busy.archive.refuses = set()
    assert busy.post(requeue).status_code == 202
    busy.ends |= dict.fromkeys(files, "delivered")
    busy.check()
    attempts = [uid for uid in busy.archive.attempts if uid in files]
    assert sorted(attempts) == sorted([*files, "1.2.3.6.3", "1.2.3.6.3"])
