"""Blind noise estimates: how noisy is an image, without a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.low_dose import soft_tissue

_SIDE = 9  # pixels: wider than the correlation of a soft kernel's noise, narrower than most organs
_MINIMUM_PIXELS = 500


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
    mask = soft_tissue(hu)
    if np.count_nonzero(mask) < _MINIMUM_PIXELS:
        return float("nan")
    values = hu.astype(np.float64)
    mean = ndimage.uniform_filter(values, _SIDE)
    variance = ndimage.uniform_filter(values**2, _SIDE) - mean**2
    local = np.sqrt(np.maximum(variance, 0))[mask]
    low, high = np.percentile(local, [0.5, 90])
    if high <= low:
        return float(low)
    counts, edges = np.histogram(local, bins=64, range=(low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), 2)
    peak = int(np.argmax(smooth))
    return float((edges[peak] + edges[peak + 1]) / 2)
