"""May an instance be derived from this one? Asked before the network runs.

    Dataset --(identified)--(whole)--(one energy)--(not burned in)--(not ours)--> yes
                                      DerivationRefused

`imaging.dicom_pixels` and `imaging.enhanced_ct` have refused what is no CT slice in HU; here stands what must not be
derived although it is one. What converted images said of themselves is looked for in their frames too.
"""

from __future__ import annotations

import re

from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from imaging.dicom_attributes import integer, text, values
from imaging.enhanced_ct import frame_type, is_multi_frame_ct
from imaging.functional_groups import frame_groups, items, left_over
from service.dicom.identity import device_uid
from service.errors import DerivationRefused
from service.settings import SiteConventions, environment_name

_UID = re.compile(r"[0-9][0-9.]{0,63}")
_NEEDED_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")

MULTI_ENERGY_TYPES = frozenset(
    {
        "VMI",
        "MAT_SPECIFIC",
        "MAT_REMOVED",
        "MAT_FRACTIONAL",
        "EFF_ATOMIC_NUM",
        "ELECTRON_DENSITY",
        "MAT_MODIFIED",
        "MAT_VALUE_BASED",
    }
)
"""ImageType value 4 of images computed from several energies (PS3.3 C.8.15.3.1.4): other noise than was trained on."""


def check_source(source: Dataset, conventions: SiteConventions) -> None:
    """Raises DerivationRefused, with the reason, unless a derived instance may be made from `source`."""
    for keyword in _NEEDED_UIDS:
        if not _UID.fullmatch(text(source, keyword)):
            raise DerivationRefused(f"{keyword} is missing or no UID; a derived instance must name its source")
    if text(source, "ConcatenationUID"):
        raise DerivationRefused(
            "the instance is one part of a concatenation (ConcatenationUID), whose parts belong together; send them as"
            " one instance, or as single-frame CT images"
        )
    if is_multi_frame_ct(source) and any(group % 2 for group in _dimension_groups(source)):
        raise DerivationRefused(
            "a dimension of the frames is a private attribute (DimensionIndexSequence), which a derived instance does"
            " not carry, so that its frames could not be ordered; send single-frame CT images"
        )
    said = [source, *left_over(source)]
    if _says_yes(said, "MultienergyCTAcquisition") or MULTI_ENERGY_TYPES & _contrasts(source):
        raise DerivationRefused("the image is a multi-energy map, whose values and noise the models were not made for")
    if _says_yes(said, "BurnedInAnnotation") and not conventions.allow_burned_in_annotation:
        setting = environment_name("dicom__allow_burned_in_annotation")
        raise DerivationRefused(
            f"BurnedInAnnotation is YES, and a network would alter the text in the pixels; {setting}=1 allows it"
        )
    syntax = text(source.file_meta, "TransferSyntaxUID") if hasattr(source, "file_meta") else ""
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and source.get("PixelRepresentation") == 1:
        raise DerivationRefused(
            "lossy JPEG (8- or 12-bit) with signed pixels decodes differently from decoder to decoder; send the"
            " original, or a lossless copy of it"
        )
    if any(made_here(attributes) for attributes in said):
        raise DerivationRefused(
            "the image is already a reconstruction of this program (DeviceUID in ContributingEquipmentSequence);"
            " send the scanner's own image"
        )


def _dimension_groups(source: Dataset) -> list[int]:
    """Group numbers of the attributes and functional groups by which frames are ordered (PS3.3 C.7.6.17)."""
    keywords = ("DimensionIndexPointer", "FunctionalGroupPointer")
    dimensions = items(source, "DimensionIndexSequence")
    found = [value for item in dimensions for keyword in keywords for value in values(item, keyword)]
    return [value >> 16 for value in found if isinstance(value, int)]


def _says_yes(attributes: list[Dataset], keyword: str) -> bool:
    return any(text(dataset, keyword).upper() == "YES" for dataset in attributes)


def _contrasts(source: Dataset) -> set[str]:
    """Values 4 of ImageType and, in a multi-frame instance, of the FrameType of each frame."""
    types = [[str(value).strip().upper() for value in values(source, "ImageType")]]
    if is_multi_frame_ct(source):
        types += [frame_type(one) for one in frame_groups(source, integer(source, "NumberOfFrames"))]
    return {value for kind in types for value in kind[3:4]}


def made_here(dataset: Dataset) -> bool:
    """Whether one of the contributing devices is this program, with any weights: the serial number is their digest."""
    for item in dataset.get("ContributingEquipmentSequence") or ():
        serial = text(item, "DeviceSerialNumber")
        if serial and text(item, "DeviceUID") == device_uid(serial):
            return True
    return False
