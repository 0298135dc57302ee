"""How the variance of noise follows the signal: variance = offset + slope * (signal - floor).

    squared noise, signal, in many small regions --differences within each region--> slope, standard error --> offset

Poisson noise has a slope and no offset, added electronic noise an offset and no slope, detectors have both (Foi,
Trimeche, Katkovnik & Egiazarian, IEEE Transactions on Image Processing 17 (10), 2008).

Differences *within* a region count. The noise of CT varies over the image with the thickness of the patient, not with
the value of the pixel; but air lies outside and organs inside, so a plain fit over the image would take one for the
other. Where regions are too uniform to tell, a fit across them (`across`) is all there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT_RATIO = 1.25
"""Of the deviations at bright and at dark signal. Below it one level serves the whole range: noise taken to be 12 % off
its true level loses a few hundredths of a decibel."""

_SIGNIFICANT_ERRORS = 4.0
_ENOUGH_REGIONS = 4


@dataclass(frozen=True)
class SignalDependence:
    """The line, over the signal from `dark` to `bright`.

    Attributes:
        slope: squared unit per unit.
        slope_error: standard error of it, by the jackknife over regions; infinite where the signal does not vary.
        offset: squared unit: the variance at `floor`, at least 0.
        floor: lowest signal of the unit: -1000 HU, where there is nothing to absorb, or 0 of relative images.
        dark, bright: 2nd and 98th percentile of the signal, in the unit.
    """

    slope: float
    slope_error: float
    offset: float
    floor: float
    dark: float
    bright: float

    def variance(self, signal: NDArray[np.float64]) -> NDArray[np.float64]:
        """In squared units, at least a hundredth of the one at `bright` or `dark`, whichever is larger; any shape."""
        largest = max(self._at(self.dark), self._at(self.bright))
        return np.maximum(self.offset + self.slope * (signal - self.floor), 0.01 * largest)

    @property
    def ratio(self) -> float:
        """Standard deviation at bright over that at dark signal; 1 for noise that does not depend on the signal."""
        dark, bright = self._at(self.dark), self._at(self.bright)
        largest = max(dark, bright)
        return math.sqrt(max(bright, 0.01 * largest) / max(dark, 0.01 * largest)) if largest > 0 else 1.0

    @property
    def significant(self) -> bool:
        """Whether the dependence is beyond chance and large enough to matter, in either direction."""
        matters = max(self.ratio, 1 / self.ratio) > SIGNIFICANT_RATIO
        return matters and abs(self.slope) > _SIGNIFICANT_ERRORS * self.slope_error

    @property
    def telling(self) -> bool:
        """Whether a dependence that matters would have been seen."""
        middle = self._at((self.dark + self.bright) / 2)
        rise = abs(self.bright - self.dark) * _SIGNIFICANT_ERRORS * self.slope_error
        return rise < (SIGNIFICANT_RATIO**2 - 1) * middle

    @property
    def offset_share(self) -> float:
        """Share of the variance in the middle of the signal that does not depend on it, 0..1."""
        middle = self._at((self.dark + self.bright) / 2)
        return float(np.clip(self.offset / middle, 0, 1)) if middle > 0 else 1.0

    def _at(self, signal: float) -> float:
        return max(self.offset + self.slope * (signal - self.floor), 0.0)


def measure_dependence(
    noise: NDArray[np.float64],
    signal: NDArray[np.float64],
    region: NDArray[np.int64],
    *,
    floor: float,
    across: bool = False,
) -> SignalDependence:
    """Fits the line; noise of any distribution and correlation.

    Args:
        noise: (n,) of mean 0, in the unit.
        signal: (n,) of the same pixels, in the unit.
        region: (n,) small non-negative numbers: pixels of one region, in which nothing but the signal sets the noise.
        floor: see `SignalDependence`.
        across: takes the differences between regions too.
    """
    square = noise**2
    if len(square) == 0:
        return SignalDependence(0.0, math.inf, 0.0, floor, floor, floor)
    dark, bright = (float(value) for value in np.percentile(signal, [2, 98]))
    count = np.maximum(np.bincount(region), 1)

    def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        means = values.mean() if across else (np.bincount(region, values) / count)[region]
        return np.asarray(values - means, np.float64)

    deviation = centred(signal)
    spread = np.bincount(region, deviation**2)
    total = float(spread.sum())
    informative = np.count_nonzero(spread > 1e-3 * spread.max()) if total > 0 else 0
    if informative < _ENOUGH_REGIONS:
        return SignalDependence(0.0, math.inf, float(square.mean()), floor, dark, bright)
    together = np.bincount(region, deviation * centred(square))
    slope = float(together.sum()) / total
    error = math.sqrt(float(np.sum((together - slope * spread) ** 2))) / total
    offset = float(square.mean()) - slope * (float(signal.mean()) - floor)
    return SignalDependence(slope, error, max(offset, 0.0), floor, dark, bright)
