"""Stored values of a CT image <-> Hounsfield units, exactly.

    Dataset --(a CT image?)--(one frame?)--(attributes agree?)--native, or compressed_pixels--> stored --Rescale--> HU
            UnsuitableImage  UnsupportedFormat  UnsuitableImage TooLarge  NotAnImage
    multi-frame data sets: `imaging.enhanced_ct`, which does the same frame by frame with the parts below
    stored values --stored_values_to_bytes--> little-endian PixelData

Decisions, each tested:

- Photometric: MONOCHROME1 and MONOCHROME2 give the same HU. The rescale comes before the photometric interpretation,
  which only says whether low values are shown white (PS3.3 C.7.6.3.1.2 and C.11.1).
- Rescale: both RescaleSlope and RescaleIntercept are required (type 1 in the CT Image module, PS3.3 C.8.2.1). Without
  one of them, or with a RescaleType other than HU or with a ModalityLUTSequence, the values have no known unit.
- Padding is what PixelPaddingValue (and RangeLimit) declare, compared with stored values. A value written under the
  other sign is taken as the same 16 bits. Scanners also fill the outside of the field of view without declaring it
  (-2000, -2048, -3024 HU all occur): the lowest value of an image is padding too if it is at most
  `UNDECLARED_PADDING_HU`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.config import IGNORE
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)

from imaging.dicom_attributes import decimals, integer, text, values
from imaging.dicom_file import SourceInstance, read_dicom
from imaging.errors import UnsuitableImage
from imaging.hounsfield import UNDECLARED_PADDING_HU, check_reach, undeclared_padding
from imaging.image import AIR_HU, Image, Rescale
from imaging.limits import check_pixels
from imaging.pixel_encoding import (
    SIGNED_16,
    PixelEncoding,
    pixel_encoding,
    stored_range,
    stored_values_to_bytes,
)
from imaging.stored_values import check_pixel_data, stored_values

__all__ = [
    "SIGNED_16",
    "UNDECLARED_PADDING_HU",
    "PixelEncoding",
    "check_image",
    "image_from_dataset",
    "is_localizer",
    "padding_range",
    "pixel_encoding",
    "read_dicom",
    "stored_range",
    "stored_values_to_bytes",
]

MULTI_FRAME_CT = frozenset({EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage})
"""What `imaging.enhanced_ct` reads."""

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
    described = _described(dataset, max_pixels=max_pixels)
    stored = stored_values(dataset, described.shape, described.encoding)
    return image_of(stored, described.rescale, described.declared, spacing=described.spacing, dataset=dataset)


def check_image(dataset: SourceInstance, *, max_pixels: int) -> None:
    """Everything that `image_from_dataset` checks, and raises, without decoding a pixel; localizers pass."""
    _check_is_ct_image(dataset, localizers=True)
    described = _described(dataset, max_pixels=max_pixels)
    check_pixel_data(dataset, described.shape, described.encoding)


@dataclass(frozen=True)
class _Described:
    """What the attributes say of the pixels."""

    shape: tuple[int, int]
    encoding: PixelEncoding
    rescale: Rescale
    declared: tuple[int, int] | None
    spacing: tuple[float, float] | None


def _described(dataset: Dataset, *, max_pixels: int) -> _Described:
    encoding = pixel_encoding(dataset)
    shape = rows_and_columns(dataset)
    check_pixels(*shape, max_pixels=max_pixels)
    rescale = rescale_of(dataset)
    check_reach(rescale, encoding.low, encoding.high)
    return _Described(shape, encoding, rescale, padding_range(dataset), spacing_of(dataset))


def image_of(
    stored: NDArray[Any],
    rescale: Rescale,
    declared: tuple[int, int] | None,
    *,
    spacing: tuple[float, float] | None,
    dataset: SourceInstance,
) -> Image:
    """One frame, (H, W) stored values, as an image in HU; `declared` is what `padding_range` gives."""
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


def _check_is_ct_image(dataset: Dataset, *, localizers: bool = False) -> None:
    sop_class = text(dataset, "SOPClassUID")
    check_holds_pixels(dataset)
    modality = text(dataset, "Modality")
    if sop_class in MULTI_FRAME_CT:
        raise UnsuitableImage(f"{UID(sop_class).name} is multi-frame, and a single frame is needed here")
    if sop_class != CTImageStorage or modality != "CT":
        named = UID(sop_class, validation_mode=IGNORE).name if sop_class else "missing"
        raise UnsuitableImage(
            f"the DICOM file is no CT image: its Modality is {modality[:16]!r} and its SOP class is {named[:64]};"
            " Modality CT and CT Image Storage or Enhanced CT Image Storage are needed"
        )
    frames = integer(dataset, "NumberOfFrames", missing=1)
    if frames != 1:
        raise UnsuitableImage(
            f"NumberOfFrames is {frames}, and CT Image Storage has one frame (PS3.3 A.3), since all of its frames would"
            " lie at the same place; send single frames, or Enhanced CT Image Storage"
        )
    if is_localizer(dataset) and not localizers:
        raise UnsuitableImage("the image is a localizer (ImageType value 3), a projection whose values are not HU")
    check_monochrome(dataset)


def check_holds_pixels(dataset: Dataset) -> None:
    """Raises UnsuitableImage when there is no PixelData."""
    sop_class = text(dataset, "SOPClassUID")
    if "PixelData" not in dataset:
        named = UID(sop_class, validation_mode=IGNORE).name if sop_class else "missing"
        raise UnsuitableImage(
            f"the DICOM file holds no pixel data (its SOP class is {named}): it is no image, or its end is missing;"
            " send the whole file of a CT image"
        )


def check_monochrome(dataset: Dataset) -> None:
    """Raises UnsuitableImage unless pixels are one gray value each."""
    samples = integer(dataset, "SamplesPerPixel", missing=1)
    photometric = text(dataset, "PhotometricInterpretation")
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsuitableImage(
            f"PhotometricInterpretation is {photometric[:16]!r} with {samples} samples per pixel;"
            " a CT image is MONOCHROME2 or MONOCHROME1 with one"
        )


def rows_and_columns(dataset: Dataset) -> tuple[int, int]:
    """Rows and Columns, both at least 1.

    Raises:
        UnsuitableImage: they are not, or missing.
    """
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    if rows < 1 or columns < 1:
        raise UnsuitableImage(f"Rows {rows} and Columns {columns} must both be at least 1")
    return rows, columns


def rescale_of(dataset: Dataset) -> Rescale:
    """From stored values to HU, by the attributes of an image or of an item of PixelValueTransformationSequence.

    Raises:
        UnsuitableImage: they are missing, or lead to something else than HU.
    """
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


def spacing_of(dataset: Dataset) -> tuple[float, float] | None:
    """PixelSpacing in mm, of an image or of an item of PixelMeasuresSequence; None where it is missing or empty.

    Raises:
        UnsuitableImage: not two positive numbers.
    """
    spacing = decimals(dataset, "PixelSpacing", count=2)
    if not spacing:
        return None
    if min(spacing) <= 0:
        raise UnsuitableImage(f"PixelSpacing is {spacing[0]} x {spacing[1]} mm; both numbers must be positive")
    return spacing[0], spacing[1]


def _padding_mask(
    stored: NDArray[Any], hounsfield: NDArray[np.float32], declared: tuple[int, int] | None
) -> NDArray[np.bool_] | None:
    mask = undeclared_padding(hounsfield)
    if declared is None:
        return mask
    inside = (stored >= declared[0]) & (stored <= declared[1])
    if mask is not None:
        inside |= mask
    return inside if inside.any() else None


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
