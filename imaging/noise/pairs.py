"""Noise from pairs: noisy minus clean, and the impulses in it.

    noisy, clean --shapes? finite?--> difference --impulses? cut off?--> plain noise --measure_profile--> profile
                   UnsuitableImage

Impulses replace a pixel: they are far from the clean value, and (nearly) all such pixels hold the lowest or the highest
value there is. Where images are clipped to a range, noise near its ends is cut off: such pixels are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.errors import UnsuitableImage
from imaging.image import Unit
from imaging.low_dose import soft_tissue
from imaging.noise.profile import NORMAL_MAD, NoiseMap, NoiseProfile, PlainNoise, measure_profile

Pixels: TypeAlias = NDArray[np.floating[Any]]

SMALLEST_SIDE = 8
"""Pixels of an image; below it there is neither a local level nor a correlation."""

REGION = 24
"""Side in pixels of the squares of one noise level: far wider than the noise is correlated, and small beside a body."""

OUTLIER = 5.0
"""Deviations from the clean value beyond which a pixel is an outlier: one Gaussian value in two million is."""

_AT_THE_ENDS = 0.8  # share of the outliers that hold an end of the range, for them to be impulses
_ATOM = 5e-4  # share of all pixels at exactly the end value; a continuous distribution has next to none there
_ATOM_PIXELS = 4  # of a small image, whose lowest and highest pixel are a share of their own
_NO_CORE = 1e-3  # a core below this share of the noise's size is rounding: all noise is in the outliers
_STILL = 5  # pixels: side of a square that is free of noise if nothing changed in it
_SIGNALS = 64  # bins of the clean signal
_CUT_OFF = 0.01  # share of the noisy values at an end; cutting off 1 % of a Gaussian lowers its deviation by 1 %
_ENOUGH_TISSUE = 500  # pixels


def profile_from_pairs(noisy: Sequence[Pixels], clean: Sequence[Pixels], unit: Unit) -> NoiseProfile:
    """Measures the noise of pairs; arguments and errors as for `noise_of_pairs`."""
    return pairs_profile(noise_of_pairs(noisy, clean, unit))


def pairs_profile(plain: PlainNoise) -> NoiseProfile:
    """The profile of what `noise_of_pairs` gave: for CT the level is that of soft tissue, where there is any."""
    return measure_profile(plain, level=_tissue_level(plain.maps) if plain.unit == "HU" else None)


def noise_of_pairs(noisy: Sequence[Pixels], clean: Sequence[Pixels], unit: Unit) -> PlainNoise:
    """The noise of pairs, all of which are taken to have the same kind of noise.

    Args:
        noisy, clean: (H, W) each, float32 or float64 in `unit`, of the same shape pair by pair.
        unit: of all.

    Raises:
        UnsuitableImage: no pairs, different numbers or shapes, images below 8 x 8 pixels, NaN or infinite values.
    """
    if len(noisy) != len(clean) or not noisy:
        raise UnsuitableImage(f"{len(noisy)} noisy and {len(clean)} clean images are no pairs; give as many of each")
    for number, pair in enumerate(zip(noisy, clean, strict=True), start=1):
        if pair[0].shape != pair[1].shape:
            raise UnsuitableImage(
                f"pair {number}: the noisy image has {pair[0].shape} pixels, the clean one {pair[1].shape}"
            )
        for image in pair:
            check_image(image, f"pair {number}")
    differences = [a.astype(np.float64) - b.astype(np.float64) for a, b in zip(noisy, clean, strict=True)]
    side = min(REGION, *(length for each in differences for length in each.shape))
    ends = Ends.of(noisy)
    impulses = _impulses(noisy, differences, ends, side)
    cut_off = _cut_off(noisy, clean, impulses, ends)
    maps = tuple(
        NoiseMap(difference, reference.astype(np.float64), touched & ~(impulse | cut))
        for difference, reference, touched, impulse, cut in zip(
            differences, clean, _with_noise(differences), impulses, cut_off, strict=True
        )
    )
    share = sum(int(np.count_nonzero(each)) for each in impulses) / sum(each.size for each in differences)
    return PlainNoise(maps, "pairs", unit, side, share)


def check_image(image: Pixels, what: str) -> None:
    """Raises `UnsuitableImage`, beginning with `what`, unless the image is (H, W), large enough and finite."""
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:  # noqa: PLR2004 - (H, W)
        raise UnsuitableImage(
            f"{what}: an image of {image.shape} pixels has no noise to measure; {SMALLEST_SIDE} x {SMALLEST_SIDE} are"
            " the least"
        )
    if not np.isfinite(image).all():
        raise UnsuitableImage(f"{what}: the image holds NaN or infinite values; every pixel must be a finite number")


@dataclass(frozen=True)
class Ends:
    """The lowest and the highest value of a set of images, if values pile up there, or else NaN."""

    low: float
    high: float

    @classmethod
    def of(cls, images: Sequence[Pixels]) -> Ends:
        total = sum(each.size for each in images)
        found = []
        for end in (min(float(each.min()) for each in images), max(float(each.max()) for each in images)):
            count = sum(int(np.count_nonzero(each == end)) for each in images)
            found.append(end if count > max(_ATOM * total, _ATOM_PIXELS) else math.nan)
        return cls(*found)

    def holds(self, image: Pixels) -> NDArray[np.bool_]:
        """Where an image has one of these values."""
        found: NDArray[np.bool_] = (image == self.low) | (image == self.high)
        return found


def _impulses(
    noisy: Sequence[Pixels], differences: Sequence[NDArray[np.float64]], ends: Ends, side: int
) -> list[NDArray[np.bool_]]:
    """Where pixels were replaced, (H, W) for each image."""
    limit, untouched = _outlier_limit(differences, side)
    far = [np.abs(each) > limit for each in differences]
    at_ends = [where & ends.holds(image) for where, image in zip(far, noisy, strict=True)]
    outliers = sum(int(np.count_nonzero(each)) for each in far)
    if untouched:  # every change is a replacement, whatever the new value
        return far
    if sum(int(np.count_nonzero(each)) for each in at_ends) > _AT_THE_ENDS * outliers:
        return at_ends
    return [np.zeros(each.shape, np.bool_) for each in far]


def _outlier_limit(differences: Sequence[NDArray[np.float64]], side: int) -> tuple[float, bool]:
    """Distance beyond which a pixel is an outlier, and whether all but outliers are as good as untouched."""
    squares = np.concatenate([_touched(each, side) for each in differences])
    if len(squares) == 0:
        return 0.0, False
    core = NORMAL_MAD * float(np.median(np.median(np.abs(squares), axis=1)))
    size = math.sqrt(float(np.mean(squares**2)))
    return OUTLIER * core, core < _NO_CORE * size


def _touched(difference: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(squares, side^2): the whole squares in which anything changed. Noise may be absent from parts of an image."""
    height, width = (length // side * side for length in difference.shape)
    blocks = difference[:height, :width].reshape(height // side, side, width // side, side).swapaxes(1, 2)
    squares = blocks.reshape(-1, side * side)
    changed: NDArray[np.float64] = squares[(squares != 0).any(axis=1)]
    return changed


def _with_noise(differences: Sequence[NDArray[np.float64]]) -> list[NDArray[np.bool_]]:
    """Everything but areas without any change, such as outside the circle that a scanner reconstructs."""
    present = [ndimage.maximum_filter(np.abs(each), _STILL) > 0 for each in differences]
    return present if any(each.any() for each in present) else [~each for each in present]


def _cut_off(
    noisy: Sequence[Pixels], clean: Sequence[Pixels], impulses: Sequence[NDArray[np.bool_]], ends: Ends
) -> list[NDArray[np.bool_]]:
    """Where the signal is one of those of which more than `_CUT_OFF` of the noisy values lie at an end."""
    low, high = min(float(each.min()) for each in clean), max(float(each.max()) for each in clean)
    bins = [
        np.minimum((each.astype(np.float64) - low) / (high - low or 1.0) * _SIGNALS, _SIGNALS - 1).astype(np.intp)
        for each in clean
    ]
    share = np.zeros((2, _SIGNALS))
    for image, place, impulse in zip(noisy, bins, impulses, strict=True):
        share[0] += np.bincount(place[~impulse & ends.holds(image)], minlength=_SIGNALS)
        share[1] += np.bincount(place[~impulse], minlength=_SIGNALS)
    cut = share[0] > _CUT_OFF * share[1]
    return [cut[place] for place in bins]


def _tissue_level(maps: Sequence[NoiseMap]) -> float | None:
    inside = [each.noise[soft_tissue(each.signal.astype(np.float32)) & each.known] for each in maps]
    values = np.concatenate(inside)
    return float(values.std()) if len(values) >= _ENOUGH_TISSUE else None
