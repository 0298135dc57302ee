"""Noise and squared bias apart: what of an error differs from one repetition to the next, and what always comes back.

    (R, H, W) repetitions of one truth --> variance map            noise: what another scan would show differently
                                       '-> squared bias map        bias: blur, lost lesions, invented structure

For every pixel, mean over repetitions of (restored - reference)^2 = variance + bias^2 (the decomposition of the mean
squared error). With R repetitions the square of the mean error holds 1/R of the variance; it is taken out here, so the
squared bias is unbiased (and may come out slightly negative where there is none).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.metrics import Float64

_TWO_REPETITIONS = 2


@dataclass(frozen=True, eq=False)
class ErrorSplit:
    """The maps, each (H, W) float64.

    Attributes:
        variance: unbiased variance over the repetitions, unit^2.
        bias: mean of restored - reference, in the unit; holds noise of variance / R.
        squared_bias: bias^2 - variance / R, unit^2; its mean is unbiased, single pixels may be negative.
    """

    variance: Float64
    bias: Float64
    squared_bias: Float64

    def noise_rms(self, region: NDArray[np.bool_] | None = None) -> float:
        """Root of the mean variance within a (H, W) region (default: everywhere), in the unit."""
        return math.sqrt(float(np.mean(_of(self.variance, region))))

    def bias_rms(self, region: NDArray[np.bool_] | None = None) -> float:
        """Root of the mean squared bias within a region, in the unit; 0 where its estimate is negative."""
        return math.sqrt(max(float(np.mean(_of(self.squared_bias, region))), 0.0))


def split_error(restored: NDArray[np.floating[Any]], reference: NDArray[np.floating[Any]]) -> ErrorSplit:
    """Noise and bias of R restored images whose inputs differ by their noise only.

    Args:
        restored: (R, H, W), R at least 2.
        reference: (H, W), the truth without noise. Against a noisy reference its noise counts as bias.

    Raises:
        ValueError: shapes that do not fit, or fewer than two repetitions.
    """
    if restored.ndim != 3 or restored.shape[1:] != reference.shape:  # noqa: PLR2004 - (R, H, W)
        raise ValueError(f"restored {restored.shape} must be (R, H, W), and reference {reference.shape} (H, W) with it")
    count = len(restored)
    if count < _TWO_REPETITIONS:
        raise ValueError("one repetition cannot tell noise from bias; give at least two")
    values = restored.astype(np.float64)
    variance = values.var(axis=0, ddof=1)
    bias = values.mean(axis=0) - reference.astype(np.float64)
    return ErrorSplit(variance, bias, bias**2 - variance / count)


def _of(values: Float64, region: NDArray[np.bool_] | None) -> Float64:
    if region is None:
        return values
    if region.shape != values.shape or not region.any():
        raise ValueError(f"region {region.shape} must be a mask of shape {values.shape} with at least one pixel")
    return values[region]
