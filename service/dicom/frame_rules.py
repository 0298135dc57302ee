"""What must hold of every frame of a derived multi-frame CT instance; `rules` holds what is true of any instance.

    source, derived --FRAME_RULES--> findings, as `rules.findings` collects them

Written independently of `enhanced`, from PS3.3 A.38, C.7.6.16, C.8.15 and C.8.16. dciodvfy looks at values one by one;
here each frame is compared with the frame that it was made from. `source` is what `kept.kept_elements` leaves of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydicom import Dataset

from imaging.dicom_attributes import integer, text, values
from imaging.dicom_pixels import SIGNED_16, pixel_encoding, rescale_of
from imaging.functional_groups import PER_FRAME, SHARED, FrameGroups, frame_groups, items, places
from imaging.image import Rescale

UNCHANGED = (
    "AcquisitionDateTime",
    "AcquisitionDuration",
    "ConcatenationUID",
    "DimensionOrganizationSequence",
    "DimensionOrganizationType",
    "DimensionIndexSequence",
    "PixelPresentation",
    "VolumetricProperties",
    "VolumeBasedCalculationTechnique",
    "PresentationLUTShape",
    "ReferencedImageEvidenceSequence",
)
"""How the frames are ordered, where they lie and how they were taken."""

CHANGED_GROUPS = frozenset(
    {
        "CTImageFrameTypeSequence",
        "DerivationImageSequence",
        "PixelValueTransformationSequence",
        "FrameVOILUTSequence",
        "RealWorldValueMappingSequence",
        "ConversionSourceAttributesSequence",
        "UnassignedSharedConvertedAttributesSequence",
        "UnassignedPerFrameConvertedAttributesSequence",
    }
)
"""Functional groups that are about the pixels; all others stay as they are, such as position, content and exposure."""

CONTRASTS = frozenset(
    {
        "ADDITION",
        "DIVISION",
        "ENERGY_PROP_WT",
        "FILTERED",
        "MASKED",
        "MAXIMUM",
        "MEAN",
        "MEDIAN",
        "MINIMUM",
        "MTT",
        "MULTIPLICATION",
        "RCBF",
        "RCBV",
        "RESAMPLED",
        "STD_DEVIATION",
        "SUBTRACTION",
        "TTP",
        "T_TEST",
        "Z_SCORE",
    }
)
"""Defined terms of FrameType value 4 (PS3.3 C.8.16.1.4, and C.8.15.2.1.1.4 of CT) that a calculated frame may have."""

_WRITTEN_GROUPS = ("CTImageFrameTypeSequence", "DerivationImageSequence", "PixelValueTransformationSequence")
_TOP_LEVEL_OF_SINGLE_FRAMES = (
    "SourceImageSequence",
    "DerivationDescription",
    "DerivationCodeSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
)

_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")

Rule = Callable[[Dataset, Dataset], Iterator[str]]
Pair = tuple[FrameGroups, FrameGroups]


def _unchanged(source: Dataset, derived: Dataset) -> Iterator[str]:
    for keyword in UNCHANGED:
        if values(source, keyword) != values(derived, keyword):
            yield f"{keyword} must stay as in the source"
    for before, after in _pairs(source, derived):
        for keyword in (_groups(before) | _groups(after)) - CHANGED_GROUPS:
            if _content(before, keyword) != _content(after, keyword):
                yield f"{keyword} of frame {after.number} must stay as in the source"


def _structure(_: Dataset, derived: Dataset) -> Iterator[str]:
    count = integer(derived, "NumberOfFrames")
    if len(items(derived, PER_FRAME)) != count:
        yield f"{PER_FRAME} must have one item for each frame"
    for keyword in _WRITTEN_GROUPS:
        if any(keyword in place for place in items(derived, SHARED)) and any(
            keyword in place for place in items(derived, PER_FRAME)
        ):
            yield f"{keyword} must be shared or per frame, and not both"
    for keyword in _TOP_LEVEL_OF_SINGLE_FRAMES:
        if keyword in derived:
            yield f"{keyword} is of single-frame images; frames have it in their functional groups"
    for dimension in items(derived, "DimensionIndexSequence"):
        pointers = [*values(dimension, "DimensionIndexPointer"), *values(dimension, "FunctionalGroupPointer")]
        if any(isinstance(pointer, int) and (pointer >> 16) % 2 for pointer in pointers):
            yield "DimensionIndexSequence must not point to private attributes, which are removed"


def _types(source: Dataset, derived: Dataset) -> Iterator[str]:
    kinds = []
    for before, after in _pairs(source, derived):
        kind, was = _frame_type(after), _frame_type(before)
        kinds.append(kind)
        if len(kind) != 4 or kind[:2] != ["DERIVED", "PRIMARY"] or not kind[2] or kind[2] == "MIXED":  # noqa: PLR2004
            yield f"FrameType of frame {after.number} must be DERIVED, PRIMARY, and two values more"
            continue
        if was[2:3] not in ([], [""], ["MIXED"], kind[2:3]) and _CODE_STRING.fullmatch(was[2]):
            yield f"FrameType value 3 of frame {after.number} must stay as in the source"
        if kind[3] not in CONTRASTS and kind[3:] != was[3:4]:
            yield f"FrameType value 4 of frame {after.number} must be a defined term of calculated frames"
    image = [str(value) for value in values(derived, "ImageType")]
    contrasts = {kind[3] for kind in kinds if len(kind) > 3}  # noqa: PLR2004 - value 4
    expected = contrasts.pop() if len(contrasts) == 1 else "MIXED"
    if len(image) != 4 or image[:2] != ["DERIVED", "PRIMARY"] or image[3] != expected:  # noqa: PLR2004
        yield "ImageType must be DERIVED, PRIMARY, and sum up value 4 of all frames"
    elif image[2] in ("", "MIXED"):
        yield "ImageType value 3 must be there, and is never MIXED"


def _provenance(source: Dataset, derived: Dataset) -> Iterator[str]:
    reference = (text(source, "SOPClassUID"), text(source, "SOPInstanceUID"))
    for before, after in _pairs(source, derived):
        made = items(after.own, "DerivationImageSequence")
        kept = _all_items(before, "DerivationImageSequence")
        if made[:-1] != kept or not made:
            yield f"DerivationImageSequence of frame {after.number} must have one item more than the source's"
            continue
        images = items(made[-1], "SourceImageSequence")
        named = [(text(item, "ReferencedSOPClassUID"), text(item, "ReferencedSOPInstanceUID")) for item in images]
        if named != [reference] or values(images[0], "ReferencedFrameNumber") != [after.number]:
            yield f"SourceImageSequence of frame {after.number} must name the same frame of the source, and no other"
        if not all(_says_purpose(item) for item in images):
            yield f"SourceImageSequence of frame {after.number} must say its purpose and that locations are preserved"
        if not text(made[-1], "DerivationDescription") or not items(made[-1], "DerivationCodeSequence"):
            yield f"DerivationDescription and DerivationCodeSequence of frame {after.number} must be there"
    place = (text(source, "StudyInstanceUID"), text(source, "SeriesInstanceUID"))
    if (*place, *reference) not in set(_evidence(derived)):
        yield "SourceImageEvidenceSequence must list the source"
    if (place[1], reference[1]) not in set(_referenced(derived)):
        yield "ReferencedSeriesSequence must list the source"


def _transformation(source: Dataset, derived: Dataset) -> Iterator[str]:
    pairs = list(_pairs(source, derived))
    reencoded = all(_rescale(after) == Rescale(1.0, 0.0) for _, after in pairs) and pixel_encoding(derived) == SIGNED_16
    same = all(_rescale(before) == _rescale(after) for before, after in pairs)
    if not reencoded and not (same and pixel_encoding(source) == pixel_encoding(derived)):
        yield "every frame must have the source's rescale and bits, or all 16 bits signed, slope 1 and intercept 0"
    if any(text(after.needed("PixelValueTransformationSequence"), "RescaleType") != "HU" for _, after in pairs):
        yield "RescaleType of every frame must be HU"


def _display(source: Dataset, derived: Dataset) -> Iterator[str]:
    for before, after in _pairs(source, derived):
        was, now = (_all_items(one, "FrameVOILUTSequence") for one in (before, after))
        windows = [[values(item, "WindowCenter"), values(item, "WindowWidth")] for item in was]
        if any([values(item, "WindowCenter"), values(item, "WindowWidth")] not in windows for item in now):
            yield f"FrameVOILUTSequence of frame {after.number} must be the source's or absent"


def _old(_: Dataset, derived: Dataset) -> Iterator[str]:
    if any("ConversionSourceAttributesSequence" in place for place in places(derived)):
        yield "ConversionSourceAttributesSequence must be removed: derived frames are no conversions"


def _pairs(source: Dataset, derived: Dataset) -> Iterator[Pair]:
    """The frames of both, as far as there are any."""
    counts = [len(items(dataset, PER_FRAME)) for dataset in (source, derived)]
    return zip(frame_groups(source, counts[0]), frame_groups(derived, counts[1]), strict=False)


def _content(one: FrameGroups, keyword: str) -> list[Any]:
    """The items of a functional group; the value of what stands among them and is no sequence, as in damaged files."""
    found: list[Any] = []
    for place in (one.shared, one.own):
        if keyword in place:
            element = place[keyword]
            found += element.value if element.VR == "SQ" else [element.value]
    return found


def _all_items(one: FrameGroups, keyword: str) -> list[Dataset]:
    return [*items(one.shared, keyword), *items(one.own, keyword)]


def _groups(one: FrameGroups) -> set[str]:
    both = (one.shared, one.own)
    return {element.keyword for place in both for element in place if not element.tag.is_private}


def _frame_type(one: FrameGroups) -> list[str]:
    described = one.group("CTImageFrameTypeSequence")
    return [] if described is None else [str(value).strip().upper() for value in values(described, "FrameType")]


def _rescale(one: FrameGroups) -> Rescale:
    return rescale_of(one.needed("PixelValueTransformationSequence"))


def _says_purpose(item: Dataset) -> bool:
    return text(item, "SpatialLocationsPreserved") == "YES" and bool(items(item, "PurposeOfReferenceCodeSequence"))


def _evidence(derived: Dataset) -> Iterator[tuple[str, str, str, str]]:
    for study in items(derived, "SourceImageEvidenceSequence"):
        for series in items(study, "ReferencedSeriesSequence"):
            for item in items(series, "ReferencedSOPSequence"):
                yield (
                    text(study, "StudyInstanceUID"),
                    text(series, "SeriesInstanceUID"),
                    text(item, "ReferencedSOPClassUID"),
                    text(item, "ReferencedSOPInstanceUID"),
                )


def _referenced(derived: Dataset) -> Iterator[tuple[str, str]]:
    for series in items(derived, "ReferencedSeriesSequence"):
        for item in items(series, "ReferencedInstanceSequence"):
            yield text(series, "SeriesInstanceUID"), text(item, "ReferencedSOPInstanceUID")


FRAME_RULES: tuple[Rule, ...] = (_unchanged, _structure, _types, _provenance, _transformation, _display, _old)
