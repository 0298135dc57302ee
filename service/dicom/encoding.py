"""HU -> the stored values and attributes of a derived instance.

    restored HU --source's encoding--> fits? --yes--> padding back, collisions moved --> EncodedPixels
                                         |no, or another slice of the series did not
                                         +--> 16 bits signed, slope 1, intercept 0 --> the same

Unchanged pixels keep their stored value in the source's encoding, so strength 0 never clips and changes nothing. The
frames of one instance share bits, sign and padding: if one of them does not fit, none keeps the source's encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.dicom_pixels import (
    SIGNED_16,
    UNDECLARED_PADDING_HU,
    PixelEncoding,
    padding_range,
    pixel_encoding,
    stored_values_to_bytes,
)
from imaging.image import Image, to_stored_values


@dataclass(frozen=True, eq=False)
class EncodedPixels:
    """Pixel data and what describes them.

    Attributes:
        values: (H, W) stored values, padding included.
        encoding: bits and sign.
        reencoded: whether the source's encoding was left for slope 1, intercept 0.
        padding: PixelPaddingValue and, if it differs, PixelPaddingRangeLimit; None when none is declared.
        clipped: pixels that fit not even the encoding that was taken.
        moved: pixels that would have become padding by chance and went to the nearest value beside it.
    """

    values: NDArray[Any]
    encoding: PixelEncoding
    reencoded: bool
    padding: tuple[int, int] | None
    clipped: int
    moved: int

    def to_bytes(self) -> bytes:
        """Little-endian PixelData of even length."""
        return stored_values_to_bytes(self.values, self.encoding)


@dataclass(frozen=True, eq=False)
class EncodedFrames:
    """Pixel data of several frames and what describes them; attributes as of `EncodedPixels`, over all frames.

    Attributes:
        frames: at least one, all of one encoding.
    """

    frames: tuple[EncodedPixels, ...]

    @property
    def encoding(self) -> PixelEncoding:
        """Of all frames."""
        return self.frames[0].encoding

    @property
    def reencoded(self) -> bool:
        """Of all frames."""
        return self.frames[0].reencoded

    @property
    def padding(self) -> tuple[int, int] | None:
        """Of all frames."""
        return self.frames[0].padding

    @property
    def clipped(self) -> int:
        """In all frames together."""
        return sum(frame.clipped for frame in self.frames)

    @property
    def moved(self) -> int:
        """In all frames together."""
        return sum(frame.moved for frame in self.frames)

    def to_bytes(self) -> bytes:
        """Little-endian PixelData of even length, frame after frame without gaps."""
        return stored_values_to_bytes(np.concatenate([frame.values for frame in self.frames]), self.encoding)


def encode_frames(
    images: Sequence[Image], restored: Sequence[NDArray[np.float32]], *, as_hounsfield: bool = False
) -> EncodedFrames:
    """Stored values of the restored frames of one instance.

    Args:
        images: with their data set, at least one.
        restored, as_hounsfield: as `encode_pixels`, for each.

    Raises:
        ValueError: as `encode_pixels`, or not as many restored as images.
    """
    pairs = list(zip(images, restored, strict=True))
    frames = [encode_pixels(image, pixels, as_hounsfield=as_hounsfield) for image, pixels in pairs]
    if len({frame.reencoded for frame in frames}) > 1:
        frames = [encode_pixels(image, pixels, as_hounsfield=True) for image, pixels in pairs]
    return EncodedFrames(tuple(frames))


def encode_pixels(image: Image, restored: NDArray[np.float32], *, as_hounsfield: bool = False) -> EncodedPixels:
    """Stored values of a restored CT image.

    Args:
        image: with its data set.
        restored: (H, W) float32 in HU, finite.
        as_hounsfield: leave the source's encoding in any case, because other instances of the series had to.

    Raises:
        ValueError: `image` has no data set, or `restored` is of another shape or dtype, or not finite.
    """
    if image.dataset is None:
        raise ValueError("the image has no DICOM data set")
    encoding = pixel_encoding(image.dataset)
    declared = padding_range(image.dataset)
    if as_hounsfield:
        return _reencoded(image, restored, declared)
    stored = to_stored_values(image, restored, low=encoding.low, high=encoding.high, dtype=encoding.dtype)
    if stored.clipped:
        return _reencoded(image, restored, declared)
    values, moved = move_collisions(stored.values, declared, image.padding, encoding)
    return EncodedPixels(values, encoding, reencoded=False, padding=declared, clipped=0, moved=moved)


def _reencoded(image: Image, restored: NDArray[np.float32], declared: tuple[int, int] | None) -> EncodedPixels:
    encoding = SIGNED_16
    exact = np.rint(restored.astype(np.float64))
    clipped = (exact < encoding.low) | (exact > encoding.high)
    values = np.clip(exact, encoding.low, encoding.high)
    padding = declared
    if image.padding is not None:
        clipped &= ~image.padding
        # what only looks like padding keeps its HU; what was declared keeps its stored value
        outside = np.rint(image.rescale.to_physical(image.stored))
        values = np.where(image.padding, np.clip(outside, encoding.low, encoding.high), values)
    if declared is not None:
        # Under the new rescale the old value may mean tissue: 0 was padding at intercept -1024, and is water now.
        if not encoding.low <= declared[0] <= declared[1] <= UNDECLARED_PADDING_HU:
            padding = (encoding.low, encoding.low)
        inside = (image.stored >= declared[0]) & (image.stored <= declared[1])
        values = np.where(inside, image.stored if padding == declared else encoding.low, values)
    result, moved = move_collisions(values.astype(encoding.dtype), padding, image.padding, encoding)
    return EncodedPixels(result, encoding, reencoded=True, padding=padding, clipped=int(clipped.sum()), moved=moved)


def move_collisions(
    values: NDArray[Any],
    declared: tuple[int, int] | None,
    padding: NDArray[np.bool_] | None,
    encoding: PixelEncoding,
) -> tuple[NDArray[Any], int]:
    """`values` with every measurement inside the padding range at the nearest value beside it, and how many moved.

    Upwards when both ends are as near; where only one side exists in the encoding, to that one.
    """
    if declared is None:
        return values, 0
    low, high = declared
    collides = (values >= low) & (values <= high)
    if padding is not None:
        collides &= ~padding
    moved = int(np.count_nonzero(collides))
    if not moved:
        return values, 0
    wide = values.astype(np.int64)
    upwards = (high + 1 - wide <= wide - (low - 1)) | (low - 1 < encoding.low)
    if high + 1 > encoding.high:
        upwards[:] = False
    beside = np.where(upwards, high + 1, low - 1)
    return np.where(collides, beside, wide).astype(values.dtype), moved
