"""Resolution at a given contrast: the task transfer function, read from the edge of a disc.

    images (N, H, W) --distance to the centre--> edge spread (radius) --derivative--> line spread --|FFT|--> Transfer

A linear system has one MTF. A network has one for each contrast and noise, because it decides what is noise: faint
edges are smoothed where strong ones are kept. So it is measured on discs of a stated contrast, in images with the noise
in question, averaged over repetitions (Richard, Husarik, Yadava, Murphy, Samei, Towards task-based assessment of CT
performance: system and object MTF across different reconstruction algorithms, Med Phys 2012; 39:4115-4122).

Pixels lie at all distances from the centre, so the edge is sampled far finer than a pixel. The edge is taken as
straight, which holds where the blur is narrow against the radius: at a tenth of it the error is under 0.01.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.metrics import Float64

_BIN = 0.25
"""Width of the bins of distance in pixels. Finer bins hold more noise; wider ones blur, by a factor that is divided
out: 0.92 at a pixel's Nyquist."""

REACH = 8.0
"""Pixels to either side of the edge that are looked at, where the disc is large enough. The outer half is tapered."""

SMALLEST_RADIUS = 5.0
"""Pixels; the inside of a smaller disc is too small to sample its edge."""

_CENTRE = 2.0  # pixels around the centre that are left out: too few for their bins
_PADDING = 8  # the line spread is zero-padded to this times its length: a finely sampled curve


class DiscNotVisible(ValueError):
    """Nothing is left of the discs, or they are inverted: there is no edge to measure."""


@dataclass(frozen=True)
class Disc:
    """A circular insert: where it is and what it adds.

    Attributes:
        row, column: of its centre, in pixels (the centre of the first pixel is 0, 0).
        radius: in pixels.
        contrast: inside minus outside, in the image's unit; not 0.
    """

    row: float
    column: float
    radius: float
    contrast: float


@dataclass(frozen=True, eq=False)
class Transfer:
    """A transfer curve: 1 at frequency 0, up to Nyquist.

    Attributes:
        frequency: (F,) float64 in 1/mm, ascending from 0.
        values: (F,) float64, dimensionless.
    """

    frequency: Float64
    values: Float64

    @property
    def f50(self) -> float:
        """Lowest frequency at which the curve has fallen to 0.5, in 1/mm; NaN if it does not before Nyquist."""
        return self.falls_to(0.5)

    @property
    def f10(self) -> float:
        """Lowest frequency at which the curve has fallen to 0.1, in 1/mm; NaN if it does not before Nyquist."""
        return self.falls_to(0.1)

    def falls_to(self, level: float) -> float:
        """First crossing of `level` from above, linear between samples, in 1/mm; NaN without one."""
        below = np.flatnonzero(self.values <= level)
        if len(below) == 0 or below[0] == 0:
            return math.nan
        after = int(below[0])
        high, low = self.values[after - 1], self.values[after]
        share = (high - level) / (high - low)
        return float(self.frequency[after - 1] + share * (self.frequency[after] - self.frequency[after - 1]))


def disc_transfer(images: NDArray[np.floating[Any]], discs: Sequence[Disc], spacing: tuple[float, float]) -> Transfer:
    """Task transfer function of discs of the same kind (same contrast), averaged over discs and repetitions.

    Args:
        images: (N, H, W), the discs in N repetitions of the noise.
        discs: one or more, each of radius 5 pixels or more; the image around them must be uniform for `REACH` pixels.
            Centres that lie differently between the pixels sample the edge best.
        spacing: (between rows, between columns) in mm; must be nearly equal, the edge is looked at in all directions.

    Returns:
        The curve, normalised to 1 at 0: a loss of contrast of the whole disc does not show in it.

    Raises:
        ValueError: images that are not (N, H, W), no disc, one too small or too near the border, unequal spacings.
        DiscNotVisible: the discs do not show at all.
    """
    if not discs:
        raise ValueError("there is no disc to measure at; give at least one")
    if not 0 < max(spacing) <= 1.05 * min(spacing):
        raise ValueError(f"spacing {spacing} must be positive and equal in both directions within 5 %")
    reach = min(REACH, *(disc.radius - _CENTRE for disc in discs))
    step = _BIN * math.sqrt(spacing[0] * spacing[1])
    lines = []
    for disc in discs:
        _, values = edge_spread(images, disc, reach)
        lines.append(-np.diff(values) / disc.contrast)
    line = np.mean(lines, axis=0)
    at = np.abs(np.arange(len(line)) - (len(line) - 1) / 2) * (2 / len(line))  # 0 in the middle, 1 at the ends
    line *= np.where(at <= 0.5, 1, 0.5 + 0.5 * np.cos(2 * np.pi * (at - 0.5)))  # noqa: PLR2004 - the outer half
    if not line.sum() > 0:
        raise DiscNotVisible("the discs do not show: outside is as bright as inside, or the contrast is inverted")
    spectrum = np.abs(np.fft.rfft(line, _PADDING * len(line))) / line.sum()
    frequency = np.asarray(np.fft.rfftfreq(_PADDING * len(line), step), np.float64)
    # sharing out pixels among two bins is a triangle, and the difference a box: both blur, by these factors
    values = spectrum / np.sinc(frequency * step) ** 3
    shown = frequency <= 0.5 / max(spacing)
    return Transfer(frequency[shown], values[shown])


def edge_spread(images: NDArray[np.floating[Any]], disc: Disc, reach: float) -> tuple[Float64, Float64]:
    """Mean grey value by distance from the edge of a disc.

    Args:
        images: (N, H, W), the disc in N repetitions of the noise.
        disc: where it is; the image must hold `reach` pixels around it.
        reach: pixels to either side of the edge, at least 3, and 2 less than the radius.

    Returns:
        (distance from the edge in pixels, positive outside; mean value in the image's unit), (B,) float64 each.

    Raises:
        ValueError: not (N, H, W), the disc is too small for `reach`, or it does not fit into the image with it.
    """
    if images.ndim != 3 or images.size == 0:  # noqa: PLR2004 - (N, H, W)
        raise ValueError(f"images must be (N, H, W), not {images.shape}")
    if not SMALLEST_RADIUS - _CENTRE <= reach <= disc.radius - _CENTRE:
        raise ValueError(f"{disc} must have a radius of {SMALLEST_RADIUS:g} pixels or more, and reach {reach:g} 2 less")
    height, width = images.shape[1:]
    around = disc.radius + reach
    if not (around <= disc.row <= height - 1 - around and around <= disc.column <= width - 1 - around):
        raise ValueError(f"{disc} with {reach:g} pixels around it does not lie inside {height} x {width} pixels")
    rows, columns = (slice(int(centre - around), int(centre + around) + 2) for centre in (disc.row, disc.column))
    y, x = np.mgrid[rows, columns]
    mean = images[:, rows, columns].mean(axis=0, dtype=np.float64)
    place = (np.hypot(y - disc.row, x - disc.column) - disc.radius + reach) / _BIN
    bins = round(2 * reach / _BIN) + 1
    # each pixel counts in the two bins around it by its nearness, so that nothing jumps as a disc moves a little
    lower = np.floor(place)
    index = np.concatenate([lower, lower + 1], axis=None).astype(np.int64)
    share = np.concatenate([1 - (place - lower), place - lower], axis=None)
    inside = (index >= 0) & (index < bins)
    weights = np.bincount(index[inside], share[inside], bins)
    totals = np.bincount(index[inside], (share * np.tile(mean.ravel(), 2))[inside], bins)
    filled = weights > 0
    distance: Float64 = np.asarray(_BIN * np.arange(bins) - reach, np.float64)
    spread: Float64 = np.interp(distance, distance[filled], totals[filled] / weights[filled])
    return distance, spread
