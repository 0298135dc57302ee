"""The equipment of a derived instance: the scanner becomes a contributor, and this program the maker.

General Equipment (scanner) --> ContributingEquipmentSequence: ..., Acquisition Equipment, Processing Equipment (us)
this program ----------------> General Equipment                              PS3.3 C.7.5.1 and C.12.1.1.5
"""

from __future__ import annotations

import copy
import re
from datetime import datetime

from pydicom import Dataset
from pydicom.sequence import Sequence

from imaging.dicom_attributes import text
from service.dicom.identity import MANUFACTURER, Derivation, device_uid
from service.dicom.written import put

SCANNER_ATTRIBUTES = (
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "StationName",
    "DeviceUID",
    "UDISequence",
    "SpatialResolution",
    "DateOfLastCalibration",
    "TimeOfLastCalibration",
)
"""Of General Equipment: what identifies the device itself. They move into the sequence."""

PLACE_ATTRIBUTES = ("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName")
"""Where it stands; they stay, and the sequence repeats them."""

ACQUISITION = ("109101", "Acquisition Equipment")
PROCESSING = ("109102", "Processing Equipment")

_DATE, _TIME = re.compile(r"[0-9]{8}"), re.compile(r"[0-9]{6}(\.[0-9]{1,6})?")
_DATE_TIME = re.compile(rf"{_DATE.pattern}{_TIME.pattern}([+-][0-9]{{4}})?")


def code_item(value: str, meaning: str) -> Dataset:
    """A code of the DICOM Controlled Terminology (PS3.16 annex D)."""
    item = Dataset()
    put(item, CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=meaning)
    return item


def contributions(source: Dataset, kept: Dataset, derivation: Derivation, now: datetime) -> Sequence:
    """ContributingEquipmentSequence: the items there were, then the source's equipment, then this program.

    Args:
        source: the source instance.
        kept: the same without what is removed, whose elements are taken over.
        derivation: what this program did.
        now: the time it did it, aware.
    """
    before = list(kept.get("ContributingEquipmentSequence") or ())
    after = [_ours(derivation, now)]
    if any(keyword in source for keyword in SCANNER_ATTRIBUTES):
        # Where a scanner is named already, the source's own equipment is a workstation that processed its images.
        known = any(_purpose(item) == ACQUISITION[0] for item in before)
        after.insert(0, _source_equipment(source, kept, PROCESSING if known else ACQUISITION))
    return Sequence([*before, *after])


def set_general_equipment(derived: Dataset, derivation: Derivation) -> None:
    """Makes this program the maker of `derived`; DeviceUID belongs to the sequence, not to a CT image itself."""
    for keyword in SCANNER_ATTRIBUTES:
        if keyword in derived:
            del derived[keyword]
    put(derived, Manufacturer=MANUFACTURER, ManufacturerModelName=derivation.ref)
    put(derived, SoftwareVersions=derivation.program, DeviceSerialNumber=derivation.weights_sha256)


def dicom_datetime(moment: datetime) -> str:
    """A DT value with microseconds and offset."""
    return f"{moment:%Y%m%d%H%M%S.%f%z}"


def _source_equipment(source: Dataset, kept: Dataset, purpose: tuple[str, str]) -> Dataset:
    item = Dataset()
    for keyword in (*SCANNER_ATTRIBUTES, *PLACE_ATTRIBUTES):
        if keyword in kept:
            item[keyword] = copy.copy(kept[keyword])
    if "Manufacturer" not in item or not text(item, "Manufacturer"):
        put(item, Manufacturer="UNKNOWN")  # type 1 here, type 2 in General Equipment
    put(item, PurposeOfReferenceCodeSequence=Sequence([code_item(*purpose)]))
    acquired = _acquired(source)
    if acquired is not None:
        put(item, ContributionDateTime=acquired)
    return item


def _acquired(source: Dataset) -> str | None:
    """When, as a DT value; of multi-frame instances by the one attribute that they have instead of two."""
    date, time = text(source, "AcquisitionDate"), text(source, "AcquisitionTime")
    if _DATE.fullmatch(date) and _TIME.fullmatch(time):
        return date + time
    moment = text(source, "AcquisitionDateTime")
    return moment if _DATE_TIME.fullmatch(moment) else None


def _ours(derivation: Derivation, now: datetime) -> Dataset:
    item = Dataset()
    described = f"Image restored by neural network {derivation.ref}, strength {derivation.strength:g}"
    set_general_equipment(item, derivation)
    put(item, PurposeOfReferenceCodeSequence=Sequence([code_item(*PROCESSING)]))
    put(item, DeviceUID=device_uid(derivation.weights_sha256), ContributionDateTime=dicom_datetime(now))
    put(item, ContributionDescription=described)
    return item


def _purpose(item: Dataset) -> str:
    codes = item.get("PurposeOfReferenceCodeSequence") or ()
    return text(codes[0], "CodeValue") if codes else ""
