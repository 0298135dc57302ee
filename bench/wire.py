"""What our server costs around a model that costs nothing, beside the server that everybody writes first.

    adds 1: plain endpoint (bench.plain), LitServe, inference protocol, multipart --1 and 8 clients, in turn--> ratios
                                                                                     docs/benchmarks/wire.md

The plain endpoint checks nothing, has no limits, no queue, no deadlines, no metrics and no log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from bench.client import Way
from bench.server import serving
from bench.trivial import NAME, publish
from training.provenance import machine, processor

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "benchmarks" / "wire.md"
SIZE = (512, 512)
CLIENTS = (1, 8)
TITLES: dict[Way, str] = {
    "plain": "plain FastAPI endpoint, NPY in and out",
    "litserve": "LitServe, base64 in JSON",
    "infer": "inference protocol, binary",
    "reconstructions": "multipart, NPY in and out",
}
START_SECONDS = 60.0


@dataclass
class Tally:
    """Requests that were answered, in how many seconds."""

    requests: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


@contextlib.contextmanager
def other_server(program: Sequence[str | Path], saved_model: Path, *, path: str = "/") -> Iterator[str]:
    """The URL of a running server that takes a SavedModel and a port.

    Raises:
        SystemExit: it did not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*program, saved_model, str(port)]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:  # noqa: S603 - our own programs
        try:
            begin, url = time.monotonic(), f"http://127.0.0.1:{port}"
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{url}{path}").status_code != httpx.codes.SERVICE_UNAVAILABLE:
                        break
                if process.poll() is not None or time.monotonic() - begin > START_SECONDS:
                    raise SystemExit(f"{program[-1]} did not start; its output is above")
                time.sleep(0.05)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # LitServe's workers outlive a polite end


def measure(*, seconds: float, rounds: int, litserve: Path | None = None) -> str:
    """The report as Markdown.

    Args:
        seconds: of each turn.
        rounds: how many turns each way gets with each number of clients.
        litserve: the Python of an environment that has it, or None to leave it out.
    """
    ways = [way for way in TITLES if way != "litserve" or litserve is not None]
    tallies = {(way, clients): Tally() for way in ways for clients in CLIENTS}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        store = publish(Path(folder))
        file = Path(folder) / "slice.npy"
        np.save(file, np.random.default_rng(0).normal(0, 300, (1, *SIZE, 1)).astype(np.float32))
        saved_model = store.resolve(NAME).path
        ours = servers.enter_context(serving(store.writable)).url
        urls: dict[Way, str] = {"infer": ours, "reconstructions": ours}
        urls["plain"] = servers.enter_context(other_server([sys.executable, "-m", "bench.plain"], saved_model))
        if litserve is not None:
            program = [litserve, ROOT / "bench" / "peers" / "litserve_server.py"]
            urls["litserve"] = servers.enter_context(other_server(program, saved_model, path="/health"))
        for turn in range(rounds + 1):
            for (way, clients), tally in tallies.items():
                found = _turn(urls[way], file, clients, seconds, way)
                if turn:  # the first warms
                    tally.requests += int(found["images"])
                    tally.seconds += found["seconds"]
    return _report(tallies)


def _turn(url: str, file: Path, clients: int, seconds: float, way: Way) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.client", url, str(file), str(clients), str(seconds), way]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # noqa: S603 - our own module
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _report(tallies: dict[tuple[Way, int], Tally]) -> str:
    heads = "".join(f" {clients} client{'s' * (clients > 1)}, requests/s | of the plain one's |" for clients in CLIENTS)
    lines = [f"| |{heads}", "|---" * (1 + 2 * len(CLIENTS)) + "|"]
    for way, title in TITLES.items():
        if (way, CLIENTS[0]) not in tallies:
            continue
        cells = "".join(
            f" {tallies[way, clients].rate:.0f} | {tallies[way, clients].rate / tallies['plain', clients].rate:.2f} |"
            for clients in CLIENTS
        )
        lines.append(f"| {title} |{cells}")
    where = f"{machine()['cores']} cores of {processor()}, {datetime.now(UTC):%Y-%m-%d}"
    return (
        f"# The wire\n\n`python -m bench.wire`, {where}. A model that adds 1 to {SIZE[0]} x {SIZE[1]} float32; clients"
        " and servers share the cores, and all ways took turns.\n\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    """Prints the report; `--write` also puts it under docs."""
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description="Measures the server without its model.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    parser.add_argument("--write", action="store_true", help=f"also write {REPORT.relative_to(ROOT)}")
    parser.add_argument(
        "--litserve", type=Path, metavar="PYTHON", help="of an environment that has LitServe: make peers"
    )
    options = parser.parse_args()
    text = measure(seconds=options.seconds, rounds=options.rounds, litserve=options.litserve)
    sys.stdout.write(text)
    if options.write:
        REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
