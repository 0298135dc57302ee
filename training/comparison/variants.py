"""Variants: the same recipe under other constants, such as the classic ones, against its own.

huber, huber:delta=0.5 --compare_two, each degradation--> differences --Holm over the variants there--> Variation
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from training.comparison.standings import Difference, Kind, Values, compare_two
from training.comparison.statistics import holm
from training.comparison.theory import Metric


@dataclass(frozen=True)
class Variation:
    """`variant` minus `own`, the same recipe under its own constants, under one degradation."""

    variant: str
    own: str
    degradation: str
    metric: Metric
    difference: Difference


def vary(
    scores: Mapping[str, Mapping[Metric, Mapping[str, tuple[Kind, Values]]]], metric: Metric, *, seed: int = 0
) -> list[Variation]:
    """Every variant of which the study also has the recipe itself; arguments as of `training.comparison.theory.judge`.

    p is corrected by Holm over the variants under one degradation.
    """
    variations: list[Variation] = []
    for degradation, metrics in scores.items():
        recipes = {name: values for name, (kind, values) in metrics[metric].items() if kind == "recipe"}
        pairs = [(name, own) for name in recipes if (own := name.partition(":")[0]) != name and own in recipes]
        found = [compare_two(recipes[variant], recipes[own], seed=seed) for variant, own in pairs]
        corrected = holm([each.p for each in found if each.p is not None])
        if len(corrected) == len(found):
            found = [replace(each, p=p) for each, p in zip(found, corrected, strict=True)]
        variations += [
            Variation(variant, own, degradation, metric, each)
            for (variant, own), each in zip(pairs, found, strict=True)
        ]
    return variations
