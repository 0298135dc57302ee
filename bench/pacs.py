"""A series to a PACS node and back, beside what its model does alone: C-STORE in and out, STOW-RS in and out.

    series --sender--> node --> archive: a process of its own that only counts      docs/benchmarks/pacs.md
              |<------------- seconds ------------->|   CPU of the node, most memory

In one run: the model's own rate is that of the same version, in batches as the node makes them, in this process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import numpy as np
from pynetdicom import AE, evt

from bench.growth import PATIENT
from bench.server import Server, cpu_seconds, serving
from imaging.phantom import trunk
from imaging.phantom_dicom import series_files
from model_store.restorer import Precision, load_restorer
from model_store.store import PUBLISHED, ModelStore
from service.pacs.arrivals import TAKEN_CLASSES
from service.pacs.configuration import Configuration, Node, Peer
from service.pacs.peers.clients import client_of
from training.provenance import machine, processor

REPORT = Path(__file__).parents[1] / "docs" / "benchmarks" / "pacs.md"
SLICES = 300
BATCHES = (1, 4)
"""Slices of 512 x 512 that share a run: by themselves, or as many as may by the usual `batch_pixels`."""

QUIET_SECONDS = 1.0
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Way:
    """One way there and back.

    Attributes:
        name: for people.
        dimse: C-STORE, else STOW-RS.
    """

    name: str
    dimse: bool


WAYS = (Way("C-STORE", dimse=True), Way("STOW-RS", dimse=False))


@dataclass(frozen=True)
class Measured:
    """What one way took.

    Attributes:
        received: seconds in which the node took all slices.
        worked: seconds from its completeness to the last delivery; the silence before is a setting, not work.
        cpu: seconds of CPU that the node used, from the first slice to the last delivery.
        peer_cpu: those of the receiver, which share the cores; all but a few of them fall into `worked`.
        peak_mb: the most memory that it had.
        precision: in which the node computed.
    """

    received: float
    worked: float
    cpu: float
    peer_cpu: float
    peak_mb: float
    precision: Precision

    @property
    def own(self) -> float:
        """Seconds of work without what the receiver took of them."""
        return self.worked - self.peer_cpu / (os.cpu_count() or 1)


def make_series(folder: Path, count: int) -> list[Path]:
    """A drawn series of 512 x 512."""
    plane = trunk((512, 512), (0.7, 0.7), np.random.default_rng(0))
    noise = np.random.default_rng(1).normal(0, 30, (8, 512, 512)).astype(np.float32)
    volume = np.stack([plane + noise[number % len(noise)] for number in range(count)])
    paths = []
    for number, data in enumerate(series_files(volume, PATIENT), start=1):
        paths.append(folder / f"{number:05d}.dcm")
        paths[-1].write_bytes(data)
    return paths


def store_all(port: int, ready: Event) -> None:
    """A storage service that says yes to all; a process of its own."""
    entity = AE(ae_title="ARCHIVE")
    for sop_class in TAKEN_CLASSES:
        entity.add_supported_context(sop_class)
    entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
    ready.set()
    threading.Event().wait()


class _Yes(BaseHTTPRequestHandler):
    """Says of a STOW-RS request that all was stored."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Reads the body, and answers."""
        left = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        body = json.dumps({"00081190": {"vr": "UR"}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Says nothing."""


def answer_all(port: int, ready: Event) -> None:
    """The same by STOW-RS."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Yes)
    ready.set()
    server.serve_forever()


@contextmanager
def archive(way: Way) -> Iterator[tuple[int, int]]:
    """Port and process id of a peer that takes all."""
    port = _free_port()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=store_all if way.dimse else answer_all, args=(port, ready))
    process.start()
    try:
        if not ready.wait(60):
            raise SystemExit("the peer did not start")
        assert process.pid is not None  # noqa: S101 - it was started
        yield port, process.pid
    finally:
        process.terminate()
        process.join()


def measure(way: Way, files: Sequence[Path]) -> Measured:
    """One series there and back."""
    with tempfile.TemporaryDirectory() as folder, archive(way) as (port, peer):
        own = _free_port()
        out = f'aet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}' if way.dimse else f'url = "http://127.0.0.1:{port}"'
        toml = Path(folder, "pacs.toml")
        toml.write_text(
            f"[node]\nport = {own}\nquiet_seconds = {QUIET_SECONDS}\nany_caller = true\n[peers.out]\n{out}\n"
            'verify = "none"\n[[rules]]\nname = "all"\nto = "out"\n',
            encoding="utf-8",
        )
        with serving(None, spool=Path(folder, "spool"), pacs=toml) as server:
            return _there_and_back(server, way, files, own, peer)


def _there_and_back(server: Server, way: Way, files: Sequence[Path], port: int, peer: int) -> Measured:
    host = "127.0.0.1"
    sender = Peer(aet="CLEARSLICE", host=host, port=port) if way.dimse else Peer(url=f"{server.url}/dicom-web")
    configuration = Configuration(node=Node(aet="SENDER"), peers={"node": sender})
    before, peer_before, begin = server.cpu_seconds(), cpu_seconds(peer), time.monotonic()
    client_of("node", configuration).send(files, lambda *_: None)
    received = time.monotonic() - begin
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_S) as client:
        while not (found := client.get("/v1/pacs/series").json()["series"]):
            time.sleep(0.05)
        complete = time.monotonic()
        while "finished" not in found[0]:
            time.sleep(0.1)
            found = client.get("/v1/pacs/series").json()["series"]
    if (found[0]["state"], found[0]["instances"]) != ("delivered", len(files)):
        raise SystemExit(f"the series ended as {found[0]['state']}")
    worked = time.monotonic() - complete
    model, _, version = found[0]["model"].partition("@")
    return Measured(
        received,
        worked,
        cpu=server.cpu_seconds() - before,
        peer_cpu=cpu_seconds(peer) - peer_before,
        peak_mb=server.peak_mb(),
        precision=server.precision_of(model, int(version)),
    )


def model_alone(precision: Precision, count: int) -> tuple[float, float, int]:
    """Seconds, and CPU seconds, for so many slices and nothing else, in batches of that of `BATCHES` which is faster;
    and which that is."""
    store = ModelStore(None, PUBLISHED)
    restorer = load_restorer(store.resolve(store.default_ref()), precision=precision)
    plane = trunk((512, 512), (0.7, 0.7), np.random.default_rng(0)).astype(np.float32)
    found = []
    for size in BATCHES:
        batch = np.repeat(plane[np.newaxis, :, :, np.newaxis], size, axis=0)
        for _ in range(3):
            restorer(batch)
        begin, cpu = time.monotonic(), time.process_time()
        for _ in range(count // size):
            restorer(batch)
        found.append((time.monotonic() - begin, time.process_time() - cpu, size))
    return min(found)


def report(count: int) -> str:
    """Measures all of it, and writes the page."""
    with tempfile.TemporaryDirectory() as folder:
        files = make_series(Path(folder), count)
        size = sum(path.stat().st_size for path in files) / 1e6
        measured = [(way, measure(way, files)) for way in WAYS]
    precision = measured[0][1].precision
    seconds, cpu, batch = model_alone(precision, count)
    rows = [
        f"| {way.name} | {count / found.received:.0f} | {1000 * found.worked / count:.1f} |"
        f" {seconds / found.worked:.2f} | {seconds / found.own:.2f} | {1000 * found.cpu / count:.1f} |"
        f" {found.peak_mb:.0f} |"
        for way, found in measured
    ]
    sizes = " and ".join(map(str, BATCHES))
    alone = f"{1000 * seconds / count:.1f} ms and {1000 * cpu / count:.1f} ms of CPU a slice"
    head = (
        "| in and out by | slices/s in | ms a slice, complete to delivered | of the model's rate | less the peer's CPU"
        " | CPU ms a slice | most MB |"
    )
    where = f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {machine()['cores']} cores"
    return f"""# A series to the PACS node and back

`python -m bench.pacs --slices {count}`, {where}. {count} drawn slices of 512 x 512 ({size:.0f} MB) go from one
process to the node, and from there to another that takes all. Sender, node and receiver share the cores.

The model alone, in {precision} as the node, in batches of {batch}, the faster of {sizes}: {alone}.

{head}
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

CPU is that of the node, from the first slice in to the last one out. Between the last slice and completeness lies
`quiet_seconds`, {QUIET_SECONDS:g} s here, which is not counted.
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--write", action="store_true", help=f"write {REPORT.name}")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    page = report(arguments.slices)
    print(page)  # noqa: T201 - that is what it is for
    if arguments.write:
        REPORT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
