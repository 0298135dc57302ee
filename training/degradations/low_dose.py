"""Low-dose CT from the cached unit noise: a weighted sum of images, at any dose, at no cost.

    UnitNoise (two draws a kernel) --weights on the unit circle--> noise of unit strength --dose, level--> HU + noise

`DoseProtocol` is one stated degradation; `training.degradations.dose_range` has a distribution of them to train over.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.low_dose import (
    KERNELS,
    RAMP,
    SOFT,
    Kernel,
    kernel_correlation,
    kernel_shares,
    photons_for_noise,
)
from training.data.pairs import PreparedSeries, Window, evaluation_rng
from training.data.unit_noise import DRAWS, UnitNoise
from training.errors import UnsuitableSeries

TYPICAL_NOISE_HU = 12.0
"""For series without soft tissue to measure: a usual noise level of a full-dose body scan."""


@dataclass(frozen=True)
class DoseProtocol:
    """One stated low dose, as evaluation degrades a slice.

    Attributes:
        dose_fraction: of the full dose.
        full_dose_noise_hu: noise in soft tissue that the full-dose scan counts as having under this kernel; it fixes
            the tube output. None takes the noise level that the scan has: then the result is what this scanner would
            have given at that fraction of the dose it used.
        kernel: one of `imaging.low_dose.KERNELS`. None takes the texture that the scan's own noise has: then the result
            is what this scanner would have given, and not only as to the level.
        electronic_noise: photons per ray.

    Raises:
        ValueError: `dose_fraction` lies outside (0, 1].
    """

    dose_fraction: float = 0.25
    full_dose_noise_hu: float | None = None
    kernel: Kernel | None = SOFT
    electronic_noise: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.dose_fraction <= 1:
            raise ValueError(f"dose_fraction must lie in (0, 1], not {self.dose_fraction}")

    @property
    def label(self) -> str:
        """For tables and manifests."""
        dose = (
            f"{self.dose_fraction:g} of the scan's own dose"
            if self.full_dose_noise_hu is None
            else f"{self.dose_fraction:g} of a dose with {self.full_dose_noise_hu:g} HU noise"
        )
        texture = f"{self.kernel.name} kernel" if self.kernel else "the scan's own texture"
        return f"{dose}, {texture}, electronic noise {self.electronic_noise:g} photons"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "kernel": self.kernel and self.kernel.name}

    def __call__(self, series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
        """The window at this dose under a fresh mix of the cached draws; raises `UnsuitableSeries`."""
        return self._degraded(series, window, random_direction(rng), random_direction(rng))

    def repeat(self, series: PreparedSeries, window: Window, draw: int) -> NDArray[np.float32]:
        """The window at this dose, always the same: draws 0 and 1 are the cached ones, later ones are mixes of them."""
        if draw < DRAWS:
            cached = np.eye(DRAWS)[draw]
            return self._degraded(series, window, cached, cached)
        return self(series, window, evaluation_rng(series, window[0], draw))

    def _degraded(
        self,
        series: PreparedSeries,
        window: Window,
        quantum_mix: NDArray[np.float64],
        electronic_mix: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        noise, number = unit_noise(series), window[0]
        shares = texture_shares(series) if self.kernel is None else kernel_shares(kernel_correlation(self.kernel))
        a = self.dose_fraction
        # the deviations in HU at I0 = 1 of each mixed draw; cached noise has deviation 1
        weights = np.sqrt(np.repeat(shares, DRAWS))
        quantum = weights * np.tile(quantum_mix, len(KERNELS)) * noise.quantum_sd[number]
        electronic = weights * np.tile(electronic_mix, len(KERNELS)) * noise.electronic_sd[number]
        electronic = electronic * self.electronic_noise
        level = own_noise(series) if self.full_dose_noise_hu is None else self.full_dose_noise_hu
        photons = photons_for_noise(float(np.sum(quantum**2)), float(np.sum(electronic**2)), level)
        reference = np.asarray(series.images[window])
        total = np.zeros(reference.shape, np.float32)
        # the weights of imaging.low_dose.added_noise
        add_mixed(total, noise.quantum, window, 0, quantum * np.sqrt((1 - a) / a / photons))
        add_mixed(total, noise.electronic, window, 0, electronic * (np.sqrt(1 - a * a) / a / photons))
        return reference + total


def standard_protocols(dose_fraction: float) -> tuple[DoseProtocol, ...]:
    """What reports use: the scan's own dose with its own texture and with a sharp one, and a dose that fits no scan."""
    return (
        DoseProtocol(dose_fraction, kernel=None),
        DoseProtocol(dose_fraction, kernel=RAMP),
        DoseProtocol(dose_fraction, full_dose_noise_hu=15.0, kernel=SOFT),
    )


def own_noise(series: PreparedSeries) -> float:
    """Noise level in soft tissue of the scan itself, in HU."""
    return series.noise_level if np.isfinite(series.noise_level) else TYPICAL_NOISE_HU


def texture_shares(series: PreparedSeries) -> NDArray[np.float64]:
    """(K,) shares of the variance under each of `KERNELS` that give noise the texture of the scan's own.

    Texture is what `imaging.low_dose.kernel_shares` makes of the correlation between neighbours, no more: a soft kernel
    for scans without soft tissue to measure.
    """
    known = series.noise_correlation
    return kernel_shares(known if np.isfinite(known) else kernel_correlation(SOFT))


def unit_noise(series: PreparedSeries) -> UnitNoise:
    """The series' unit noise.

    Raises:
        UnsuitableSeries: it has none, being no CT series of `prepare`.
    """
    if series.unit_noise is None:
        raise UnsuitableSeries(f"series {series.name!r} has no projections, and so no low dose: it is no CT scan")
    return series.unit_noise


def add_mixed(
    total: NDArray[np.float32], images: NDArray[np.float16], window: Window, first: int, weights: NDArray[np.float64]
) -> None:
    """Adds, in place, the draws `first`, `first` + 1, ... of `images` (N, K, H, W) there, each by its weight."""
    number, rows, columns = window
    for draw, weight in enumerate(weights):
        if weight:
            total += np.float32(weight) * images[number, first + draw, rows, columns].astype(np.float32)


def random_direction(rng: np.random.Generator, length: float = 1.0) -> NDArray[np.float64]:
    """Random weights on a circle, for mixing draws: see `training.data.unit_noise.DRAWS`."""
    weights = rng.standard_normal(DRAWS)
    return np.asarray(weights * (length / np.linalg.norm(weights)))
