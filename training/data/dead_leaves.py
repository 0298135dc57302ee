"""Dead leaves: generated pictures with the statistics of photographs, without noise and without end.

    generator --radii, places, greys--> discs, front to back, until the frame is covered --mean of 2 x 2--> picture

Opaque discs that occlude each other, with radii of density r^-3, have the scale invariance of natural images: sharp
edges at every size, flat parts, the power spectrum of photographs (Lee, Mumford, Huang, "Occlusion models for natural
images", International Journal of Computer Vision 41, 2001). Denoisers that are trained on them alone come close to
those trained on photographs (Achddou, Gousseau, Ladjal, "Synthetic images as a regularity prior for image restoration
neural networks", SSVM 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SMALLEST_RADIUS = 2.0
"""In pixels of the picture; smaller leaves would be noise."""

_OVERSAMPLING = 2  # the mean of 2 x 2 gives edges the partial pixels that cameras give them
_UNCOVERED = 0.002  # share of the frame that is left to one leaf behind all others: the last gaps take half of the time
_AT_ONCE = 1024  # discs drawn from the generator together


def dead_leaves(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """A picture, (H, W) float32 in 0..1.

    Args:
        shape: (H, W), each at least 8 pixels.
        rng: source of randomness.

    Raises:
        ValueError: a side below 8 pixels.
    """
    if min(shape) < 4 * SMALLEST_RADIUS:
        raise ValueError(f"shape must be at least 8 x 8 pixels, not {shape[0]} x {shape[1]}")
    height, width = (side * _OVERSAMPLING for side in shape)
    smallest, largest = SMALLEST_RADIUS * _OVERSAMPLING, min(height, width) / 2
    picture = np.full((height, width), rng.random(), np.float32)
    free = np.ones((height, width), np.bool_)
    left = free.size
    while left > _UNCOVERED * free.size:
        # centres beyond the frame, too: a leaf may reach in from outside
        y, x = (rng.uniform(-largest, side + largest, _AT_ONCE) for side in (height, width))
        # density r^-3 between the two radii, by the inverse of its distribution function
        place = rng.random(_AT_ONCE)
        radii = 1 / np.sqrt(place / largest**2 + (1 - place) / smallest**2)
        greys = rng.random(_AT_ONCE, np.float32)
        for leaf in range(_AT_ONCE):
            left -= _paint(picture, free, (y[leaf], x[leaf]), radii[leaf], greys[leaf])
    means = picture.reshape(shape[0], _OVERSAMPLING, shape[1], _OVERSAMPLING).mean(axis=(1, 3))
    return np.asarray(means, np.float32)


def _paint(
    picture: NDArray[np.float32],
    free: NDArray[np.bool_],
    centre: tuple[float, float],
    radius: float,
    grey: np.float32,
) -> int:
    """Paints the visible part of a disc, in place; how many pixels that were."""
    first = [max(0, int(np.ceil(middle - radius))) for middle in centre]
    after = [min(side, int(middle + radius) + 1) for middle, side in zip(centre, free.shape, strict=True)]
    if first[0] >= after[0] or first[1] >= after[1]:
        return 0
    box = (slice(first[0], after[0]), slice(first[1], after[1]))
    rows, columns = (np.arange(start, stop) - middle for start, stop, middle in zip(first, after, centre, strict=True))
    seen = free[box] & (rows[:, None] ** 2 + columns**2 <= radius**2)
    picture[box][seen] = grey
    free[box][seen] = False
    return int(np.count_nonzero(seen))
