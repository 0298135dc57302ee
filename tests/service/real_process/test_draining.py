"""Draining on SIGTERM, and HEAD: what the server process does around the app."""

from __future__ import annotations

import signal
import threading
import time

import httpx
import numpy as np

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
PATIENCE = 20.0


class Posting(threading.Thread):
    """A request in the background."""

    def __init__(self, server, image: bytes) -> None:
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
        gate = server.open_gate()  # returns when the model has begun
        server.process.send_signal(signal.SIGTERM)
        server.until(lambda: not server.accepts())
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
        connection = server.raw_upload(image)
        with server.open_gate():
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 0
            assert time.monotonic() - begin < 10
        connection.close()


def test_head_gives_the_headers_alone(start):
    with start() as server:
        for path in ("/v2/health/ready", "/v1/models", "/"):
            head, get = httpx.head(server.url + path), server.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == get.headers["content-length"]
        assert httpx.head(f"{server.url}/v1/reconstructions").status_code == 405
