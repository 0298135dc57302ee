"""A real server of the shipped models, and a proxy before it.

serving(folder, CLEARSLICE_SETTING=value) -> context with its URL      proxy(url, prefix) -> context with another
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

PATIENCE_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(folder, **settings):
    """A ready server of the shipped models; its URL."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLEARSLICE_")}
    environment |= {"CLEARSLICE_PORT": str(port), "CLEARSLICE_SPOOL": str(folder / "spool"), **settings}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "clearslice.main", "serve"], env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + PATIENCE_S
        while not _ready(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "the server never became ready"
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _ready(url):
    try:
        return httpx.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def proxy(server, prefix="/"):
    """A proxy that takes a prefix off the path: its URL, and how many of the next answers to a path it cuts off."""
    cut = {}

    class Handler(BaseHTTPRequestHandler):
        def forward(self):
            assert self.path.startswith(prefix), self.path
            path = f"/{self.path.removeprefix(prefix)}"
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in {"connection", "origin"}}
            answer = httpx.request(self.command, server + path, content=body, headers=kept, timeout=PATIENCE_S)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in {"content-length", "connection", "date"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            broken = cut.get(path, 0) > 0
            cut[path] = cut.get(path, 0) - 1
            self.wfile.write(answer.content[: len(answer.content) // 2] if broken else answer.content)

        do_GET = forward  # noqa: N815 - as the base class calls them
        do_POST = forward  # noqa: N815

        def log_message(self, *_):
            """Says nothing."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_port}{prefix}", cut
    finally:
        made.shutdown()
        thread.join()
        made.server_close()
