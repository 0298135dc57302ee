"""WADO-RS: instances as DICOM files, one at a time and bounded."""

from __future__ import annotations

import pytest

from service.pacs.peers import PeerRefused, PeerUnavailable


def test_instances_are_fetched_one_by_one(web, slices):
    files = {f"1.2.3.4.{number}": path.read_bytes() for number, path in enumerate(slices(3), 1)}
    with web.serving(web.archive_with({uid: web.multipart(data) for uid, data in files.items()})) as (peer, requests):
        assert list(peer.fetch(web.STUDY, web.SERIES)) == list(files.values())
    asked = [request for request in requests if request.path.endswith("/instances/1.2.3.4.2")]
    assert [request.headers["Accept"] for request in asked] == [
        'multipart/related; type="application/dicom"; transfer-syntax=*'
    ]


def test_what_an_instance_may_hold_does_not_end_it(web):
    data = b"\r\n\r\n--xy\r\n--\r\n\r\n"
    with web.serving(web.archive_with({"1.2": web.multipart(data)})) as (peer, _):
        assert list(peer.fetch(web.STUDY, web.SERIES)) == [data]


def test_a_preamble_and_quotes_are_borne(web):
    body = b"This is a preamble\r\n" + web.multipart(b"data", end=b"--xyz--\r\nan epilogue")
    kind = web.MULTIPART.replace("=xyz", '="xyz"').replace("multipart/related", "Multipart/Related")
    with web.serving(web.archive_with({"1.2": lambda h: web.reply(h, kind, body)})) as (peer, _):
        assert list(peer.fetch(web.STUDY, web.SERIES)) == [b"data"]


def test_an_instance_without_multipart(web):
    with web.serving(web.archive_with({"1.2": lambda h: web.reply(h, "application/dicom", b"data")})) as (peer, _):
        assert list(peer.fetch(web.STUDY, web.SERIES)) == [b"data"]


MULTIPART = 'multipart/related; type="application/dicom"; boundary=xyz'
PART = b"--xyz\r\nContent-Type: application/dicom\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "body", "error", "text"),
    [
        ("text/html", b"<html>", PeerUnavailable, "something else"),
        ("multipart/related", PART + b"data\r\n--xyz--", PeerUnavailable, "something else"),
        (MULTIPART, b"", PeerUnavailable, "broke off"),
        (MULTIPART, b"--xyz--", PeerUnavailable, "broke off"),
        (MULTIPART, b"no part at all\r\n\r\n", PeerUnavailable, "broke off"),
        (MULTIPART, PART + b"data\r\n", PeerUnavailable, "broke off"),
        (MULTIPART, PART + b"data\r\n--xyz", PeerUnavailable, "broke off"),
        (MULTIPART, PART + b"one\r\n" + PART + b"two\r\n--xyz--", PeerRefused, "several instances"),
    ],
)
def test_instances_that_are_something_else(web, kind, body, error, text):
    answer = web.archive_with({"1.2": lambda connection: web.reply(connection, kind, body)})
    with web.serving(answer) as (peer, _), pytest.raises(error, match=text):
        list(peer.fetch(web.STUDY, web.SERIES))


@pytest.mark.parametrize("stated", [True, False])
def test_an_instance_is_no_larger_than_agreed(web, stated):
    body = web.multipart(b"x" * 1000)
    whole = (
        (lambda h: web.reply(h, web.MULTIPART, body)) if stated else web.chunked(body, headers=b"Content-Type: a/b\r\n")
    )
    with (
        web.serving(web.archive_with({"1.2": whole})) as (peer, _),
        pytest.raises(PeerRefused, match="more than 500 bytes"),
    ):
        list(peer.fetch(web.STUDY, web.SERIES, max_bytes=500))


def test_an_instance_that_is_gone_meanwhile(web):
    def gone(connection):
        connection.send_response(404)
        connection.send_header("Content-Length", "0")
        connection.end_headers()

    with web.serving(web.archive_with({"1.2": gone})) as (peer, _), pytest.raises(PeerRefused, match="answers 404"):
        list(peer.fetch(web.STUDY, web.SERIES))
