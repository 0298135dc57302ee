"""The verdict over an advice: what the scores of short trainings say, and what they leave open.

    PSNR of each held-out image, recipe by recipe --paired differences, bootstrap over sources and images--> Comparison
    Comparisons of the advised recipe with the others --> right | within the interval | wrong

A short training shows which recipe gets further in a few minutes, not which one ends best; and the interval knows the
chance of images, not that of another seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.comparison.statistics import MINIMUM_PATIENTS
from training.evaluation.evaluate import bootstrap

Verdict = Literal["right", "within the interval", "wrong"]

LEARNED_DB = 0.5
"""What the best recipe must gain over the noisy images: below it the trainings were too short to compare anything."""

UNTREATED = "untreated"
"""The noisy images themselves, among the recipes."""


@dataclass(frozen=True)
class Comparison:
    """The advised recipe minus another one.

    Attributes:
        other: recipe.
        gain: mean difference in PSNR, dB.
        interval: 95 %, or None where there is one held-out image only.
    """

    other: str
    gain: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Verification:
    """What the short trainings showed.

    Attributes:
        verdict: `right`: better than all others beyond the interval; `wrong`: worse than one of them beyond it.
        psnr: recipe -> mean over held-out images, dB; `untreated` for the noisy images.
        comparisons: with each other recipe.
        sources, images: how many were held out.
        budget: of each recipe, in words.
    """

    verdict: Verdict
    advised: str
    psnr: Mapping[str, float]
    comparisons: tuple[Comparison, ...]
    sources: int
    images: int
    budget: str

    @property
    def sentence(self) -> str:
        """The verdict for people."""
        few = "" if self.sources >= MINIMUM_PATIENTS else " (few: the interval says little about others)"
        held_out = f"on {self.images} held-out images of {self.sources} sources{few}, after {self.budget}"
        best = max((each for each in self.psnr if each != UNTREATED), key=self.psnr.__getitem__)
        gained = self.psnr[best] - self.psnr[UNTREATED]
        if gained < LEARNED_DB:
            return (
                f"The advice can neither be confirmed nor refuted here: no recipe is {LEARNED_DB:g} dB above the noisy"
                f" images (the best, {best}, by {gained:+.2f} dB) {held_out}. Train longer: --epochs, --steps."
            )
        if self.verdict == "wrong":
            # of those that are better beyond the interval; another may be ahead by chance
            certain = [each for each in self.comparisons if each.interval is not None and each.interval[1] < 0]
            worse = min(certain, key=lambda each: each.gain)
            return (
                f"The advice was wrong here: {worse.other} is better than {self.advised} by {-worse.gain:.2f} dB"
                f"{_brackets(worse, sign=-1)} {held_out}."
            )
        nearest = min(self.comparisons, key=lambda each: each.gain)
        if self.verdict == "right":
            return (
                f"The advice was right here: {self.advised} is the best, {nearest.gain:.2f} dB above"
                f" {nearest.other}{_brackets(nearest)} {held_out}."
            )
        return (
            f"The advice can neither be confirmed nor refuted here: {self.advised} is within the interval of"
            f" {nearest.other} ({nearest.gain:+.2f} dB{_brackets(nearest)}) {held_out}."
        )


def judge(comparisons: Sequence[Comparison], psnr: Mapping[str, float]) -> Verdict:
    """The verdict: `right` and `wrong` take a recipe that has learned something, and an interval that 0 is not in.

    Args:
        comparisons: of the advised recipe with the others.
        psnr: recipe, or `untreated` -> mean over held-out images, dB.
    """
    if max(psnr.values()) - psnr[UNTREATED] < LEARNED_DB:
        return "within the interval"
    known = [each.interval for each in comparisons if each.interval is not None]
    if any(high < 0 for _, high in known):
        return "wrong"
    if len(known) == len(comparisons) and all(low > 0 for low, _ in known):
        return "right"
    return "within the interval"


def compare(ours: list[float], theirs: list[float], sources: list[str], other: str, seed: int) -> Comparison:
    """`ours` minus `theirs`, (images,) each, paired and drawn by source."""
    differences: dict[str, list[float]] = defaultdict(list)
    for source, one, two in zip(sources, ours, theirs, strict=True):
        differences[source].append(one - two)
    groups = [np.asarray(values) for values in differences.values()]
    if len(groups) == 1:  # of one source its images are drawn: they say nothing of others, and that is said
        groups = [np.asarray([value]) for value in groups[0]]
    mean, interval = bootstrap(groups, np.random.default_rng(seed))
    return Comparison(other, mean, interval)


def _brackets(comparison: Comparison, sign: int = 1) -> str:
    if comparison.interval is None:
        return ""
    low, high = sorted(sign * end for end in comparison.interval)
    return f" [{low:+.2f}, {high:+.2f}]"
