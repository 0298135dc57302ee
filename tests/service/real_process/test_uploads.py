"""Bodies over a real connection: endless, slow, cut off, too large, and never written to a disk."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
TYPE = "multipart/form-data; boundary=b"
HEAD = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
PATIENCE = 20.0


def post_nonsense(server) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/reconstructions", files={"image": b"nonsense"}, timeout=PATIENCE)


def test_endless_slow_and_broken_bodies(start):
    with start(max_upload_bytes="100000", upload_timeout="0.3", max_requests="4") as server:

        def endless() -> Iterator[bytes]:
            yield HEAD
            for _ in range(1000):
                yield b"x" * 1000

        chunked = httpx.post(
            f"{server.url}/v1/reconstructions", content=endless(), headers={"content-type": TYPE}, timeout=PATIENCE
        )
        assert chunked.status_code == 413
        assert chunked.json()["setting"] == "CLEARSLICE_MAX_UPLOAD_BYTES"
        assert chunked.headers["connection"] == "close"

        # promises more than it sends, and stays connected: the time for uploads ends it
        slow = server.raw_upload(b"abc", length=5000, without_last=20)
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
        slow.close()

        # promises more than it sends, and leaves: more often than there are places
        for _ in range(8):
            server.raw_upload(b"abc", length=5000, without_last=20).close()
        server.until(lambda: post_nonsense(server).status_code == 400)
        server.until(lambda: 'route="/v1/reconstructions",status="499"' in server.get("/metrics").text)

        for length in (b"ten", b"-1", b"1e3", b"\xb2", b"9" * 5000):
            lying = server.raw(
                b"POST /v1/reconstructions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"
            )
            assert lying.recv(100).startswith(b"HTTP/1.1 400")
            lying.close()

        assert post_nonsense(server).headers["content-type"] == "application/problem+json"


def test_sends_less_than_promised_and_closes(start):
    """Nobody is left to answer; the place is free again, and the next upload works."""
    with start(max_requests="1") as server:
        server.raw_upload(b"abc", length=50_000).close()
        server.until(lambda: post_nonsense(server).status_code == 400)


@pytest.fixture(scope="module")
def small(start_server, published_once):
    """A server that takes only small uploads."""
    with start_server(published_once.writable, None, max_upload_bytes="100000") as server:
        yield server


TOO_LARGE = 4_000_000
"""Far more than the buffers between two sockets, so that a client cannot finish unless the server reads on."""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_all_before_it_listens_gets_the_problem(small, chunked):
    body = HEAD + bytes(TOO_LARGE)
    connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=PATIENCE)
    connection.request(
        "POST",
        "/v1/reconstructions",
        body=iter([body]) if chunked else body,
        headers={"Content-Type": TYPE},
        encode_chunked=chunked,
    )
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    assert (answer.status, problem["type"]) == (413, "/problems/upload-too-large")
    assert answer.getheader("X-Request-ID")
    connection.close()
    assert post_nonsense(small).status_code == 400


@pytest.mark.parametrize("headers", [[], ["Expect:"], ["Expect:", "Transfer-Encoding: chunked"]])
def test_curl_shows_the_problem(small, tmp_path, headers):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    big = tmp_path / "big"
    big.write_bytes(bytes(TOO_LARGE))
    options = [option for header in headers for option in ("-H", header)]
    done = subprocess.run(
        ["curl", "-sS", "-m", str(PATIENCE), *options, "-F", f"image=@{big}", f"{small.url}/v1/reconstructions"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["type"] == "/problems/upload-too-large"


def test_large_uploads_are_never_written_to_a_disk(start, npy):
    image = npy(np.zeros((1000, 1000), np.float32))
    answers: list[httpx.Response] = []

    def post() -> None:
        files = {"image": image, "reference": image}
        answers.append(httpx.post(f"{server.url}/v1/reconstructions", files=files, data=HU, timeout=PATIENCE))

    with start() as server:
        server.forbid_writing_files()
        posting = threading.Thread(target=post)
        posting.start()
        server.open_gate().close()
        posting.join(PATIENCE)
    assert answers[0].status_code == 200
    assert answers[0].content == image


def test_that_limit_would_be_noticed():
    """The test above proves something: under the same limit a temporary file of this size cannot be written."""
    code = (
        "import resource, tempfile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "with tempfile.SpooledTemporaryFile(max_size=1 << 20) as file: file.write(bytes(4 << 20))"
    )
    done = subprocess.run(["python3", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "tempfile" in done.stderr
