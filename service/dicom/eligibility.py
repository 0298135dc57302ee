"""May an instance be derived from this one? Asked before the network runs.

    Dataset --(identified)--(one energy)--(not burned in)--(not ours)--> yes
                              DerivationRefused

`imaging.dicom_pixels` and `imaging.enhanced_ct` have refused what is no CT slice in HU; here stands what must not be
derived although it is one.
"""

from __future__ import annotations

import re

from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from imaging.dicom_attributes import integer, text, values
from imaging.enhanced_ct import frame_type, is_multi_frame_ct
from imaging.functional_groups import frame_groups
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
    if text(source, "MultienergyCTAcquisition").upper() == "YES" or MULTI_ENERGY_TYPES & _contrasts(source):
        raise DerivationRefused("the image is a multi-energy map, whose values and noise the models were not made for")
    if text(source, "BurnedInAnnotation").upper() == "YES" and not conventions.allow_burned_in_annotation:
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
    if made_here(source):
        raise DerivationRefused(
            "the image is already a reconstruction of this program (DeviceUID in ContributingEquipmentSequence);"
            " send the scanner's own image"
        )


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
