"""QIDO-RS: which instances and series a peer has, however it pages."""

from __future__ import annotations

import json

import pytest

from service.pacs.configuration import Peer
from service.pacs.peers import PeerError, PeerRefused
from service.pacs.peers.dicomweb import WebPeer

UIDS = [f"1.2.3.{number}" for number in range(1, 26)]


@pytest.mark.parametrize(("page", "limit"), [(1000, None), (10, None), (5, None), (25, None), (1000, 7)])
def test_pages_to_the_end(web, monkeypatch, page, limit):
    monkeypatch.setattr("service.pacs.peers.dicomweb.PAGE", page)
    with web.serving(web.archive_of(UIDS, limit=limit)) as (peer, requests):
        assert peer.instances(web.STUDY, web.SERIES) == set(UIDS)
    assert {request.path for request in requests} == {"/dicom-web/studies/1.2.3/series/1.2.3.4/instances"}


def test_a_peer_that_ignores_limit_and_offset(web, monkeypatch):
    monkeypatch.setattr("service.pacs.peers.dicomweb.PAGE", 10)
    with web.serving(web.always(200, web.JSON, web.listed(*UIDS))) as (peer, _):
        assert peer.instances(web.STUDY, web.SERIES) == set(UIDS)


def test_a_peer_that_ignores_the_offset_only_is_found_out(web, monkeypatch):
    monkeypatch.setattr("service.pacs.peers.dicomweb.PAGE", 10)
    with (
        web.serving(web.archive_of(UIDS, offset=False)) as (peer, _),
        pytest.raises(PeerRefused, match="ignores the offset"),
    ):
        peer.instances(web.STUDY, web.SERIES)


@pytest.mark.parametrize(("status", "body"), [(204, b""), (200, b"[]"), (200, b"")])
def test_nothing_is_there(web, status, body):
    with web.serving(web.always(status, web.JSON, body)) as (peer, _):
        assert peer.instances(web.STUDY, web.SERIES) == frozenset()


def test_a_peer_that_never_ends(web, monkeypatch):
    monkeypatch.setattr("service.pacs.peers.dicomweb.MAX_INSTANCES", 50)

    def answer(request):
        begin = int(request.query["offset"])
        return 200, web.JSON, web.listed(*(f"1.{number}" for number in range(begin, begin + 20)))

    with web.serving(answer) as (peer, _), pytest.raises(PeerRefused, match="more than 50"):
        peer.instances(web.STUDY, web.SERIES)


@pytest.mark.parametrize("body", [b"{}x", b"<html>", b'{"a": 1}', b"[7]", b"[{}]", b"7"])
def test_lists_of_something_else(web, body):
    with web.serving(web.always(200, web.JSON, body)) as (peer, _), pytest.raises(PeerError, match="something else"):
        peer.instances(web.STUDY, web.SERIES)


@pytest.mark.parametrize("uid", ["../../etc", "1" * 65, "", 7, None])
def test_lists_of_what_are_no_uids(web, uid):
    with (
        web.serving(web.always(200, web.JSON, web.listed(uid))) as (peer, _),
        pytest.raises(PeerError, match="something else"),
    ):
        peer.instances(web.STUDY, web.SERIES)


def test_an_answer_without_an_end(web, monkeypatch):
    monkeypatch.setattr("service.pacs.peers.web.MAX_JSON_BYTES", 1000)
    with (
        web.serving(web.always(200, web.JSON, b" " * 2000)) as (peer, _),
        pytest.raises(PeerRefused, match="more than 1000 bytes"),
    ):
        peer.instances(web.STUDY, web.SERIES)


@pytest.mark.parametrize("uid", ["", "..", "1.2/3", "1.2?x", "a", "1" * 65])
def test_what_is_no_uid_is_not_asked_for(uid):
    peer = WebPeer("pacs", Peer(url="http://127.0.0.1:1/"))
    for ask in (peer.instances, lambda study, series: list(peer.fetch(study, series)), peer.find_series):
        with pytest.raises(ValueError, match="is no UID"):
            ask("1.2", uid)


def rows(*pairs):
    def row(study, series):
        return {"0020000D": {"vr": "UI", "Value": [study]}, "0020000E": {"vr": "UI", "Value": [series]}}

    return json.dumps([row(*pair) for pair in pairs]).encode()


def test_a_series_is_found_by_its_uid(web):
    with web.serving(web.always(200, web.JSON, rows(("1.1", "1.1.2"), ("1.5", "1.5.1")))) as (peer, requests):
        assert peer.find_series(series="1.5.1") == [("1.5", "1.5.1")]
    assert requests[0].path == "/dicom-web/series"
    assert requests[0].query["SeriesInstanceUID"] == "1.5.1"
    assert requests[0].query["includefield"] == "0020000D"


def test_the_series_of_a_study(web):
    with web.serving(web.always(200, web.JSON, web.listed("1.1.3", "1.1.2", tag="0020000E"))) as (peer, requests):
        assert peer.find_series(study="1.1") == [("1.1", "1.1.2"), ("1.1", "1.1.3")]
        assert peer.find_series("1.1", "1.1.2") == [("1.1", "1.1.2")]
    assert {request.path for request in requests} == {"/dicom-web/studies/1.1/series"}


def test_a_series_of_nothing():
    with pytest.raises(ValueError, match="needs the UID"):
        WebPeer("pacs", Peer(url="http://127.0.0.1:1/")).find_series()
