"""The service beside its own model, in one run: what the network, the files and the queue cost.

    model in process, 1 client, 8 clients --(rounds, in turn)--> ratios
    start to ready, DICOM in and out -----------------------------------> Markdown, docs/benchmarks/serving.md

Every way gets its turn in every round, so that a machine whose speed drifts treats them alike. The clients are a
process of their own; on a machine whose cores are all busy their CPU time is taken from the model, and the last column
gives it back.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench import ROOT
from bench.dicom import decode_and_encode_ms, phantom_file
from bench.server import Server, serving
from imaging.formats import encode_npy
from imaging.phantom import trunk
from model_store.restorer import SIGNATURES, Restorer, load_restorer
from model_store.store import ModelStore
from training.provenance import processor

SIZE = (512, 512)
SPACING = (0.7, 0.7)
CLIENTS = (1, 8)
STARTS = 3
REPORT = ROOT / "docs" / "benchmarks" / "serving.md"


@dataclass
class Tally:
    """What one way of restoring did over all its turns.

    Attributes:
        images, seconds: restored, and the time it took.
        cpu: seconds of the process that holds the model.
        client_cpu: seconds of the clients.
        steps: step of the service -> ms, summed over the images.
        device: seconds that the service's device ran.
    """

    images: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    client_cpu: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)
    device: float = 0.0

    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    def rate_without_clients(self) -> float:
        """Images per second had the cores not run the clients as well."""
        return self.images / (self.seconds - self.client_cpu / (os.cpu_count() or 1))


def turn_in_process(tally: Tally, restorer: Restorer, batch: NDArray[np.float32], seconds: float) -> None:
    """Calls the model in a loop, and adds to `tally`."""
    begin, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - begin < seconds:
        restorer(batch)
        tally.images += 1
    tally.seconds += time.monotonic() - begin
    tally.cpu += time.process_time() - cpu


def turn_of_clients(tally: Tally, server: Server, file: Path, clients: int, *, seconds: float) -> None:
    """Posts `file` from so many clients at once, and adds to `tally`."""
    command = [sys.executable, "-m", "bench.client", server.url, str(file), str(clients), str(seconds)]
    cpu, device = server.cpu_seconds(), server.device_seconds()
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # noqa: S603 - our own module
    tally.cpu += server.cpu_seconds() - cpu
    tally.device += server.device_seconds() - device
    found = json.loads(done.stdout)
    tally.images += found["images"]
    tally.seconds += found["seconds"]
    tally.client_cpu += found["cpu"]
    for step, mean in found["steps"].items():
        tally.steps[step] = tally.steps.get(step, 0.0) + mean * found["images"]


def start_seconds(store: Path | None, python: Path | None) -> float:
    """From start to ready: the median of a few starts; arguments as `measure`."""
    starts = []
    for _ in range(STARTS):
        with serving(store, python=python) as server:
            starts.append(server.start_seconds)
    return median(starts)


def measure(store: Path | None, *, seconds: float, rounds: int, python: Path | None = None) -> str:
    """The report as Markdown.

    Args:
        store: a writable store over the shipped models, or None.
        python: of the environment that is started, which has no more than `make serve` installs; None: this one.
        seconds: of each turn.
        rounds: how many turns each way gets.
    """
    load = os.getloadavg()[0]
    start = start_seconds(store, python)
    versions = ModelStore(store)
    version = versions.resolve(versions.default_ref())
    hounsfield = trunk(SIZE, SPACING, np.random.default_rng(0))
    batch = hounsfield[np.newaxis, :, :, np.newaxis]
    usable = [precision for precision, signature in SIGNATURES.items() if signature in version.manifest.signatures]
    restorers = {precision: load_restorer(version, precision=precision) for precision in usable}
    alone = {str(precision): Tally() for precision in usable}
    rest = {clients: Tally() for clients in CLIENTS}
    instance, dicom = phantom_file(hounsfield), list[tuple[float, float]]()
    with serving(store) as server, tempfile.TemporaryDirectory() as folder:
        served = server.precision_of(version.name, version.version)
        file = Path(folder) / "slice.npy"
        file.write_bytes(encode_npy([hounsfield]))
        for _ in range(rounds):
            for precision, restorer in restorers.items():
                turn_in_process(alone[precision], restorer, batch, seconds)
            for clients, tally in rest.items():
                turn_of_clients(tally, server, file, clients, seconds=seconds)
            dicom.append(decode_and_encode_ms(restorer, instance))
    decode, encode = (median(each) for each in zip(*dicom, strict=True))
    machine = f"{os.cpu_count()} cores of {processor()}, {restorer.device}, load average {load:.1f} before the run"
    return "\n".join(
        [
            f"# Serving\n\n`make bench`, {datetime.now(UTC):%Y-%m-%d}. {version.ref}, {machine}.",
            f"Images are {SIZE[0]} x {SIZE[1]} float32 NPY, rescale 1 and 0; all ways took turns.\n",
            *_rates(alone, rest, served),
            "",
            *_costs(rest[max(CLIENTS)], alone[served]),
            f"| DICOM in, derived DICOM out | {decode:.1f} + {encode:.1f} ms of one thread's CPU time per slice |",
            f"| start to ready, {'here' if python is None else 'as `make serve` installs it'} | {start:.1f} s |\n",
        ]
    )


def _rates(alone: dict[str, Tally], rest: dict[int, Tally], served: str) -> list[str]:
    base = alone[served].rate()
    rows = ["| | images/s | of the model alone | less the clients' CPU time |", "|---|---|---|---|"]
    for precision, tally in alone.items():
        name = f"model in process, {precision}" + (", as served" if precision == served else "")
        rows.append(f"| {name} | {tally.rate():.2f} | {tally.rate() / base:.2f} | |")
    for clients, tally in rest.items():
        corrected = tally.rate_without_clients() / base
        name = "1 client" if clients == 1 else f"{clients} clients"
        rows.append(f"| REST, {name} | {tally.rate():.2f} | {tally.rate() / base:.2f} | {corrected:.2f} |")
    return rows


def _costs(busy: Tally, model: Tally) -> list[str]:
    """What the busiest turn spent beside the model."""
    means = {step: total / busy.images for step, total in busy.steps.items()}
    beside = 1000 * (busy.cpu / busy.images - model.cpu / model.images)
    return [
        f"| with {max(CLIENTS)} clients | |",
        "|---|---|",
        f"| the device runs | {100 * busy.device / busy.seconds:.1f} % of the time |",
        f"| steps | {', '.join(f'{step} {mean:.1f}' for step, mean in means.items())} ms per image |",
        f"| CPU time of the server beside the model's | {beside:.1f} ms per image |",
        f"| CPU time of the clients | {1000 * busy.client_cpu / busy.images:.1f} ms per image |",
    ]


def main(arguments: list[str] | None = None) -> None:
    """Prints the report; `--write` also puts it under docs/benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description="Measures the service beside its model.")
    parser.add_argument("--store", type=Path, metavar="DIR", help="a writable model store over the shipped models")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each way")
    parser.add_argument(
        "--serving",
        type=Path,
        metavar="PYTHON",
        help="of an environment as make serve has it, whose start is measured (TensorFlow imports all that it finds)",
    )
    parser.add_argument("--write", action="store_true", help=f"also write {REPORT.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    text = measure(options.store, seconds=options.seconds, rounds=options.rounds, python=options.serving)
    sys.stdout.write(text)
    if options.write:
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
