"""The guard: does an answer look like the model's answers to what it was made for?

    degraded, restored --blocks of 8 x 8--> what was removed, where --> GuardMeasures --bounds--> findings
                                                                        calibrated per model, in its manifest

No reference is needed, so every answer can be looked at. A model of CT given a photograph, an MR image or HU that are
none still answers with an image; but what it takes out of it then follows the edges, is more than the noise, or moves
the grey values, and that shows. It takes a few milliseconds for a CT slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.image import Unit

Pixels = NDArray[np.float32]

BLOCK = 8
"""Pixels, the side of a block: wider than the noise's correlation, narrower than most organs."""

BODY_HU = -500.0
"""Restored blocks above it are patient or table; in air and lung there is little to say of a model."""

_TISSUE_HU = (-150.0, 150.0)  # fat to contrast-enhanced organs
_FEW = 12  # blocks; of fewer nothing is said
_FLAT = 30.0  # per cent of the blocks, those whose restored pixels vary least
_TAIL = 99.0
_EDGES = 95.0


@dataclass(frozen=True)
class GuardMeasures:
    """What an answer did to its image; NaN where it cannot be said.

    Attributes:
        shift: mean of restored - degraded over the body, in the unit.
        drift: 99th percentile over the body's blocks of the absolute mean of what was removed, in the unit.
        level: root mean square of what was removed over the body, as a share of what varies in its flattest blocks.
        structure: correlation of how much was removed from a block, beside its neighbours, with how much the restored
            block varies, -1 to 1: noise does not follow edges.
        tissue: share of the body's blocks that are fat or soft tissue, 0 to 1; of relative images always 1.
    """

    shift: float
    drift: float
    level: float
    structure: float
    tissue: float


MEASURES = tuple(each.name for each in fields(GuardMeasures))


@dataclass(frozen=True)
class Finding:
    """A measure beyond its bounds."""

    measure: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_MEANING[self.measure].format(self.value)}, calibrated {self.low:.3g} to {self.high:.3g}"


_MEANING = {
    "shift": "values moved by {:.3g} on average",
    "drift": "values of whole regions moved by up to {:.3g}",
    "level": "{:.3g} times as much was removed as flat regions vary",
    "structure": "what was removed follows edges by {:.3g}",
    "tissue": "a share of {:.3g} of the body has the HU of fat or soft tissue",
}


def findings(measures: GuardMeasures, bounds: Mapping[str, tuple[float, float]]) -> list[Finding]:
    """The measures that lie beyond their bounds; those that could not be taken, or have no bounds, say nothing."""
    found = []
    for name in MEASURES:
        value = getattr(measures, name)
        low, high = bounds.get(name, (-math.inf, math.inf))
        if not math.isnan(value) and not low <= value <= high:
            found.append(Finding(name, value, low, high))
    return found


def measure_answer(degraded: Pixels, restored: Pixels, unit: Unit) -> GuardMeasures:
    """The measures of one answer.

    Args:
        degraded, restored: (H, W) each, in `unit`, finite.
        unit: for `HU` only the body counts, for `relative` all of the image.

    Raises:
        ValueError: of different shapes.
    """
    if degraded.shape != restored.shape:
        raise ValueError(f"degraded {degraded.shape} and restored {restored.shape} must have the same shape")
    removed = degraded - restored
    mean = _block_mean(restored)
    body = mean > BODY_HU if unit == "HU" else np.ones_like(mean, np.bool_)
    if np.count_nonzero(body) < _FEW:
        return GuardMeasures(*(math.nan for _ in MEASURES))
    drift, power = _block_mean(removed), _block_mean(removed * removed)
    spread = _deviation(restored, mean)
    flat = body & (spread <= np.percentile(spread[body], _FLAT))
    noise = float(np.mean(_deviation(degraded, mean + drift)[flat]))
    size = math.sqrt(float(power[body].mean()))
    tissue = np.mean((mean[body] > _TISSUE_HU[0]) & (mean[body] < _TISSUE_HU[1])) if unit == "HU" else 1.0
    return GuardMeasures(
        shift=-float(drift[body].mean()),
        drift=float(np.percentile(np.abs(drift[body]), _TAIL)),
        level=size / noise if noise > 0 else math.nan,
        structure=_structure(np.sqrt(power), spread, body),
        tissue=float(tissue),
    )


def _structure(removed: Pixels, spread: Pixels, body: NDArray[np.bool_]) -> float:
    inside = body.astype(np.float32)
    around = ndimage.uniform_filter(removed * inside, 3) / np.maximum(ndimage.uniform_filter(inside, 3), 1e-6)
    counted = body & (around > 0)
    if np.count_nonzero(counted) < _FEW:
        return math.nan
    share = removed[counted] / around[counted]
    edges = np.minimum(spread[counted], np.percentile(spread[counted], _EDGES))
    if share.std() == 0 or edges.std() == 0:
        return math.nan
    return float(np.corrcoef(share, edges)[0, 1])


def _block_mean(image: Pixels) -> Pixels:
    """(H // 8, W // 8), of the whole blocks; one block at least, whatever the size."""
    rows, columns = (max(side // BLOCK, 1) for side in image.shape)
    height, width = (min(BLOCK, side) for side in image.shape)
    # Whole rows first: numpy adds long rows many times faster than it adds eight numbers.
    strips = image[: rows * height].reshape(rows, height, -1).mean(axis=1)
    return np.asarray(strips[:, : columns * width].reshape(rows, columns, width).mean(axis=2), np.float32)


def _deviation(image: Pixels, mean: Pixels) -> Pixels:
    """Standard deviation in each block, of which `mean` is the mean."""
    middle = float(mean.mean())  # before squaring, or float32 would cancel
    centred = image - np.float32(middle)
    return np.sqrt(np.maximum(_block_mean(centred * centred) - (mean - np.float32(middle)) ** 2, 0))
