"""What is asked on the command line is done or refused, and who asked gets to know which."""

from __future__ import annotations

import os
import time

import pytest

from service.pacs.requests import UNREAD_SECONDS, AdminRequest, AdminRequests

ASKED = AdminRequest("requeue", "a" * 32)


@pytest.fixture
def requests(tmp_path):
    return AdminRequests(tmp_path)


def test_what_has_been_done_has_no_refusal(requests):
    place = requests.put(ASKED)
    assert requests.waiting() == [(place, ASKED)]
    place.unlink()
    assert requests.refusal(place) is None


def test_the_reason_of_a_refusal_is_told_once(requests, tmp_path):
    place = requests.put(ASKED)
    requests.refuse(place, "the disk is full: \u00e4")
    assert not place.exists()
    assert requests.waiting() == []
    assert requests.refusal(place) == "the disk is full: \u00e4"
    assert requests.refusal(place) is None
    assert not list(tmp_path.rglob("*.refused"))


def test_a_reason_that_nobody_reads_goes_at_last(requests):
    places = [requests.put(ASKED) for _ in range(3)]
    requests.refuse(places[0], "old")
    requests.refuse(places[1], "newer")
    old = places[0].with_suffix(".refused")
    os.utime(old, (time.time() - UNREAD_SECONDS - 1,) * 2)
    requests.refuse(places[2], "new")
    assert [requests.refusal(place) for place in places] == [None, "newer", "new"]
