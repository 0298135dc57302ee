"""Scoring: what a restorer does to the patients that it has never seen, and to phantoms.

    fold, degradation --make_bench--> Bench: slices of patients, quality phantom, picture; shared by all methods
    restorer ---------score_restorer--> scores.json: values of each slice, phantom curves, milliseconds
                                        crop.npy:    the picture's crop, restored

Scores say under which terms they were made (slices a patient, version of the scores, what restored them); those of
other terms are made anew, so scoring can be repeated without training.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from training.comparison.picture_crop import CropPair, crop_pair, picture_series
from training.data.pairs import PreparedSeries
from training.degradations import Degradation, prepare_degradation
from training.domains import DOMAINS
from training.evaluation.image_scores import Picture, Reference, score_against, scores
from training.evaluation.phantom_tests import DegradedPhantom, degrade_phantom, measure_restorer, phantom_series
from training.progress import Advance, silent
from training.run_files import json_like, write_json

SCORES = "scores.json"
CROP = "crop.npy"
VERSION = 1
"""Raise when scores change their meaning: all are then made anew."""

Restore = Callable[[Picture], Picture]
Mapped = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, eq=False)
class ReportSlice:
    """One slice that all methods are scored on."""

    series: str
    patient: str
    number: int
    degraded: Picture
    reference: Reference


def choose(series: Sequence[PreparedSeries], per_patient: int) -> list[tuple[PreparedSeries, int]]:
    """Slices of each patient, over all series of it, spread evenly from the first to the last but never at the ends.

    The middle of each of `per_patient` equal parts; all slices where a patient has no more than that.
    """
    by_patient: dict[str, list[tuple[PreparedSeries, int]]] = {}
    for each in series:
        by_patient.setdefault(each.patient, []).extend((each, number) for number in range(len(each.images)))
    chosen = []
    for slices in by_patient.values():
        count = min(per_patient, len(slices))
        chosen += [slices[int((part + 0.5) * len(slices) / count)] for part in range(count)]
    return chosen


def degraded_slice(series: PreparedSeries, number: int, degradation: Degradation) -> tuple[Picture, Picture]:
    """(degraded, reference) of one slice, (H, W) float32 each, always the same."""
    _, height, width = series.images.shape
    reference = np.asarray(series.images[number], np.float32)
    return degradation.repeat(series, (number, slice(0, height), slice(0, width)), 0), reference


def report_slices(series: Sequence[PreparedSeries], degradation: Degradation, per_patient: int) -> list[ReportSlice]:
    """What all methods under this degradation are scored on; see `choose`."""
    result = []
    for each, number in choose(series, per_patient):
        degraded, reference = degraded_slice(each, number, degradation)
        result.append(ReportSlice(each.name, each.patient, number, degraded, score_against(reference, each.unit)))
    return result


@dataclass(frozen=True, eq=False)
class Bench:
    """What all methods under one degradation are scored on, with the patients of one fold."""

    slices: list[ReportSlice]
    phantom: DegradedPhantom
    picture: CropPair


def make_bench(
    degradation: Degradation,
    report: Sequence[PreparedSeries],
    per_patient: int,
    cache: Path,
    progress: Advance = silent,
) -> Bench:
    """Degrades slices, quality phantom and picture; seconds, and the first time in a cache minutes.

    Args:
        degradation: with its settings.
        report: whose slices; see `choose`.
        per_patient: at most so many of each.
        cache: of unit noise and projections.
        progress: told what is made.
    """
    unit = DOMAINS[degradation.domain]
    phantom = phantom_series(unit, cache, progress=progress)
    prepare_degradation(degradation, [*report, phantom], progress=progress)
    picture = crop_pair(picture_series(unit, cache, progress=progress), degradation, progress=progress)
    slices = report_slices(report, degradation, per_patient)
    return Bench(slices, degrade_phantom(phantom, degradation), picture)


def score_slice(restore: Restore, each: ReportSlice) -> tuple[dict[str, Any], float]:
    """Plain values of one slice, and the seconds that restoring it took. A value that is not defined there is None."""
    start = time.perf_counter()
    restored = restore(each.degraded)
    seconds = time.perf_counter() - start
    values = scores(restored, each.degraded, each.reference)
    image = {
        "series": each.series,
        "patient": each.patient,
        "slice": each.number,
        "values": [[*key, value] for key, value in values.items()],
    }
    return image, seconds


def score_restorer(restore: Restore, bench: Bench, mapped: Mapped = map) -> tuple[dict[str, Any], Picture]:
    """(plain values for `scores.json`, restored crop of the picture).

    Args:
        restore: (H, W) float32 to the same; must be picklable for a `mapped` of several processes.
        bench: what it is scored on.
        mapped: `map`, or that of a pool of processes.
    """
    answers = list(mapped(partial(score_slice, restore), bench.slices))
    found = {
        "images": [image for image, _ in answers],
        "slice_milliseconds": 1000 * statistics.median(seconds for _, seconds in answers),
        "phantom": measure_restorer(restore, bench.phantom).to_json(),
    }
    return json_like(found), bench.picture.restored(restore)


def is_scored(place: Path, terms: Mapping[str, Any]) -> bool:
    """Whether `place` holds scores under these terms."""
    file = place / SCORES
    return file.is_file() and json.loads(file.read_text())["terms"] == terms


def keep_scores(place: Path, terms: Mapping[str, Any], found: Mapping[str, Any], crop: Picture | None = None) -> None:
    """Writes both files, aside first, `scores.json` last: what has it is complete."""
    place.mkdir(parents=True, exist_ok=True)
    if crop is not None:
        aside = place / f"{CROP}.aside"
        with aside.open("wb") as stream:
            np.save(stream, crop)
        aside.replace(place / CROP)
    write_json(place / SCORES, {"terms": dict(terms), **found})
