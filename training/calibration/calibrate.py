"""Calibrate: what a trained model promises, held against patients it was not fitted on.

    tune series --model--> answers --fit_intervals, fit_guard--> Calibration
    report series --model--> answers --what do they hold, how often would it warn--> its rows --> Markdown
    HARD_CASES ----model---> answers --how far off, would it warn------------------------'

A run keeps it in calibration.json, from where `training.export` puts it into the graph and the manifest.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from imaging.guard import GuardMeasures, measure_answer
from imaging.image import Unit
from model_store.manifest import Guard, IntervalCalibration
from training.calibration.guard import AlarmRow, count_alarms, fit_guard
from training.calibration.intervals import Sampled, calibrated, fit_intervals, measure_coverage, sample
from training.data.datasets import evaluation_pairs
from training.data.pairs import PreparedSeries, StatedDegrade
from training.degradations import Degradation, DoseProtocol, DoseRange
from training.evaluation.hard_cases import Drawing, HardCase, measure_hard_case
from training.progress import Advance, silent
from training.run_files import write_json

CALIBRATION = "calibration.json"

INTERVAL = ("restored", "lower", "upper")
"""The outputs of models whose interval is calibrated."""

DOSES = (1.0, 0.5, 0.25, 0.1)
"""Fractions of the scan's own dose. The guard has to know full doses too; there intervals have nothing to hold, since
image and reference are one."""

Picture = NDArray[np.float32]


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


@dataclass(frozen=True)
class Calibration:
    """What the tune patients decide, and what it is worth on the report patients.

    Attributes:
        guard: bounds of the guard.
        alarms: on the report patients.
        intervals: of models with the outputs `INTERVAL`.
        coverage: on the report patients.
        hard_cases: what the model makes of what it was not made for.
    """

    guard: Guard
    alarms: tuple[AlarmRow, ...] = ()
    intervals: IntervalCalibration | None = None
    coverage: tuple[CoverageRow, ...] = ()
    hard_cases: tuple[HardCase, ...] = ()


def calibration_degradations(noise: DoseRange | Degradation) -> tuple[StatedDegrade, ...]:
    """Under what is calibrated: `DOSES` with the texture of the scan's own noise; or what the run was trained on."""
    if isinstance(noise, DoseRange):
        return tuple(DoseProtocol(dose, kernel=None) for dose in DOSES)
    return (noise,)


def calibrate(
    model: keras.Model,
    outputs: Sequence[str],
    tune: Sequence[PreparedSeries],
    report: Sequence[PreparedSeries],
    degradations: Sequence[StatedDegrade],
    *,
    coverage: float = 0.9,
    drawings: Sequence[Drawing] = (),
    progress: Advance = silent,
) -> Calibration:
    """Calibrates on `tune` and looks at `report`.

    Args:
        model: (N, H, W, 1) -> (N, H, W, C), not calibrated yet.
        outputs: what its channels are.
        tune: series of patients that were not fitted, all in one unit.
        report: of others; may be empty.
        degradations: all count alike.
        coverage: what intervals shall hold, above 0 and below 1.
        drawings: hard cases, for models of CT.
        progress: told (what, done, total).

    Raises:
        UnsuitableSeries: `tune` is empty.
    """
    has_interval = tuple(outputs) == INTERVAL
    unit: Unit = tune[0].unit if tune else "HU"
    patients = len({each.patient for each in tune})
    measures: list[GuardMeasures] = []
    groups: dict[str, list[Sampled]] = defaultdict(list)
    for degrade in degradations:
        for patient, degraded, answer, reference in _answers(model, tune, degrade, "calibrate", progress):
            measures.append(measure_answer(degraded, answer[..., 0], unit))
            if has_interval and _degrades(degrade):
                groups[patient].append(sample(answer, reference))
    guard = fit_guard(measures, unit, degradations=[each.label for each in degradations], patients=patients)
    intervals = None
    if has_interval:
        held = [each.label for each in degradations if _degrades(each)]
        intervals = fit_intervals(groups.values(), unit, coverage=coverage, degradations=held, patients=patients)
    alarms: list[AlarmRow] = []
    rows: list[CoverageRow] = []
    for degrade in degradations if report else ():
        measures, samples = [], []
        for _, degraded, answer, reference in _answers(model, report, degrade, "report", progress):
            measures.append(measure_answer(degraded, answer[..., 0], unit))
            if has_interval and _degrades(degrade):
                samples.append(sample(answer, reference))
        alarms.append(count_alarms(measures, guard, degrade.label))
        if intervals and samples:
            rows += _coverage(samples, intervals, unit, degrade.label, len({each.patient for each in report}))
    hard_cases = []
    for number, drawing in enumerate(drawings):
        progress("hard cases", number, len(drawings))
        hard_cases.append(
            measure_hard_case(
                drawing, lambda image: model.predict_on_batch(image[None, ..., None])[0, ..., 0], guard.bounds
            )
        )
    return Calibration(guard, tuple(alarms), intervals, tuple(rows), tuple(hard_cases))


def render_calibration(calibration: Calibration) -> str:
    """Markdown: false alarms of the guard, and a table of coverage for each degradation."""
    lines = []
    if calibration.alarms:
        lines += ["| degradation | images the guard would warn of | of | by |", "|---|---|---|---|"]
        lines += [
            f"| {row.degradation} | {row.alarms} | {row.images} | {', '.join(row.measures) or 'none'} |"
            for row in calibration.alarms
        ]
        lines.append("")
    for degradation in dict.fromkeys(row.degradation for row in calibration.coverage):
        lines += [
            f"**{degradation}**",
            "",
            "| pixels | in the interval, % | before calibration | mean width | before | pixels counted |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row.tissue} | {100 * row.share[1]:.1f} | {100 * row.share[0]:.1f} | {row.width[1]:.3g} |"
            f" {row.width[0]:.3g} | {row.pixels} |"
            for row in calibration.coverage
            if row.degradation == degradation
        ]
        lines.append("")
    if calibration.intervals and calibration.coverage:
        lines.append(
            f"Meant are {100 * calibration.intervals.coverage:g} %. Measured on"
            f" {calibration.coverage[0].patients} patients that were neither fitted nor calibrated on: the share of"
            " pixels whose reference lies between lower and upper. The reference is a scan with noise of its own."
            " Classes by the restored value.\n"
        )
    return "\n".join(lines)


def write_calibration(run: Path, calibration: Calibration) -> None:
    """Keeps it in the run's `CALIBRATION`."""
    intervals = calibration.intervals
    write_json(
        run / CALIBRATION,
        {
            "guard": calibration.guard.model_dump(),
            "alarms": [asdict(row) for row in calibration.alarms],
            "intervals": intervals and intervals.model_dump(),
            "coverage": [asdict(row) for row in calibration.coverage],
            "hard_cases": [asdict(case) for case in calibration.hard_cases],
        },
    )


def read_calibration(run: Path) -> Calibration | None:
    """What `write_calibration` wrote, or None."""
    file = run / CALIBRATION
    if not file.is_file():
        return None
    plain: dict[str, Any] = json.loads(file.read_text())
    intervals = plain["intervals"]
    return Calibration(
        guard=Guard.model_validate(plain["guard"]),
        alarms=tuple(AlarmRow(**{**row, "measures": tuple(row["measures"])}) for row in plain["alarms"]),
        intervals=intervals and IntervalCalibration.model_validate(intervals),
        coverage=tuple(
            CoverageRow(**{**row, "share": tuple(row["share"]), "width": tuple(row["width"])})
            for row in plain["coverage"]
        ),
        hard_cases=tuple(HardCase(**{**case, "warned": tuple(case["warned"])}) for case in plain.get("hard_cases", ())),
    )


def _degrades(degrade: StatedDegrade) -> bool:
    return not (isinstance(degrade, DoseProtocol) and degrade.dose_fraction == 1)


def _answers(
    model: keras.Model, series: Sequence[PreparedSeries], degrade: StatedDegrade, what: str, progress: Advance
) -> Iterator[tuple[str, Picture, Picture, Picture]]:
    """(patient, degraded, answer with its channels, reference) of every slice."""
    total, done = sum(len(each.images) for each in series), 0
    for each in series:
        for degraded, reference in evaluation_pairs(each, degrade):
            yield each.patient, degraded, model.predict_on_batch(degraded[None, ..., None])[0], reference
            done += 1
            progress(f"{what}: {degrade.label}", done, total)


def _coverage(
    before: Sequence[Sampled], intervals: IntervalCalibration, unit: Unit, degradation: str, patients: int
) -> list[CoverageRow]:
    raw, moved = (measure_coverage(each, unit) for each in (before, [_moved(one, intervals) for one in before]))
    return [
        CoverageRow(
            degradation=degradation,
            tissue=tissue,
            share=(raw[tissue].share, moved[tissue].share),
            width=(raw[tissue].width, moved[tissue].width),
            pixels=raw[tissue].pixels,
            patients=patients,
        )
        for tissue in raw
    ]


def _moved(each: Sampled, intervals: IntervalCalibration) -> Sampled:
    answer = np.stack([each.restored, each.lower, each.upper], axis=-1)
    restored, lower, upper = np.moveaxis(keras.ops.convert_to_numpy(calibrated(answer, intervals)), -1, 0)
    return Sampled(restored, lower, upper, each.reference)
