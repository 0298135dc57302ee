"""What our server costs around a model that costs nothing, beside the server that everybody writes first.

    adds 1: plain endpoints (bench.plain), inference protocol, multipart --1 and 8 clients, in turn--> ratios
            plain endpoint, peer                                         --the same, for each peer-->  wire.md

The plain endpoint checks nothing, has no limits, no queue, no deadlines, no metrics and no log. Peers (LitServe, Ray
Serve) are measured where an environment that has them is named.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx
import numpy as np

from bench import ROOT
from bench.client import Way, request_of
from bench.server import serving
from bench.trivial import NAME, publish
from training.provenance import machine, processor

REPORT = ROOT / "docs" / "benchmarks" / "wire.md"
SIZE = (512, 512)
CLIENTS = (1, 8)
TITLES: dict[Way, str] = {
    "plain": "plain FastAPI endpoint, uvicorn[standard], NPY in and out",
    "bare": "plain FastAPI endpoint, uvicorn alone, NPY in and out",
    "litserve": "LitServe, base64 in JSON",
    "rayserve": "Ray Serve, NPY in and out",
    "infer": "inference protocol, binary",
    "reconstructions": "multipart, NPY in and out",
}
PEERS: dict[Way, str] = {"litserve": "LitServe", "rayserve": "Ray Serve"}
PEER_ROUNDS = 3  # they differ by far
DRAWS = 10_000
START_SECONDS = 120.0  # Ray Serve alone takes 40 on two cores
END_SECONDS = 20.0


@dataclass
class Tally:
    """What one way reached, round by round: its requests a second, and those of the plain endpoint in that round."""

    rates: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)

    def rate(self) -> float:
        """Requests a second, in the middle round."""
        return median(self.rates)

    def ratio(self) -> tuple[float, float, float]:
        """To the plain endpoint: the geometric mean over the rounds, and its 95 % interval (percentile bootstrap)."""
        logarithms = np.log(self.rates) - np.log(self.plain)
        draws = np.random.default_rng(0).choice(logarithms, (DRAWS, len(logarithms))).mean(axis=1)
        low, high = np.exp(np.quantile(draws, (0.025, 0.975)))
        return float(np.exp(logarithms.mean())), float(low), float(high)


@contextlib.contextmanager
def other_server(
    way: Way, program: Sequence[str | Path], saved_model: Path, file: Path, *, arguments: Sequence[str] = ()
) -> Iterator[str]:
    """The URL of a running server, once it answers what it will be asked.

    Args:
        way: what it will be asked.
        program: takes a SavedModel and a port.
        saved_model: what it serves.
        file: what clients post.
        arguments: what the program takes after the port.

    Raises:
        SystemExit: it did not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*program, saved_model, str(port), *arguments]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:  # noqa: S603 - our own programs
        try:
            begin, url = time.monotonic(), f"http://127.0.0.1:{port}"
            request = request_of(way, url, file)
            while not _is_answered(request):
                if process.poll() is not None or time.monotonic() - begin > START_SECONDS:
                    raise SystemExit(f"{TITLES[way]} did not start; its output is above")
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()  # Ray ends its processes itself: some are in groups of their own
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            with contextlib.suppress(ProcessLookupError):  # where nobody is left
                os.killpg(process.pid, signal.SIGKILL)  # LitServe's workers outlive a polite end


def _is_answered(request: httpx.Request) -> bool:
    try:
        return httpx.post(request.url, content=request.content, headers=request.headers).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def measure(*, seconds: float, rounds: int, peers: Mapping[Way, Path]) -> str:
    """The report as Markdown.

    Args:
        seconds: of each turn.
        rounds: how many turns each way gets with each number of clients.
        peers: of those to measure, the Python of an environment that has it.
    """
    tallies: dict[tuple[Way, int], Tally] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        store = publish(Path(folder))
        file = Path(folder) / "slice.npy"
        np.save(file, np.random.default_rng(0).normal(0, 300, (1, *SIZE, 1)).astype(np.float32))
        saved_model = store.resolve(NAME).path
        ours = servers.enter_context(serving(store.writable)).url
        plain = [sys.executable, "-m", "bench.plain"]
        base = servers.enter_context(other_server("plain", plain, saved_model, file))
        with other_server("bare", plain, saved_model, file, arguments=["bare"]) as bare:
            urls: dict[Way, str] = {"plain": base, "bare": bare, "infer": ours, "reconstructions": ours}
            tallies |= _in_turn(urls, file, seconds, rounds)
        for way, python in peers.items():  # one at a time: some are busy even when nobody asks them
            peer = [python, ROOT / "bench" / "peers" / f"{way}_server.py"]
            with other_server(way, peer, saved_model, file) as url:
                found = _in_turn({"plain": base, way: url}, file, seconds, min(rounds, PEER_ROUNDS))
            tallies |= {key: tally for key, tally in found.items() if key[0] == way}
    return _report(tallies, rounds)


def _in_turn(urls: Mapping[Way, str], file: Path, seconds: float, rounds: int) -> dict[tuple[Way, int], Tally]:
    """Every way with every number of clients in each round, there and back: none always follows the same one."""
    tallies = {(way, clients): Tally() for clients in CLIENTS for way in urls}
    for turn in range(rounds + 1):
        order = list(tallies) if turn % 2 else list(reversed(tallies))
        found = {(way, clients): _rate(urls[way], file, clients, seconds, way) for way, clients in order}
        if turn:  # the first warms
            for (way, clients), tally in tallies.items():
                tally.rates.append(found[way, clients])
                tally.plain.append(found["plain", clients])
    return tallies


def _rate(url: str, file: Path, clients: int, seconds: float, way: Way) -> float:
    command = [sys.executable, "-m", "bench.client", url, str(file), str(clients), str(seconds), way]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # noqa: S603 - our own module
    answer: dict[str, float] = json.loads(done.stdout)
    return answer["images"] / answer["seconds"]


def _report(tallies: Mapping[tuple[Way, int], Tally], rounds: int) -> str:
    heads = "".join(f" {clients} client{'s' * (clients > 1)}, requests/s | of the first row's |" for clients in CLIENTS)
    lines = [f"| |{heads}", "|---" * (1 + 2 * len(CLIENTS)) + "|"]
    for way, title in TITLES.items():
        if (way, CLIENTS[0]) in tallies:
            lines.append(f"| {title} |{''.join(_cells(way, tallies[way, clients]) for clients in CLIENTS)}")
    where = f"{machine()['cores']} cores of {processor()}, {datetime.now(UTC):%Y-%m-%d}"
    return (
        f"# The wire\n\n`python -m bench.wire`, {where}. A model that adds 1 to {SIZE[0]} x {SIZE[1]} float32; clients"
        " and servers share the cores, and all ways took turns. The two plain endpoints are one program,"
        " `bench/plain.py`: the first runs under uvicorn with httptools and uvloop, as `pip install uvicorn[standard]`"
        " brings them, the second with h11 and asyncio, which are all that `pip install fastapi uvicorn` gives.\n\n"
        f"Requests/s are those of the middle one of {rounds} rounds ({min(rounds, PEER_ROUNDS)} of other servers, which"
        " run only while it is their turn). Ratios are to the first row, the stronger, of the same round: the geometric"
        " mean, and its 95 % interval.\n\n" + "\n".join(lines) + "\n"
    )


def _cells(way: Way, tally: Tally) -> str:
    if way == "plain":
        return f" {tally.rate():.0f} | 1 |"
    ratio, low, high = tally.ratio()
    return f" {tally.rate():.0f} | {ratio:.2f} ({low:.2f} to {high:.2f}) |"


def main() -> None:
    """Prints the report; `--write` also puts it under docs."""
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description="Measures the server without its model.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each way")
    parser.add_argument("--write", action="store_true", help=f"also write {REPORT.relative_to(ROOT)}")
    for way, name in PEERS.items():
        text = f"of an environment that has {name}: make peers"
        parser.add_argument(f"--{way}", type=Path, metavar="PYTHON", help=text)
    options = parser.parse_args()
    peers = {way: python for way in PEERS if (python := getattr(options, way)) is not None}
    text = measure(seconds=options.seconds, rounds=options.rounds, peers=peers)
    sys.stdout.write(text)
    if options.write:
        REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
