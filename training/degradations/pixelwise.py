"""Noise that is drawn for each pixel on its own: white, independent of its neighbours.

    reference (h, w), generator, settings --gaussian | laplace | contaminated | impulse | poisson | ...--> degraded

Every function takes a reference of any shape in float32, leaves it as it is, and gives a new float32 array of the same
shape and unit. Nothing is clipped here, since additive noise has mean zero only unclipped; the table of degradations
keeps CT within its 12-bit scale. Counts cannot be negative, so Poisson noise alone never goes below black; impulses
are the ends of the scale by definition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


def gaussian(reference: Pixels, rng: np.random.Generator, *, sigma: float) -> Pixels:
    """y = x + sigma n, n ~ N(0, 1): white noise of standard deviation `sigma` in the image's unit, >= 0."""
    noise = rng.standard_normal(reference.shape, np.float32)
    return reference + np.float32(sigma) * noise


def gaussian_levels(reference: Pixels, rng: np.random.Generator, *, least_sigma: float, most_sigma: float) -> Pixels:
    """`gaussian` of a level drawn anew for every image, log-uniform in least_sigma..most_sigma, both > 0."""
    return gaussian(reference, rng, sigma=float(np.exp(rng.uniform(np.log(least_sigma), np.log(most_sigma)))))


def laplace(reference: Pixels, rng: np.random.Generator, *, sigma: float) -> Pixels:
    """y = x + n, n ~ Laplace(0, b), density exp(-|n| / b) / 2b, of standard deviation `sigma` = sqrt(2) b.

    Excess kurtosis 3: at equal `sigma` more small errors and more large ones than Gaussian noise has.
    """
    # the difference of two exponential numbers, each of mean b, is a Laplace number (Kotz et al., The Laplace
    # Distribution and Generalizations, 2001, section 2.2): unlike numpy's own, these are drawn in float32
    first, second = (rng.standard_exponential(reference.shape, np.float32) for _ in range(2))
    return reference + np.float32(sigma / np.sqrt(2)) * (first - second)


def contaminated(
    reference: Pixels, rng: np.random.Generator, *, sigma: float, share: float, outlier_factor: float
) -> Pixels:
    """y = x + n, n ~ (1 - share) N(0, sigma^2) + share N(0, (outlier_factor sigma)^2): Tukey's contaminated Gaussian.

    Tukey, "A survey of sampling from contaminated distributions", 1960. The whole has the standard deviation
    sigma sqrt(1 + share (outlier_factor^2 - 1)).

    Args:
        reference: see the module.
        rng: source of randomness.
        sigma: of the pixels that are no outliers, in the image's unit, >= 0.
        share: of the pixels that are outliers, 0..1; each pixel is one with that chance.
        outlier_factor: how many times larger an outlier's standard deviation is, >= 1.
    """
    noise = rng.standard_normal(reference.shape, np.float32)
    outlier = rng.random(reference.shape, np.float32) < share
    noise[outlier] *= np.float32(outlier_factor)
    return reference + np.float32(sigma) * noise


def impulse(reference: Pixels, rng: np.random.Generator, *, share: float, low: float, high: float) -> Pixels:
    """Salt and pepper: a pixel is lost with the chance `share`, and is then `low` or `high`, with equal chance.

    Gonzalez & Woods, Digital Image Processing, 4th ed., section 5.2.
    """
    draw = rng.random(reference.shape, np.float32)
    ends = np.where(draw < share / 2, np.float32(low), np.float32(high))
    return np.where(draw < share, ends, reference)


def impulse_levels(
    reference: Pixels, rng: np.random.Generator, *, least_share: float, most_share: float, low: float, high: float
) -> Pixels:
    """`impulse` of a share drawn anew for every image, uniform in least_share..most_share."""
    return impulse(reference, rng, share=float(rng.uniform(least_share, most_share)), low=low, high=high)


def poisson(reference: Pixels, rng: np.random.Generator, *, photons: float, black: float, scale: float) -> Pixels:
    """Counting noise: N ~ Poisson(photons (x - black) / scale), y = black + scale N / photons.

    The variance is scale (x - black) / photons: proportional to the signal. Below black there is nothing to count.

    Args:
        reference: see the module.
        rng: source of randomness.
        photons: mean count `scale` above black, > 0.
        black: the value of no signal: -1000 HU (no attenuation), 0 for relative images.
        scale: 1000 HU, so that `photons` are those at water; 1 (white) for relative images.
    """
    signal = np.maximum(reference.astype(np.float64) - black, 0) / scale
    counts = rng.poisson(photons * signal)
    return np.asarray(black + scale / photons * counts, np.float32)


def poisson_gaussian(
    reference: Pixels, rng: np.random.Generator, *, photons: float, sigma: float, black: float, scale: float
) -> Pixels:
    """Counting noise and the electronics behind it: `poisson`, then white noise of `sigma` in the image's unit.

    The variance is scale (x - black) / photons + sigma^2 (Foi et al., IEEE TIP 2008; 17 (10): 1737-1754).
    """
    return gaussian(poisson(reference, rng, photons=photons, black=black, scale=scale), rng, sigma=sigma)
