"""Other pixel sizes: a patch of another width, resampled to the one that was asked for.

    window --resized--> a larger or smaller window --degrade--> image --resample--> (h, w)

A scan reconstructed for a smaller field of view shows its organs larger and its noise smoother. Resampling a patch and
its noise together makes such scans out of those that there are.

Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics, Speech, and Signal
Processing 29 (6), 1981; where the image shrinks the kernel is stretched by as much, so that nothing folds over.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.data.pairs import Window


def resized(window: Window, factor: float, shape: tuple[int, int]) -> Window:
    """The window around the same middle with sides `factor` times as long, moved and cut so that it lies in `shape`."""
    number, *sides = window
    rows, columns = (_resized(side, factor, size) for side, size in zip(sides, shape, strict=True))
    return number, rows, columns


def resample(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w) float32 of an image of another size, by cubic convolution; a constant stays what it is."""
    rows, columns = (_weights(have, want) for have, want in zip(image.shape, shape, strict=True))
    return np.asarray(rows @ image @ columns.T, np.float32)


def _resized(side: slice, factor: float, size: int) -> slice:
    length = min(max(1, round((side.stop - side.start) * factor)), size)
    start = min(max((side.start + side.stop - length) // 2, 0), size - length)
    return slice(start, start + length)


@lru_cache
def _weights(have: int, want: int) -> NDArray[np.float32]:
    """(want, have) float32: what each pixel of the result takes of each of the image; every row sums to 1."""
    centres = (np.arange(want) + 0.5) * have / want - 0.5
    distance = np.abs(centres[:, None] - np.arange(have)) / max(1.0, have / want)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))  # noqa: PLR2004 - the kernel's reach
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
