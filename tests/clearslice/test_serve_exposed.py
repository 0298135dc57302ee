"""The real `clearslice serve` on an address that other machines reach: refused without keys, guarded with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from service.keys import ApiKey, Scope, digest_of

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the point of these tests; they are spoken to over loopback
PATIENCE = 30.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "clearslice.main", "serve", "--host", EVERYWHERE, *arguments]


def environment(**changes: str) -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("CLEARSLICE_")}, **changes}


@pytest.mark.parametrize(
    ("arguments", "content", "reasons"),
    [
        ((), None, ["CLEARSLICE_ALLOW_ANONYMOUS=1", "CLEARSLICE_API_KEYS_FILE=keys", "clearslice keys new"]),
        (("--api-keys-file", "missing"), None, ["keys file missing", "No such file"]),
        (("--api-keys-file", "keys"), "pacs everything sha256:0", ["keys file keys", "line 1", "scopes are"]),
        (("--api-keys-file", "keys"), "# nobody yet", ["holds no key"]),
    ],
)
def test_refusals_say_what_to_do_and_end_with_1(tmp_path, arguments, content, reasons):
    if content is not None:
        (tmp_path / "keys").write_text(content)
    done = subprocess.run(
        command("--port", "0", *arguments),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for reason in reasons:
        assert reason in done.stderr


@contextmanager
def serving(tmp_path, **settings):
    """A client of a real server that never becomes ready, since its store is empty, and the lines of its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = {"CLEARSLICE_PUBLISHED": str(empty), **settings}
    with subprocess.Popen(
        command("--port", str(port)), env=environment(**settings), stderr=subprocess.PIPE, text=True
    ) as process:
        end_of_patience = threading.Timer(PATIENCE, process.kill)  # ends a wait for a line that never comes
        end_of_patience.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
                end = time.monotonic() + PATIENCE
                while not _answers(client):
                    assert process.poll() is None
                    assert time.monotonic() < end, "the server did not start"
                yield client, process.stderr
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            end_of_patience.cancel()
            process.kill()


def _answers(client):
    try:
        return client.get("/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False


def test_with_keys_it_is_bound_and_they_rotate(tmp_path):
    path = tmp_path / "keys"

    def write(**keys: Scope) -> None:
        lines = (ApiKey(name, frozenset({scope}), digest_of(name.encode())).line() for name, scope in keys.items())
        path.write_text("\n".join(lines))

    write(pacs=Scope.RECONSTRUCT, prometheus=Scope.READ)
    with serving(tmp_path, CLEARSLICE_API_KEYS_FILE=str(path)) as (client, log):

        def post(**headers: str) -> int:
            return client.post("/v1/metrics", files={"image": b"x", "reference": b"x"}, headers=headers).status_code

        assert post() == 401
        assert post(authorization="Bearer wrong") == 401
        assert post(authorization="Bearer prometheus") == 403
        assert post(authorization="Bearer pacs") == 400  # not an image: it was read
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"x-api-key": "prometheus"}).status_code == 200
        write(fresh=Scope.RECONSTRUCT)
        assert any('"names": ["fresh"]' in line for line in log)  # waits for that line
        assert post(authorization="Bearer fresh") == 400
        assert post(authorization="Bearer pacs") == 401


def test_anonymous_only_when_asked_for(tmp_path):
    with serving(tmp_path, CLEARSLICE_ALLOW_ANONYMOUS="1") as (client, log):
        assert any("everybody who reaches this host" in line and '"warning"' in line for line in log)
        answer = client.post("/v1/metrics", files={"image": b"x", "reference": b"x"})
        assert answer.status_code == 400
        assert answer.json()["type"] == "/problems/not-an-image"
