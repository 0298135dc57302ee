"""Real uvicorn processes on free loopback ports.

start(SETTING=value) -> context with a ready `Server` whose model waits at a gate
start_server(store, gate, SETTING=value) -> the same without fixtures behind it, for a whole session
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

PATIENCE = 20.0
"""Seconds after which a test fails instead of waiting on."""


class Server:
    """The process, its port, and the gate that its model waits at."""

    def __init__(self, process: subprocess.Popen[str], port: int, gate: Path | None) -> None:
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

    def raw_upload(self, image: bytes, *, length: int | None = None, without_last: int = 0) -> socket.socket:
        """A connection with an upload in HU, whose Content-Length may lie and whose end may be missing."""
        body = b"".join(
            b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % part
            for part in ((b"image", image), (b"rescale_slope", b"1"), (b"rescale_intercept", b"0"))
        )
        body += b"--b--\r\n"
        head = (
            "POST /v1/reconstructions HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n"
            f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
        )
        return self.raw(head.encode() + body[: len(body) - without_last])

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition that the process brings about."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "the condition never came true"

    def open_gate(self) -> BinaryIO:
        """The gate, once a restoration waits at it; closing it lets the restoration go on."""
        assert self.gate is not None
        opened: list[int] = []

        def somebody_waits() -> bool:
            with contextlib.suppress(OSError):  # ENXIO: nobody reads
                opened.append(os.open(str(self.gate), os.O_WRONLY | os.O_NONBLOCK))
            return bool(opened)

        self.until(somebody_waits)
        return os.fdopen(opened[0], "wb")

    def peak_bytes(self) -> int:
        """The most memory that the process ever had (resident)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    def forbid_writing_files(self) -> None:
        """From now on each write to a regular file fails in the process, named or not; pipes and sockets are fine."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0, 0))


StartServer = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def start_server() -> StartServer:
    """(store folder, gate or None, SETTING=value) -> context with a `Server` that is ready."""

    @contextmanager
    def starting(store: Path, gate: Path | None, **settings: str) -> Iterator[Server]:
        environment = {**os.environ, **{f"CLEARSLICE_{name.upper()}": value for name, value in settings.items()}}
        command = [sys.executable, str(Path(__file__).with_name("fake_server.py")), str(store)]
        if gate is not None:
            os.mkfifo(gate)
            command.append(str(gate))
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        ) as process:
            try:
                assert process.stdout is not None
                server = Server(process, int(process.stdout.readline()), gate)
                server.until(lambda: server.accepts() and server.get("/v2/health/ready").status_code == 200)
                yield server
            finally:
                process.kill()

    return starting


@pytest.fixture
def start(start_server: StartServer, published, tmp_path: Path) -> StartServer:
    """start(SETTING=value) -> context with a `Server` whose model waits at its gate."""
    return lambda **settings: start_server(published.writable, tmp_path / "gate", **settings)
