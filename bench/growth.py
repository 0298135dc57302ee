"""How cost grows: with the size of an image, the number of clients, the length of a series and the models in memory.

    one server, one thing made larger step by step --> time and memory --> tables and plots, docs/benchmarks/growth.md

What should grow in proportion is shown per pixel, per image or per slice: a level line is good.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import matplotlib as mpl
import numpy as np

from bench import ROOT
from bench.server import Server, serving
from imaging.formats import encode_npy
from imaging.phantom import trunk
from imaging.phantom_dicom import PhantomSeries, series_files
from training.provenance import machine, processor

FOLDER = ROOT / "docs" / "benchmarks"
REPORT, PLOT = FOLDER / "growth.md", FOLDER / "growth.svg"
HOUNSFIELD = {"rescale_slope": "1", "rescale_intercept": "0"}

SIDES = (128, 256, 512, 1024, 2048, 4096)
LARGEST = 16384
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
SERIES = (10, 30, 100, 300, 1000)
MODELS = tuple(f"ct-{name}" for name in (
    "l2", "l1", "huber", "charbonnier", "l1-ssim", "ms-ssim-l1", "gradient", "perceptual", "adversarial",
    "heteroscedastic", "quantile", "noise2inverse",
))  # fmt: skip
TIMEOUT_S = 900.0
PATIENT = PhantomSeries(
    patient="GROWTH",
    study="1",
    description="growth",
    number=1,
    spacing=(0.7, 0.7),
    thickness=1.0,
    region="ABDOMEN",
    kernel="SOFT",
    tube_current_ma=50,
)


@dataclass(frozen=True)
class Row:
    """One step: how large, and what it took.

    Attributes:
        size: side, clients, slices or models.
        figures: what is told of it, in the order of its table's heading.
    """

    size: int
    figures: tuple[float, ...]


def image_of(side: int) -> bytes:
    """A phantom as NPY, (side, side) float32 in HU; large ones are a smaller one repeated."""
    plane = trunk((min(side, 512),) * 2, (0.7, 0.7), np.random.default_rng(0))
    return encode_npy([np.tile(plane, (max(1, side // 512),) * 2)])


def by_size(server: Server, sides: Sequence[int], *, repeats: int) -> list[Row]:
    """ms for one image, ns per pixel, and the most memory so far, in MB."""
    rows = []
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_S) as client:
        for side in sides:
            image, seconds = image_of(side), []
            for number in range(repeats + 1):
                begin = time.monotonic()
                client.post("/v1/reconstructions", files={"image": image}, data=HOUNSFIELD).raise_for_status()
                if number or repeats == 1:  # the first of a size is warmed
                    seconds.append(time.monotonic() - begin)
            took = median(seconds)
            rows.append(Row(side, (1000 * took, 1e9 * took / side**2, server.peak_mb())))
    return rows


def by_clients(server: Server, counts: Sequence[int], *, seconds: float) -> list[Row]:
    """Images/s, and ms that one image took on average, as the clients saw it."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "slice.npy"
        file.write_bytes(image_of(512))
        for count in counts:
            command = [sys.executable, "-m", "bench.client", server.url, str(file), str(count), str(seconds)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)  # noqa: S603 - ours
            found = json.loads(done.stdout)
            rate = found["images"] / found["seconds"]
            rows.append(Row(count, (rate, 1000 * count / rate, server.peak_mb())))
    return rows


def by_series(server: Server, lengths: Sequence[int]) -> list[Row]:
    """Seconds to acceptance and from there to the end, ms per slice of the latter, memory now, in MB."""
    rows = []
    plane = trunk((512, 512), (0.7, 0.7), np.random.default_rng(0))
    noise = np.random.default_rng(1).normal(0, 30, (8, 512, 512)).astype(np.float32)
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_S) as client:
        for length in lengths:
            archive = io.BytesIO()
            volume = (plane + noise[number % len(noise)] for number in range(length))
            with zipfile.ZipFile(archive, "w") as file:
                for number, data in enumerate(series_files(np.stack(list(volume)), PATIENT)):
                    file.writestr(f"{number:05d}.dcm", data)
            begin = time.monotonic()
            job = client.post("/v1/jobs", files={"series": archive.getvalue()}).raise_for_status().json()
            accepted = time.monotonic()
            while (state := client.get(job["links"]["self"]).json()["state"]) in ("queued", "running"):
                time.sleep(0.1)
            if state != "done":
                raise SystemExit(f"a series of {length} ended as {state}")
            took = time.monotonic() - accepted
            rows.append(Row(length, (accepted - begin, took, 1000 * took / length, server.resident_mb())))
            client.delete(job["links"]["self"]).raise_for_status()
    return rows


def by_models(server: Server, names: Sequence[str]) -> list[Row]:
    """Memory now, in MB, and ms for one image of the first model, with so many in memory."""
    rows, image = [], image_of(512)
    with httpx.Client(base_url=server.url, timeout=TIMEOUT_S) as client:
        for number, name in enumerate(names, start=1):
            fields = {**HOUNSFIELD, "model": name}
            client.post("/v1/reconstructions", files={"image": image}, data=fields).raise_for_status()
            seconds = []
            for _ in range(8):
                begin = time.monotonic()
                fields["model"] = names[0]
                client.post("/v1/reconstructions", files={"image": image}, data=fields).raise_for_status()
                seconds.append(time.monotonic() - begin)
            rows.append(Row(number, (server.resident_mb(), 1000 * median(seconds))))
    return rows


def table(heading: str, rows: Sequence[Row], formats: Sequence[str]) -> list[str]:
    """Markdown; `formats` are those of the figures."""
    lines = [heading, "|" + "---|" * (len(formats) + 1)]
    for row in rows:
        cells = [format(figure, each) for figure, each in zip(row.figures, formats, strict=True)]
        lines.append(f"| {row.size} | {' | '.join(cells)} |")
    return lines


def draw(panels: Sequence[tuple[str, str, Sequence[Row], int, str]], path: Path) -> None:
    """Small plots side by side.

    Args:
        panels: title, label of the x axis, rows, which figure, label of the y axis.
        path: of the SVG file.
    """
    mpl.use("Agg")
    # the same figures are the same file, and text stays text
    mpl.rcParams |= {"svg.hashsalt": "clearslice", "svg.fonttype": "none"}
    import matplotlib.pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.2), layout="constrained")
    for axis, (title, across, rows, which, up) in zip(axes, panels, strict=True):
        axis.plot([row.size for row in rows], [row.figures[which] for row in rows], marker="o")
        axis.set(title=title, xlabel=across, ylabel=up, ylim=(0, None))
        axis.set_xscale("log", base=2)
        axis.set_xticks([row.size for row in rows], [str(row.size) for row in rows], rotation=45)
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def report(*, seconds: float, largest: bool) -> str:
    """Measures all of it, draws the plots, and writes the page."""
    with serving(None, max_pixels=4096**2, max_upload_bytes=80 * 2**20) as server:
        sizes = by_size(server, SIDES, repeats=5)
    with serving(None, max_requests=128, max_queue=128) as server:
        clients = by_clients(server, CLIENTS, seconds=seconds)
    with tempfile.TemporaryDirectory() as spool, serving(None, spool=spool) as server:
        series = by_series(server, SERIES)
    with serving(None) as server:
        models = by_models(server, MODELS)
    one: list[Row] = []
    if largest:
        settings: dict[str, Any] = {
            "max_pixels": LARGEST**2,
            "max_upload_bytes": 5 * LARGEST**2,
            "request_timeout": TIMEOUT_S,
        }
        with serving(None, **settings) as server:
            one = by_size(server, (LARGEST,), repeats=1)
    draw(
        [
            ("Size of an image", "side, pixels", sizes, 1, "ns per pixel"),
            ("Clients at once", "clients", clients, 0, "images/s"),
            ("Length of a series", "slices", series, 2, "ms per slice"),
            ("Models in memory", "models", models, 0, "MB resident"),
        ],
        PLOT,
    )
    where = f"{machine()['cores']} cores of {processor()}, {datetime.now(UTC):%Y-%m-%d}"
    return "\n".join(
        [
            f"# How cost grows\n\n`make growth`, {where}. The shipped default model, float32 NPY and DICOM;",
            "clients and server share the cores.\n\n![ns per pixel, images/s, ms per slice, MB](growth.svg)\n",
            "## Size of an image\n\nOne client; images beyond 2048 x 2048 go in tiles.\n",
            *table("| side, pixels | ms | ns per pixel | most memory, MB |", [*sizes, *one], (".0f", ".0f", ".0f")),
            "\n## Clients at once\n\n512 x 512; each asks again when it has its answer.\n",
            *table("| clients | images/s | ms for one | most memory, MB |", clients, (".1f", ".0f", ".0f")),
            "\n## Length of a series\n\nA job (`POST /v1/jobs`), zip of DICOM in, zip of derived DICOM out.\n",
            *table(
                "| slices | s to acceptance | s to the end | ms per slice | memory, MB |",
                series,
                (".1f", ".1f", ".1f", ".0f"),
            ),
            "\n## Models in memory\n",
            *table("| models | memory, MB | ms for an image of the first |", models, (".0f", ".1f")),
            "",
        ]
    )


def main() -> None:
    """Prints the page; `--write` also puts it under docs."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description="How cost grows.")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each number of clients")
    parser.add_argument(
        "--largest", action="store_true", help=f"also one image of {LARGEST} x {LARGEST} (8 GB of memory)"
    )
    parser.add_argument("--write", action="store_true", help=f"also write {REPORT.relative_to(ROOT)}")
    options = parser.parse_args()
    text = report(seconds=options.seconds, largest=options.largest)
    sys.stdout.write(text)
    if options.write:
        REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
