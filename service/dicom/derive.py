"""derive: a source instance and its restored pixels -> the derived instance. Pure; time is an argument.

    source --kept--> elements --+
    restored HU --encoding--> pixels and their attributes --+--> equipment, provenance, identity --> Derived
                                                                                                       |
                                         bytes <--write_instance-- Derived <--rules.check (RuleViolated)

Every row of the table "The derived CT image" in docs stands below once: `_describe_image`, `_describe_pixels`,
`_describe_display`, `_name_source`, `_identify`.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from imaging.dicom_attributes import text, values
from imaging.dicom_file import SourceInstance
from imaging.image import Image
from service.dicom.display import keep_valid_display
from service.dicom.encoding import EncodedPixels, encode_pixels
from service.dicom.equipment import code_item, contributions, set_general_equipment
from service.dicom.identity import IMPLEMENTATION_CLASS_UID, Derivation
from service.dicom.kept import kept_elements
from service.dicom.lossy import mark_lossy
from service.dicom.original import with_original_text
from service.settings import SiteConventions

SMOOTHING = ("113087", "Smoothing")
"""The nearest code of CID 7203 (derivations); 113062 would be pixel subtraction."""

SOURCE_IMAGE = ("121322", "Source image for image processing operation")

MAX_INTEGER_STRING = 2**31 - 1
"""Of an IS value (PS3.5 6.2)."""

IMPLEMENTATION_VERSION = "CLEARSLICE"
LONG_STRING = 64
SHORT_TEXT = 1024
"""Most characters of an LO and of an ST value (PS3.5 6.2)."""

_OF_OLD_PIXELS = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
    "ReferencedPerformedProcedureStepSequence",
    "InstanceCreatorUID",
    "SeriesDate",
    "SeriesTime",
)
_OFFSET = re.compile(r"([+-])([0-9]{2})([0-9]{2})")
_VALUE_1, _VALUE_2, _VALUE_3 = ("ORIGINAL", "DERIVED"), ("PRIMARY", "SECONDARY"), ("AXIAL",)


@dataclass(frozen=True, eq=False)
class Derived:
    """A derived instance, not yet written.

    Attributes:
        dataset: with file meta.
        pixels: what became of the pixels.
        notes: what was tolerated or repaired on the way, without patient data.
    """

    dataset: FileDataset
    pixels: EncodedPixels
    notes: tuple[str, ...]


def derive(
    image: Image,
    restored: NDArray[np.float32],
    derivation: Derivation,
    conventions: SiteConventions,
    *,
    now: datetime,
    series_begun: datetime | None = None,
    as_hounsfield: bool = False,
) -> Derived:
    """The derived instance of a single-frame CT image.

    Args:
        image: with its source data set, which is not changed, and which `eligibility.check_source` let pass.
        restored: (H, W) float32 in HU, finite.
        derivation: what was done.
        conventions: of the site.
        now: when, aware; for ContentDate and InstanceCreationDate.
        series_begun: SeriesDate and SeriesTime of all instances of the derived series; None leaves them out, since a
            single call knows of no other instances.
        as_hounsfield: as `encode_pixels`.

    Raises:
        ValueError: `image` has no data set, `restored` does not fit it, or a moment is naive.
    """
    source = image.dataset
    if source is None:
        raise ValueError("the image has no DICOM data set")
    if now.tzinfo is None or (series_begun is not None and series_begun.tzinfo is None):
        raise ValueError("moments must have a time zone")
    pixels = encode_pixels(image, restored, as_hounsfield=as_hounsfield)
    kept = kept_elements(source)
    derived = FileDataset(io.BytesIO(), {}, None, FileMetaDataset(), is_implicit_VR=False, is_little_endian=True)
    derived.update(kept)
    for keyword in _OF_OLD_PIXELS:
        if keyword in derived:
            del derived[keyword]
    notes = [*_describe_image(derived, source, conventions), *keep_valid_display(derived)]
    _describe_pixels(derived, pixels)
    mark_lossy(derived, source)
    derived.ContributingEquipmentSequence = contributions(source, kept, derivation, now)
    if not conventions.keep_scanner_manufacturer:
        set_general_equipment(derived, derivation)
    _name_source(derived, source, derivation)
    _set_times(derived, now, series_begun)
    _identify(derived, source, derivation)
    if pixels.reencoded:
        notes.append("values outside of the source's encoding: the series is 16 bits signed with slope 1, intercept 0")
    if pixels.clipped:
        notes.append(f"{pixels.clipped} pixels beyond 16 bits were clipped")
    if pixels.moved:
        notes.append(f"{pixels.moved} pixels moved by one step, off the padding value")
    return Derived(derived, pixels, tuple(notes))


def write_instance(derived: Derived, source: SourceInstance) -> bytes:
    """The DICOM file of a derived instance: zero preamble, Explicit VR Little Endian, unchanged texts byte for byte.

    Args:
        derived: from `derive`; its data set is used up.
        source: the source instance.
    """
    dataset = derived.dataset
    with_original_text(dataset, source)
    dataset.preamble = b"\0" * 128
    written = io.BytesIO()
    dcmwrite(written, dataset, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return written.getvalue()


def _describe_image(derived: Dataset, source: Dataset, conventions: SiteConventions) -> list[str]:
    found = [str(value).strip().upper() for value in values(source, "ImageType")]
    second, third = [*found, "", "", ""][1:3]
    notes = []
    if (found[:1] or [""])[0] not in _VALUE_1 or second not in _VALUE_2 or third not in _VALUE_3:
        notes.append("ImageType had missing or invalid values, which were replaced")
    second = "SECONDARY" if conventions.image_type_secondary else second if second in _VALUE_2 else "PRIMARY"
    derived.ImageType = ["DERIVED", second, third if third in _VALUE_3 else "AXIAL"]
    number = source.get("SeriesNumber")
    shifted = int(number) + conventions.series_number_offset if isinstance(number, int) else None
    derived.SeriesNumber = shifted if shifted is not None and shifted <= MAX_INTEGER_STRING else None
    suffix = conventions.series_description_suffix
    described = " ".join(str(value) for value in values(source, "SeriesDescription")).rstrip()
    derived.SeriesDescription = (described[: LONG_STRING - len(suffix)] + suffix).strip()
    derived.ContentQualification = conventions.content_qualification
    return notes


def _describe_pixels(derived: Dataset, pixels: EncodedPixels) -> None:
    encoding = pixels.encoding
    derived.Rows, derived.Columns = pixels.values.shape
    derived.BitsAllocated, derived.BitsStored = encoding.bits_allocated, encoding.bits_stored
    derived.HighBit, derived.PixelRepresentation = encoding.bits_stored - 1, int(encoding.signed)
    if pixels.reencoded:
        derived.RescaleSlope, derived.RescaleIntercept, derived.RescaleType = "1", "0", "HU"
        derived.pop("RealWorldValueMappingSequence", None)  # it maps the stored values of the old encoding
    _declare_padding(derived, pixels)
    derived.add_new("PixelData", "OW" if encoding.bits_allocated > 8 else "OB", pixels.to_bytes())  # noqa: PLR2004


def _declare_padding(derived: Dataset, pixels: EncodedPixels) -> None:
    """Padding attributes under the VR of the pixels' sign, even where the source wrote them under the other one."""
    ranged = "PixelPaddingRangeLimit" in derived and pixels.padding is not None
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        derived.pop(keyword, None)
    if pixels.padding is None:
        return
    low, high = pixels.padding
    # PS3.3 C.7.5.1.1.2: the value is the darker end of the range
    value, limit = (high, low) if derived.PhotometricInterpretation == "MONOCHROME1" else (low, high)
    vr = "SS" if pixels.encoding.signed else "US"
    derived.add_new("PixelPaddingValue", vr, value)
    if ranged and low != high:
        derived.add_new("PixelPaddingRangeLimit", vr, limit)


def _name_source(derived: Dataset, source: Dataset, derivation: Derivation) -> None:
    description = (
        f"Noise reduced by neural network {derivation.ref}, weights SHA-256 {derivation.weights_sha256},"
        f" strength {derivation.strength:g}, {derivation.program}"
    )
    before = " ".join(str(value) for value in values(source, "DerivationDescription")).strip()
    derived.DerivationDescription = (f"{description}. Before: {before}" if before else description)[:SHORT_TEXT]
    codes = list(derived.get("DerivationCodeSequence") or ())
    if not any(text(code, "CodeValue") == SMOOTHING[0] for code in codes):
        codes.append(code_item(*SMOOTHING))
    derived.DerivationCodeSequence = Sequence(codes)
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = Sequence([code_item(*SOURCE_IMAGE)])
    derived.SourceImageSequence = Sequence([item])


def _set_times(derived: Dataset, now: datetime, series_begun: datetime | None) -> None:
    zone = _zone(text(derived, "TimezoneOffsetFromUTC"))
    local = now.astimezone(zone) if zone else now
    derived.ContentDate = derived.InstanceCreationDate = f"{local:%Y%m%d}"
    derived.ContentTime = derived.InstanceCreationTime = f"{local:%H%M%S.%f}"
    if series_begun is not None:
        begun = series_begun.astimezone(zone) if zone else series_begun
        derived.SeriesDate, derived.SeriesTime = f"{begun:%Y%m%d}", f"{begun:%H%M%S.%f}"


def _zone(offset: str) -> timezone | None:
    """The zone that the instance's own times are in, so that the new ones agree with them."""
    match = _OFFSET.fullmatch(offset)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes)) if minutes < 24 * 60 else None


def _identify(derived: FileDataset, source: Dataset, derivation: Derivation) -> None:
    meaning = ("Rows", "Columns", "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept")
    encoding = " ".join(f"{keyword}={derived.get(keyword)}" for keyword in (*meaning, "PixelPaddingValue"))
    derived.SOPInstanceUID = derivation.instance_uid(
        text(source, "SOPInstanceUID"), pixel_data=derived.PixelData, encoding=encoding
    )
    derived.SeriesInstanceUID = derivation.series_uid(text(source, "SeriesInstanceUID"))
    meta = derived.file_meta
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = derived.SOPClassUID, derived.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
