"""How far noise is correlated: its autocorrelation over a few pixels, from images of which only parts are known.

    (noise, known) of each image --sum of products at each lag, by FFT--> autocorrelation --> lag 1, length

The normal-dose reconstruction of CT smooths noise over several pixels; white-noise estimators read such noise far too
low, and losses that compare single pixels count the same error several times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

REACH = 8
"""Largest lag in pixels: kernels of body CT are uncorrelated beyond (imaging.low_dose.KERNELS)."""

SIGNIFICANT = 0.1
"""Above this lag-1 correlation, plus three standard errors, noise counts as correlated: rounding makes less."""

_ENOUGH_PAIRS = 200  # of pixels at a lag; fewer give no correlation worth the name


@dataclass(frozen=True)
class Correlation:
    """Autocorrelation of the noise.

    Attributes:
        rows, columns, diagonal: correlation, -1..1, of pixels one below, one beside, and one below and beside (the
            mean of both diagonals).
        error: standard error of these.
        length: side in pixels of the square that holds one independent value: the root of the sum of the squared
            autocorrelation; 1 for white noise.
        area: the plain sum of the autocorrelation in pixels, 1 for white noise, near 0 where the noise has no low
            frequencies: the variance of a large region's mean is area times variance over pixels.
        peakedness: sum of the fourth powers of the autocorrelation, 1 for white noise (for the kurtosis' error).
        pixels: how many noise values it comes from.
    """

    rows: float
    columns: float
    diagonal: float
    error: float
    length: float
    area: float
    peakedness: float
    pixels: int

    @property
    def white(self) -> bool:
        """Whether neighbours are uncorrelated, as far as can be told."""
        strongest = max(abs(self.rows), abs(self.columns), abs(self.diagonal))
        return not strongest > SIGNIFICANT + 3 * self.error

    @property
    def effective(self) -> float:
        """Number of independent values for a variance: pixels over length^2."""
        return self.pixels / self.length**2


def measure_correlation(maps: Iterable[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> Correlation:
    """Autocorrelation of noise of mean 0.

    Args:
        maps: for each image the noise, (H, W) float64, and where it is known, (H, W) bool.

    Returns:
        White noise of error infinity where nothing is known.
    """
    rho, pairs, pixels = _estimate(maps)
    if pixels < _ENOUGH_PAIRS:
        return Correlation(0.0, 0.0, 0.0, math.inf, 1.0, 1.0, 1.0, pixels)
    # of chance: the error of a correlation is that of white noise times the length, which the first pass finds
    length = 1.0
    for _ in range(2):
        kept = np.where(np.abs(rho) > 3 * length / np.sqrt(np.maximum(pairs, 1)), rho, 0.0)
        length = math.sqrt(_whole_plane(kept**2))
    return Correlation(
        rows=float(rho[REACH + 1, 0]),
        columns=float(rho[REACH, 1]),
        diagonal=float(rho[REACH + 1, 1] + rho[REACH - 1, 1]) / 2,
        error=length / math.sqrt(pixels),
        length=length,
        area=_whole_plane(kept),
        peakedness=_whole_plane(kept**4),
        pixels=pixels,
    )


def autocorrelation(maps: Iterable[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> NDArray[np.float64]:
    """(17, 9) correlations, -1..1, of pixels -8..8 rows and 0..8 columns apart; arguments as `measure_correlation`."""
    return _estimate(maps)[0]


def _estimate(
    maps: Iterable[tuple[NDArray[np.float64], NDArray[np.bool_]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Correlations and numbers of pairs, (17, 9) each, and how many pixels are known; 0 of these if all noise is 0."""
    products = np.zeros((2 * REACH + 1, REACH + 1))
    pairs = np.zeros_like(products)
    for noise, known in maps:
        products += _lags(np.where(known, noise, 0.0))
        pairs += np.rint(_lags(known.astype(np.float64)))
    pixels = int(pairs[REACH, 0])
    variance = products[REACH, 0] / max(pixels, 1)
    if variance <= 0:
        return np.zeros_like(products), pairs, 0
    rho = np.where(pairs >= _ENOUGH_PAIRS, products / np.maximum(pairs, 1) / variance, 0.0)
    return rho, pairs, pixels


def _whole_plane(half: NDArray[np.float64]) -> float:
    """Sum over all lags; lags with a negative column are those of the opposite sign, and are not stored."""
    return float(half[:, 0].sum() + 2 * half[:, 1:].sum())


def _lags(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(17, 9): sums of products of pixels a lag apart, for lags -8..8 down and 0..8 across."""
    shape = [fft.next_fast_len(side + REACH, real=True) for side in values.shape]
    spectrum = fft.rfft2(values, shape)
    sums = fft.irfft2(np.abs(spectrum) ** 2, shape)
    # a correlation looks alike in both directions, so the rows from the end are the negative lags
    return np.concatenate([sums[-REACH:, : REACH + 1], sums[: REACH + 1, : REACH + 1]])
