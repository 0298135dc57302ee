"""A short reading of the noise of an image or a series: enough to look a model up by, in little time.

    images --a few of them--> level, correlation of neighbours, share of impulses

`imaging.noise.blind` measures more, and takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.errors import UnsuitableImage
from imaging.image import Unit
from imaging.noise.blind import find_impulses, profile_from_noisy
from imaging.noise.level import global_noise_level, neighbour_correlation

MOST_IMAGES = 6
"""Of a series, spread evenly: its slices have much the same noise, and each costs a tenth of a second."""


@dataclass(frozen=True)
class NoiseReading:
    """Figures of a few images together; NaN where they could not be told.

    Attributes:
        level: standard deviation in the unit, of CT in soft tissue; the median over images.
        correlation: between neighbouring pixels, -1 to 1.
        impulses: share of the pixels that are impulses, 0 to 1.
    """

    level: float
    correlation: float
    impulses: float


def read_noise(images: Sequence[NDArray[np.float32]], unit: Unit) -> NoiseReading:
    """Reads the noise of up to `MOST_IMAGES` of the images, (H, W) each, finite, in `unit`.

    For CT within 10 % of what was added (tests/imaging/noise/test_reading.py); without soft tissue, and for relative
    images, as `imaging.noise.blind` measures.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("there are no images to read the noise of")
    chosen = [images[round(place)] for place in np.linspace(0, len(images) - 1, min(MOST_IMAGES, len(images)))]
    impulses = find_impulses([image.astype(np.float64) for image in chosen])
    share = sum(int(np.count_nonzero(each)) for each in impulses) / sum(image.size for image in chosen)
    if unit == "HU" and share == 0:
        levels = [level for image in chosen if math.isfinite(level := global_noise_level(image))]
        correlation = neighbour_correlation(chosen)
        if levels and math.isfinite(correlation):
            return NoiseReading(float(np.median(levels)), correlation, 0.0)
    try:
        profile = profile_from_noisy(chosen, unit)
    except UnsuitableImage:  # too small to have a noise level
        return NoiseReading(math.nan, math.nan, share)
    both = profile.correlation.rows, profile.correlation.columns
    return NoiseReading(profile.level, float(np.mean(both)), profile.impulse_share)
