"""Networks side by side: what each costs a slice, and what it restores after the same number of steps.

    DESIGNS, RED-CNN --512 x 512, in turn--> ms, MAC, MB ------.
    DESIGNS --fit series, so many steps--> tune series, dB -----+--> Markdown

Without `--data` the network that ships stands beside RED-CNN (docs/benchmarks/networks.md, `make bench`); with it all
designs are trained and scored on the tune patients (docs/networks.md, `make networks`). Every network gets its turn in
every round, so that a machine whose speed drifts treats them alike.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bench import ROOT
from bench.designs import DESIGNS, RED_CNN, SHIPPED, red_cnn
from imaging.low_dose import STANDARD
from imaging.metrics import SOFT_TISSUE, psnr
from training.data.datasets import evaluation_pairs, patches
from training.data.pairs import PreparedSeries
from training.data.prefetch import prefetched
from training.data.sources import series_of_role
from training.degradations import DoseProtocol, DoseRange
from training.fit import in_network_unit
from training.optimiser import build_optimiser
from training.progress import silent
from training.provenance import machine, processor
from training.recipes import RECIPES

BENCHMARK = ROOT / "docs" / "benchmarks" / "networks.md"
STUDY = ROOT / "docs" / "networks.md"
CACHE = Path("runs/cache")
SIDE = 512
ROUNDS = 5
PRECISIONS = {"bfloat16": "mixed_bfloat16", "float32": "float32"}
PROTOCOLS = {
    "quarter dose": DoseProtocol(0.25, kernel=None),
    "tenth": DoseProtocol(0.1, kernel=None),
    "quarter of 40 HU, sharp": DoseProtocol(0.25, full_dose_noise_hu=40.0, kernel=STANDARD),
}
"""Under what the designs are scored; the first two have the texture of the scan's own noise."""

_SLICES = 6  # of each tune series
_BATCH, _PATCH, _RATE = 16, 64, 2.5e-3


def gmacs(model: keras.Model) -> float:
    """Multiplications with weights for one 512 x 512 slice, in 10^9; what has no weights is left out."""
    total = 0
    probe = keras.Model(model.input, [layer.output for layer in model.layers])
    shapes = probe.compute_output_shape((1, SIDE, SIDE, 1))
    sizes = {layer.name: shape for layer, shape in zip(model.layers, shapes, strict=True)}
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            moved = layer.input.name if isinstance(layer, keras.layers.Conv2DTranspose) else None
            rows, columns = _of(model, layer, sizes) if moved else sizes[layer.name][1:3]
            total += int(np.prod(layer.kernel.shape)) * rows * columns
    return total / 1e9


def _of(model: keras.Model, layer: Any, sizes: dict[str, Any]) -> tuple[int, int]:
    """The size of what a layer takes in."""
    source = next(each for each in model.layers if each.output is layer.input)
    rows, columns = sizes[source.name][1:3]
    return rows, columns


def milliseconds(models: dict[str, dict[str, keras.Model]]) -> dict[str, dict[str, float]]:
    """Name -> precision -> ms for one slice, the best of some rounds in which all have their turn."""
    image = np.random.default_rng(0).normal(0, 100, (1, SIDE, SIDE, 1)).astype(np.float32)
    best: dict[str, dict[str, float]] = {name: dict.fromkeys(kinds, np.inf) for name, kinds in models.items()}
    for turn in range(ROUNDS + 1):
        for name, kinds in models.items():
            for precision, model in kinds.items():
                begin = time.perf_counter()
                model.predict_on_batch(image)
                if turn:  # the first compiles
                    best[name][precision] = min(best[name][precision], 1000 * (time.perf_counter() - begin))
    return best


def trained(name: str, series: Sequence[PreparedSeries], steps: int) -> keras.Model:
    """A design after so many steps of the recipe `l2`, always on the same patches."""
    keras.utils.set_random_seed(0)
    model = DESIGNS[name](dtype="mixed_bfloat16")
    epochs = 10
    optimiser = build_optimiser(learning_rate=_RATE, epochs=epochs, steps=steps // epochs)
    model.compile(optimizer=optimiser, loss=in_network_unit(RECIPES["l2"].loss, "HU"))
    model.optimizer.build(model.trainable_variables)
    batches = patches(series, size=_PATCH, batch=_BATCH, steps=steps, degrade=DoseRange(), rng=np.random.default_rng(0))
    with prefetched(batches) as ready:
        for degraded, target in ready:
            model.train_on_batch(degraded, target)
    return model


def scores(model: keras.Model, series: Sequence[PreparedSeries]) -> dict[str, float]:
    """Protocol -> PSNR in the soft-tissue window, dB: mean over patients of means over some slices."""
    found = {}
    for name, protocol in PROTOCOLS.items():
        by_patient: dict[str, list[float]] = {}
        for each in series:
            pairs = list(evaluation_pairs(each, protocol))
            for degraded, reference in pairs[:: max(1, len(pairs) // _SLICES)]:
                restored = model.predict_on_batch(degraded[None, ..., None])[0, ..., 0]
                by_patient.setdefault(each.patient, []).append(float(psnr(restored, reference, SOFT_TISSUE)))
        found[name] = float(np.mean([np.mean(values) for values in by_patient.values()]))
    return found


def report(names: Sequence[str], quality: dict[str, dict[str, float]], *, steps: int) -> str:
    """The table as Markdown; `quality` may be empty."""
    builders = {**DESIGNS, RED_CNN: red_cnn}
    models = {
        name: {precision: builders[name](dtype=policy) for precision, policy in PRECISIONS.items()} for name in names
    }
    times = milliseconds(models)
    base = gmacs(models[SHIPPED]["float32"])
    columns = list(PROTOCOLS) if quality else []
    where = f"{machine()['cores']} cores of {processor()}, {datetime.now(UTC):%Y-%m-%d}"
    lines = [
        f"{where}; one slice of {SIDE} x {SIDE}, best of {ROUNDS} rounds in which all have their turn.",
        "",
        "| network | parameters, M | MB in float32 | 10^9 multiplications | of the shipped one's"
        " | ms in bfloat16 | ms in float32 |" + "".join(f" {column}, dB |" for column in columns),
        "|---|" + "---|" * (6 + len(columns)),
    ]
    for name in names:
        model = models[name]["float32"]
        work = gmacs(model)
        cells = [
            f"{model.count_params() / 1e6:.2f}",
            f"{4 * model.count_params() / 1e6:.1f}",
            f"{work:.1f}",
            f"{work / base:.2f}",
            *(f"{times[name][precision]:.0f}" for precision in PRECISIONS),
            *(f"{quality[name][column]:.2f}" if name in quality else "" for column in columns),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if quality:
        budget = f"{steps} steps of {_BATCH} patches of {_PATCH} pixels under L2"
        lines.append(
            f"\nPSNR in [-160, 240] HU, mean over the tune patients, after {budget}, one seed: differences below 0.1 dB"
            " say nothing."
        )
    return "\n".join(lines) + "\n"


def study(data: Path, cache: Path, steps: int, state: Path) -> dict[str, dict[str, float]]:
    """Every design's scores after so many steps; those in the file `state` are not made again."""
    done: dict[str, dict[str, float]] = json.loads(state.read_text()) if state.exists() else {}
    fit, tune = (series_of_role("ct", data, role, cache, progress=silent) for role in ("fit", "tune"))
    for name in DESIGNS:
        if name not in done:
            done[name] = scores(trained(name, fit, steps), tune)
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text(json.dumps(done, indent=1) + "\n")
            sys.stderr.write(f"{name}: {done[name]}\n")
    return done


def main(arguments: list[str] | None = None) -> None:
    """Prints the table; `--write` also puts it under docs."""
    parser = argparse.ArgumentParser(prog="python -m bench.networks", description="Compares networks.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="as of `clearslice train`: trains all designs on it")
    parser.add_argument("--cache", type=Path, metavar="DIR", default=CACHE, help=f"as there, default {CACHE}")
    parser.add_argument("--steps", type=int, default=4000, help="for every design; a multiple of 10")
    parser.add_argument("--write", action="store_true", help="also write the table under docs/")
    options = parser.parse_args(arguments)
    if options.data:
        state = options.cache.parent / f"networks-{options.steps}.json"
        quality = study(options.data, options.cache, options.steps, state)
        text = report([*DESIGNS, RED_CNN], quality, steps=options.steps)
    else:
        text = report([SHIPPED, RED_CNN], {}, steps=0)
    sys.stdout.write(text)
    if options.write:
        place = STUDY if options.data else BENCHMARK
        head = place.read_text(encoding="utf-8").partition("<!-- table -->")[0] if place.exists() else "# Networks\n\n"
        place.write_text(f"{head}<!-- table -->\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
