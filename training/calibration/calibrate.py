"""Calibrate: what a trained model promises, held against patients it was not fitted on.

    tune series --model--> samples --fit_intervals--> IntervalCalibration ---.
    report series --model--> samples --measure_coverage, before and after <--' --> CoverageRow --> Markdown

A run keeps it in calibration.json, from where `training.export` puts it into the graph and the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from imaging.image import Unit
from model_store.manifest import IntervalCalibration
from training.calibration.intervals import Sampled, calibrated, fit_intervals, measure_coverage, sample
from training.data.datasets import evaluation_pairs
from training.data.pairs import PreparedSeries, StatedDegrade
from training.degradations import Degradation, DoseProtocol, DoseRange
from training.errors import UncalibratedOutput
from training.progress import Advance, silent
from training.recipes import RECIPES, Recipe
from training.run_files import write_json

CALIBRATION = "calibration.json"

INTERVAL = ("restored", "lower", "upper")
"""The outputs of models whose interval can be calibrated."""


@dataclass(frozen=True)
class CoverageRow:
    """What the intervals hold of one class of pixels under one degradation, before and after calibration.

    Attributes:
        share: of the pixels whose reference lies in the interval, (before, after).
        width: mean distance from lower to upper in the model's unit, (before, after).
    """

    degradation: str
    tissue: str
    share: tuple[float, float]
    width: tuple[float, float]
    pixels: int
    patients: int


def check_has_interval(recipe: Recipe) -> None:
    """Raises `UncalibratedOutput` for a recipe whose network gives no interval."""
    if recipe.outputs != INTERVAL:
        having = ", ".join(name for name, each in RECIPES.items() if each.outputs == INTERVAL)
        raise UncalibratedOutput(
            f"recipe {recipe.name} gives {', '.join(recipe.outputs)}: there is no interval to calibrate; recipes that"
            f" have one: {having}"
        )


def calibration_degradations(noise: DoseRange | Degradation) -> tuple[StatedDegrade, ...]:
    """Under what intervals are calibrated: half, a quarter and a tenth of the scan's own dose; or the run's own one."""
    if isinstance(noise, DoseRange):
        return tuple(DoseProtocol(dose, kernel=None) for dose in (0.5, 0.25, 0.1))
    return (noise,)


def calibrate_intervals(
    model: keras.Model,
    tune: Sequence[PreparedSeries],
    degradations: Sequence[StatedDegrade],
    *,
    coverage: float,
    progress: Advance = silent,
) -> IntervalCalibration:
    """The factors for the intervals of a model with the outputs `INTERVAL`.

    Args:
        model: (N, H, W, 1) -> (N, H, W, 3), not calibrated yet.
        tune: series of patients that were not fitted, all in one unit.
        degradations: all count alike.
        coverage: above 0 and below 1.
        progress: told (what, done, total).

    Raises:
        UnsuitableSeries: `tune` is empty.
    """
    samples = (each for degrade in degradations for each in _samples(model, tune, degrade, "calibrate", progress))
    return fit_intervals(
        samples,
        tune[0].unit if tune else "HU",
        coverage=coverage,
        degradations=[each.label for each in degradations],
        patients=len({each.patient for each in tune}),
    )


def report_coverage(
    model: keras.Model,
    calibration: IntervalCalibration,
    report: Sequence[PreparedSeries],
    degradations: Sequence[StatedDegrade],
    *,
    progress: Advance = silent,
) -> list[CoverageRow]:
    """What the intervals hold on patients that they were not calibrated on; arguments as for `calibrate_intervals`."""
    rows = []
    for degrade in degradations:
        before = list(_samples(model, report, degrade, "coverage", progress))
        after = [_moved(each, calibration) for each in before]
        unit: Unit = report[0].unit
        found = [measure_coverage(each, unit) for each in (before, after)]
        rows += [
            CoverageRow(
                degradation=degrade.label,
                tissue=tissue,
                share=(found[0][tissue].share, found[1][tissue].share),
                width=(found[0][tissue].width, found[1][tissue].width),
                pixels=found[0][tissue].pixels,
                patients=len({each.patient for each in report}),
            )
            for tissue in found[0]
        ]
    return rows


def render_coverage(rows: Sequence[CoverageRow], coverage: float) -> str:
    """Markdown: a table for each degradation, and what it says."""
    lines = []
    for degradation in dict.fromkeys(row.degradation for row in rows):
        lines += [
            f"**{degradation}**",
            "",
            "| pixels | in the interval, % | before calibration | mean width | before | pixels counted |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.tissue} | {100 * row.share[1]:.1f} | {100 * row.share[0]:.1f} | {row.width[1]:.3g} |"
            f" {row.width[0]:.3g} | {row.pixels} |"
            for row in rows
            if row.degradation == degradation
        ]
        lines.append("")
    patients = max((row.patients for row in rows), default=0)
    return "\n".join(lines) + (
        f"Meant are {100 * coverage:g} %. Measured on {patients} patients that were neither fitted nor calibrated on:"
        " the share of pixels whose reference lies between lower and upper. The reference is a scan with noise of its"
        " own. Classes by the restored value.\n"
    )


def write_calibration(run: Path, intervals: IntervalCalibration, rows: Sequence[CoverageRow]) -> None:
    """Keeps them in the run's `CALIBRATION`."""
    write_json(run / CALIBRATION, {"intervals": intervals.model_dump(), "coverage": [asdict(row) for row in rows]})


def read_calibration(run: Path) -> tuple[IntervalCalibration | None, list[CoverageRow]]:
    """What `write_calibration` wrote; (None, []) where a run has none."""
    file = run / CALIBRATION
    if not file.is_file():
        return None, []
    plain: dict[str, Any] = json.loads(file.read_text())
    rows = [
        CoverageRow(**{**row, "share": tuple(row["share"]), "width": tuple(row["width"])}) for row in plain["coverage"]
    ]
    return IntervalCalibration.model_validate(plain["intervals"]), rows


def _samples(
    model: keras.Model, series: Sequence[PreparedSeries], degrade: StatedDegrade, what: str, progress: Advance
) -> Iterator[Sampled]:
    total, done = sum(len(each.images) for each in series), 0
    for each in series:
        for degraded, reference in evaluation_pairs(each, degrade):
            yield sample(model.predict_on_batch(degraded[None, ..., None])[0], reference)
            done += 1
            progress(f"{what}: {degrade.label}", done, total)


def _moved(each: Sampled, calibration: IntervalCalibration) -> Sampled:
    answer = np.stack([each.restored, each.lower, each.upper], axis=-1)
    restored, lower, upper = np.moveaxis(keras.ops.convert_to_numpy(calibrated(answer, calibration)), -1, 0)
    return Sampled(restored, lower, upper, each.reference)
