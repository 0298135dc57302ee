"""Standings: what the scores of one degradation say about the order of the methods, and what they leave open.

    method -> patient -> (seeds, slices) --mean over seeds--> joint bootstrap --> means, differences, ranks, intervals
                                                          --> sign flips against the reference, Holm --> p
                                                          --> all pairs at once --> who is tied with the best
                      --each seed on its own--------------> do all seeds agree?

A difference counts as real when its corrected test says so and, where several seeds were trained, each seed alone has
the same sign: the test knows the chance of patients, the seeds show that of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.comparison.statistics import (
    LEVEL,
    MINIMUM_PATIENTS,
    Float64,
    all_pairs,
    holm,
    interval,
    joint_bootstrap,
    ranks,
    sign_flips,
)

Kind = Literal["recipe", "taken", "baseline"]
"""Trained by the study; trained before, under another budget; a classical filter, or no filter at all."""

Interval = tuple[float, float]

MINIMUM_SEEDS = 2
"""One training says nothing about the next: at a small budget another seed moves a recipe as far as another recipe does
(docs/decisions/0008)."""

Values = Mapping[str, NDArray[np.float64]]
"""Patient -> (seeds, slices) scores of one method; (1, slices) for a method without seeds."""

NEGLIGIBLE_DB = 0.1
"""A difference in PSNR that is nothing to choose by, chance or not: about twice what another seed does to a mean in the
studies of docs/which-loss.md."""


@dataclass(frozen=True)
class Difference:
    """Of two methods, the first minus the second, over the same slices.

    Attributes:
        mean, interval: over patients; no interval under `MINIMUM_PATIENTS`.
        p: corrected, see who made it; None under `MINIMUM_PATIENTS`.
        seeds_agree: each of `MINIMUM_SEEDS` seeds or more has the sign of the mean.
    """

    mean: float
    interval: Interval | None
    p: float | None
    seeds_agree: bool

    @property
    def real(self) -> bool:
        """Neither the chance of patients nor that of training explains it."""
        return self.p is not None and self.p <= LEVEL and self.seeds_agree


@dataclass(frozen=True)
class Standing:
    """One method under one degradation by one metric.

    Attributes:
        method, kind: who.
        mean, interval: over patients of means over slices and seeds.
        seed_means: the mean of each seed; their spread is the chance of training.
        to_reference: minus the reference recipe, corrected by Holm over all recipes; None for the reference itself.
        rank, rank_interval: among recipes, 1 the best; None for others.
        to_best: minus the best recipe, corrected for all pairs; None for the best itself and for others than recipes.
    """

    method: str
    kind: Kind
    mean: float
    interval: Interval | None
    seed_means: tuple[float, ...]
    to_reference: Difference | None
    rank: int | None
    rank_interval: tuple[int, int] | None
    to_best: Difference | None

    @property
    def tied(self) -> bool:
        """A recipe that is the best or cannot be told apart from it."""
        return self.rank is not None and (self.to_best is None or not self.to_best.real)


@dataclass(frozen=True)
class Standings:
    """All methods under one degradation by one metric, recipes first, best first."""

    degradation: str
    metric: str
    contract: str
    reference: str
    patients: int
    slices: int
    seeds: int
    methods: tuple[Standing, ...]

    @property
    def recipes(self) -> tuple[Standing, ...]:
        """Those that are ranked, best first."""
        return tuple(each for each in self.methods if each.kind == "recipe")

    def __getitem__(self, method: str) -> Standing:
        return next(each for each in self.methods if each.method == method)

    def __contains__(self, method: str) -> bool:
        return any(each.method == method for each in self.methods)


def stand(
    degradation: str,
    key: tuple[str, str],
    methods: Mapping[str, tuple[Kind, Values]],
    reference: str,
    *,
    seed: int = 0,
) -> Standings:
    """Ranks the recipes, and compares all methods with one of them.

    Args:
        degradation: its label.
        key: (metric, contract); more must be better.
        methods: name -> (kind, scores), all of the same slices of the same patients in the same order.
        reference: the recipe that the others are compared with.
        seed: of the bootstrap.
    """
    names = list(methods)
    patients = list(methods[reference][1])
    arrays = [np.stack([methods[name][1][patient].mean(axis=0) for name in names]) for patient in patients]
    means = np.array([values.mean(axis=1) for values in arrays])  # (patients, methods)
    draws = joint_bootstrap(arrays, np.random.default_rng(seed))
    rows = {name: number for number, name in enumerate(names)}
    ranked = [number for number, name in enumerate(names) if methods[name][0] == "recipe"]
    overall = means.mean(axis=0)
    best = max(ranked, key=lambda number: overall[number])
    against_reference = _tests_against(means, ranked, rows[reference], np.random.default_rng(seed))
    of_pairs = all_pairs(means[:, ranked], np.random.default_rng(seed))
    drawn_ranks = ranks(draws[:, ranked])
    seeds = {name: _seed_means(values) for name, (_, values) in methods.items()}

    def difference(one: int, other: int, p: float | None) -> Difference:
        pair = seeds[names[one]], seeds[names[other]]
        mean = float(overall[one] - overall[other])
        enough = len(patients) >= MINIMUM_PATIENTS
        return Difference(
            mean,
            interval(draws[:, one] - draws[:, other]) if enough else None,
            p if enough else None,
            _agree(mean, *pair),
        )

    standings = []
    for number, (name, (kind, _)) in enumerate(methods.items()):
        place = ranked.index(number) if number in ranked else None
        standings.append(
            Standing(
                name,
                kind,
                float(overall[number]),
                interval(draws[:, number]) if len(patients) > 1 else None,
                seeds[name],
                None if name == reference else difference(number, rows[reference], against_reference.get(number)),
                None if place is None else int(ranks(overall[ranked])[place]),
                None if place is None else _rank_interval(drawn_ranks[:, place]),
                None
                if place is None or number == best
                else difference(number, best, _p(of_pairs, ranked, number, best)),
            )
        )
    order = {"recipe": 0, "taken": 1, "baseline": 2}
    standings.sort(key=lambda each: (order[each.kind], -each.mean))
    slices = sum(values.shape[1] for values in arrays)
    return Standings(degradation, *key, reference, len(patients), slices, len(seeds[reference]), tuple(standings))


def compare_two(one: Values, other: Values, *, seed: int = 0) -> Difference:
    """The difference of two methods with an uncorrected p, which is the caller's to correct."""
    patients = list(one)
    arrays = [np.stack([one[patient].mean(axis=0), other[patient].mean(axis=0)]) for patient in patients]
    means = np.array([values.mean(axis=1) for values in arrays])
    draws = joint_bootstrap(arrays, np.random.default_rng(seed))
    p = float(sign_flips(means[:, :1] - means[:, 1:], np.random.default_rng(seed))[0])
    mean = float((means[:, 0] - means[:, 1]).mean())
    enough = len(patients) >= MINIMUM_PATIENTS
    return Difference(
        mean,
        interval(draws[:, 0] - draws[:, 1]) if enough else None,
        p if enough else None,
        _agree(mean, _seed_means(one), _seed_means(other)),
    )


def _tests_against(means: Float64, ranked: Sequence[int], reference: int, rng: np.random.Generator) -> dict[int, float]:
    """Number of the recipe -> p against the reference, by Holm over all recipes."""
    others = [number for number in ranked if number != reference]
    if not others:
        return {}
    p = sign_flips(means[:, others] - means[:, [reference]], rng)
    return dict(zip(others, holm([float(each) for each in p]), strict=True))


def _p(of_pairs: Float64, ranked: Sequence[int], one: int, other: int) -> float:
    return float(of_pairs[ranked.index(one), ranked.index(other)])


def _rank_interval(draws: NDArray[np.int64]) -> tuple[int, int]:
    low, high = np.percentile(draws, [2.5, 97.5], method="nearest")
    return int(low), int(high)


def _seed_means(values: Values) -> tuple[float, ...]:
    return tuple(float(each) for each in np.mean([array.mean(axis=1) for array in values.values()], axis=0))


def _agree(mean: float, one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether there are several seeds and the difference has the sign of `mean` in each.

    A method without seeds is the same for each.
    """
    seeds = max(len(one), len(other))
    pairs = zip(np.broadcast_to(one, seeds), np.broadcast_to(other, seeds), strict=True)
    return seeds >= MINIMUM_SEEDS and all((a - b) * mean > 0 for a, b in pairs)
