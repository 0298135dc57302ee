"""A real uvicorn process on a free loopback port: draining, endless and slow bodies, clients that break off."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
PATIENCE = 20.0
"""Seconds after which a test fails instead of waiting on."""


class Server:
    """The process, its port, and the gate that its model waits at."""

    def __init__(self, process: subprocess.Popen[str], port: int, gate: Path) -> None:
        self.process, self.port, self.gate = process, port, gate
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE)

    def accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
        except OSError:
            return False
        return True

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        connection.sendall(data)
        return connection


@pytest.fixture
def start(published, tmp_path):
    """start(SETTING=value) -> context with a `Server` that is ready."""

    @contextmanager
    def starting(**settings: str) -> Iterator[Server]:
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        environment = {**os.environ, **{f"CLEARSLICE_{name.upper()}": value for name, value in settings.items()}}
        command = [sys.executable, str(Path(__file__).with_name("fake_server.py")), str(published.writable), str(gate)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as process:
            try:
                assert process.stdout is not None
                server = Server(process, int(process.stdout.readline()), gate)
                until(lambda: server.accepts() and server.get("/v2/health/ready").status_code == 200)
                yield server
            finally:
                process.kill()

    return starting


def until(condition) -> None:
    """Waits for a condition that another process brings about."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition never came true"


class Posting(threading.Thread):
    """A request in the background."""

    def __init__(self, server: Server, image: bytes) -> None:
        super().__init__(daemon=True)
        self.server, self.image = server, image
        self.answer: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        self.answer = httpx.post(
            f"{self.server.url}/v1/reconstructions", files={"image": self.image}, data=HU, timeout=PATIENCE
        )


def test_sigterm_loses_no_accepted_request(start, npy):
    image = npy(np.arange(12, dtype=np.float32).reshape(3, 4))
    with start() as server:
        posting = Posting(server, image)
        gate = server.gate.open("wb")  # returns when the model has begun
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not server.accepts())
        assert server.process.poll() is None
        gate.close()
        posting.join(PATIENCE)
        assert posting.answer is not None
        assert posting.answer.status_code == 200
        assert posting.answer.content == image
        assert server.process.wait(PATIENCE) == 0


def test_the_drain_time_bounds_the_end(start, npy):
    with start(drain_seconds="1") as server:
        image = npy(np.zeros((3, 4), np.float32))
        connection = server.raw(request_of(image))
        with server.gate.open("wb"):
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 0
            assert time.monotonic() - begin < 10
        connection.close()


def request_of(image: bytes, *, length: int | None = None) -> bytes:
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + image + b"\r\n"
    for name, value in HU.items():
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    body += b"--b--\r\n"
    head = (
        "POST /v1/reconstructions HTTP/1.1\r\nHost: test\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def test_endless_slow_and_broken_bodies(start):
    with start(max_upload_bytes="100000", upload_timeout="0.3", max_requests="4") as server:

        def endless() -> Iterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
            for _ in range(1000):
                yield b"x" * 1000

        chunked = httpx.post(
            f"{server.url}/v1/reconstructions",
            content=endless(),
            headers={"content-type": "multipart/form-data; boundary=b"},
            timeout=PATIENCE,
        )
        assert chunked.status_code == 413
        assert chunked.json()["setting"] == "CLEARSLICE_MAX_UPLOAD_BYTES"

        # promises more than it sends, and stays connected: the time for uploads ends it
        slow = server.raw(request_of(b"abc", length=5000)[:-20])
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
        slow.close()

        # promises more than it sends, and leaves: more often than there are places
        for _ in range(8):
            server.raw(request_of(b"abc", length=5000)[:-20]).close()
        until(lambda: post_nonsense(server).status_code == 400)
        until(lambda: 'route="/v1/reconstructions",status="499"' in server.get("/metrics").text)

        nonsense = server.raw(b"POST /v1/reconstructions HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n")
        assert nonsense.recv(100).startswith(b"HTTP/1.1 400")
        nonsense.close()

        assert post_nonsense(server).headers["content-type"] == "application/problem+json"


def test_head_gives_the_headers_alone(start):
    with start() as server:
        for path in ("/v2/health/ready", "/v1/models", "/"):
            head, get = httpx.head(server.url + path), server.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == get.headers["content-length"]
        assert httpx.head(f"{server.url}/v1/reconstructions").status_code == 405


def post_nonsense(server: Server) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/reconstructions", files={"image": b"nonsense"}, timeout=PATIENCE)
