"""What must hold of every derived CT instance, checked on the finished data set before it leaves.

    source, derived --RULES, and those of one frame or of each frame--> findings --(none?)--> delivered
                                                                                 RuleViolated

Written independently of `derive`, from PS3.3 and the table in the documentation: dciodvfy misses half of it (a missing
SourceImageSequence, ORIGINAL with a source, lossy compression without ratio). A finding is a defect of this program.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from imaging.dicom_attributes import integer, text, values
from imaging.dicom_pixels import padding_range, pixel_encoding
from imaging.enhanced_ct import is_multi_frame_ct
from service.dicom.display import valid_tables, valid_window
from service.dicom.eligibility import made_here
from service.dicom.frame_rules import FRAME_RULES
from service.dicom.kept import is_removed, kept_elements
from service.dicom.lossy import source_method
from service.errors import RuleViolated

UNCHANGED = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "SOPClassUID",
    "Modality",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientPosition",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "InstanceNumber",
    "AcquisitionNumber",
    "AcquisitionDate",
    "AcquisitionTime",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SliceLocation",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "KVP",
    "Exposure",
    "ExposureTime",
    "XRayTubeCurrent",
    "CTDIvol",
    "ConvolutionKernel",
    "IrradiationEventUID",
    "BurnedInAnnotation",
    "NumberOfFrames",
)
"""Who, where, when and how the image was taken: the same irradiation, whatever was done to its pixels."""

_UUID_DERIVED = re.compile(r"2\.25\.[1-9][0-9]{0,38}")
_CT_TYPE = ({"DERIVED"}, {"PRIMARY", "SECONDARY"}, {"AXIAL"})
_PIXEL_DATA = 0x7FE00010
_PIXEL_EXTREMES = ("SmallestImagePixelValue", "LargestImagePixelValue")

Rule = Callable[[Dataset, Dataset], Iterator[str]]


def check(source: Dataset, derived: Dataset, *, padding: NDArray[np.bool_] | None) -> None:
    """Raises RuleViolated when `findings` has any."""
    found = findings(source, derived, padding=padding)
    if found:
        raise RuleViolated(
            "the derived instance breaks rules of DICOM and was not delivered; this is a defect of the program",
            findings=found,
        )


def findings(source: Dataset, derived: Dataset, *, padding: NDArray[np.bool_] | None) -> tuple[str, ...]:
    """Every violated rule, as a sentence without patient data; empty when all hold.

    Args:
        source: the source instance.
        derived: the derived one, with file meta.
        padding: (H, W) bool of the source image, (N, H, W) of one with several frames, True where a pixel is padding;
            or None.
    """
    found = [finding for rule in RULES for finding in rule(source, derived)]
    if is_multi_frame_ct(source):
        kept = kept_elements(source)
        found += [finding for rule in FRAME_RULES for finding in rule(kept, derived)]
    else:
        found += _single_frame(source, derived)
    return (*found, *_padding(source, derived, padding))


def _unchanged(source: Dataset, derived: Dataset) -> Iterator[str]:
    for keyword in UNCHANGED:
        if values(source, keyword) != values(derived, keyword):
            yield f"{keyword} must stay as in the source"


def _identity(source: Dataset, derived: Dataset) -> Iterator[str]:
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        if not _UUID_DERIVED.fullmatch(text(derived, keyword)):
            yield f"{keyword} must be a UID below 2.25"
        if text(derived, keyword) == text(source, keyword):
            yield f"{keyword} must differ from the source's"
    meta = derived.file_meta
    if text(meta, "MediaStorageSOPInstanceUID") != text(derived, "SOPInstanceUID"):
        yield "MediaStorageSOPInstanceUID must be the SOPInstanceUID"
    if text(meta, "MediaStorageSOPClassUID") != text(derived, "SOPClassUID"):
        yield "MediaStorageSOPClassUID must be the SOPClassUID"
    if text(meta, "TransferSyntaxUID") != ExplicitVRLittleEndian:
        yield "TransferSyntaxUID must be Explicit VR Little Endian"


def _single_frame(source: Dataset, derived: Dataset) -> Iterator[str]:
    kind = [str(value) for value in values(derived, "ImageType")]
    if len(kind) != len(_CT_TYPE) or any(one not in allowed for one, allowed in zip(kind, _CT_TYPE, strict=True)):
        yield "ImageType must be DERIVED, PRIMARY or SECONDARY, AXIAL, and no more"
    images = derived.get("SourceImageSequence") or ()
    references = [(text(item, "ReferencedSOPClassUID"), text(item, "ReferencedSOPInstanceUID")) for item in images]
    if references != [(text(source, "SOPClassUID"), text(source, "SOPInstanceUID"))]:
        yield "SourceImageSequence must name the source instance and no other"
    for item in images:
        if text(item, "SpatialLocationsPreserved") != "YES" or not item.get("PurposeOfReferenceCodeSequence"):
            yield "SourceImageSequence must say its purpose and that locations are preserved"
    if not text(derived, "DerivationDescription") or not derived.get("DerivationCodeSequence"):
        yield "DerivationDescription and DerivationCodeSequence must be there"


def _provenance(source: Dataset, derived: Dataset) -> Iterator[str]:
    if not text(derived, "ContentQualification"):
        yield "ContentQualification must be there"
    before = list(source.get("ContributingEquipmentSequence") or ())
    after = list(derived.get("ContributingEquipmentSequence") or ())
    if len(after) <= len(before) or not made_here(derived):
        yield "ContributingEquipmentSequence must keep its items and name this program"


def _removed(_: Dataset, derived: Dataset) -> Iterator[str]:
    pending = [derived]
    while pending:
        dataset = pending.pop()
        for tag, element in dataset.items():
            if is_removed(tag) and tag != _PIXEL_DATA:
                yield f"element {tag} must not be in a derived instance"
            if element.VR == "SQ":
                pending.extend(element.value)
    for keyword in ("ReferencedPerformedProcedureStepSequence", *_PIXEL_EXTREMES):
        if keyword in derived:
            yield f"{keyword} is of the source's pixels and must be removed"


def _lossy(source: Dataset, derived: Dataset) -> Iterator[str]:
    lossy = text(derived, "LossyImageCompression") == "01"
    if text(source, "LossyImageCompression") == "01" and not lossy:
        yield "LossyImageCompression 01 must never be reset"
    if source_method(source) is not None:
        if not lossy:
            yield "LossyImageCompression must be 01, since the source is compressed lossily"
        elif not values(derived, "LossyImageCompressionRatio") or not values(derived, "LossyImageCompressionMethod"):
            yield "LossyImageCompression 01 must come with ratio and method"


def _display(source: Dataset, derived: Dataset) -> Iterator[str]:
    for keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction"):
        if keyword in derived and values(derived, keyword) != values(source, keyword):
            yield f"{keyword} must be the source's or absent"
    if ("WindowCenter" in derived or "WindowWidth" in derived) and not valid_window(derived):
        yield "WindowCenter and WindowWidth must be valid"
    if "VOILUTSequence" in derived and not valid_tables(derived):
        yield "VOILUTSequence must be valid"


def _pixels(_: Dataset, derived: Dataset) -> Iterator[str]:
    encoding = pixel_encoding(derived)
    size = _count(derived) * encoding.bits_allocated // 8
    if len(derived.PixelData) != size + size % 2:
        yield "PixelData must have the length that NumberOfFrames, Rows, Columns and BitsAllocated give"
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if keyword in derived and (derived[keyword].VR == "SS") != encoding.signed:
            yield f"{keyword} must have the sign of the pixels"
    if "PixelPaddingRangeLimit" in derived and "PixelPaddingValue" not in derived:
        yield "PixelPaddingRangeLimit needs PixelPaddingValue"


def _padding(source: Dataset, derived: Dataset, padding: NDArray[np.bool_] | None) -> Iterator[str]:
    declared = padding_range(derived)
    if (declared is None) != (padding_range(source) is None):
        yield "PixelPaddingValue must be declared exactly when the source declares it"
    if declared is None:
        return
    encoding = pixel_encoding(derived)
    stored = np.frombuffer(derived.PixelData, encoding.dtype.newbyteorder("<"), count=_count(derived))
    inside = (stored >= declared[0]) & (stored <= declared[1])
    if padding is None:
        if inside.any():
            yield "no measurement may have a padding value"
    elif (inside & ~padding.reshape(-1)).any():
        yield "only padding pixels may have a padding value"


def _count(dataset: Dataset) -> int:
    """Pixels of all frames."""
    return integer(dataset, "NumberOfFrames", missing=1) * int(dataset.Rows) * int(dataset.Columns)


RULES: tuple[Rule, ...] = (_unchanged, _identity, _provenance, _removed, _lossy, _display, _pixels)
