"""Repeats: the best of a search against untuned constants, so that a gain can be told from noise.

    arms x new seeds --fit--> every tune slice scored --> repeats/<digest>.json --pair by slice--> Gain, interval

A search picks the luckiest of its trials, so its own scores flatter it. Here every arm is trained again under seeds
that the search has not used, all arms under the same ones, and scored on all tune slices; differences are paired by
seed and slice. Their interval is a hierarchical bootstrap over seeds, patients and slices: the noise of training is
often the largest of the three. The patients are those that chose the settings, and few: only report patients say how
much of a gain others have (`clearslice evaluate`).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.metrics import measure
from training.claims import Claim
from training.comparison.statistics import DRAWS, joint_bootstrap
from training.comparison.statistics import interval as percentiles
from training.data.datasets import evaluation_pairs
from training.data.pairs import PreparedSeries
from training.evaluation.evaluate import Interval
from training.evaluation.image_scores import CONTRACTS, Picture
from training.fit import FitSettings, Progress, fit
from training.probes import evaluated_degradation, restore_slice
from training.progress import Advance, silent
from training.run_files import write_json
from training.tuning.trials import Search, forgotten

METRICS = ("psnr", "ssim")

MINIMUM_SEEDS = 3
"""With fewer nothing is called a gain: two seeds agree by chance every second time."""

INTERVAL_METHOD = f"95 % hierarchical bootstrap (seed, patient, then slice), {DRAWS} draws"


@dataclass(frozen=True)
class Arm:
    """One set of settings that is trained several times; `name` for tables."""

    name: str
    settings: FitSettings

    @property
    def digest(self) -> str:
        """Names the files of these settings and their seed, whatever the arm is called."""
        return hashlib.sha256(json.dumps(self.settings.to_json(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Gain:
    """How much better one arm is than another in one metric.

    Attributes:
        mean: of the differences, over seeds and patients of means over slices.
        interval: 95 %; None for a single seed, which says nothing about others.
        by_seed: the same mean for each seed alone.
    """

    mean: float
    interval: Interval | None
    by_seed: tuple[float, ...]

    @property
    def clear(self) -> bool:
        """Whether the interval, of `MINIMUM_SEEDS` or more, leaves 0 out."""
        if self.interval is None or len(self.by_seed) < MINIMUM_SEEDS:
            return False
        low, high = self.interval
        return low > 0 or high < 0


SliceScores = dict[str, list[list[Any]]]
"""Metric -> [patient, value] of every tune slice, always in the same order."""


def repeat(
    search: Search, arms: Sequence[Arm], seeds: Sequence[int], *, progress: Advance = silent
) -> list[list[SliceScores]]:
    """Scores of every arm under every seed, [arm][seed]; trains what is missing, together with other workers.

    Args:
        search: whose data is fitted and scored.
        arms, seeds: every arm is trained under every seed.
        progress: told (what, steps done, steps in all).
    """
    jobs = [Arm(arm.name, replace(arm.settings, seed=seed)) for seed in seeds for arm in arms]
    for number, job in _missing(jobs, search):
        stage = f"repeat {number + 1}/{len(jobs)}: {job.name}"

        def tell(state: Progress, stage: str = stage) -> None:
            progress(stage, (state.epoch - 1) * state.steps + state.step, state.epochs * state.steps)

        with forgotten(search.work_folder(job.digest)) as work:
            model = fit(job.settings, search.fit_series, [], work, cache=search.cache, progress=tell)
            scores = _scores(restore_slice(model), job.settings, search.tune_series)
        write_json(_file(search, job), {"settings": job.settings.to_json(), "scores": scores})
    return [[read_scores(search, Arm(arm.name, replace(arm.settings, seed=seed))) for seed in seeds] for arm in arms]


def read_scores(search: Search, arm: Arm) -> SliceScores:
    """Of an arm that has been trained under the seed of its settings."""
    scores: SliceScores = json.loads(_file(search, arm).read_text())["scores"]
    return scores


def gain(ours: Sequence[SliceScores], theirs: Sequence[SliceScores], metric: str, *, seed: int = 0) -> Gain:
    """Of the first over the second, each [seed]; `seed` is that of the bootstrap."""
    by_seed = [_differences(one, two, metric) for one, two in zip(ours, theirs, strict=True)]
    singles = [float(np.mean([values.mean() for values in each])) for each in by_seed]
    interval = None
    if len(singles) > 1:
        rng = np.random.default_rng(seed)
        drawn = joint_bootstrap([np.stack(patient) for patient in zip(*by_seed, strict=True)], rng)
        chosen = rng.integers(len(singles), size=drawn.shape)
        interval = percentiles(np.take_along_axis(drawn, chosen, axis=1).mean(axis=1))
    return Gain(float(np.mean(singles)), interval, tuple(singles))


def patient_mean(scores: SliceScores, metric: str) -> float:
    """Mean over patients of means over slices."""
    by_patient: dict[str, list[float]] = defaultdict(list)
    for patient, value in scores[metric]:
        by_patient[patient].append(value)
    return float(np.mean([np.mean(values) for values in by_patient.values()]))


def _differences(one: SliceScores, two: SliceScores, metric: str) -> list[NDArray[np.float64]]:
    """One array of differences per patient."""
    by_patient: dict[str, list[float]] = defaultdict(list)
    for (patient, ours), (_, theirs) in zip(one[metric], two[metric], strict=True):
        by_patient[patient].append(ours - theirs)
    return [np.asarray(values) for values in by_patient.values()]


def _missing(jobs: Sequence[Arm], search: Search) -> Iterator[tuple[int, Arm]]:
    """Jobs that nobody has done or is at, each claimed while it is worked on; ends when all are done."""
    while waiting := [(number, job) for number, job in enumerate(jobs) if not _file(search, job).exists()]:
        worked = False
        for number, job in waiting:
            claim = Claim.take(search.claim_file(f"repeat-{job.digest}"))
            if claim is None:
                continue
            with claim:
                if not _file(search, job).exists():  # another worker may have finished it meanwhile
                    worked = True
                    yield number, job
        if not worked:
            Claim.wait(search.claim_file(f"repeat-{waiting[0][1].digest}")).release()


def _scores(
    restore: Callable[[Picture], Picture], settings: FitSettings, series: Sequence[PreparedSeries]
) -> SliceScores:
    degrade = evaluated_degradation(settings.noise)
    scores: SliceScores = {metric: [] for metric in METRICS}
    for each in series:
        for degraded, reference in evaluation_pairs(each, degrade):
            measured = measure(restore(degraded), reference, CONTRACTS[each.unit][0])
            for metric, values in scores.items():
                values.append([each.patient, float(getattr(measured, metric))])
    return scores


def _file(search: Search, arm: Arm) -> Path:
    return search.folder / "repeats" / f"{arm.digest}.json"
