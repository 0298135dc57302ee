"""Targets: what a network is trained against, with and without clean images.

    reference, Degrade --reference--> (degraded, reference), or what the degradation makes of both
                       --second-----> (one scan, another of the same place)              noise2noise
                       --halves-----> (half of a scan's views, the other half)           noise2inverse

Where the noise has mean 0 and the two images' is independent, the L2 loss has the same minimum as with clean images:
its expectation only grows by the variance of the target (Lehtinen et al., "Noise2Noise", ICML 2018). That holds for
every additive or signal-dependent noise of mean 0. It does not for impulses (their mean is not the image), and not for
what repeats in every scan, such as the streaks of sparse views: a network keeps that.

Half of the views of a scan have half of its photons: a reconstruction of them has twice its variance, and the halves'
noise is independent (Hendriksen et al., "Noise2Inverse", IEEE Transactions on Computational Imaging 6, 2020). That, and
no more, is simulated: two noise draws of one dose and kernel, times sqrt(2). Streaks that half of the views would add
are left out. The restored half is used as it is on the full image, which is less noisy than what was trained on; the
paper's mean of both restored halves needs raw data, which a reader of images does not have.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from training.data.pairs import Degrade, PreparedSeries, Window

Target = Literal["reference", "second", "halves"]
"""What a network is trained against: the reference, a second scan, or the other half of the views."""

HALF_THE_VIEWS = np.float32(math.sqrt(2))
"""Standard deviation of the noise of half the views, over that of all."""


@runtime_checkable
class DrawsLevel(Protocol):
    """A `Degrade` that draws its level (dose, kernel) anew for every image, and can draw it once for several."""

    def of_one_level(self, rng: np.random.Generator) -> Degrade:
        """The same with the level drawn: two calls of it are two scans with the same settings."""
        ...


@runtime_checkable
class MakesPairs(Protocol):
    """A `Degrade` that says itself what its image should be restored to, where that is not the reference as it is."""

    def pair(
        self, series: PreparedSeries, window: Window, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(degraded, target), (h, w) float32 each in the series' unit."""
        ...


def training_pair(
    degrade: Degrade, series: PreparedSeries, window: Window, target: Target, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(what the network gets, what its answer is compared with), (h, w) float32 each in the series' unit.

    Args:
        degrade: the noise.
        series, window: of which place.
        target: see the module.
        rng: source of randomness.
    """
    if target == "reference":
        if isinstance(degrade, MakesPairs):
            return degrade.pair(series, window, rng)
        return degrade(series, window, rng), np.asarray(series.images[window])
    scan = degrade.of_one_level(rng) if isinstance(degrade, DrawsLevel) else degrade
    first, second = scan(series, window, rng), scan(series, window, rng)
    if target == "second":
        return first, second
    reference = np.asarray(series.images[window])
    return reference + HALF_THE_VIEWS * (first - reference), reference + HALF_THE_VIEWS * (second - reference)
