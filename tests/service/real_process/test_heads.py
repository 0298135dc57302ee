"""Request lines and headers over a real connection: too large, too slow, no HTTP, and what comes after them."""

from __future__ import annotations

import contextlib
import io
import json
import socket

import numpy as np
import pytest

from service.http_protocol import MAX_HEAD_BYTES

PATIENCE = 20.0
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server(start_server, published_once):
    with start_server(published_once.writable, None) as server:
        yield server


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    connection.settimeout(PATIENCE)
    found = b""
    while piece := connection.recv(65536):
        found += piece
    connection.close()
    return found


def problem_in(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["type"]


def is_alive(server) -> bool:
    return server.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        LIVE + b"A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        LIVE + b"A: " + b"a" * 2 * MAX_HEAD_BYTES,  # has no end
        LIVE + b"".join(b"A%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n" * MAX_HEAD_BYTES,
    ],
    ids=["one header", "endless", "many headers", "request line", "empty lines"],
)
def test_too_large(server, data):
    connection = server.raw(b"")
    with contextlib.suppress(OSError):  # it may be closed while we send
        connection.sendall(data)
    answer = read_all(connection)
    assert problem_in(answer) == (431, "/problems/head-too-large")
    assert is_alive(server)


def test_too_large_after_another(server):
    connection = server.raw(LIVE + b"\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    with contextlib.suppress(OSError):
        connection.sendall(LIVE + b"A: " + b"a" * 2 * MAX_HEAD_BYTES)
    assert problem_in(read_all(connection)) == (431, "/problems/head-too-large")


def test_just_not_too_large(server):
    with server.raw(LIVE + b"A: " + b"a" * (MAX_HEAD_BYTES - 200) + b"\r\nConnection: close\r\n\r\n") as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_a_large_body_is_no_large_head(server):
    body = bytes(2 * MAX_HEAD_BYTES)
    head = b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with server.raw(head + body) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 415")


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\nA b\r\n\r\n"]
)
def test_no_http(server, data):
    assert problem_in(read_all(server.raw(data))) == (400, "/problems/malformed-request")


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: other\r\n"], ids=["none", "two"])
def test_a_request_names_one_host(server, hosts):
    answer = read_all(server.raw(b"GET /v2/health/live HTTP/1.1\r\n" + hosts + b"\r\n"))
    assert problem_in(answer) == (400, "/problems/malformed-request")


def test_trailers_pass_for_no_headers_and_have_an_end(server):
    head = b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3\r\nabc\r\n0\r\nContent-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n\r\n"
    assert problem_in(read_all(server.raw(head + body))) == (415, "/problems/unsupported-body")
    connection = server.raw(head + b"3\r\nabc\r\n0\r\nA: ")
    with contextlib.suppress(OSError):
        connection.sendall(b"a" * 16 * MAX_HEAD_BYTES)
    answer = read_all(connection)
    assert answer.count(b"HTTP/1.1") == 1
    assert is_alive(server)


@pytest.mark.parametrize(
    "after", [LIVE + b"\r\n", b"nonsense", b"GET /" + b"a" * 100], ids=["another", "nonsense", "part"]
)
def test_what_comes_before_the_answer_waits_for_nothing(start, npy, after):
    """A request in progress is answered whole, whatever is sent behind it, and then the connection is closed."""
    with start() as server:
        connection = server.raw_upload(npy(np.zeros((4, 5), np.float32)))
        gate = server.open_gate()
        connection.sendall(after)
        gate.close()
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1
        assert np.load(io.BytesIO(answer.partition(b"\r\n\r\n")[2])).shape == (4, 5)


def test_two_lengths_are_refused(server):
    """A proxy might believe the other one (request smuggling, RFC 9112 section 6.3)."""
    for both in (b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"Content-Length: 3\r\nContent-Length: 4"):
        data = b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\n" + both + b"\r\n\r\n0\r\n\r\n"
        assert problem_in(read_all(server.raw(data)))[0] == 400


@pytest.mark.parametrize("whole", [True, False])
def test_who_asks_for_another_protocol_is_answered_in_this_one(server, whole):
    """As Java's client does with its first request."""
    head = (
        b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nContent-Length: 3\r\n\r\n"
    )
    connection = server.raw(head + b"abc" if whole else head)
    if not whole:
        connection.sendall(b"abc")
    answer = read_all(connection)
    assert problem_in(answer) == (415, "/problems/unsupported-body")
    assert is_alive(server)
