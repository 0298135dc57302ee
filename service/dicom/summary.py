"""What a DICOM instance says of its image, and nothing that identifies a patient.

SourceInstance ---------------------------------> UIDs, number, place, kernel; malformed ones are None
      +---multi-frame: functional groups----> windows; malformed ones are left out
"""

from __future__ import annotations

import contextlib
import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from imaging.ct_slice import normal_of, place_of, thickness_of
from imaging.dicom_attributes import integer, text, values
from imaging.enhanced_ct import is_multi_frame_ct
from imaging.errors import UnsuitableImage
from imaging.functional_groups import FrameGroups, frame_groups

_UID = re.compile(r"[0-9][0-9.]{0,63}")
_NUMBERS = range(-(2**31), 2**31)
"""What an integer string may be (PS3.5 section 6.2)."""

_OF_FRAMES = {
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"),
    "PixelMeasuresSequence": ("SliceThickness",),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
}
"""Functional group -> what is read here of it."""

MIN_WIDTH = 1
"""Of a window (PS3.3 C.11.2.1.2)."""


def windows_of(source: Dataset) -> list[dict[str, Any]]:
    """The windows that the instance recommends, in its order: `center` and `width` in HU, `explanation` or None.

    Args:
        source: from `read_dicom`, of an image that was decoded; of a multi-frame one, those of its first frame.
    """
    described = _of_frames(source)[0]
    centers, widths = values(described, "WindowCenter"), values(described, "WindowWidth")
    if len(centers) != len(widths):
        return []
    explanations = values(described, "WindowCenterWidthExplanation")
    if len(explanations) != len(centers):  # which belongs to which is not known
        explanations = [None] * len(centers)
    found = []
    for center, width, explanation in zip(map(_finite, centers), map(_finite, widths), explanations, strict=True):
        if center is not None and width is not None and width >= MIN_WIDTH:
            said = explanation.strip() if isinstance(explanation, str) else ""
            found.append({"center": center, "width": width, "explanation": said or None})
    return found


def summary_of(source: Dataset) -> dict[str, Any]:
    """What the instance is; None for what is missing or malformed.

    Args:
        source: from `read_dicom`, of an image that was decoded; of a multi-frame one, orientation, kernel and thickness
            are those of its first frame.

    Returns:
        UIDs, `instance_number`, `positions` of all frames in mm along their normals, as `imaging.series` orders slices,
        `orientation`: direction cosines along a row and along a column; `derived`, `modality`, `kernel`, and
        `slice_thickness` in mm.
    """
    frames = _of_frames(source)
    places = [_place(frame) for frame in frames]
    described = frames[0]
    kernel = "/".join(value.strip() for value in values(described, "ConvolutionKernel") if isinstance(value, str))
    return {
        "sop_instance_uid": _uid(source, "SOPInstanceUID"),
        "series_instance_uid": _uid(source, "SeriesInstanceUID"),
        "instance_number": _instance_number(source),
        "positions": [None if place is None else _position(*place) for place in places],
        "orientation": None if places[0] is None else [float(cosine) for cosine in places[0][1].ravel()],
        "derived": [str(value).strip().upper() for value in values(source, "ImageType")[:1]] == ["DERIVED"],
        "modality": text(source, "Modality"),
        "kernel": kernel or None,
        "slice_thickness": thickness_of(described),
    }


def _of_frames(source: Dataset) -> list[Dataset]:
    """What is said of each frame, as a single-frame instance says it."""
    if not is_multi_frame_ct(source):
        return [source]
    return [_described(groups) for groups in frame_groups(source, integer(source, "NumberOfFrames"))]


def _described(groups: FrameGroups) -> Dataset:
    described = Dataset()
    for keyword, needed in _OF_FRAMES.items():
        with contextlib.suppress(UnsuitableImage):  # a group with several items says nothing certain
            group = groups.group(keyword) or Dataset()
            described.update({group[name].tag: group[name] for name in needed if name in group})
    return described


def _uid(source: Dataset, keyword: str) -> str | None:
    found = text(source, keyword)
    return found if _UID.fullmatch(found) else None


def _instance_number(source: Dataset) -> int | None:
    try:
        number = integer(source, "InstanceNumber")
    except UnsuitableImage:
        return None
    return number if number in _NUMBERS else None


def _place(described: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    try:
        return place_of(described)
    except UnsuitableImage:
        return None


def _position(origin: NDArray[np.float64], axes: NDArray[np.float64]) -> float | None:
    with np.errstate(over="ignore", invalid="ignore"):
        return _finite(origin @ normal_of(axes))


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
