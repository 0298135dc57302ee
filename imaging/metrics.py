"""Image quality under a declared contract: what range, clipped or not, which SSIM window.

    restored, reference --(same shape? float32/64?)--> clip to [low, high] --> psnr, ssim, rmse, bias
                          ValueError

Metrics take (H, W) or (N, H, W) and return one score an image, float64 of shape () or (N,): how they are averaged (by
slice, by patient) is the caller's to state. Everything is computed in float64 and in the unit of the pixels. No score
is worth anything without its contract: `Measurement` carries it along.

SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity", IEEE
Transactions on Image Processing 13 (4), 2004. Bias per tissue shows what global figures hide: a network that moves
the HU of one class of tissue.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, correlate1d, gaussian_filter

from imaging.image import Unit

Pixels: TypeAlias = NDArray[np.floating[Any]]
Scores: TypeAlias = NDArray[np.float64]
Float64: TypeAlias = NDArray[np.float64]

SSIM_K1 = 0.01
SSIM_K2 = 0.03
"""Wang 2004, section III.B: the constants that keep the quotients stable in flat regions."""


@dataclass(frozen=True)
class MetricContract:
    """What must be known to reproduce a score.

    Attributes:
        name: as reports print it.
        low, high: the range in `unit`; `high - low` is the data range of PSNR and SSIM.
        clip: whether both images are clipped to the range first, as a display window does.
        ssim_taps: side of the Gaussian window in pixels, odd. Images must be at least as large.
        ssim_sigma: standard deviation of the window in pixels.

    Raises:
        ValueError: an empty or infinite range, an even or non-positive window.
    """

    name: str
    low: float
    high: float
    unit: Unit
    clip: bool = True
    ssim_taps: int = 11
    ssim_sigma: float = 1.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"contract {self.name!r}: the range {self.low} to {self.high} must be finite, low < high")
        if self.ssim_taps < 1 or self.ssim_taps % 2 == 0 or not self.ssim_sigma > 0:
            raise ValueError(
                f"contract {self.name!r}: ssim_taps {self.ssim_taps} must be odd and positive,"
                f" ssim_sigma {self.ssim_sigma} positive"
            )

    @property
    def data_range(self) -> float:
        """`high - low`, in `unit`."""
        return self.high - self.low


SOFT_TISSUE = MetricContract("soft tissue window", -160, 240, "HU")
"""The window that low-dose CT papers since RED-CNN report: range 400 HU."""

FULL_RANGE = MetricContract("full range", -1024, 3071, "HU")
"""Every HU that 12 bits with intercept -1024 can hold."""

RELATIVE = MetricContract("relative", 0, 1, "relative")

TISSUES: dict[str, tuple[float, float]] = {
    "air": (-math.inf, -950),
    "lung": (-950, -500),
    "fat": (-150, -30),
    "soft tissue": (0, 100),
    "bone": (200, math.inf),
}
"""HU from (inclusive) to (exclusive), applied to the smoothed reference; see `tissue_masks`.

Ranges of common use, with gaps between them, so that partial volume (skin, fissures, vessel walls) and contrast medium
below 200 HU count nowhere. Contrast medium above counts as bone.
"""


TISSUE_SMOOTHING = 2.0
"""Standard deviation in pixels of the Gaussian before the classes are told apart: takes 30 HU of noise to about 5."""

TISSUE_MARGIN = 2
"""Pixels left out along the border between classes, where the Gaussian mixes them."""


@dataclass(frozen=True)
class Measurement:
    """The scores of one pair under one contract. `psnr` (dB) is infinite for identical images; others in the unit."""

    psnr: float
    ssim: float
    rmse: float
    bias: float
    contract: MetricContract


def mse(restored: Pixels, reference: Pixels, contract: MetricContract) -> Scores:
    """Mean squared error in squared units: mean((restored - reference)^2)."""
    return _per_image(_mse, restored, reference, contract)


def rmse(restored: Pixels, reference: Pixels, contract: MetricContract) -> Scores:
    """Root mean squared error in the contract's unit."""
    return _per_image(_rmse, restored, reference, contract)


def psnr(restored: Pixels, reference: Pixels, contract: MetricContract) -> Scores:
    """Peak signal-to-noise ratio in dB: 10 log10(data_range^2 / mse); infinite for identical images."""
    return _per_image(_psnr, restored, reference, contract)


def ssim(restored: Pixels, reference: Pixels, contract: MetricContract) -> Scores:
    """Structural similarity, at most 1: the mean of the SSIM map where the whole window lies inside the image.

    Gaussian window, population covariance, K1 0.01, K2 0.03 (Wang 2004, equation 13).

    Raises:
        ValueError: an image side is smaller than `contract.ssim_taps`, besides what all metrics refuse.
    """
    return _per_image(_ssim, restored, reference, contract)


def bias(restored: Pixels, reference: Pixels, contract: MetricContract) -> Scores:
    """Mean of restored - reference, in the contract's unit; positive when the restored image is brighter."""
    return _per_image(_bias, restored, reference, contract)


def measure(restored: Pixels, reference: Pixels, contract: MetricContract) -> Measurement:
    """All scores of one pair, (H, W) each.

    Raises:
        ValueError: not (H, W), or what the single metrics refuse.
    """
    if restored.ndim != 2:  # noqa: PLR2004 - (H, W)
        raise ValueError(f"restored must be (H, W), not {restored.shape}; measure one image at a time")
    a, b = _prepare(restored, reference, contract)
    return Measurement(
        _psnr(a, b, contract), _ssim(a, b, contract), _rmse(a, b, contract), _bias(a, b, contract), contract
    )


def tissue_bias(restored: Pixels, reference: Pixels) -> dict[str, tuple[float, int]]:
    """(mean of restored - reference in HU, number of pixels) for each class of `TISSUES`.

    Args:
        restored, reference: (H, W) or (N, H, W) in HU, unclipped. Of (N, H, W) all pixels are taken together. Leave
            padding out of it: it would count as air.

    Returns:
        The bias is NaN where a class has no pixels.
    """
    _check(restored, reference)
    difference = restored.astype(np.float64) - reference.astype(np.float64)
    result = {}
    for name, mask in tissue_masks(reference).items():
        count = int(np.count_nonzero(mask))
        result[name] = (float(difference[mask].mean()) if count else math.nan, count)
    return result


def tissue_masks(reference: Pixels) -> dict[str, NDArray[np.bool_]]:
    """Bool masks of the shape of `reference`, one for each class of `TISSUES`: the inside of each tissue.

    The reference is smoothed first, and a margin along the border between classes is left out. Without that a noisy
    reference would choose pixels by its own noise: where fat is noisy enough to count as soft tissue the reference is
    too high, and every restorer, even a perfect one, would show a negative bias (regression to the mean).
    """
    planes = (0,) * (reference.ndim - 2)
    smooth = gaussian_filter(reference.astype(np.float64), (*planes, TISSUE_SMOOTHING, TISSUE_SMOOTHING))
    side = 2 * TISSUE_MARGIN + 1
    neighbourhood = np.ones((*(1 for _ in planes), side, side), np.bool_)
    return {
        name: binary_erosion((smooth >= low) & (smooth < high), neighbourhood, border_value=True)
        for name, (low, high) in TISSUES.items()
    }


def gaussian_window(taps: int, sigma: float) -> Float64:
    """(taps,) float64 weights exp(-x^2 / (2 sigma^2)) around the middle, with sum 1."""
    x = np.arange(taps, dtype=np.float64) - taps // 2
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    normalised: Float64 = weights / weights.sum()
    return normalised


def _check(restored: Pixels, reference: Pixels) -> None:
    if restored.shape != reference.shape or restored.ndim not in (2, 3) or restored.size == 0:
        raise ValueError(
            f"restored {restored.shape} and reference {reference.shape} must have the same shape, (H, W) or (N, H, W)"
        )
    for name, array in (("restored", restored), ("reference", reference)):
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"{name} must be float32 or float64, not {array.dtype}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    if restored.dtype != reference.dtype:
        raise ValueError(f"restored is {restored.dtype} and reference {reference.dtype}; they must be alike")


def _prepare(restored: Pixels, reference: Pixels, contract: MetricContract) -> tuple[Float64, Float64]:
    _check(restored, reference)
    a, b = restored.astype(np.float64), reference.astype(np.float64)
    if contract.clip:
        a, b = a.clip(contract.low, contract.high), b.clip(contract.low, contract.high)
    return a, b


def _per_image(
    metric: Callable[[Float64, Float64, MetricContract], float],
    restored: Pixels,
    reference: Pixels,
    contract: MetricContract,
) -> Scores:
    a, b = _prepare(restored, reference, contract)
    if a.ndim == 2:  # noqa: PLR2004 - (H, W)
        return np.array(metric(a, b, contract))
    return np.array([metric(x, y, contract) for x, y in zip(a, b, strict=True)])


def _mse(a: Float64, b: Float64, _contract: MetricContract) -> float:
    return float(np.mean((a - b) ** 2))


def _rmse(a: Float64, b: Float64, contract: MetricContract) -> float:
    return math.sqrt(_mse(a, b, contract))


def _bias(a: Float64, b: Float64, _contract: MetricContract) -> float:
    return float(np.mean(a - b))


def _psnr(a: Float64, b: Float64, contract: MetricContract) -> float:
    error = _mse(a, b, contract)
    return math.inf if error == 0 else 10 * math.log10(contract.data_range**2 / error)


def _ssim(a: Float64, b: Float64, contract: MetricContract) -> float:
    if min(a.shape) < contract.ssim_taps:
        raise ValueError(f"SSIM needs at least {contract.ssim_taps} pixels a side, and the images are {a.shape}")
    window = gaussian_window(contract.ssim_taps, contract.ssim_sigma)
    border = contract.ssim_taps // 2
    inside = slice(border, -border or None)

    def local_mean(x: Float64) -> Float64:
        smooth = correlate1d(correlate1d(x, window, axis=0), window, axis=1)
        cropped: Float64 = smooth[inside, inside]
        return cropped

    # Covariances do not change when both images move by the same amount; small numbers lose less to cancellation.
    middle = b.mean()
    u, v = a - middle, b - middle
    mean_u, mean_v = local_mean(u), local_mean(v)
    variance_u = local_mean(u * u) - mean_u**2
    variance_v = local_mean(v * v) - mean_v**2
    covariance = local_mean(u * v) - mean_u * mean_v
    # The luminance term is not invariant: it takes values that start at the low end of the range, as stored grey
    # values do (-1000 HU of air would otherwise weigh as much as +1000 HU of bone).
    mean_a, mean_b = mean_u + middle - contract.low, mean_v + middle - contract.low
    c1, c2 = (SSIM_K1 * contract.data_range) ** 2, (SSIM_K2 * contract.data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_u + variance_v + c2)
    return float(np.mean(luminance * structure))
