"""How stored values lie in the bytes of native pixel data.

Dataset --(bits and sign agree?)--> PixelEncoding --> the range of stored values; bytes for PixelData
           UnsuitableImage                                                        ValueError
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from imaging.dicom_attributes import integer
from imaging.errors import UnsuitableImage


@dataclass(frozen=True)
class PixelEncoding:
    """How one stored value lies in `bits_allocated` bits; the high bit is always `bits_stored - 1`."""

    bits_allocated: int
    bits_stored: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of stored values in memory: int8, uint8, int16 or uint16 in native byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def low(self) -> int:
        """The lowest stored value."""
        return -(1 << (self.bits_stored - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The highest stored value."""
        return (1 << (self.bits_stored - int(self.signed))) - 1


SIGNED_16 = PixelEncoding(bits_allocated=16, bits_stored=16, signed=True)
"""Holds every HU from -32768 to 32767 with slope 1 and intercept 0."""


def pixel_encoding(dataset: Dataset) -> PixelEncoding:
    """The encoding of native pixel data.

    Raises:
        UnsuitableImage: BitsAllocated is not 8 or 16, BitsStored does not fit, HighBit is not BitsStored - 1 (as PS3.5
            8.1.1 requires), PixelRepresentation is not 0 or 1, or one of them is missing.
    """
    allocated, bits, high_bit, representation = (
        integer(dataset, keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    if allocated not in (8, 16):
        raise UnsuitableImage(f"BitsAllocated is {allocated}; 8 and 16 are read")
    if not 1 <= bits <= allocated:
        raise UnsuitableImage(f"BitsStored is {bits}; it must be from 1 to BitsAllocated, {allocated}")
    if high_bit != bits - 1:
        raise UnsuitableImage(f"HighBit is {high_bit}; it must be BitsStored - 1, {bits - 1} (PS3.5 8.1.1)")
    if representation not in (0, 1):
        raise UnsuitableImage(f"PixelRepresentation is {representation}; it must be 0 (unsigned) or 1 (signed)")
    return PixelEncoding(allocated, bits, signed=representation == 1)


def stored_range(dataset: Dataset) -> tuple[int, int]:
    """The lowest and highest stored value that the encoding of `dataset` can hold; raises as `pixel_encoding`."""
    encoding = pixel_encoding(dataset)
    return encoding.low, encoding.high


def native_values(words: NDArray[Any], encoding: PixelEncoding) -> NDArray[Any]:
    """Stored values of native words, (H, W) unsigned of `bits_allocated`: unused high bits cut off, sign extended."""
    bits = words.astype(f"u{encoding.bits_allocated // 8}")
    unused = encoding.bits_allocated - encoding.bits_stored
    if unused:
        bits <<= unused
    values = bits.view(encoding.dtype)
    if unused:
        values >>= unused  # repeats the sign bit of signed values
    return values


def stored_values_to_bytes(values: NDArray[Any], encoding: PixelEncoding) -> bytes:
    """PixelData of a little-endian native transfer syntax, padded to even length.

    Unused high bits repeat the sign of signed values and are 0 for unsigned ones.

    Args:
        values: (H, W), any integer dtype, within `encoding.low .. encoding.high`.
        encoding: of the data set that gets the bytes.

    Raises:
        ValueError: `values` has another shape or dtype, or a value does not fit.
    """
    if values.ndim != 2 or values.size == 0 or not np.issubdtype(values.dtype, np.integer):  # noqa: PLR2004
        raise ValueError(f"values must be a non-empty (H, W) array of integers, not {values.shape} {values.dtype}")
    low, high = int(values.min()), int(values.max())
    if low < encoding.low or high > encoding.high:
        raise ValueError(f"values from {low} to {high} do not fit {encoding}: {encoding.low} to {encoding.high}")
    data = values.astype(encoding.dtype.newbyteorder("<")).tobytes()
    return data + b"\0" * (len(data) % 2)
