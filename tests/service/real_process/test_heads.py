"""Request lines and headers over a real connection: too large, no HTTP, and what comes after them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
from collections import Counter

import numpy as np
import pytest

PATIENCE = 20.0
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n"
LARGE = 128 * 1024


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


def problem(answer: bytes) -> dict[str, str | int]:
    """What an answer's body says."""
    document: dict[str, str | int] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return document


def is_alive(server) -> bool:
    return server.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        LIVE + b"A: " + b"a" * LARGE,  # has no end
        LIVE + b"".join(b"A%d: a\r\n" % number for number in range(20_000)),
        b"GET /" + b"a" * LARGE,
    ],
    ids=["one header", "many headers", "request line"],
)
def test_too_large(server, data):
    """It ends at once, and holds nothing; what is still being sent may reset the connection before anything is read."""
    connection = server.raw(b"")
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)
        if answer := read_all(connection):
            assert answer.startswith(b"HTTP/1.1 431")
            assert problem(answer)["type"] == "/problems/head-too-large"
    connection.close()
    assert is_alive(server)


@pytest.mark.parametrize("data", [LIVE + b"A: " + b"a" * 20_000, b"GET /" + b"a" * 20_000])
def test_too_large_is_told_once_all_is_read(server, data):
    answer = read_all(server.raw(data))
    assert answer.startswith(b"HTTP/1.1 431")
    assert problem(answer)["type"] == "/problems/head-too-large"


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"Doe^Jane", b"chunked\r\nTransfer-Encoding: chunked"])
def test_a_coding_that_is_not_read_is_told(server, coding):
    answer = read_all(server.raw(LIVE + b"Transfer-Encoding: " + coding + b"\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 501")
    assert problem(answer)["type"] == "/problems/unknown-coding"
    assert b"Doe" not in answer


CHUNKED = b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"Doe^Jane\r\n\r\n", "illegal request line"),
        (b"GET / HTTP/1.1\r\nDoe^Jane\r\n\r\n", "illegal header line"),
        (LIVE + b"Content-Length: Doe^Jane\r\n\r\n", "bad Content-Length"),
        (CHUNKED + b"3\r\nabcDoe^Jane", "malformed chunk footer"),
        (CHUNKED + b"Doe^Jane\r\n", "illegal chunk header"),
    ],
)
def test_no_http(server, data, reason):
    """What is told is what is wrong, and nothing of what was sent."""
    answer = read_all(server.raw(data))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert b"\r\ncontent-type: application/problem+json\r\n" in answer.lower()
    assert problem(answer) == {
        "type": "/problems/malformed-request",
        "title": "The request is no HTTP",
        "status": 400,
        "detail": f"this is no HTTP/1.1 request: {reason}",
    }
    assert is_alive(server)


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (b"nonsense\r\n\r\n", 'method="any",route="unrouted",status="400"'),
        (b"GET /" + b"a" * 20_000, 'method="any",route="unrouted",status="431"'),
        (CHUNKED + b"nonsense\r\n", 'method="POST",route="/v1/metrics",status="415"'),
    ],
)
def test_what_is_no_request_is_counted_once(server, data, labels):
    """By the app, where it was asked."""

    def figures() -> Counter[str]:
        found = re.findall(r"^clearslice_requests_total\{(.+)\} (.+)$", server.get("/metrics").text, re.MULTILINE)
        return Counter({key: int(float(value)) for key, value in found if '"/metrics"' not in key})

    before = figures()
    read_all(server.raw(data))
    server.until(lambda: figures() != before)
    assert figures() - before == {labels: 1}


@pytest.mark.parametrize(("path", "kind"), [(b"/v1/metrics", "problem+json"), (b"/v2/models/m/infer", "json")])
@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
def test_a_body_that_breaks_off_is_answered_as_its_part_of_the_interface_has_it(server, path, kind, method):
    answer = read_all(server.raw(CHUNKED.replace(b"/v1/metrics", path).replace(b"POST", method) + b"nonsense\r\n"))
    assert answer.startswith(b"HTTP/1.1 400")
    assert f"content-type: application/{kind}\r\n".encode() in answer.lower()
    body = answer.partition(b"\r\n\r\n")[2]
    assert body == b"" if method == b"HEAD" else b"illegal chunk header" in body


def test_two_lengths_are_refused(server):
    """A proxy might believe the other one (request smuggling, RFC 9112 section 6.3)."""
    data = b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
    assert read_all(server.raw(data)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: other\r\n"], ids=["none", "two"])
def test_a_request_names_one_host(server, hosts):
    answer = read_all(server.raw(b"GET /v2/health/live HTTP/1.1\r\n" + hosts + b"\r\n"))
    assert answer.startswith(b"HTTP/1.1 400")


def test_trailers_pass_for_no_headers(server):
    head = b"POST /v1/metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3\r\nabc\r\n0\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
    answer = read_all(server.raw(head + body))
    assert answer.startswith(b"HTTP/1.1 415")


@pytest.mark.parametrize("after", [LIVE + b"\r\n", b"nonsense\r\n\r\n", b"GET /" + b"a" * 100])
def test_a_request_in_progress_is_answered_whatever_is_sent_behind_it(start, npy, after):
    with start() as server:
        connection = server.raw_upload(npy(np.zeros((4, 5), np.float32)))
        gate = server.open_gate()
        connection.sendall(after)
        gate.close()
        connection.settimeout(PATIENCE)
        file = connection.makefile("rb")
        assert file.readline().startswith(b"HTTP/1.1 200")
        length = 0
        while (line := file.readline().lower()) != b"\r\n":
            name, _, value = line.partition(b": ")
            length = int(value) if name == b"content-length" else length
        assert np.load(io.BytesIO(file.read(length))).shape == (4, 5)
        file.close()
        connection.close()


@pytest.mark.parametrize("whole", [True, False])
def test_who_asks_for_another_protocol_is_answered_in_this_one(start, npy, whole):
    """As Java's client does with its first request; the body counts."""
    image = npy(np.zeros((4, 5), np.float32))
    upgrade = b"HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"
    with start() as server:
        request = upload(image).replace(b"HTTP/1.1\r\n", upgrade, 1)
        connection = server.raw(request if whole else request[:-50])
        if not whole:
            connection.sendall(request[-50:])
        server.open_gate().close()
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def upload(image: bytes) -> bytes:
    parts = ((b"image", image), (b"rescale_slope", b"1"), (b"rescale_intercept", b"0"))
    body = b"".join(b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % part for part in parts)
    body += b"--b--\r\n"
    head = b"POST /v1/reconstructions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
