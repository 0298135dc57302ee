"""A server process to measure: started, awaited, and ended by its own id.

store --serving--> URL, process id, seconds from start to ready
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench import ROOT
from model_store.restorer import Precision

START_TIMEOUT_S = 120.0
POLL_S = 0.05


@dataclass(frozen=True)
class Server:
    """A running `clearslice serve`.

    Attributes:
        url: its address.
        process: its id.
        start_seconds: from start to ready.
    """

    url: str
    process: int
    start_seconds: float

    def cpu_seconds(self) -> float:
        """CPU time so far."""
        return cpu_seconds(self.process)

    def resident_mb(self) -> float:
        """What of it is in memory now (proc(5), status)."""
        return self._status("VmRSS")

    def peak_mb(self) -> float:
        """The most that was in memory."""
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        lines = Path(f"/proc/{self.process}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024

    def device_seconds(self) -> float:
        """How long its device has run so far."""
        text = httpx.get(f"{self.url}/metrics").text
        lines = (line for line in text.splitlines() if line.startswith("clearslice_device_seconds_total"))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def precision_of(self, name: str, version: int) -> Precision:
        """In which precision it computes a model version that is loaded."""
        versions = httpx.get(f"{self.url}/v1/models/{name}").json()["versions"]
        precision: Precision = next(each["precision"] for each in versions if each["version"] == version)
        return precision


def cpu_seconds(process: int) -> float:
    """CPU time of a process so far, all threads together (Linux: proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(store: Path | None, *, python: Path | None = None, **settings: object) -> Iterator[Server]:
    """Serves `store` over the shipped models on a free loopback port.

    Args:
        store: a writable store, or None.
        python: of the environment that serves; None: this one.
        settings: of the service, by their names.

    Raises:
        SystemExit: it did not become ready.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [python or sys.executable, "-m", "clearslice.main", "serve", "--port", str(port), "--log-level", "error"]
    if store is not None:
        command += ["--store", store]
    environment = os.environ | {f"CLEARSLICE_{name.upper()}": str(value) for name, value in settings.items()}
    begin = time.monotonic()
    with (
        httpx.Client() as prober,
        subprocess.Popen(command, env=environment, cwd=ROOT) as process,  # noqa: S603 - our own program
    ):
        try:
            while not _is_ready(prober, url):
                if process.poll() is not None or time.monotonic() - begin > START_TIMEOUT_S:
                    raise SystemExit("the server did not become ready; its log is above")
                time.sleep(POLL_S)
            yield Server(url, process.pid, time.monotonic() - begin)
        finally:
            process.terminate()


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/v2/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
