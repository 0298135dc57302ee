"""A phantom for measuring image quality: a uniform body with discs of known contrast, as quality assurance uses them.

    unit --layout--> discs on a ring, nothing in the middle --drawn finely, blurred, averaged--> QualityPhantom

              .-------.          ring: three discs of high and three of low contrast, for the transfer curves;
            /  H l s L  \\              six small ones of low contrast, for what is lost of small things
           |  s  .--. s  |       middle: uniform, for the noise power spectrum
            \\  L  '--' H /
              '-------'

It is no anatomy, and a network may treat it unlike a patient; what it offers is a truth without noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.image import AIR_HU, Unit
from imaging.quality.disc_transfer import Disc

SIDE = 256
"""Pixels; enough for the ring, little enough for a restorer to be tested in a second."""

_BODY_RADIUS = 112.0
_RING_RADIUS = 80.0
_DISC_RADIUS = 10.0
_SMALL_RADII = (6.0, 5.0, 4.0, 3.0, 2.0, 1.5)
_START = math.radians(7)  # of the first disc, so that no centre lies in the same place between the pixels as another
_UNIFORM = 64  # pixels, the side of the uniform square; the ring's discs keep 10 pixels away from its corners

_BLUR = 0.6
"""Pixels, standard deviation: edges as sharp as a standard kernel shows them (f50 of 0.3 cycles per pixel)."""

_FINE = 4  # times finer than the pixels it is drawn


@dataclass(frozen=True)
class Contrasts:
    """What the phantom consists of, in its unit: the outside and the body, and what discs add to the body."""

    outside: float
    body: float
    high: float
    low: float


CONTRASTS: dict[Unit, Contrasts] = {
    "HU": Contrasts(outside=AIR_HU, body=40.0, high=300.0, low=50.0),  # soft tissue, vessels with contrast, lesions
    "relative": Contrasts(outside=0.05, body=0.4, high=0.4, low=0.1),
}

SPACING: dict[Unit, tuple[float, float]] = {"HU": (0.8, 0.8), "relative": (1.0, 1.0)}
"""mm: that of a body scan; pictures have no size, so that 1/mm reads cycles per pixel."""


@dataclass(frozen=True, eq=False)
class QualityPhantom:
    """The phantom without noise, and where its parts are.

    Attributes:
        image: (256, 256) float32 in `unit`.
        unit, spacing: of the image; mm.
        high, low: discs of 10 pixels radius, for `imaging.quality.disc_transfer`.
        small: discs of low contrast, from 6 to 1.5 pixels radius.
        uniform: rows and columns of the uniform square in the middle.
        body: (256, 256) bool, the inside of the body.
    """

    image: NDArray[np.float32]
    unit: Unit
    spacing: tuple[float, float]
    high: tuple[Disc, ...]
    low: tuple[Disc, ...]
    small: tuple[Disc, ...]
    uniform: tuple[slice, slice]
    body: NDArray[np.bool_]


def quality_phantom(unit: Unit) -> QualityPhantom:
    """The phantom of a unit; always the same."""
    contrasts, middle = CONTRASTS[unit], (SIDE - 1) / 2
    groups: tuple[list[Disc], list[Disc], list[Disc]] = ([], [], [])
    places = 2 * len(_SMALL_RADII)
    for place in range(places):
        angle = _START + 2 * math.pi * place / places
        row, column = middle + _RING_RADIUS * math.sin(angle), middle + _RING_RADIUS * math.cos(angle)
        if place % 2:
            groups[2].append(Disc(row, column, _SMALL_RADII[place // 2], contrasts.low))
        elif place % 4:
            groups[1].append(Disc(row, column, _DISC_RADIUS, contrasts.low))
        else:
            groups[0].append(Disc(row, column, _DISC_RADIUS, contrasts.high))
    discs = [disc for group in groups for disc in group]
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(y - middle, x - middle) < _BODY_RADIUS - math.ceil(3 * _BLUR)
    square = slice((SIDE - _UNIFORM) // 2, (SIDE + _UNIFORM) // 2)
    high, low, small = (tuple(group) for group in groups)
    return QualityPhantom(
        _drawn(contrasts, discs), unit, SPACING[unit], high, low, small, (square, square), np.asarray(inside)
    )


def _drawn(contrasts: Contrasts, discs: list[Disc]) -> NDArray[np.float32]:
    grid = (np.arange(SIDE * _FINE) + 0.5) / _FINE - 0.5  # pixel centres are whole numbers
    y, x = grid[:, None], grid[None, :]
    fine = np.where(np.hypot(y - (SIDE - 1) / 2, x - (SIDE - 1) / 2) < _BODY_RADIUS, contrasts.body, contrasts.outside)
    for disc in discs:
        fine += np.where(np.hypot(y - disc.row, x - disc.column) < disc.radius, disc.contrast, 0.0)
    blurred = ndimage.gaussian_filter(fine, _BLUR * _FINE)
    return np.asarray(blurred.reshape(SIDE, _FINE, SIDE, _FINE).mean(axis=(1, 3)), np.float32)
