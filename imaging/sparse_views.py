"""Sparse views: what a scan with too few projections adds to an image, streaks and lost detail.

    image --project, many views--> sinogram --every m-th view, from j--> back-projection j (few views)
                                                   mean over j = back-projection of all views
    artefact j = back-projection j - mean

Filtered back-projection is linear, so this difference, added to an image, is what the same scanner would have given
from every m-th of its views; the image's own resolution and noise stay. The choice of j, where the first view lies,
gives another pattern of streaks of the same kind.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from imaging.backprojection import backproject, filter_sinograms, half_turn, outside_circle, project
from imaging.low_dose import SOFT, Kernel

ALL_VIEWS = 720
"""At least so many views count as all. A soft kernel passes frequencies up to half of the Nyquist frequency, for which
pi / 2 * 512 / 2 = 402 views sample 512 pixels without streaks."""

OFFSETS = 4
"""Patterns of streaks per image, by the place of the first view."""

_AIR_HU = -1000.0


def sparse_view_artefacts(hu: NDArray[np.float32], views: int, *, kernel: Kernel = SOFT) -> NDArray[np.float32]:
    """What a reconstruction from `views` views adds to one from all, (K, OFFSETS, H, W) float32 in HU.

    Args:
        hu: (K, H, W) float32 HU, K images that are worked on together; those of one call take less time than alone.
        views: over half a turn, from 2 to `ALL_VIEWS` / `OFFSETS` = 180, so that the patterns differ.
        kernel: of the reconstruction.

    Returns:
        Zero outside the inscribed circle, which is all that is projected, and zero in the mean over all offsets.

    Raises:
        ValueError: `views` lies outside of that range.
    """
    most = ALL_VIEWS // OFFSETS
    if not 2 <= views <= most:  # noqa: PLR2004 - one view makes no image
        raise ValueError(f"views must lie in 2..{most}, not {views}")
    height, width = hu.shape[1:]
    size = max(height, width)
    top, left = (size - height) // 2, (size - width) // 2
    square = np.zeros((len(hu), size, size), np.float32)
    # 0 in air, in which the unit of attenuation does not matter
    square[:, top : top + height, left : left + width] = np.maximum(hu - np.float32(_AIR_HU), 0)
    square[:, outside_circle(size)] = 0
    step = math.ceil(ALL_VIEWS / views)
    angles = half_turn(step * views)
    kept = [round(offset * step / OFFSETS) for offset in range(OFFSETS)]
    few = np.empty((OFFSETS, *square.shape), np.float32)
    mean = np.zeros(square.shape, np.float32)
    for first in range(step):
        part = angles[first::step]
        filtered = filter_sinograms(project(square, part), [kernel] * len(hu), pixel_mm=1.0)
        image = backproject(filtered, size, part)
        mean += image / step
        if first in kept:
            few[kept.index(first)] = image
    artefacts = (few - mean)[..., top : top + height, left : left + width]
    return np.ascontiguousarray(np.swapaxes(artefacts, 0, 1))
