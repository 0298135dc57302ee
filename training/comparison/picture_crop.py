"""The picture of a report: one crop that every method restores, of a drawing, so that it can be shown to anyone.

unit --> anatomical phantom (HU) or dead leaves (relative) --degradation--> crop of 96 x 96
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imaging.image import Unit
from imaging.phantom import trunk
from imaging.sample import SHAPE, SPACING, THICKNESS_MM
from imaging.series import CtSeries
from training.data.dead_leaves import dead_leaves
from training.data.pairs import PreparedSeries, prepare_series
from training.degradations import Degradation, prepare_degradation
from training.degradations.low_dose import TYPICAL_NOISE_HU
from training.evaluation.image_scores import Picture
from training.progress import Advance, silent

NAME = "picture-phantom"

CROP: dict[Unit, tuple[slice, slice]] = {
    "HU": (slice(180, 276), slice(122, 218)),  # liver with its vessels and lesions, the gall bladder
    "relative": (slice(80, 176), slice(80, 176)),
}
_LEAVES = (256, 256)


@dataclass(frozen=True, eq=False)
class CropPair:
    """A whole degraded image, (H, W) float32, and where its crop lies."""

    degraded: Picture
    window: tuple[slice, slice]

    def restored(self, restore: Callable[[Picture], Picture]) -> Picture:
        """The crop of what a method makes of the whole image."""
        return restore(self.degraded)[self.window]


def picture_series(unit: Unit, cache: Path, *, progress: Advance = silent) -> PreparedSeries:
    """One slice; for HU with its unit noise (seconds, cached). Its full dose counts as having a usual noise level."""
    if unit == "relative":
        return PreparedSeries(NAME, NAME, (1.0, 1.0), unit, math.nan, _picture(unit)[None])
    series = CtSeries(
        name=NAME,
        patient=NAME,
        series_uid="",
        volume=_picture(unit)[None],
        padding=None,
        spacing=SPACING,
        slice_thickness=THICKNESS_MM,
        positions=np.zeros(1),
        gaps=(),
        tilt=0.0,
        kernel="",
        kvp=None,
        manufacturer="",
        warnings=(),
    )
    return replace(prepare_series(series, cache, average=False, progress=progress), noise_level=TYPICAL_NOISE_HU)


def crop_pair(series: PreparedSeries, degradation: Degradation, *, progress: Advance = silent) -> CropPair:
    """The picture under a degradation; always the same."""
    prepare_degradation(degradation, [series], progress=progress)
    _, height, width = series.images.shape
    window = CROP[series.unit]
    degraded = degradation.repeat(series, (0, slice(0, height), slice(0, width)), 0)
    return CropPair(degraded, window)


def reference_crop(unit: Unit) -> Picture:
    """The truth, without noise."""
    return _picture(unit)[CROP[unit]]


def _picture(unit: Unit) -> Picture:
    rng = np.random.default_rng(0)
    return trunk(SHAPE, SPACING, rng) if unit == "HU" else dead_leaves(_LEAVES, rng)
