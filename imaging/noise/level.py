"""Blind noise estimates of CT, in soft tissue: how noisy is an image, and how far its noise is correlated.

HU --soft tissue, local mean and deviation--> mode of the deviation              `global_noise_level`
                                          '-> residuals where it varies no more  `neighbour_correlation`
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.low_dose import soft_tissue
from imaging.noise.correlation import measure_correlation

_SIDE = 9  # pixels: wider than the correlation of a soft kernel's noise, narrower than most organs
_MINIMUM_PIXELS = 500
_HOMOGENEOUS = 1.15  # times the level: where the image varies no more than noise does


def global_noise_level(hu: NDArray[np.float32]) -> float:
    """Standard deviation of the noise in soft tissue, in HU: the mode of the local standard deviation.

    After Christianson et al., AJR 2015; 205:W23-W31 (global noise level). Edges and texture fill the upper tail of the
    local deviations, the mode is what homogeneous tissue shows. Noise that is correlated over more than 9 pixels reads
    low.

    Args:
        hu: (H, W) float32 in HU.

    Returns:
        The level in HU, or NaN when the slice holds less than 500 pixels of soft tissue.
    """
    _, deviation, tissue = _local(hu)
    return _level(deviation[tissue])


def neighbour_correlation(images: Iterable[NDArray[np.float32]]) -> float:
    """Correlation of the noise of neighbouring pixels in soft tissue, -1..1; the mean of both directions.

    0.05 is what filtered back-projection gives without smoothing, 0.57 a soft kernel (`imaging.low_dose.KERNELS`).
    Long correlations read low, because the local mean takes them away: 0.70 for 0.77 (tests/imaging/noise).

    Args:
        images: (H, W) float32 in HU each, of one scan.

    Returns:
        The correlation, or NaN when they hold less than 500 pixels of homogeneous soft tissue.
    """
    maps = []
    for hu in images:
        residual, deviation, tissue = _local(hu)
        level = _level(deviation[tissue])
        if level > 0:
            maps.append((residual, tissue & (deviation <= _HOMOGENEOUS * level)))
    found = measure_correlation(maps)
    return (found.rows + found.columns) / 2 if found.pixels >= _MINIMUM_PIXELS else float("nan")


def _local(hu: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Image minus local mean, local deviation, (H, W) in HU, and where soft tissue is."""
    values = hu.astype(np.float64)
    mean = ndimage.uniform_filter(values, _SIDE)
    variance = ndimage.uniform_filter(values**2, _SIDE) - mean**2
    return values - mean, np.sqrt(np.maximum(variance, 0)), soft_tissue(hu)


def _level(local: NDArray[np.float64]) -> float:
    """The mode of local deviations, (n,); NaN when they are too few."""
    if len(local) < _MINIMUM_PIXELS:
        return float("nan")
    low, high = np.percentile(local, [0.5, 90])
    if high <= low:
        return float(low)
    counts, edges = np.histogram(local, bins=64, range=(low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), 2)
    peak = int(np.argmax(smooth))
    return float((edges[peak] + edges[peak + 1]) / 2)
