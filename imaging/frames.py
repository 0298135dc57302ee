"""Frames: the images of one file, in its order.

    a file --formats.decode--> Frames --each image by itself--> restored --formats.encode--> a file with as many

Most files hold one image, and then there is one frame. All have the same size, unit and number type, because one answer
in one encoding goes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.image import Format, Image, Unit
from imaging.tiff import TiffAttributes


@dataclass(frozen=True, eq=False)
class Frames:
    """The images of one file.

    Attributes:
        images: at least one; those of a multi-frame DICOM instance share its data set.
        stacked: whether an NPY file has an axis of frames, (N, H, W), which its answer then has too.
        tiff: what an answer in TIFF keeps, of a TIFF file.
        notes: what was tolerated while reading, as sentences without patient data.

    Raises:
        ValueError: no image, or images that differ in format, unit, size or number type.
    """

    images: tuple[Image, ...]
    stacked: bool = False
    tiff: TiffAttributes | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds = {(image.format, image.unit, image.shape, image.stored.dtype) for image in self.images}
        if len(kinds) != 1:
            raise ValueError(f"frames must be alike and at least one, not {len(self.images)} of {len(kinds)} kinds")

    def __len__(self) -> int:
        """How many."""
        return len(self.images)

    def __iter__(self) -> Iterator[Image]:
        """In the order of the file."""
        return iter(self.images)

    @property
    def first(self) -> Image:
        """The first, and mostly the only, image."""
        return self.images[0]

    @property
    def format(self) -> Format:
        """Of the file."""
        return self.first.format

    @property
    def unit(self) -> Unit:
        """Of all images."""
        return self.first.unit

    @property
    def spacing(self) -> tuple[float, float] | None:
        """(between rows, between columns) in mm, or None when it is unknown or not that of all images."""
        spacings = {image.spacing for image in self.images}
        return self.first.spacing if len(spacings) == 1 else None

    @property
    def padding(self) -> NDArray[np.bool_] | None:
        """(N, H, W), True where a stored value is no measurement, or None when every one is."""
        masks = [image.padding for image in self.images]
        if all(mask is None for mask in masks):
            return None
        return np.stack([np.zeros(self.shape, np.bool_) if mask is None else mask for mask in masks])

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of all images."""
        return self.first.shape
