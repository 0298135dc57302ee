"""What is known about the noise of a set of images: `NoiseProfile`, made from the noise itself.

    PlainNoise --square regions--> variance by signal --> spread of each region --divide--> standardised noise
                                                                                            |--> correlation
                                                                                            '--> tails

Where the noise comes from: `imaging.noise.pairs` (noisy minus clean) and `imaging.blind_noise` (flat parts of noisy
images). Tails are those of the *standardised* noise: noise whose level varies over the image is a mixture of levels,
and would look heavy-tailed though every pixel's noise is Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.image import AIR_HU, Unit
from imaging.noise.correlation import Correlation, measure_correlation
from imaging.noise.signal_dependence import SignalDependence, measure_dependence
from imaging.noise.tails import Tails, measure_tails

Source = Literal["pairs", "noisy images"]

FLOOR: dict[Unit, float] = {"HU": AIR_HU, "relative": 0.0}
"""Where the signal of a detector is lowest; see `SignalDependence`."""

NORMAL_MAD = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""

_MINIMUM_KNOWN = 0.2  # share of a region's pixels; fewer give no spread


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """The noise of one image.

    Attributes:
        noise: (H, W) float64 in the unit; anything where it is not known.
        signal: (H, W) float64 in the unit: the image without noise, or what is known of it.
        known: (H, W) bool: where `noise` is noise, and no impulse.
    """

    noise: NDArray[np.float64]
    signal: NDArray[np.float64]
    known: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PlainNoise:
    """The noise of a set of images, freed of impulses.

    Attributes:
        maps: at least one.
        source, unit, impulse_share, limits: as in `NoiseProfile`.
        region: side in pixels of the squares in which the noise has one level but for the signal.
    """

    maps: tuple[NoiseMap, ...]
    source: Source
    unit: Unit
    region: int
    impulse_share: float
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoiseProfile:
    """The noise of a set of images.

    Attributes:
        source: what it was measured on.
        unit: of all levels.
        images, pixels: how many images, and pixels of them in which the noise is known.
        level: standard deviation, in the unit, without impulses; NaN where it could not be measured.
        level_error: its standard error.
        core: standard deviation of the bulk, from the median absolute deviation: `level` without the tails.
        bias, bias_error: mean of the noise and its standard error, in the unit; NaN without a reference.
        impulse_share: of the pixels that hold no trace of the image, 0..1.
        tails, correlation: of the noise divided by its local deviation.
        signal: how the variance follows the signal.
        variation: of the local deviation over the image, beyond what signal and chance explain: its standard deviation
            over its mean.
        limits: sentences: what these figures cannot tell.
    """

    source: Source
    unit: Unit
    images: int
    pixels: int
    level: float
    level_error: float
    core: float
    bias: float
    bias_error: float
    impulse_share: float
    tails: Tails
    correlation: Correlation
    signal: SignalDependence
    variation: float
    limits: tuple[str, ...] = ()


def measure_profile(plain: PlainNoise, *, level: float | None = None) -> NoiseProfile:
    """The profile of noise maps.

    Args:
        plain: at least one map.
        level: replaces the root mean square over all known pixels.
    """
    maps, region = plain.maps, plain.region
    regions, signals = (np.concatenate([_squares(each, what, region) for each in maps]) for what in ("noise", "signal"))
    present = np.isfinite(regions)
    number = np.broadcast_to(np.arange(len(regions))[:, None], regions.shape)
    noise, signal = regions[present], signals[present]
    pixels = len(noise)
    dependence = measure_dependence(noise - _mean(noise), signal, number[present], floor=FLOOR[plain.unit])
    standard = standardise(plain, dependence)
    correlation = measure_correlation(standard)
    if not dependence.telling and correlation.white:
        # white noise is not the CT's whose level follows the place
        dependence = measure_dependence(
            noise - _mean(noise), signal, number[present], floor=FLOOR[plain.unit], across=True
        )
        standard = standardise(plain, dependence)
    if dependence.significant:
        regions = regions / np.sqrt(np.where(present, dependence.variance(signals), 1.0))
    spreads = _spreads(regions, present)
    values = np.concatenate([noise[known] for noise, known in standard])
    # a mean may be off by trends of the image that are no noise, so it is left out of the level
    measured = float(noise.std()) if pixels else math.nan
    return NoiseProfile(
        source=plain.source,
        unit=plain.unit,
        images=len(maps),
        pixels=pixels,
        level=measured if level is None else level,
        level_error=measured * math.sqrt((2 + max(_excess(noise), 0)) / 4 / max(correlation.effective, 1)),
        core=NORMAL_MAD * float(np.median(np.abs(noise - np.median(noise)))) if pixels else math.nan,
        bias=_mean(noise) if plain.source == "pairs" else math.nan,
        bias_error=measured * math.sqrt(max(correlation.area, 0.1) / max(pixels, 1))
        if plain.source == "pairs"
        else math.nan,
        impulse_share=plain.impulse_share,
        tails=measure_tails(values, effective=correlation.pixels / max(correlation.peakedness, 1.0)),
        correlation=correlation,
        signal=dependence,
        variation=_variation(spreads, present.sum(axis=1), correlation),
        limits=plain.limits,
    )


def standardise(plain: PlainNoise, dependence: SignalDependence) -> list[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """For each map the noise divided by its local deviation, (H, W), and where that is known and not 0."""
    return [_standardised(each, dependence, plain.region) for each in plain.maps]


def _standardised(
    each: NoiseMap, dependence: SignalDependence, side: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Noise divided by its local deviation, and where that is known and not 0."""
    noise = each.noise
    if dependence.significant:
        noise = noise / np.sqrt(dependence.variance(each.signal))
    regions = _squares(NoiseMap(noise, each.signal, each.known), "noise", side)
    local = _interpolated(_spreads(regions, np.isfinite(regions)), noise.shape, side)
    known = each.known & (local > 0)
    standard = np.where(known, noise, 0.0) / np.where(known, local, 1.0)
    return standard - (standard[known].mean() if known.any() else 0.0), known


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _excess(values: NDArray[np.float64]) -> float:
    """Excess kurtosis, 0 for constant values."""
    variance = float(values.var()) if len(values) else 0.0
    return float(np.mean((values - values.mean()) ** 4)) / variance**2 - 3 if variance > 0 else 0.0


def _squares(each: NoiseMap, what: Literal["noise", "signal"], side: int) -> NDArray[np.float64]:
    """(regions, side^2), NaN where the noise is not known; what is left over at the borders is padded with NaN."""
    values = np.where(each.known, getattr(each, what), np.nan)
    height, width = (-(-length // side) * side for length in values.shape)
    padded = np.full((height, width), np.nan)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(height // side, side, width // side, side).swapaxes(1, 2)
    return blocks.reshape(-1, side * side)


def _spreads(regions: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(regions,) robust standard deviation of each, NaN where too little is known."""
    spreads = np.full(len(regions), np.nan)
    enough = present.mean(axis=1) >= _MINIMUM_KNOWN
    if enough.any():
        chosen = regions[enough]
        centre = np.nanmedian(chosen, axis=1, keepdims=True)
        spreads[enough] = NORMAL_MAD * np.nanmedian(np.abs(chosen - centre), axis=1)
    return spreads


def _interpolated(spreads: NDArray[np.float64], shape: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """Deviation at every pixel, (H, W), linear between the middles of the squares; 0 in a square that has none."""
    down, across = (-(-length // side) for length in shape)
    grid = np.nan_to_num(spreads.reshape(down, across))
    if not (grid > 0).any():
        return np.zeros(shape)
    # beside a square without noise the level goes on as it was: noise does not fade out towards it
    nearest = ndimage.distance_transform_edt(grid <= 0, return_distances=False, return_indices=True)
    filled = grid[tuple(nearest)]
    rows, columns = ((np.arange(length) + 0.5) / side - 0.5 for length in shape)
    smooth = ndimage.map_coordinates(filled, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
    square = np.repeat(np.repeat(grid, side, 0), side, 1)[: shape[0], : shape[1]]
    return np.where(square > 0, smooth, 0.0)


def _variation(spreads: NDArray[np.float64], pixels: NDArray[np.int64], correlation: Correlation) -> float:
    measured = spreads[np.isfinite(spreads) & (spreads > 0)]
    counts = pixels[np.isfinite(spreads) & (spreads > 0)]
    if len(measured) < 2:  # noqa: PLR2004 - one value does not vary
        return 0.0
    # the median absolute deviation of n Gaussian values has the relative variance 1.36 / n (efficiency 0.37)
    chance = 1.36 * correlation.length**2 / float(np.mean(counts))
    return math.sqrt(max(float(measured.var()) / float(measured.mean()) ** 2 - chance, 0.0))
