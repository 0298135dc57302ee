"""Noise from noisy images alone: what varies where the image does not.

    images --isolated extremes--> impulses, taken out --blocks--> robust plane, residual --flat?--> residuals of flat
                                                                                                    blocks
                                                              --measure_profile--> profile, with what it cannot tell

A block is flat when its residual is as smooth or as rough as most: structure adds low frequencies, so the spread of the
locally averaged residual over that of its second differences is larger where there is structure. That ratio does not
depend on the level, so noise that follows the signal is no obstacle; fine texture that covers a whole image is.

Levels are within 10 % on CT, 15 % on pictures of edges and some texture under white noise, and 25 % there under
correlated noise, whose spots small edges hide among (tests/imaging/noise/test_blind.py). Noise that is weaker than the
texture of a picture reads high.

Estimators of white noise (second differences alone: Immerkaer, Computer Vision and Image Understanding 64 (2), 1996;
wavelets: Donoho & Johnstone, Biometrika 81 (3), 1994) would read the noise of a soft CT kernel 45 % too low and more:
they see its high frequencies only. They are not used for levels here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.errors import UnsuitableImage
from imaging.image import Unit
from imaging.noise.level import global_noise_level
from imaging.noise.pairs import OUTLIER, Ends, Pixels, check_image
from imaging.noise.profile import NORMAL_MAD, NoiseMap, NoiseProfile, PlainNoise, measure_profile

BLOCK = 12
"""Side in pixels: wide enough for noise that is correlated over 3 pixels, and small enough to fit between edges."""

REGION = 3 * BLOCK
"""Side in pixels of the squares of one noise level; it has to hold several flat blocks."""

FEW_BLOCKS = 20
"""Fewer flat blocks give figures that are said to be weak."""

_PLANE_STEPS = 3  # of the robust fit
_PLANE_OUTLIER = 3.0  # deviations beyond which a pixel pulls no harder
_STRUCTURE = 1.5  # times the usual smoothness: a block of 256 values of white noise is off by a quarter
_PEAK_WIDTH = 0.25  # of the logarithm: how far chance moves the smoothness of a flat block
_PEAK_SHARE = 0.03  # of the blocks, and at least so many:
_PEAK_BLOCKS = 5
_NEIGHBOURS = 3  # of eight that may be far as well, for a far pixel to be isolated
_TEXTURE = 2.0  # times the usual spread; the noise of CT varies by less between organs of one density
_RANGE = 2.5  # times the spread at the middle brightness: Poisson noise reaches 1.4 times at the brightest
_BRIGHTNESSES = 8  # bins of the signal
_MOSTLY = 0.5  # share of the isolated extremes at the ends of the range, for them to be impulses
_IN_AIR = -900.0  # HU; blocks without any noise below it are outside what was scanned
_PARAMETERS = 3  # of a plane


def profile_from_noisy(images: Sequence[Pixels], unit: Unit) -> NoiseProfile:
    """Measures the noise of images without references; arguments and errors as for `noise_of_flat_parts`."""
    return flat_profile(noise_of_flat_parts(images, unit), images)


def flat_profile(plain: PlainNoise, images: Sequence[Pixels]) -> NoiseProfile:
    """The profile of what `noise_of_flat_parts` gave of `images`.

    For CT the level is that of soft tissue (`global_noise_level`), where there is any; outliers would move it.
    """
    profile = measure_profile(plain)
    # a plane takes its three parameters out of the block's independent values
    lost = min(_PARAMETERS * max(profile.correlation.area, 1.0) / min(BLOCK, plain.region) ** 2, 0.5)
    level = profile.level / math.sqrt(1 - lost)
    if plain.unit == "HU" and plain.impulse_share == 0 and profile.tails.best == "gaussian":
        tissue = [global_noise_level(np.asarray(image, np.float32)) for image in images]
        known = [each for each in tissue if math.isfinite(each)]
        level = float(np.median(known)) if known else level
    return replace(profile, level=level)


def noise_of_flat_parts(images: Sequence[Pixels], unit: Unit) -> PlainNoise:
    """The noise of images without references; all are taken to have the same kind of noise.

    Args:
        images: (H, W) each, float32 or float64 in `unit`.
        unit: of them.

    Raises:
        UnsuitableImage: no images, or one below 8 x 8 pixels, or with NaN or infinite values.
    """
    if not images:
        raise UnsuitableImage("there are no images to measure noise on")
    for number, image in enumerate(images, start=1):
        check_image(image, f"image {number}")
    side = min(BLOCK, *(length for image in images for length in image.shape))
    values = [image.astype(np.float64) for image in images]
    impulses = find_impulses(values)
    cleaned = [
        np.where(impulse, ndimage.median_filter(image, 5), image) if impulse.any() else image
        for image, impulse in zip(values, impulses, strict=True)
    ]
    blocks = [_Blocks.of(image, side) for image in cleaned]
    flat = _flat(blocks, Ends.of(images), unit)
    maps = tuple(each.noise_map(chosen, impulse) for each, chosen, impulse in zip(blocks, flat, impulses, strict=True))
    share = sum(int(np.count_nonzero(each)) for each in impulses) / sum(image.size for image in images)
    region = REGION if side == BLOCK else side
    limits = _limits(sum(int(np.count_nonzero(each)) for each in flat))
    return PlainNoise(maps, "noisy images", unit, region, share, limits)


def find_impulses(images: Sequence[Pixels]) -> list[NDArray[np.bool_]]:
    """Isolated pixels at the ends of the range, far from the median of their surroundings, (H, W) for each image.

    Empty unless most isolated extremes lie at the ends: outliers of another kind are noise. Impulses near the value
    that they replaced are not seen: a tenth of them on usual pictures, a quarter on very dark or bright ones.
    """
    ends = Ends.of(images)
    isolated, at_ends = [], []
    for image in images:
        distance = np.abs(image - ndimage.median_filter(image, 5))
        varying = distance[distance > 0]  # what surrounds a patient is often constant, and would make the core 0
        far = distance > OUTLIER * NORMAL_MAD * (float(np.median(varying)) if len(varying) else 0.0)
        around = ndimage.uniform_filter(far.astype(np.float64), 3) * 9 - far
        alone = far & (around < _NEIGHBOURS + 0.5)
        isolated.append(alone)
        at_ends.append(alone & ends.holds(image))
    outliers, extremes = (sum(int(np.count_nonzero(each)) for each in which) for which in (isolated, at_ends))
    if extremes > _MOSTLY * outliers:
        return at_ends
    return [np.zeros(each.shape, np.bool_) for each in isolated]


@dataclass(frozen=True, eq=False)
class _Blocks:
    """The blocks of one image, B of side x side; what is left over at the right and the bottom is in none.

    Attributes:
        shape: (H, W) of the image.
        plane, residual: (B, side^2): the fitted plane, and the image minus it.
        spread: (B,) robust deviation of the residual.
        smoothness: (B,) spread of the averaged residual over that of its second differences; NaN for 0 / 0.
        edge: (B,) bool, whether a line or a corner of something else is in it: too small a part to change spreads.
    """

    shape: tuple[int, int]
    side: int
    plane: NDArray[np.float64]
    residual: NDArray[np.float64]
    spread: NDArray[np.float64]
    smoothness: NDArray[np.float64]
    edge: NDArray[np.bool_]

    @classmethod
    def of(cls, image: NDArray[np.float64], side: int) -> _Blocks:
        values = _cut(image, side)
        plane = _fit_planes(values, side)
        second = np.array([1.0, -2.0, 1.0])
        rough = _cut(ndimage.convolve1d(ndimage.convolve1d(image, second, axis=0), second, axis=1), side)
        smooth = _cut(ndimage.uniform_filter(image, 3), side) - plane
        numerator, denominator = _spread(smooth), _spread(rough)
        ratio = np.divide(numerator, denominator, out=np.full(len(values), np.nan), where=denominator > 0)
        residual = values - plane
        # the median takes single outliers away and leaves what is two pixels wide
        shape = _cut(ndimage.median_filter(image, 3), side) - plane
        edge = np.abs(shape).max(axis=1) > OUTLIER * _spread(shape)
        height, width = image.shape
        return cls((height, width), side, plane, residual, _spread(residual), ratio, edge)

    def noise_map(self, chosen: NDArray[np.bool_], impulse: NDArray[np.bool_]) -> NoiseMap:
        known = np.repeat(chosen[:, None], self.side**2, axis=1)
        noise, signal, where = (self._paste(each) for each in (self.residual, self.plane, known))
        return NoiseMap(noise, signal, (where > 0) & ~impulse)

    def _paste(self, blocks: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """(H, W) of (B, side^2); 0 outside of all blocks."""
        down, across = (length // self.side for length in self.shape)
        image = np.zeros(self.shape)
        grid = blocks.reshape(down, across, self.side, self.side).swapaxes(1, 2)
        image[: down * self.side, : across * self.side] = grid.reshape(down * self.side, across * self.side)
        return image


def _cut(image: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(B, side^2): the whole blocks of an image, row by row."""
    height, width = (length // side * side for length in image.shape)
    grid = image[:height, :width].reshape(height // side, side, width // side, side).swapaxes(1, 2)
    return np.ascontiguousarray(grid).reshape(-1, side * side)


def _fit_planes(blocks: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(B, side^2): the plane through each block, which outliers move little (Huber 1964, by pseudo-values)."""
    y, x = np.mgrid[:side, :side].reshape(2, -1) - (side - 1) / 2
    basis, _ = np.linalg.qr(np.stack([np.ones(side * side), y, x], axis=1))
    plane = np.repeat(np.median(blocks, axis=1, keepdims=True), side * side, axis=1)
    for _ in range(_PLANE_STEPS):
        residual = blocks - plane
        limit = _PLANE_OUTLIER * _spread(residual)[:, None]
        plane = (plane + np.clip(residual, -limit, limit)) @ basis @ basis.T
    return plane


def _spread(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) robust standard deviation of each row."""
    centred = np.abs(blocks - np.median(blocks, axis=1, keepdims=True))
    return NORMAL_MAD * np.asarray(np.median(centred, axis=1), np.float64)


def _flat(blocks: Sequence[_Blocks], ends: Ends, unit: Unit) -> list[NDArray[np.bool_]]:
    """Which blocks show noise and nothing else, (B,) for each image."""
    usable = []
    for each in blocks:
        middle = np.median(each.plane, axis=1)
        cut_off = (middle - ends.low < _PLANE_OUTLIER * each.spread) | (
            ends.high - middle < _PLANE_OUTLIER * each.spread
        )
        outside = (each.spread == 0) & ((middle < _IN_AIR) & (unit == "HU") | (middle == ends.low))
        usable.append(~(cut_off | outside | each.edge))
    smoothness = np.concatenate([each.smoothness[chosen] for each, chosen in zip(blocks, usable, strict=True)])
    known = smoothness[np.isfinite(smoothness) & (smoothness > 0)]
    # a block without any roughness is constant, or so smooth that its plane is all there is
    usual = _lowest_peak(np.log(known)) if len(known) else -math.inf
    limit = math.exp(usual) * _STRUCTURE
    flat = [
        chosen & ~(each.smoothness > limit) & (np.isfinite(each.smoothness) | (each.spread == 0))
        for each, chosen in zip(blocks, usable, strict=True)
    ]
    return _without_texture(blocks, flat)


def _without_texture(blocks: Sequence[_Blocks], flat: list[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
    """Drops the blocks that vary far more than blocks of the same brightness usually do: texture, not noise."""
    signal = np.concatenate([np.median(each.plane, axis=1)[chosen] for each, chosen in zip(blocks, flat, strict=True)])
    spread = np.concatenate([each.spread[chosen] for each, chosen in zip(blocks, flat, strict=True)])
    bins = min(_BRIGHTNESSES, len(signal) // (2 * FEW_BLOCKS))
    if bins < 1:
        return flat
    edges = np.quantile(signal, np.arange(1, bins) / bins)
    place = np.searchsorted(edges, signal)
    usual = np.array(
        [
            math.exp(_mode(np.log(varying))) if len(varying := spread[(place == number) & (spread > 0)]) else 0.0
            for number in range(bins)
        ]
    )
    # where a brightness is that of edges only, its usual spread is theirs
    limit = np.minimum(_TEXTURE * usual, _RANGE * float(np.median(usual)))
    return [
        chosen & (each.spread <= limit[np.searchsorted(edges, np.median(each.plane, axis=1))])
        for each, chosen in zip(blocks, flat, strict=True)
    ]


def _lowest_peak(values: NDArray[np.float64]) -> float:
    """The lowest value around which many lie, (n,) logarithms.

    Flat blocks may be few, and blocks with structure many; but structure only ever adds low frequencies.
    """
    grid = np.arange(values.min() - 1, values.max() + 1, _PEAK_WIDTH / 4)
    counts = np.histogram(values, np.append(grid, grid[-1] + _PEAK_WIDTH / 4))[0].astype(np.float64)
    density = ndimage.gaussian_filter1d(counts, 4)  # cells, so of `_PEAK_WIDTH`
    peaks = np.flatnonzero((density[1:-1] >= density[:-2]) & (density[1:-1] > density[2:])) + 1
    least = max(_PEAK_BLOCKS, _PEAK_SHARE * len(values))
    for peak in peaks:
        if np.count_nonzero(np.abs(values - grid[peak]) < 2 * _PEAK_WIDTH) >= least:
            return float(grid[peak])
    return float(np.median(values))


def _mode(values: NDArray[np.float64]) -> float:
    """The most frequent value, of a histogram that is smoothed a little."""
    low, high = np.percentile(values, [0.5, 95])
    if len(values) < FEW_BLOCKS or high <= low:
        return float(np.percentile(values, 25))
    counts, edges = np.histogram(values, bins=48, range=(float(low), float(high)))
    peak = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(np.float64), 2)))
    return float((edges[peak] + edges[peak + 1]) / 2)


def _limits(blocks: int) -> tuple[str, ...]:
    general = (
        "measured without clean images: fine texture that covers an image counts as noise, and noise that is correlated"
        f" over more than {BLOCK} pixels (streaks, shading) does not"
    )
    if blocks >= FEW_BLOCKS:
        return (general,)
    return (general, f"only {blocks} flat blocks of {BLOCK} x {BLOCK} pixels were found: all figures are weak")
