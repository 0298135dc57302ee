"""Intervals that hold what they promise: factors for the two ends, one pair for each class of tissue.

    tune slices --network--> restored, lower, upper
        (restored - reference) / (restored - lower) --95 % quantile, by class and group, the largest--> below
        (reference - restored) / (upper - restored) --95 % quantile, by class and group, the largest--> above
    calibrated: restored - below * (restored - lower), restored + above * (upper - restored)

A quantile loss finds intervals that hold 90 % of what was fitted, not of what comes. Stretching them by a quantile of
how far held-out patients lie beyond is split conformal prediction (Romano, Patterson & Candès, "Conformalized Quantile
Regression", NeurIPS 2019), in its multiplicative form for images (Angelopoulos et al., "Image-to-Image Regression with
Distribution-Free Uncertainty Quantification", ICML 2022). Its guarantee is for exchangeable draws. Pixels of a slice
and slices of a patient are none: an interval that holds 90 % of all tune pixels together holds less of the patient that
it is worst for. So every patient is a group of its own, and the largest factor counts (Vovk et al., "Mondrian
Confidence Machine", 2003, calibrates by group likewise). Two patients are still two: what the intervals hold is
measured on others, and stated.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from imaging.image import Unit
from model_store.manifest import IntervalCalibration, TissueFactors
from training.errors import UnsuitableSeries

CLASSES: dict[Unit, dict[str, float]] = {
    "HU": {"air": -950.0, "lung": -325.0, "fat": -15.0, "soft tissue": 150.0, "bone": math.inf},
    "relative": {"all": math.inf},
}
"""Unit -> class -> the restored value at which the next begins. For CT the tissues of `imaging.metrics.TISSUES`, the
gaps between them halved, so that each pixel is of one."""

_STEP = 3
"""Every third pixel of every third row counts: neighbours under correlated noise say nearly the same."""

_FEWEST = 1000
"""Pixels of a class in a group; with fewer the group says nothing of that class."""

_LEAST = 1e-3
"""A factor of 0 or below would turn an interval inside out."""

EVERY = "every pixel"
"""Beside the classes, all of them together."""

Picture = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sampled:
    """Pixels of one slice, (P,) each, in the model's unit."""

    restored: Picture
    lower: Picture
    upper: Picture
    reference: Picture


@dataclass(frozen=True)
class Coverage:
    """Of the pixels of a class: the share whose reference lies in the interval, and its mean width, in the unit."""

    share: float
    width: float
    pixels: int


def sample(answer: Picture, reference: Picture) -> Sampled:
    """The pixels of a slice that count: every third both ways, inside the inscribed circle, beyond which no scan is.

    Args:
        answer: (H, W, 3), restored, lower and upper in the model's unit.
        reference: (H, W) in the same.

    Raises:
        ValueError: other shapes.
    """
    if answer.shape != (*reference.shape, 3):
        raise ValueError(f"answer must be {(*reference.shape, 3)}: restored, lower and upper, not {answer.shape}")
    height, width = reference.shape
    y, x = np.ogrid[:height:_STEP, :width:_STEP]
    inside = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) < min(height, width) / 2
    thin = answer[::_STEP, ::_STEP][inside]
    return Sampled(thin[:, 0], thin[:, 1], thin[:, 2], reference[::_STEP, ::_STEP][inside])


def fit_intervals(
    groups: Iterable[Sequence[Sampled]], unit: Unit, *, coverage: float, degradations: Sequence[str], patients: int
) -> IntervalCalibration:
    """The least factors under which `coverage` of the pixels of each class lie in the interval, in every group.

    As many may lie below as above. A group says nothing of a class of which it has fewer than 1000 pixels.

    Args:
        groups: the samples of a tune patient each, before any calibration.
        unit: theirs.
        coverage: above 0 and below 1.
        degradations, patients: what the samples are of, for the manifest.

    Raises:
        UnsuitableSeries: there is no sample.
    """
    ratios = [_ratios(group, unit) for group in groups if group]
    if not ratios:
        raise UnsuitableSeries("intervals are calibrated on slices of tune/, and there are none")
    level = (1 + coverage) / 2

    def factor(name: str, end: int) -> float:
        known = [group[name][end] for group in ratios if len(group[name][end]) >= _FEWEST]
        # too few of a class to say anything: all classes together, and all groups
        counted = known or [np.concatenate([own[end] for group in ratios for own in group.values()])]
        return max(_LEAST, *(float(np.quantile(each, level)) for each in counted))

    return IntervalCalibration(
        coverage=coverage,
        classes=tuple(
            TissueFactors(
                tissue=name,
                below=None if math.isinf(edge) else edge,
                lower=factor(name, 0),
                upper=factor(name, 1),
                pixels=sum(len(group[name][0]) for group in ratios),
            )
            for name, edge in CLASSES[unit].items()
        ),
        degradations=tuple(degradations),
        patients=patients,
    )


def _ratios(group: Sequence[Sampled], unit: Unit) -> dict[str, tuple[Picture, Picture]]:
    """Class -> how far the reference lies below and above, as shares of the distance to the ends of the interval."""
    found: dict[str, tuple[list[Picture], list[Picture]]] = {name: ([], []) for name in CLASSES[unit]}
    for each in group:
        below = (each.restored - each.reference) / (each.restored - each.lower)
        above = (each.reference - each.restored) / (each.upper - each.restored)
        for name, mask in _masks(each.restored, unit).items():
            found[name][0].append(below[mask])
            found[name][1].append(above[mask])
    return {name: (np.concatenate(down), np.concatenate(up)) for name, (down, up) in found.items()}


def calibrated(answer: keras.KerasTensor, calibration: IntervalCalibration) -> keras.KerasTensor:
    """(..., 3), restored, lower and upper, with the ends moved as the calibration says; restored is not touched."""
    restored, lower, upper = (answer[..., channel] for channel in range(3))
    number = sum(ops.cast(restored >= each.below, "int32") for each in calibration.classes[:-1])
    number = ops.zeros_like(restored, dtype="int32") + number  # a single class has no edge
    below, above = (
        ops.take(ops.convert_to_tensor([getattr(each, end) for each in calibration.classes], "float32"), number)
        for end in ("lower", "upper")
    )
    return ops.stack([restored, restored - below * (restored - lower), restored + above * (upper - restored)], axis=-1)


def measure_coverage(samples: Iterable[Sampled], unit: Unit) -> dict[str, Coverage]:
    """Class -> what the intervals hold of it; first `every pixel` together. Classes without pixels are left out."""
    held: dict[str, list[NDArray[np.bool_]]] = defaultdict(list)
    widths: dict[str, list[Picture]] = defaultdict(list)
    for each in samples:
        within = (each.lower <= each.reference) & (each.reference <= each.upper)
        for name, mask in {EVERY: np.ones(len(within), np.bool_), **_masks(each.restored, unit)}.items():
            held[name].append(within[mask])
            widths[name].append((each.upper - each.lower)[mask])
    found = {}
    for name, parts in held.items():
        inside, width = np.concatenate(parts), np.concatenate(widths[name])
        if len(inside):
            found[name] = Coverage(float(inside.mean()), float(width.mean(dtype=np.float64)), len(inside))
    return found


def _masks(restored: Picture, unit: Unit) -> dict[str, NDArray[np.bool_]]:
    """Class -> the pixels whose restored value is of it."""
    number = np.digitize(restored, list(CLASSES[unit].values())[:-1])
    return {name: number == index for index, name in enumerate(CLASSES[unit])}
