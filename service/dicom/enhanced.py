"""derive_frames: a multi-frame source instance and its restored frames -> the derived instance, of the same SOP class.

    source --kept--> elements, functional groups --+
    restored HU of each frame --encoding--> pixels +--> frame types, rescale, provenance of each frame --> Derived

As `derive` does for one frame, but what is said of an image there is said of each frame here, in its functional groups
(PS3.3 C.7.6.16), which stay where they are, shared or per frame:

- FrameType becomes DERIVED, PRIMARY (the only value 2 that there is, C.8.16.1.2), the source's value 3, and as value 4
  FILTERED (CT's own term for an image filter, which DerivationImageSequence then describes: C.8.15.2.1.1.4, C.8.15.3.7)
  where the source says NONE, that is not calculated; other values say more than FILTERED would. ImageType sums them up:
  MIXED where values 4 differ, and value 3 as in the source, since it is never MIXED (C.8.16.1).
- PixelValueTransformationSequence is kept; or, if a value of any frame does not fit, slope 1, intercept 0 for all.
- DerivationImageSequence gets one more item, after those of earlier derivations: source, frame, code and purpose. The
  source is listed in SourceImageEvidenceSequence and as a referenced series, as C.8.15.2 and C.12.2 want it.
- FrameVOILUTSequence stays where it is valid. ConversionSourceAttributesSequence goes: the derived frames are no
  conversions of the single-frame images that it names.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence as Many
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sequence import Sequence

from imaging.dicom_attributes import text, values
from imaging.enhanced_ct import frame_type
from imaging.functional_groups import SHARED, FrameGroups, frame_groups, items, left_over, places
from imaging.image import Image
from service.dicom.derived_instance import (
    Derived,
    check_moments,
    describe_encoding,
    describe_series,
    identify,
    name_maker,
    new_instance,
    pixel_notes,
    remove_old,
    set_times,
)
from service.dicom.display import keep_valid_display
from service.dicom.encoding import encode_frames
from service.dicom.frame_provenance import add_evidence, derivation_item
from service.dicom.identity import Derivation
from service.dicom.kept import kept_elements
from service.dicom.lossy import mark_lossy
from service.dicom.written import put
from service.settings import SiteConventions

FRAME_TYPE = "CTImageFrameTypeSequence"
TRANSFORMATION = "PixelValueTransformationSequence"
DERIVATION = "DerivationImageSequence"
VOI = "FrameVOILUTSequence"

OF_OLD_FRAMES = ("ConversionSourceAttributesSequence",)
OF_ONE_FRAME = (
    "SourceImageSequence",
    "DerivationDescription",
    "DerivationCodeSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
)
"""At the top level these belong to single-frame images; an earlier program may have left them there, where they would
contradict the functional groups that are written anew."""

_IMAGE_LEVEL = ("PixelPresentation", "VolumetricProperties", "VolumeBasedCalculationTechnique")
_NOT_CALCULATED, _FILTERED, _MIXED = ("", "NONE", "MIXED"), "FILTERED", "MIXED"
_ANY_FLAVOR = "VOLUME"
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")


def derive_frames(
    frames: Many[Image],
    restored: Many[NDArray[np.float32]],
    derivation: Derivation,
    conventions: SiteConventions,
    *,
    now: datetime,
    series_begun: datetime | None = None,
    as_hounsfield: bool = False,
) -> Derived:
    """The derived instance of a multi-frame CT image.

    Args:
        frames: all frames of one instance, with their data set, which is not changed, and which
            `eligibility.check_source` let pass.
        restored: as many, (H, W) float32 in HU, finite.
        derivation, conventions, now, series_begun, as_hounsfield: as `derive`; `image_type_secondary` has no effect,
            since PRIMARY is the only value 2.

    Raises:
        ValueError: as `derive`, or not as many restored as frames.
    """
    source = frames[0].dataset
    if source is None:
        raise ValueError("the images have no DICOM data set")
    check_moments(now, series_begun)
    pixels = encode_frames(frames, restored, as_hounsfield=as_hounsfield)
    derived = new_instance(kept_elements(source))
    for keyword in OF_ONE_FRAME:
        derived.pop(keyword, None)
    describe_series(derived, source, conventions)
    describe_encoding(derived, pixels)
    groups = frame_groups(derived, len(frames))
    notes = [*_clean(derived), *_set_frame_types(derived, groups)]
    _set_transformation(derived, as_hounsfield=pixels.reencoded)
    _add_derivations(derived, groups, source, derivation)
    mark_lossy(derived, source)
    name_maker(derived, source, derivation, conventions, now)
    add_evidence(derived, source)
    set_times(derived, now, series_begun)
    rescales = tuple(_rescale_text(one) for one in groups)
    identify(derived, source, derivation, reencoded=pixels.reencoded, of_frames=rescales)
    return Derived(derived, pixels, (*notes, *pixel_notes(pixels)))


def _clean(derived: Dataset) -> list[str]:
    """Removes what is of the old pixels, invalid or empty from all functional groups; says what was invalid."""
    notes = keep_valid_display(derived)
    for attributes in left_over(derived):
        remove_old(attributes)
    for place in places(derived):
        for keyword in OF_OLD_FRAMES:
            place.pop(keyword, None)
        for keyword in (FRAME_TYPE, TRANSFORMATION):
            if not items(place, keyword):  # an empty group here would contradict the one in the other place
                place.pop(keyword, None)
        windows = items(place, VOI)
        for window in windows:
            notes += keep_valid_display(window)
        if windows and not all("WindowCenter" in window or "VOILUTSequence" in window for window in windows):
            del place[VOI]
    return sorted(set(notes))


def _set_frame_types(derived: Dataset, groups: tuple[FrameGroups, ...]) -> list[str]:
    """FrameType of each frame and ImageType of all; says what had to be repaired."""
    image_type = _codes(derived, "ImageType")
    flavor = [*image_type, "", "", ""][2]
    flavor = flavor if flavor not in ("", _MIXED) else _ANY_FLAVOR
    repaired = len(image_type) != 4  # noqa: PLR2004 - of ImageType and FrameType
    for one in groups:
        if one.group(FRAME_TYPE) is None:
            repaired = True
            one.own.add_new(FRAME_TYPE, "SQ", [_of_image_level(derived)])
    for place in places(derived):
        for described in items(place, FRAME_TYPE):
            found = _codes(described, "FrameType")
            repaired |= len(found) != 4 or "" in found  # noqa: PLR2004
            third, fourth = [*found, "", "", "", ""][2:4]
            third = third if third not in ("", _MIXED) else flavor
            fourth = _FILTERED if fourth in _NOT_CALCULATED else fourth
            put(described, FrameType=["DERIVED", "PRIMARY", third, fourth])
    contrasts = {frame_type(one)[3] for one in groups}
    summed = contrasts.pop() if len(contrasts) == 1 else _MIXED
    put(derived, ImageType=["DERIVED", "PRIMARY", flavor, summed])
    return ["ImageType or FrameType had missing values, which were filled in"] if repaired else []


def _codes(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an attribute; empty where one is no code string (PS3.5 6.2)."""
    found = [str(value).strip().upper() for value in values(dataset, keyword)]
    return [value if _CODE_STRING.fullmatch(value) else "" for value in found]


def _of_image_level(derived: Dataset) -> Dataset:
    item = Dataset()
    for keyword in _IMAGE_LEVEL:
        if text(derived, keyword) not in ("", _MIXED):
            setattr(item, keyword, text(derived, keyword))
    return item


def _set_transformation(derived: Dataset, *, as_hounsfield: bool) -> None:
    for place in places(derived):
        for rescale in items(place, TRANSFORMATION):
            if as_hounsfield:
                put(rescale, RescaleSlope="1", RescaleIntercept="0")
            put(rescale, RescaleType="HU")  # the only one that is let in; type 1 here (PS3.3 C.8.15.3.10)
        if as_hounsfield:
            place.pop("RealWorldValueMappingSequence", None)  # it maps the stored values of the old encoding


def _add_derivations(
    derived: Dataset, groups: tuple[FrameGroups, ...], source: Dataset, derivation: Derivation
) -> None:
    """One more derivation for each frame, after those that were shared or its own."""
    common = [item for place in items(derived, SHARED) for item in items(place, DERIVATION)]
    for one in groups:
        before = [*copy.deepcopy(common), *items(one.own, DERIVATION)]
        made = derivation_item(source, one.number, derivation)
        one.own.add_new(DERIVATION, "SQ", Sequence([*before, made]))
    for place in items(derived, SHARED):
        place.pop(DERIVATION, None)


def _rescale_text(groups: FrameGroups) -> str:
    rescale = groups.needed(TRANSFORMATION)
    return f"{rescale.RescaleSlope}x+{rescale.RescaleIntercept}"
