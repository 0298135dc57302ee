"""Evaluate: what a restorer does to patients it has never seen, beside tuned classical baselines, with intervals.

    report series --Degrade--> (degraded, reference) --each method--> ImageScore --by patient--> Row --> score_tables
    tune series --Degrade--> the baselines' parameters

Works for every domain: contracts and baselines follow from the unit of the series. Scores are means over patients of
means over slices. Intervals come from a hierarchical bootstrap: patients are drawn with replacement, then slices within
each drawn patient (Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Methods see the same
noise, so gains over the degraded image are paired.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.image import Unit
from training.data.datasets import evaluation_pairs
from training.data.pairs import PreparedSeries, StatedDegrade
from training.evaluation.baselines import BASELINES, TunedBaseline, tune
from training.evaluation.image_scores import Picture, Values, score_against, scores
from training.progress import Advance, silent

Restore = Callable[[Picture], Picture]
"""(H, W) float32 -> (H, W) float32, in the unit of the images."""

Interval = tuple[float, float]
"""(low, high)."""

DEGRADED = "degraded"

BOOTSTRAP_DRAWS = 2000
INTERVAL_METHOD = f"95 % hierarchical bootstrap (patient, then slice), {BOOTSTRAP_DRAWS} draws"
_TUNE_SLICES = 12


@dataclass(frozen=True)
class ImageScore:
    """All scores of one method on one slice; `values` as `training.evaluation.image_scores.scores` gives them."""

    method: str
    degradation: str
    series: str
    patient: str
    values: Values


@dataclass(frozen=True)
class Row:
    """One cell of the table: mean over patients, its interval, and the mean paired gain over the degraded image.

    `gain` is None for what the degraded image has not: a structure of what was removed. `images` is how many slices the
    metric is defined on.
    """

    method: str
    degradation: str
    metric: str
    contract: str
    mean: float
    interval: Interval | None
    gain: float | None
    gain_interval: Interval | None
    patients: int
    images: int


def evaluate(
    methods: Mapping[str, Restore],
    report: Sequence[PreparedSeries],
    tune_series: Sequence[PreparedSeries],
    degradations: Sequence[StatedDegrade],
    *,
    processes: int | None = None,
    progress: Advance = silent,
) -> list[ImageScore]:
    """Scores every method, the degraded image and the baselines on every slice of `report` under every degradation.

    Args:
        methods: name -> restorer of one image.
        report: series of patients that nothing was fitted or tuned on, all in one unit.
        tune_series: what the baselines' parameters are chosen on; empty leaves the baselines out.
        degradations: how slices are degraded.
        processes: for the baselines (default: the machine's cores).
        progress: told (what, done, total).
    """
    found = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for degrade in degradations:
            baselines = _tuned(tune_series, degrade, pool, progress)
            total, done = sum(len(each.images) for each in report), 0
            for series in report:
                for degraded, image in evaluation_pairs(series, degrade):
                    work = [pool.submit(_baseline_scores, each, degraded, image, series.unit) for each in baselines]
                    reference = score_against(image, series.unit)
                    values = {DEGRADED: scores(degraded, degraded, reference)}
                    values |= {
                        name: scores(restore(degraded), degraded, reference) for name, restore in methods.items()
                    }
                    values |= {each.label: future.result() for each, future in zip(baselines, work, strict=True)}
                    found += [
                        ImageScore(method, degrade.label, series.name, series.patient, each)
                        for method, each in values.items()
                    ]
                    done += 1
                    progress(f"evaluate: {degrade.label}", done, total)
    return found


def _baseline_scores(baseline: TunedBaseline, degraded: Picture, reference: Picture, unit: Unit) -> Values:
    return scores(baseline(degraded), degraded, score_against(reference, unit))


def _tuned(
    series: Sequence[PreparedSeries],
    degrade: StatedDegrade,
    pool: ProcessPoolExecutor,
    progress: Advance,
) -> list[TunedBaseline]:
    slices = [(each, pair) for each in series for pair in evaluation_pairs(each, degrade)]
    if not slices:
        return []
    unit = slices[0][0].unit
    pairs = [pair for _, pair in slices[:: max(1, len(slices) // _TUNE_SLICES)]]
    total, done = sum(len(baseline.grid) for baseline in BASELINES), 0
    tuned = []
    for baseline in BASELINES:

        def advance() -> None:
            nonlocal done
            done += 1
            progress(f"tune baselines: {degrade.label}", done, total)

        tuned.append(tune(baseline, pairs, unit, pool, advance))
    return tuned


def summarise(image_scores: Iterable[ImageScore], *, seed: int = 0) -> list[Row]:
    """Rows in the order of methods; within a patient the order of slices pairs a method with the degraded image.

    Slices on which a metric is not defined (NaN, or the infinite PSNR of a perfect image) are left out of its row, and
    patients without any.
    """
    table: dict[tuple[str, str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in image_scores:
        for (metric, contract), value in score.values.items():
            table[score.degradation, score.method, metric, contract][score.patient].append(value)
    rows = []
    for (degradation, method, metric, contract), by_patient in table.items():
        before = table[degradation, DEGRADED, metric, contract]
        values = _defined(by_patient.values())
        if not values:
            continue
        gains = _defined(np.asarray(each) - np.asarray(before[patient]) for patient, each in by_patient.items())
        mean, interval = bootstrap(values, np.random.default_rng(seed))
        gain, gain_interval = bootstrap(gains, np.random.default_rng(seed)) if gains else (None, None)
        images = sum(len(each) for each in values)
        rows.append(
            Row(method, degradation, metric, contract, mean, interval, gain, gain_interval, len(values), images)
        )
    return rows


def _defined(by_patient: Iterable[Sequence[float] | NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    arrays = [np.asarray(each, np.float64) for each in by_patient]
    return [kept for each in arrays if len(kept := each[np.isfinite(each)])]


def bootstrap(by_patient: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> tuple[float, Interval | None]:
    """Mean over patients of the means over slices, and its 95 % interval; see the module.

    Args:
        by_patient: for each patient (slices,) values.
        rng: source of randomness.

    Returns:
        (mean, (low, high)); no interval for a single patient, whose mean says nothing about others.
    """
    mean = float(np.mean([values.mean() for values in by_patient]))
    if len(by_patient) < 2:  # noqa: PLR2004 - one patient
        return mean, None
    places = (BOOTSTRAP_DRAWS, len(by_patient))
    # [patient, draw, place]: what each patient's slices would average to if it were drawn there
    drawn = np.stack([values[rng.integers(len(values), size=(*places, len(values)))].mean(-1) for values in by_patient])
    chosen = rng.integers(len(by_patient), size=places)
    means = np.take_along_axis(drawn, chosen[None], axis=0)[0].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return mean, (float(low), float(high))


def to_json(rows: Iterable[Row], image_scores: Iterable[ImageScore]) -> dict[str, Any]:
    """Rows and the single scores they come from, as plain values; what is not defined on a slice is None."""
    return {
        "interval_method": INTERVAL_METHOD,
        "rows": [asdict(row) for row in rows],
        "scores": [score_to_json(score) for score in image_scores],
    }


def score_to_json(score: ImageScore) -> dict[str, Any]:
    """Plain values: `values` as a list of (metric, contract, value or None)."""
    values = [[*key, value if math.isfinite(value) else None] for key, value in score.values.items()]
    return asdict(score) | {"values": values}


def score_from_json(plain: Mapping[str, Any]) -> ImageScore:
    """What `score_to_json` wrote."""
    values = {
        (metric, contract): math.nan if value is None else float(value) for metric, contract, value in plain["values"]
    }
    return ImageScore(**{**plain, "values": values})


def rows_from_json(plain: Mapping[str, Any]) -> list[Row]:
    """The rows that `to_json` wrote."""
    pairs = ("interval", "gain_interval")
    fields: Iterable[dict[str, Any]] = plain["rows"]
    return [Row(**{**row, **{key: row[key] and tuple(row[key]) for key in pairs}}) for row in fields]
