"""PixelData of a data set -> all stored values in it, native or compressed, of one frame or several.

    PixelData --(transfer syntax?)--native, or compressed_pixels--> stored values
                UnsupportedFormat    NotAnImage

Decisions, each tested:

- Unused high bits may hold anything (PS3.5 8.1.1): they are cut off, and signed values are extended from the sign bit.
- Bytes after the last pixel are ignored, and logged when they are more than padding to even length; where they are
  enough for one more of several frames, it cannot be known which ones were meant.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from imaging.compressed_pixels import COMPRESSED_SYNTAXES, check_codestreams, decode_compressed
from imaging.dicom_attributes import text
from imaging.errors import NotAnImage, UnsuitableImage, UnsupportedFormat
from imaging.pixel_encoding import PixelEncoding, native_values

log = logging.getLogger(__name__)

NATIVE_SYNTAXES = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)


def stored_values(dataset: Dataset, shape: tuple[int, ...], encoding: PixelEncoding) -> NDArray[Any]:
    """All stored values of PixelData, native or compressed.

    Args:
        dataset: whose `pixel_encoding` is `encoding`.
        shape: (H, W) of one frame, (N, H, W) of several; small enough for the memory.

    Returns:
        `shape` in `encoding.dtype`.

    Raises:
        UnsupportedFormat, NotAnImage, UnsuitableImage: as `image_from_dataset` says.
    """
    syntax = _transfer_syntax(dataset)
    if syntax in NATIVE_SYNTAXES:
        return _native_values(dataset, shape, encoding, big_endian=syntax == ExplicitVRBigEndian)
    return decode_compressed(dataset, shape, encoding)


def check_pixel_data(dataset: Dataset, shape: tuple[int, ...], encoding: PixelEncoding) -> None:
    """Whether PixelData can hold what the attributes promise, by its length or the headers of its codestreams; nothing
    is decoded. Arguments and errors as of `stored_values`."""
    syntax = _transfer_syntax(dataset)
    if syntax in NATIVE_SYNTAXES:
        _native_words(dataset, shape, encoding, big_endian=syntax == ExplicitVRBigEndian)
    else:
        check_codestreams(dataset, shape, encoding)


def _native_values(
    dataset: Dataset, shape: tuple[int, ...], encoding: PixelEncoding, *, big_endian: bool
) -> NDArray[Any]:
    return native_values(_native_words(dataset, shape, encoding, big_endian=big_endian).reshape(shape), encoding)


def _native_words(
    dataset: Dataset, shape: tuple[int, ...], encoding: PixelEncoding, *, big_endian: bool
) -> NDArray[Any]:
    element = dataset["PixelData"]
    data = element.value
    if not isinstance(data, bytes) or element.is_undefined_length:
        raise NotAnImage("PixelData is empty, or encapsulated although the transfer syntax is uncompressed")
    size = encoding.bits_allocated // 8
    expected = math.prod(shape) * size
    # 8-bit pixels in 16-bit words (OW) are swapped in pairs when big-endian, so the last word must be whole
    words = big_endian and size == 1 and element.VR != "OB"
    needed = expected + (expected % 2 if words else 0)
    if len(data) < needed:
        raise NotAnImage(
            f"PixelData has {len(data)} bytes, but {_product(shape)} x {size} needs {needed}: the file is truncated"
        )
    surplus = len(data) - expected - expected % 2
    if len(shape) > 2 and surplus >= expected // shape[0]:  # noqa: PLR2004 - more than H, W
        raise UnsuitableImage(
            f"PixelData has {len(data)} bytes, and {_product(shape)} x {size} are {expected}: there are more frames in"
            " it than NumberOfFrames says"
        )
    if surplus > 0:
        log.warning("ignored %d bytes after the last pixel of a DICOM image", len(data) - expected)
    if words:
        pairs = np.frombuffer(data, np.uint8, count=needed).reshape(-1, 2)
        return pairs[:, ::-1].reshape(-1)[:expected]
    return np.frombuffer(data, np.dtype(f"{'>' if big_endian else '<'}u{size}"), count=expected // size)


def _product(shape: tuple[int, ...]) -> str:
    names = ("NumberOfFrames", "Rows", "Columns")[-len(shape) :]
    return " x ".join(f"{name} {count}" for name, count in zip(names, shape, strict=True))


def _transfer_syntax(dataset: Dataset) -> UID:
    file_meta = getattr(dataset, "file_meta", None)
    syntax = UID(text(file_meta, "TransferSyntaxUID")) if file_meta is not None else UID("")
    if not syntax:
        raise NotAnImage("the data set has no TransferSyntaxUID (0002,0010), so its encoding is unknown")
    if syntax not in NATIVE_SYNTAXES and syntax not in COMPRESSED_SYNTAXES:
        raise UnsupportedFormat(
            f"the transfer syntax is {syntax.name}, which is not read; send the image uncompressed (Explicit VR Little"
            " Endian) or as JPEG Lossless, JPEG-LS, JPEG 2000 or RLE"
        )
    return syntax
