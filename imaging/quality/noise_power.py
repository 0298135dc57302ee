"""Noise power spectrum: how the variance of the noise spreads over spatial frequencies, and what a restorer does to it.

    repetitions --deviations--> noise (N, H, W) --noise_power--> NoisePower (2-D) --radial--> RadialPower (curve)
                                                                          peak, mean frequency, distance <---'

The magnitude of the noise says how much there is; its spectrum says of what kind. A restorer that takes the fine grain
only leaves blotches, which readers dislike at the same magnitude: its mean frequency is below the full dose's.

    NPS(u, v) = dx dy / (Nx Ny) * mean over the ensemble of |DFT(noise)|^2        unit^2 mm^2

(ICRU Report 87, Radiation Dose and Image-Quality Assessment in Computed Tomography, 2012; Samei et al., Performance
evaluation of computed tomography systems, AAPM task group 233, Med Phys 2019; 46:e735). Its integral over all (u, v) is
the variance (Parseval). It describes stationary noise: take regions small enough for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.metrics import Float64

_TWO_REPETITIONS = 2
_SMALLEST_SIDE = 8  # pixels; below, the curve has fewer than four points


@dataclass(frozen=True, eq=False)
class NoisePower:
    """A two-dimensional noise power spectrum.

    Attributes:
        values: (H, W) float64 in unit^2 mm^2, in the order of `numpy.fft` (frequency 0 first).
        spacing: (between rows, between columns) in mm.
    """

    values: Float64
    spacing: tuple[float, float]

    @property
    def variance(self) -> float:
        """Its integral over all frequencies, in unit^2: the mean square of the noise it was taken from."""
        cell = 1 / (self.values.size * self.spacing[0] * self.spacing[1])
        return float(self.values.sum() * cell)


@dataclass(frozen=True, eq=False)
class RadialPower:
    """The spectrum averaged over all directions, up to the lower of the two Nyquist frequencies.

    Attributes:
        frequency: (B,) float64 in 1/mm, ascending, without 0: the mean of a region tells nothing about its noise.
        values: (B,) float64 in unit^2 mm^2.
        nyquist: in 1/mm.
    """

    frequency: Float64
    values: Float64
    nyquist: float

    @property
    def mean_frequency(self) -> float:
        """Sum of f NPS(f) over the sum of NPS(f), in 1/mm (TG 233, f_av); NaN without noise.

        White noise has half of Nyquist.
        """
        total = float(self.values.sum())
        return float((self.frequency * self.values).sum()) / total if total > 0 else float("nan")

    @property
    def peak_frequency(self) -> float:
        """Where the curve, smoothed with (1, 2, 1) / 4, is highest, in 1/mm; NaN without noise.

        Meaningless for flat spectra, which have no peak.
        """
        if not self.values.any():
            return float("nan")
        padded = np.pad(self.values, 1, mode="edge")
        return float(self.frequency[int(np.argmax(padded[:-2] + 2 * padded[1:-1] + padded[2:]))])

    def relative(self, frequency: float) -> float:
        """A frequency in 1/mm as a share of Nyquist."""
        return frequency / self.nyquist


def deviations(repetitions: NDArray[np.floating[Any]]) -> Float64:
    """Noise of R repetitions of the same image: each minus their mean, scaled so that its variance is unbiased.

    Args:
        repetitions: (R, H, W), independent noise on the same truth, R at least 2.

    Returns:
        (R, H, W) float64; the factor sqrt(R / (R - 1)) makes up for the noise in the mean.

    Raises:
        ValueError: not (R, H, W), or fewer than two repetitions.
    """
    _check_stack("repetitions", repetitions)
    count = len(repetitions)
    if count < _TWO_REPETITIONS:
        raise ValueError("one repetition has no deviation from the mean; give at least two")
    values = repetitions.astype(np.float64)
    noise: Float64 = (values - values.mean(axis=0)) * np.sqrt(count / (count - 1))
    return noise


def noise_power(noise: NDArray[np.floating[Any]], spacing: tuple[float, float]) -> NoisePower:
    """Noise power spectrum of an ensemble.

    Args:
        noise: (N, H, W), noise images or regions of one size, each side at least 8; from `deviations`, or uniform
            regions minus their mean. What is not noise in it (a trend, an edge) shows up at low frequencies.
        spacing: (between rows, between columns) in mm.

    Raises:
        ValueError: not (N, H, W), NaN or infinite values, a side under 8 pixels, or spacing that is not positive.
    """
    _check_stack("noise", noise)
    if min(noise.shape[1:]) < _SMALLEST_SIDE:
        raise ValueError(f"noise of {noise.shape[1:]} pixels is too small for a spectrum; give {_SMALLEST_SIDE} a side")
    if not min(spacing) > 0:
        raise ValueError(f"spacing must be positive, not {spacing}")
    power = np.mean(np.abs(np.fft.fft2(noise.astype(np.float64))) ** 2, axis=0)
    area = spacing[0] * spacing[1]
    return NoisePower(power * area / power.size, spacing)


def radial(power: NoisePower) -> RadialPower:
    """Mean over rings one frequency step wide (that of the shorter side in mm), the first around one step."""
    height, width = power.values.shape
    v = np.fft.fftfreq(height, power.spacing[0])
    u = np.fft.fftfreq(width, power.spacing[1])
    nyquist = min(0.5 / power.spacing[0], 0.5 / power.spacing[1])
    step = max(1 / (height * power.spacing[0]), 1 / (width * power.spacing[1]))
    distance = np.hypot(v[:, None], u[None, :])
    ring = np.rint(distance / step).astype(np.int64)
    counted = (ring > 0) & (distance <= nyquist)
    rings = ring[counted]
    members = np.bincount(rings)
    filled = members > 0
    frequency = np.bincount(rings, distance[counted])[filled] / members[filled]
    values = np.bincount(rings, power.values[counted])[filled] / members[filled]
    return RadialPower(frequency, values, nyquist)


def shape_distance(first: RadialPower, second: RadialPower) -> float:
    """How far apart the shapes of two curves are, whatever their magnitudes: 0 (the same) to 1 (nothing in common).

    Total variation distance of the curves as densities over frequency, 0.5 * sum |a / sum a - b / sum b|.

    Raises:
        ValueError: the curves are sampled at different frequencies, or one has no noise.
    """
    if not np.array_equal(first.frequency, second.frequency):
        raise ValueError("the curves have different frequencies; take regions of the same size and spacing")
    sums = float(first.values.sum()), float(second.values.sum())
    if min(sums) <= 0:
        raise ValueError("a spectrum without noise has no shape")
    return float(0.5 * np.abs(first.values / sums[0] - second.values / sums[1]).sum())


def _check_stack(name: str, stack: NDArray[np.floating[Any]]) -> None:
    if stack.ndim != 3 or stack.size == 0:  # noqa: PLR2004 - (N, H, W)
        raise ValueError(f"{name} must be (N, H, W), not {stack.shape}")
    if not np.isfinite(stack).all():
        raise ValueError(f"{name} holds NaN or infinite values")
