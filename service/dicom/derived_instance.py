"""What every derived instance has, of one frame or several: identity, maker, times and encoding.

    source --kept--> new_instance --describe_series, describe_encoding, name_maker, set_times, identify--> Derived

`derive` and `enhanced` add what belongs to their SOP classes: image type, rescale, and where the source is named.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from imaging.dicom_attributes import text, values
from service.dicom.encoding import EncodedFrames, EncodedPixels
from service.dicom.equipment import contributions, set_general_equipment
from service.dicom.identity import IMPLEMENTATION_CLASS_UID, Derivation
from service.dicom.written import put
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

OF_OLD_PIXELS = (
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
"""What was said of the source's pixels and of its making."""

_ENCODING = (
    "Rows",
    "Columns",
    "BitsStored",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
)
"""What gives the bytes of PixelData a meaning. UIDs are made of it: another order would give other ones."""

_OFFSET = re.compile(r"([+-])([0-9]{2})([0-9]{2})")


@dataclass(frozen=True, eq=False)
class Derived:
    """A derived instance, not yet written.

    Attributes:
        dataset: with file meta.
        pixels: what became of the pixels.
        notes: what was tolerated or repaired on the way, without patient data.
    """

    dataset: FileDataset
    pixels: EncodedPixels | EncodedFrames
    notes: tuple[str, ...]


def new_instance(kept: Dataset) -> FileDataset:
    """An instance with the elements of `kept`, which it takes over, without those about the old pixels."""
    derived = FileDataset(io.BytesIO(), kept, None, FileMetaDataset(), is_implicit_VR=False, is_little_endian=True)
    remove_old(derived)
    return derived


def remove_old(dataset: Dataset) -> None:
    """Removes `OF_OLD_PIXELS`, in place."""
    for keyword in OF_OLD_PIXELS:
        if keyword in dataset:
            del dataset[keyword]


def check_moments(*moments: datetime | None) -> None:
    """Raises ValueError when one of them has no time zone."""
    if any(moment is not None and moment.tzinfo is None for moment in moments):
        raise ValueError("moments must have a time zone")


def describe_series(derived: Dataset, source: Dataset, conventions: SiteConventions) -> None:
    """SeriesNumber, SeriesDescription and ContentQualification by the site's conventions."""
    number = source.get("SeriesNumber")
    shifted = int(number) + conventions.series_number_offset if isinstance(number, int) else None
    put(derived, SeriesNumber=shifted if shifted is not None and shifted <= MAX_INTEGER_STRING else None)
    suffix = conventions.series_description_suffix
    described = " ".join(str(value) for value in values(source, "SeriesDescription")).rstrip()
    put(derived, SeriesDescription=(described[: LONG_STRING - len(suffix)] + suffix).strip())
    put(derived, ContentQualification=conventions.content_qualification)


def describe_encoding(derived: Dataset, pixels: EncodedPixels | EncodedFrames) -> None:
    """PixelData, and the attributes of its bits, sign and padding."""
    encoding = pixels.encoding
    put(derived, BitsAllocated=encoding.bits_allocated, BitsStored=encoding.bits_stored)
    put(derived, HighBit=encoding.bits_stored - 1, PixelRepresentation=int(encoding.signed))
    if pixels.reencoded:
        derived.pop("RealWorldValueMappingSequence", None)  # it maps the stored values of the old encoding
    _declare_padding(derived, pixels)
    derived.add_new("PixelData", "OW" if encoding.bits_allocated > 8 else "OB", pixels.to_bytes())  # noqa: PLR2004


def _declare_padding(derived: Dataset, pixels: EncodedPixels | EncodedFrames) -> None:
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


def name_maker(
    derived: Dataset, source: Dataset, derivation: Derivation, conventions: SiteConventions, now: datetime
) -> None:
    """The scanner among the contributing equipment, and this program as the maker unless the site keeps the scanner.

    `derived` still has the equipment of the source, whose elements it kept.
    """
    derived.ContributingEquipmentSequence = contributions(source, derived, derivation, now)
    if not conventions.keep_scanner_manufacturer:
        set_general_equipment(derived, derivation)


def derivation_text(derivation: Derivation) -> str:
    """What was done, for DerivationDescription."""
    text = (
        f"Noise reduced by neural network {derivation.ref}, weights SHA-256 {derivation.weights_sha256},"
        f" strength {derivation.strength:g}, {derivation.program}"
    )
    return (
        f"{text}. WARNING, unlike what the network was made for: {derivation.warning}" if derivation.warning else text
    )


def set_times(derived: Dataset, now: datetime, series_begun: datetime | None) -> None:
    """Content, creation and, if known, series date and time, in the zone of the instance's other times."""
    zone = _zone(text(derived, "TimezoneOffsetFromUTC"))
    local = now.astimezone(zone) if zone else now
    date, time = f"{local:%Y%m%d}", f"{local:%H%M%S.%f}"
    put(derived, ContentDate=date, InstanceCreationDate=date, ContentTime=time, InstanceCreationTime=time)
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


def identify(
    derived: FileDataset,
    source: Dataset,
    derivation: Derivation,
    *,
    reencoded: bool,
    of_frames: tuple[str, ...] = (),
) -> None:
    """UIDs, from the source and all that was done, and the file meta information.

    Args:
        derived: in place; complete but for this.
        source, derivation: what was restored, and how.
        reencoded: whether the pixels left the source's encoding.
        of_frames: what else gives the pixel data of each frame a meaning, as text.
    """
    encoding = " ".join([*(f"{keyword}={derived.get(keyword)}" for keyword in _ENCODING), *of_frames])
    own = text(source, "SOPInstanceUID")
    series = derivation.series_uid(text(source, "SeriesInstanceUID"), reencoded=reencoded)
    instance = derivation.instance_uid(own, series_uid=series, pixel_data=derived.PixelData, encoding=encoding)
    put(derived, SOPInstanceUID=instance, SeriesInstanceUID=series)
    meta = derived.file_meta
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = derived.SOPClassUID, derived.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION


def pixel_notes(pixels: EncodedPixels | EncodedFrames) -> list[str]:
    """What the pixels could not keep."""
    notes = []
    if pixels.reencoded:
        notes.append("values outside of the source's encoding: the series is 16 bits signed with slope 1, intercept 0")
    if pixels.clipped:
        notes.append(f"{pixels.clipped} pixels beyond 16 bits were clipped")
    if pixels.moved:
        notes.append(f"{pixels.moved} pixels moved by one step, off the padding value")
    return notes
