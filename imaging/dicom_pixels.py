"""Stored values of a CT image <-> Hounsfield units, exactly.

    Dataset --(a CT image?)--(one frame?)--(attributes agree?)--native, or compressed_pixels--> stored --Rescale--> HU
            UnsuitableImage  UnsupportedFormat  UnsuitableImage TooLarge  NotAnImage
    stored values --stored_values_to_bytes--> little-endian PixelData

Decisions, each tested:

- Photometric: MONOCHROME1 and MONOCHROME2 give the same HU. The rescale comes before the photometric interpretation,
  which only says whether low values are shown white (PS3.3 C.7.6.3.1.2 and C.11.1).
- Rescale: both RescaleSlope and RescaleIntercept are required (type 1 in the CT Image module, PS3.3 C.8.2.1). Without
  one of them, or with a RescaleType other than HU or with a ModalityLUTSequence, the values have no known unit.
- Unused high bits may hold anything (PS3.5 8.1.1): they are cut off, and signed values are extended from the sign bit.
- Padding is what PixelPaddingValue (and RangeLimit) declare, compared with stored values. A value written under the
  other sign is taken as the same 16 bits. Scanners also fill the outside of the field of view without declaring it
  (-2000, -2048, -3024 HU all occur): the lowest value of an image is padding too if it is at most
  `UNDECLARED_PADDING_HU`.
- Bytes after the last pixel are ignored, and logged when they are more than padding to even length.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from imaging.compressed_pixels import COMPRESSED_SYNTAXES, decode_compressed
from imaging.dicom_attributes import decimals, integer, text, values
from imaging.dicom_file import SourceInstance, read_dicom
from imaging.errors import NotAnImage, UnsuitableImage, UnsupportedFormat
from imaging.hounsfield import UNDECLARED_PADDING_HU, check_reach, undeclared_padding
from imaging.image import AIR_HU, Image, Rescale
from imaging.limits import check_pixels
from imaging.pixel_encoding import (
    SIGNED_16,
    PixelEncoding,
    native_values,
    pixel_encoding,
    stored_range,
    stored_values_to_bytes,
)

__all__ = [
    "SIGNED_16",
    "UNDECLARED_PADDING_HU",
    "PixelEncoding",
    "image_from_dataset",
    "is_localizer",
    "padding_range",
    "pixel_encoding",
    "read_dicom",
    "stored_range",
    "stored_values_to_bytes",
]

log = logging.getLogger(__name__)

NATIVE_SYNTAXES = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)

_SIGN_BIT_16 = 1 << 15


def image_from_dataset(dataset: SourceInstance, *, max_pixels: int) -> Image:
    """The image of a single-frame CT data set.

    Args:
        dataset: from `read_dicom`, so that all its elements are converted; never mutated.
        max_pixels: rows x columns, checked before any pixel is touched.

    Returns:
        Pixels in HU; `stored` in the dtype of `pixel_encoding(dataset)`.

    Raises:
        UnsuitableImage: no CT image, several frames, a localizer, colour, or contradictory or missing attributes.
        UnsupportedFormat: a transfer syntax that is not read; the message names it.
        TooLarge: more than `max_pixels`.
        NotAnImage: fewer bytes than the attributes promise, or compressed ones that cannot be decoded.
    """
    _check_is_ct_image(dataset)
    syntax = _transfer_syntax(dataset)
    encoding = pixel_encoding(dataset)
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise UnsuitableImage(f"Rows {rows} and Columns {columns} must both be at least 1")
    check_pixels(rows, columns, max_pixels=max_pixels)
    rescale = _rescale(dataset)
    check_reach(rescale, encoding.low, encoding.high)
    declared = padding_range(dataset)
    spacing = _spacing(dataset)
    if syntax in NATIVE_SYNTAXES:
        stored = _stored_values(dataset, (rows, columns), encoding, big_endian=syntax == ExplicitVRBigEndian)
    else:
        stored = decode_compressed(dataset, (rows, columns), encoding)
    pixels = rescale.to_physical(stored)
    padding = _padding_mask(stored, pixels, declared)
    if padding is not None:
        pixels[padding] = AIR_HU
    return Image(
        pixels=pixels,
        unit="HU",
        stored=stored,
        rescale=rescale,
        format="dicom",
        spacing=spacing,
        padding=padding,
        dataset=dataset,
    )


def is_localizer(dataset: Dataset) -> bool:
    """Whether ImageType value 3 says so (PS3.3 C.8.2.1.1.1): a projection, whose values are no HU of a slice."""
    return [str(value).strip().upper() for value in values(dataset, "ImageType")[2:3]] == ["LOCALIZER"]


def padding_range(dataset: Dataset) -> tuple[int, int] | None:
    """The stored values, from and to inclusive, that are declared as padding; None when none are.

    Values are as `pixel_encoding` reads them, even where the attribute was written under the other sign. The range may
    lie outside of what BitsStored can hold; then no pixel is padding.

    Raises:
        UnsuitableImage: PixelPaddingValue or PixelPaddingRangeLimit is no 16-bit integer.
    """
    value = _padding_value(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = _padding_value(dataset, "PixelPaddingRangeLimit")
    return (value, value) if limit is None else (min(value, limit), max(value, limit))


def _check_is_ct_image(dataset: Dataset) -> None:
    sop_class = text(dataset, "SOPClassUID")
    named = UID(sop_class).name if sop_class else "missing"
    if "PixelData" not in dataset:
        raise UnsuitableImage(
            f"the DICOM file holds no pixel data (its SOP class is {named}): it is no image, or its end is missing;"
            " send the whole file of a CT image"
        )
    if sop_class in (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage):
        raise UnsuitableImage(f"{named} is multi-frame, which is not supported yet; send single-frame CT images")
    modality = text(dataset, "Modality")
    if sop_class != CTImageStorage or modality != "CT":
        raise UnsuitableImage(
            f"the DICOM file is no CT image: its Modality is {modality[:16]!r} and its SOP class is {named[:64]};"
            " Modality CT and CT Image Storage are needed"
        )
    frames = integer(dataset, "NumberOfFrames", missing=1)
    if frames != 1:
        raise UnsuitableImage(f"NumberOfFrames is {frames}; multi-frame is not supported yet, send single frames")
    if is_localizer(dataset):
        raise UnsuitableImage("the image is a localizer (ImageType value 3), a projection whose values are not HU")
    samples = integer(dataset, "SamplesPerPixel", missing=1)
    photometric = text(dataset, "PhotometricInterpretation")
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsuitableImage(
            f"PhotometricInterpretation is {photometric[:16]!r} with {samples} samples per pixel;"
            " a CT image is MONOCHROME2 or MONOCHROME1 with one"
        )


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


def _rescale(dataset: Dataset) -> Rescale:
    if "ModalityLUTSequence" in dataset:
        raise UnsuitableImage("a ModalityLUTSequence maps the stored values; a CT image has a linear rescale to HU")
    rescale_type = "\\".join(str(value).strip() for value in values(dataset, "RescaleType"))
    if rescale_type not in ("", "HU"):
        raise UnsuitableImage(f"RescaleType is {rescale_type[:16]!r}; only HU (or none, which means HU) can be used")
    return Rescale(_required_decimal(dataset, "RescaleSlope"), _required_decimal(dataset, "RescaleIntercept"))


def _required_decimal(dataset: Dataset, keyword: str) -> float:
    number = decimals(dataset, keyword, count=1)
    if not number:
        raise UnsuitableImage(f"{keyword} is missing or empty; without it the stored values cannot be turned into HU")
    return number[0]


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    spacing = decimals(dataset, "PixelSpacing", count=2)
    if not spacing:
        return None
    if min(spacing) <= 0:
        raise UnsuitableImage(f"PixelSpacing is {spacing[0]} x {spacing[1]} mm; both numbers must be positive")
    return spacing[0], spacing[1]


def _stored_values(
    dataset: Dataset, shape: tuple[int, int], encoding: PixelEncoding, *, big_endian: bool
) -> NDArray[Any]:
    element = dataset["PixelData"]
    data = element.value
    if not isinstance(data, bytes) or element.is_undefined_length:
        raise NotAnImage("PixelData is empty, or encapsulated although the transfer syntax is uncompressed")
    size = encoding.bits_allocated // 8
    expected = shape[0] * shape[1] * size
    # 8-bit pixels in 16-bit words (OW) are swapped in pairs when big-endian, so the last word must be whole
    words = big_endian and size == 1 and element.VR != "OB"
    needed = expected + (expected % 2 if words else 0)
    if len(data) < needed:
        raise NotAnImage(
            f"PixelData has {len(data)} bytes, but Rows {shape[0]} x Columns {shape[1]} x {size} needs {needed}:"
            " the file is truncated"
        )
    if len(data) > expected + expected % 2:
        log.warning("ignored %d bytes after the last pixel of a DICOM image", len(data) - expected)
    if words:
        pairs = np.frombuffer(data, np.uint8, count=needed).reshape(-1, 2)
        raw = pairs[:, ::-1].reshape(-1)[:expected]
    else:
        raw = np.frombuffer(data, np.dtype(f"{'>' if big_endian else '<'}u{size}"), count=expected // size)
    return native_values(raw.reshape(shape), encoding)


def _padding_mask(
    stored: NDArray[Any], hounsfield: NDArray[np.float32], declared: tuple[int, int] | None
) -> NDArray[np.bool_] | None:
    mask = undeclared_padding(hounsfield)
    if declared is not None:
        mask |= (stored >= declared[0]) & (stored <= declared[1])
    return mask if mask.any() else None


def _padding_value(dataset: Dataset, keyword: str) -> int | None:
    found = values(dataset, keyword)
    if not found:
        return None
    value = found[0]
    if isinstance(value, bytes) and len(value) == 2:  # noqa: PLR2004 - an ambiguous VR that pydicom left as 16 bits
        value = int.from_bytes(value, "little")
    if len(found) != 1 or not isinstance(value, int) or not -_SIGN_BIT_16 <= value < 2 * _SIGN_BIT_16:
        raise UnsuitableImage(f"{keyword} must be one 16-bit integer")
    bits = value & (2 * _SIGN_BIT_16 - 1)
    signed = integer(dataset, "PixelRepresentation") == 1
    return bits - 2 * _SIGN_BIT_16 if signed and bits >= _SIGN_BIT_16 else bits
