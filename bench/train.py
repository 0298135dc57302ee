"""The training loop beside itself without its data: what reading, degrading and cutting patches costs.

    precomputed batches, as made, prefetched --(rounds, in turn)--> ratios --> Markdown, docs/benchmarks/training.md

Every way gets its turn in every round, so that a machine whose speed drifts treats them alike; ratios are of the sums
over all rounds, and their spread is over rounds. Series are of `--data`, as `clearslice train` reads them; without it,
of phantoms made here, whose noise is the same in kind and size.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import ROOT
from imaging.phantom import trunk
from imaging.series import CtSeries
from training.data.datasets import patches
from training.data.pairs import PreparedSeries, prepare_series
from training.data.prefetch import prefetched
from training.data.sources import series_of_role
from training.fit import FitSettings, compile_model
from training.progress import silent
from training.provenance import machine, processor

REPORT = ROOT / "docs" / "benchmarks" / "training.md"
CACHE = Path("runs/cache")
SIDE, SPACING = 512, 0.7
PHANTOMS = 4  # slices; each takes seconds to project
TARGET = 0.9

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass
class Tally:
    """Seconds of one way, a figure for each of its turns."""

    seconds: list[float] = field(default_factory=list)

    def of(self, base: Tally) -> float:
        """Its rate as a share of the base's."""
        return sum(base.seconds) / sum(self.seconds)

    def spread(self, base: Tally) -> tuple[float, float]:
        """Lowest and highest share among the rounds."""
        shares = [one / other for one, other in zip(base.seconds, self.seconds, strict=True)]
        return min(shares), max(shares)


def phantoms(cache: Path) -> list[PreparedSeries]:
    """A series of full-size phantom slices with their unit noise."""
    rng = np.random.default_rng(0)
    volume = np.stack([trunk((SIDE, SIDE), (SPACING, SPACING), rng) for _ in range(PHANTOMS)])
    volume += rng.normal(0, 10, volume.shape).astype(np.float32)
    series = CtSeries(
        name="phantom",
        patient="phantom",
        series_uid="1.2.3",
        volume=volume,
        padding=None,
        spacing=(SPACING, SPACING),
        slice_thickness=5.0,
        positions=5.0 * np.arange(PHANTOMS, dtype=np.float64),
        gaps=(),
        tilt=0.0,
        kernel="",
        kvp=None,
        manufacturer="",
        warnings=(),
    )
    return [prepare_series(series, cache, average=False)]


def measure(settings: FitSettings, series: Sequence[PreparedSeries], *, steps: int, rounds: int) -> str:
    """The report as Markdown.

    Args:
        settings: of the model and its batches.
        series: to cut patches from.
        steps: batches of each turn.
        rounds: how many turns each way gets.
    """
    load = os.getloadavg()[0]
    model = compile_model(settings, settings.recipe)

    def made(seed: int) -> Iterator[Batch]:
        return patches(
            series,
            size=settings.patch,
            batch=settings.batch,
            steps=steps,
            degrade=settings.noise,
            target=settings.recipe.target,
            rng=np.random.default_rng(seed),
        )

    def train(batches: Iterator[Batch]) -> None:
        for degraded, target in batches:
            model.train_on_batch(degraded, target)

    def train_prefetched(batches: Iterator[Batch]) -> None:
        with prefetched(batches) as ready:
            train(ready)

    kept = list(made(0))
    train(iter(kept))  # compiles, and reads what the first batches are made of
    ways: dict[str, Callable[[int], None]] = {
        "precomputed batches": lambda _: train(iter(kept)),
        "prefetched, as `clearslice train` does": lambda seed: train_prefetched(made(seed)),
        "made between steps": lambda seed: train(made(seed)),
    }
    tallies = {name: Tally() for name in ways}
    alone = Tally()
    seed = 0
    for _ in range(rounds):
        for name, way in ways.items():
            seed += 1  # of its own: none shall find in memory what another has read
            tallies[name].seconds.append(_seconds(partial(way, seed)))
        alone.seconds.append(_seconds(partial(list, made(seed))))
    base, fast, _ = tallies.values()
    slices = sum(len(each.images) for each in series)
    cores = f"{machine()['cores']} cores of {processor()}, load average {load:.1f} before the run"
    batches = f"batches of {settings.batch} patches of {settings.patch} x {settings.patch} from {slices} slices"
    lines = [
        f"# Training\n\n`make bench`, {datetime.now(UTC):%Y-%m-%d}. {cores}.",
        f"{settings.model}, {batches}; {rounds} rounds of {steps} steps, all ways in turn.\n",
        "| | steps/s | of precomputed batches | lowest and highest round |",
        "|---|---|---|---|",
    ]
    for name, tally in tallies.items():
        low, high = tally.spread(base)
        rate = steps * rounds / sum(tally.seconds)
        lines.append(f"| {name} | {rate:.2f} | {tally.of(base):.2f} | {low:.2f}, {high:.2f} |")
    batch_ms = 1000 * sum(alone.seconds) / (steps * rounds)
    reached = "reached" if fast.of(base) >= TARGET else "missed"
    share = f"{TARGET:.0%} of the rate with precomputed batches, is {reached}: {fast.of(base):.0%}"
    lines.append(f"\nMaking a batch alone takes {batch_ms:.1f} ms. The aim, {share}.\n")
    return "\n".join(lines)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def main(arguments: list[str] | None = None) -> None:
    """Prints the report; `--write` also puts it under docs/benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench.train", description="Measures what the data costs training.")
    parser.add_argument("--model", default="ct-l2", help="domain and recipe")
    parser.add_argument("--data", type=Path, metavar="DIR", help="as of `clearslice train`; default: phantoms")
    parser.add_argument("--cache", type=Path, metavar="DIR", help=f"as of `clearslice train`, {CACHE} with --data")
    parser.add_argument("--batch", type=int, default=32, help="patches a batch")
    parser.add_argument("--patch", type=int, default=96, help="side of a patch in pixels")
    parser.add_argument("--steps", type=int, default=20, help="of each turn")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each way")
    parser.add_argument("--write", action="store_true", help=f"also write {REPORT.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    settings = FitSettings(options.model, batch=options.batch, patch=options.patch)
    with tempfile.TemporaryDirectory() as folder:
        series = (
            series_of_role("ct", options.data, "fit", options.cache or CACHE, progress=silent)
            if options.data
            else phantoms(options.cache or Path(folder))
        )
        text = measure(settings, series, steps=options.steps, rounds=options.rounds)
    sys.stdout.write(text)
    if options.write:
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
