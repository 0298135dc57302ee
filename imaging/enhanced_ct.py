"""Multi-frame CT instances -> their frames in HU: Enhanced CT and Legacy Converted Enhanced CT (PS3.3 A.38, A.70).

    Dataset --(CT? how many?)--functional groups, frame by frame--(HU? slices?)--stored values--> one Image per frame
              UnsuitableImage TooLarge                              UnsuitableImage  NotAnImage UnsupportedFormat

Everything is checked before the first pixel is touched. Frames are in the order in which they are stored, all share the
data set, and each has the rescale and the spacing of its own functional groups. Bits, sign and padding are the same for
all of them, because an instance has one set of these.

Refused, since what is in the pixels would not be HU of slices: frames with a RescaleType other than HU, localizers,
maps calculated from slices, whatever their RescaleType, and frames that are shown in colour (PixelPresentation), whose
higher values stand for something else.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID

from imaging.dicom_attributes import integer, text, values
from imaging.dicom_file import SourceInstance
from imaging.dicom_pixels import (
    MULTI_FRAME_CT,
    PixelEncoding,
    check_holds_pixels,
    check_monochrome,
    image_of,
    is_localizer,
    padding_range,
    pixel_encoding,
    rescale_of,
    rows_and_columns,
    spacing_of,
)
from imaging.errors import UnsuitableImage
from imaging.frame_errors import naming_frame
from imaging.functional_groups import FrameGroups, frame_groups
from imaging.hounsfield import check_reach
from imaging.image import Image, Rescale
from imaging.limits import Limits, check_frames
from imaging.stored_values import check_pixel_data, stored_values

_INSTEAD = (
    "send instances of fewer frames, or single-frame CT images: one request is for some slices, and whole series of"
    " hundreds in one are not taken yet"
)
_MONOCHROME = ("", "MONOCHROME")
_LOCALIZER = "a projection whose values are not HU"

MAPS = frozenset({"DIVISION", "MTT", "RCBF", "RCBV", "STD_DEVIATION", "SUBTRACTION", "T_TEST", "TTP", "Z_SCORE"})
"""FrameType value 4 of ratios, differences, times, flows and statistics (PS3.3 C.8.16.1.4): no values of tissue."""

Spacing = tuple[float, float]


def is_multi_frame_ct(dataset: Dataset) -> bool:
    """Whether the SOP class is one of those read here."""
    return text(dataset, "SOPClassUID") in MULTI_FRAME_CT


def frames_from_dataset(dataset: SourceInstance, *, limits: Limits) -> tuple[Image, ...]:
    """The frames of a multi-frame CT data set.

    Args:
        dataset: from `read_dicom`, of one of `MULTI_FRAME_CT`; never mutated.
        limits: `max_frames`, `max_pixels` of one frame, and `max_bytes` of all frames as float32.

    Returns:
        NumberOfFrames images that share `dataset`, in stored order; pixels in HU, `stored` in the dtype of
        `pixel_encoding(dataset)`, `spacing` None where PixelMeasuresSequence is missing.

    Raises:
        UnsuitableImage: no CT, contradictory or missing attributes or functional groups, or frames that are no slices
            in HU; names the frame.
        TooLarge: more than the limits allow.
        NotAnImage: fewer bytes than the attributes promise, or compressed ones that cannot be decoded.
        UnsupportedFormat: a transfer syntax that is not read; the message names it.
    """
    if is_localizer(dataset):
        raise UnsuitableImage(f"the image is a localizer (ImageType value 3), {_LOCALIZER}")
    described = _checked(dataset, limits)
    declared = padding_range(dataset)
    stored = stored_values(dataset, described.shape, described.encoding)
    return tuple(
        image_of(frame, rescale, declared, spacing=spacing, dataset=dataset)
        for frame, (rescale, spacing) in zip(stored, described.frames, strict=True)
    )


def check_frames_of(dataset: SourceInstance, *, limits: Limits) -> None:
    """Everything that `frames_from_dataset` checks, and raises, without decoding a pixel. Localizers pass."""
    if is_localizer(dataset):
        return
    described = _checked(dataset, limits)
    padding_range(dataset)
    check_pixel_data(dataset, described.shape, described.encoding)


@dataclass(frozen=True)
class _Described:
    """What the attributes say of the pixels."""

    shape: tuple[int, int, int]
    encoding: PixelEncoding
    frames: list[tuple[Rescale, Spacing | None]]


def _checked(dataset: SourceInstance, limits: Limits) -> _Described:
    check_holds_pixels(dataset)
    modality = text(dataset, "Modality")
    if modality != "CT":
        named = UID(text(dataset, "SOPClassUID")).name
        raise UnsuitableImage(f"Modality is {modality[:16]!r}, and the SOP class is {named}; it must be CT")
    check_monochrome(dataset)
    if text(dataset, "PixelPresentation") not in _MONOCHROME:
        raise UnsuitableImage(_in_colour(dataset))
    count = integer(dataset, "NumberOfFrames")
    if count < 1:
        raise UnsuitableImage(f"NumberOfFrames is {count}; it must be at least 1")
    encoding = pixel_encoding(dataset)
    rows, columns = rows_and_columns(dataset)
    check_frames(count, rows, columns, itemsize=encoding.dtype.itemsize, limits=limits, instead=_INSTEAD)
    described: list[tuple[Rescale, Spacing | None]] = []
    for groups in frame_groups(dataset, count):
        with naming_frame(groups.number):
            rescale, spacing = _described(groups)
            check_reach(rescale, encoding.low, encoding.high)
            described.append((rescale, spacing))
    return _Described((count, rows, columns), encoding, described)


def frame_type(groups: FrameGroups) -> list[str]:
    """The values of FrameType; empty where it is missing.

    Raises:
        UnsuitableImage: its functional group has several items.
    """
    described = groups.group("CTImageFrameTypeSequence")
    return [] if described is None else [str(value).strip().upper() for value in values(described, "FrameType")]


def _described(groups: FrameGroups) -> tuple[Rescale, Spacing | None]:
    kind = groups.group("CTImageFrameTypeSequence")
    if kind is not None and text(kind, "PixelPresentation") not in _MONOCHROME:
        raise UnsuitableImage(_in_colour(kind))
    flavor, contrast = [*frame_type(groups), "", "", "", ""][2:4]
    if flavor == "LOCALIZER":
        raise UnsuitableImage(f"it is a localizer (FrameType value 3), {_LOCALIZER}")
    if contrast in MAPS:
        raise UnsuitableImage(f"it is a map of kind {contrast} (FrameType value 4), whose values are not HU")
    measures = groups.group("PixelMeasuresSequence")
    spacing = None if measures is None else spacing_of(measures)
    return rescale_of(groups.needed("PixelValueTransformationSequence")), spacing


def _in_colour(described: Dataset) -> str:
    presentation = text(described, "PixelPresentation")
    return f"PixelPresentation is {presentation[:16]!r}: some values stand for colours; only MONOCHROME can be used"
