"""`python -m clearslice.health` against small real servers, as the container's health check runs it."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from clearslice.health import address_of

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - what the server is told to bind, not bound here


@contextmanager
def answering(status, body=b""):
    """A server that gives one answer to everything; yields its port and the paths it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Host"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def check(port, host):
    environment = {**os.environ, "CLEARSLICE_HOST": host, "CLEARSLICE_PORT": str(port)}
    return subprocess.run(
        [sys.executable, "-m", "clearslice.health"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("host", [EVERY_ADDRESS, "127.0.0.1", "localhost", ""])
def test_ready_is_healthy_and_loopback_is_asked_whatever_is_bound(host):
    with answering(200, b'{"ready":true}') as (port, asked):
        done = check(port, host)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path for path, _ in asked] == ["/v2/health/ready"]


def test_a_server_on_every_ipv6_address_is_asked_by_ipv6():
    assert address_of("::") == address_of("[::]") == "::1"  # it does not listen on 127.0.0.1
    assert address_of("192.0.2.1") == "192.0.2.1"


def test_not_ready_is_unhealthy_and_says_why():
    with answering(503, b'{"ready":false,"reason":"the models are being loaded"}') as (port, _):
        done = check(port, EVERY_ADDRESS)
    assert done.returncode == 1
    assert "503" in done.stderr
    assert "the models are being loaded" in done.stderr


def test_no_server_is_unhealthy():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, nobody answers
        done = check(probe.getsockname()[1], "127.0.0.1")
    assert done.returncode == 1
    assert "no answer from port" in done.stderr


def test_it_loads_nothing_heavy():
    program = "import sys, clearslice.health; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pydantic", "typer", "fastapi", "tensorflow"} & set(loaded)
