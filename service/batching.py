"""Images that share one run of the model, and their answers; pure.

    images (1, H, W, 1) of one bucket --stack--> (N, BH, BW, 1) --model--> (N, BH, BW, C) --unstack--> (1, H, W, C) each

A bucket is a size on the network's own grid. The network repeats an image's last row and column up to there by itself,
so repeating them here gives what the image alone would have given: in a batch or not, an answer is the same. A coarser
bucket would not do (docs/decisions/0011-batches-change-nothing.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import ModelFailed

Batch = NDArray[np.float32]
"""(N, H, W, C)."""


def bucket_of(shape: tuple[int, int], size_multiple: int) -> tuple[int, int]:
    """(H, W) rounded up to the network's grid."""
    height, width = (-(-side // size_multiple) * size_multiple for side in shape)
    return height, width


def stack(images: Sequence[Batch], bucket: tuple[int, int]) -> Batch:
    """(1, H, W, 1) each -> (N, *bucket, 1); the last row and column are repeated."""
    height, width = bucket
    stacked = np.empty((len(images), height, width, 1), np.float32)
    for place, image in zip(stacked, images, strict=True):
        rows, columns = image.shape[1:3]
        place[:rows, :columns] = image[0]
        place[rows:, :columns] = place[rows - 1, :columns]
        place[:, columns:] = place[:, columns - 1 : columns]
    return stacked


def unstack(answer: Batch, images: Sequence[Batch], bucket: tuple[int, int]) -> list[Batch]:
    """The answer to each of the images that were stacked, (1, H, W, C).

    Raises:
        ModelFailed: there are not as many of that size.
    """
    if answer.ndim != 4 or answer.shape[:3] != (len(images), *bucket):  # noqa: PLR2004 - N, H, W, C
        raise ModelFailed(
            f"the model answered {len(images)} images of {bucket[0]} x {bucket[1]} with {answer.shape}; nothing is"
            " delivered"
        )
    # copies: a view would keep the whole batch in memory until the slowest client has read its answer
    return [
        part[np.newaxis, : image.shape[1], : image.shape[2]].copy() for part, image in zip(answer, images, strict=True)
    ]
