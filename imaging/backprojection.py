"""Filtered back-projection of many parallel-beam sinograms at once, and the projections that they come from.

    images (K, S, S) --project, angles--> sinograms (V, B, K) --filter_sinograms, kernel--> (V, 4 B, K) --backproject-->

Geometry: the rotation axis lies on pixel S // 2, as scikit-image has it; at angle t a pixel (x right, y down of the
axis) falls on x cos t - y sin t. Bins are centred on the image's middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft

BINS_PER_PIXEL = 1.5
"""Detector bins per image pixel: as fine as in scanners, so that kernels may pass the pixels' Nyquist."""

_OVERSAMPLING = 4  # nearest-neighbour look-up in a 4 x band-limited signal loses under 1 % against linear interpolation
_ROWS_AT_ONCE = 32  # keeps the running sum of a block of rows in the processor's cache


class Window(Protocol):
    """A reconstruction kernel, as far as a filter needs it: `imaging.low_dose.Kernel`."""

    def response(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """0..1 at frequencies in cycles per pixel."""
        ...


def half_turn(views: int) -> NDArray[np.float64]:
    """(views,) angles in radians, evenly over half a turn from 0."""
    return np.pi * np.arange(views) / views


def project(images: NDArray[np.float32], angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """Line integrals, in pixels, of K images of one size: (K, S, S) -> (V, B, K) float32.

    A ray crosses the rows (or the columns, whichever it is steeper to) at one point each, where the image is
    interpolated linearly (Joseph, IEEE Transactions on Medical Imaging 1 (3), 1982).

    Args:
        images: (K, S, S) float32, 0 outside the inscribed circle.
        angles: (V,) radians.
    """
    count, size, _ = images.shape
    bins = round(size * BINS_PER_PIXEL)
    centre = size // 2
    place = (np.arange(bins) - (bins - 1) / 2) / BINS_PER_PIXEL - (centre - (size - 1) / 2)
    position = np.arange(size) - centre
    # columns of zeros on both sides: rays beyond the image read them
    padded = np.zeros((2, size, size + 3, count), np.float32)
    padded[0, :, 1:-2] = np.moveaxis(images, 0, -1)
    padded[1, :, 1:-2] = np.swapaxes(padded[0, :, 1:-2], 0, 1)
    width = size + 3
    flat = padded.reshape(2, size * width, count)
    sums = np.empty((len(angles), bins, count), np.float32)
    for view, angle in enumerate(angles):
        cos, sin = np.cos(angle), np.sin(angle)
        # where each ray crosses each row of the image, or each column (a row of its transpose)
        steep = abs(cos) >= abs(sin)
        first, slope, length = (
            (place / cos, sin / cos, 1 / abs(cos)) if steep else (-place / sin, cos / sin, 1 / abs(sin))
        )
        total = np.zeros((bins, count), np.float32)
        for top in range(0, size, _ROWS_AT_ONCE):
            rows = np.arange(top, min(top + _ROWS_AT_ONCE, size))
            crossing = np.clip(first[None, :] + slope * position[rows, None] + (centre + 1), 0, width - 2)
            left = crossing.astype(np.intp)
            share = (crossing - left).astype(np.float32)[..., None]
            index = left + rows[:, None] * width
            before, after = (np.take(flat[0 if steep else 1], index + step, axis=0) for step in (0, 1))
            total += (before + share * (after - before)).sum(axis=0)
        sums[view] = total * np.float32(length)
    return sums


def filter_sinograms(sinograms: NDArray[np.float32], kernels: Sequence[Window], pixel_mm: float) -> NDArray[np.float32]:
    """Ramp and window along the bins, then band-limited oversampling: (V, B, K) -> (V, 4 B, K), in 1/mm per radian.

    Args:
        sinograms: (V, B, K) float32, line integrals of K images: views, then bins `1 / BINS_PER_PIXEL` pixels apart.
        kernels: K of them.
        pixel_mm: side of a pixel; 1 for line integrals in pixels.
    """
    bins = sinograms.shape[1]
    length = fft.next_fast_len(2 * bins)
    tau = pixel_mm / BINS_PER_PIXEL
    # The ramp sampled in space (Kak & Slaney, Principles of Computerized Tomographic Imaging, eq. 3.61): sampled in
    # frequency it would lose the mean.
    n = np.minimum(np.arange(length), length - np.arange(length))
    ramp = np.where(n % 2 == 1, -1 / (np.pi * np.maximum(n, 1) * tau) ** 2, 0.0)
    ramp[0] = 1 / (4 * tau**2)
    response = tau * fft.rfft(ramp).real
    frequency = fft.rfftfreq(length) * BINS_PER_PIXEL
    windows = np.stack([kernel.response(frequency) * response for kernel in kernels], axis=-1)
    spectrum = fft.rfft(sinograms, length, axis=1) * windows.astype(np.float32)
    fine = fft.irfft(spectrum, length * _OVERSAMPLING, axis=1)[:, : bins * _OVERSAMPLING] * _OVERSAMPLING
    return np.ascontiguousarray(fine, np.float32)


def backproject(filtered: NDArray[np.float32], size: int, angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sum over the views of the filtered value that each pixel projects to: (V, 4 B, K) -> (K, size, size) float32.

    All K sinograms share each look-up, which is why this is here beside scikit-image's `iradon` (one at a time).

    Args:
        filtered: (V, 4 B, K) of `filter_sinograms`.
        size: side of the image; outside its inscribed circle it is 0.
        angles: (V,) radians, evenly over half a turn.
    """
    views, fine_bins, count = filtered.shape
    # scikit-image's geometry: the rotation axis lies on pixel size // 2; bins are centred on the axis here
    centre = size // 2
    position = (np.arange(size) - centre).astype(np.float32)
    per_pixel = BINS_PER_PIXEL * _OVERSAMPLING
    # pixel `size // 2` lies half a pixel right of the image's middle when the size is even
    axis = (fine_bins - 1) / 2 + per_pixel * (centre - (size - 1) / 2) - (_OVERSAMPLING - 1) / 2
    image = np.zeros((size, size, count), np.float32)
    picked = np.empty((_ROWS_AT_ONCE, size, count), np.float32)
    for first in range(0, size, _ROWS_AT_ONCE):
        rows = position[first : first + _ROWS_AT_ONCE]
        total = image[first : first + _ROWS_AT_ONCE]
        for view, angle in enumerate(angles):
            across = position * np.float32(np.cos(angle) * per_pixel) + np.float32(axis + 0.5)
            down = rows * np.float32(np.sin(angle) * per_pixel)
            index = (across[None, :] - down[:, None]).astype(np.int32)
            total += np.take(filtered[view], index, axis=0, out=picked[: len(rows)], mode="clip")
    image[outside_circle(size)] = 0
    image *= np.float32(np.pi / views)
    return np.ascontiguousarray(np.moveaxis(image, -1, 0))


def outside_circle(size: int) -> NDArray[np.bool_]:
    """(size, size) bool: outside the inscribed circle as scikit-image's `radon` draws it."""
    y, x = np.ogrid[:size, :size]
    outside: NDArray[np.bool_] = (x - size // 2) ** 2 + (y - size // 2) ** 2 > (size // 2) ** 2
    return outside
