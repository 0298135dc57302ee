"""DICOMweb peers that do not answer, drip, break off, or speak something else."""

from __future__ import annotations

import threading

import pytest

from service.pacs.configuration import Peer
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.peers.dicomweb import WebPeer


def test_nobody_listens():
    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        WebPeer("pacs", Peer(url="http://127.0.0.1:1/")).echo()


def test_a_peer_that_never_answers(web, slices, told):
    over = threading.Event()
    with web.serving(lambda _: lambda _: over.wait(web.PATIENCE), timeout_seconds=web.SHORT) as (peer, _):
        for ask in (peer.echo, lambda: peer.send(slices(1), told)):
            with pytest.raises(PeerUnavailable, match="did not answer in time"):
                ask()
        over.set()
    assert not told


def test_an_answer_that_drips_is_given_up(web):
    over = threading.Event()

    def drip(connection):
        connection.send_response(200)
        connection.send_header("Content-Type", "application/dicom+json")
        connection.send_header("Content-Length", "100000")
        connection.end_headers()
        while not over.wait(web.SHORT / 6):
            connection.wfile.write(b" ")

    with web.serving(lambda _: drip, timeout_seconds=web.SHORT) as (peer, _):
        with pytest.raises(PeerUnavailable, match="answers too slowly"):
            peer.instances(web.STUDY, web.SERIES)
        over.set()


@pytest.mark.parametrize("garbage", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[]"])
def test_garbage_and_answers_that_are_cut_off(web, garbage):
    with (
        web.serving(lambda _: lambda connection: connection.wfile.write(garbage)) as (peer, _),
        pytest.raises(PeerUnavailable, match="broke off"),
    ):
        peer.instances(web.STUDY, web.SERIES)


def test_chunked_answers(web):
    pages = [web.listed("1.2", "1.3"), b"[]"]
    with web.serving(lambda _: web.chunked(*(bytes([byte]) for byte in pages.pop(0)))) as (peer, _):
        assert peer.instances(web.STUDY, web.SERIES) == {"1.2", "1.3"}


def test_chunked_answers_that_are_cut_off(web):
    with (
        web.serving(lambda _: web.chunked(b"[]", end=b"")) as (peer, _),
        pytest.raises(PeerUnavailable, match="broke off"),
    ):
        peer.instances(web.STUDY, web.SERIES)


def test_compressed_answers_are_not_inflated(web):
    with (
        web.serving(web.always(200, {**web.JSON, "Content-Encoding": "gzip"}, b"\x1f\x8b")) as (peer, _),
        pytest.raises(PeerRefused, match="compresses its answers"),
    ):
        peer.instances(web.STUDY, web.SERIES)
