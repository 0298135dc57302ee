"""Every row of the table "The derived CT image"."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from service.dicom import rules
from service.dicom.elements import read_file
from service.dicom.identity import IMPLEMENTATION_CLASS_UID, device_uid
from service.settings import SiteConventions


def test_identity_of_patient_study_and_geometry_stays(work, ct_dataset, ct_slice):
    source, derived = ct_dataset(), work(ct_slice(), 1.0).written()
    for keyword in rules.UNCHANGED:
        assert derived.get(keyword) == source.get(keyword), keyword


def into_metal(image):
    restored = image.pixels.copy()
    restored[3, 4] = 60000
    return restored


def test_uids_are_new_below_2_25_and_deterministic(work, ct_slice):
    first, again = work(ct_slice(), 1.0).written(), work(ct_slice(), 1.0).written()
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.SeriesInstanceUID == again.SeriesInstanceUID
    assert first.SOPInstanceUID.startswith("2.25.")
    assert first.SeriesInstanceUID.startswith("2.25.")
    assert max(len(first.SOPInstanceUID), len(first.SeriesInstanceUID)) <= 64


def test_other_pixels_give_another_instance_in_the_same_series(work, ct_slice):
    one, other = work(ct_slice(), 1.0).written(), work(ct_slice(), 2.0).written()
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID


@pytest.mark.parametrize(
    "change",
    [
        {"model": "ct-other"},
        {"version": 2},
        {"weights_sha256": "f" * 64},
        {"strength": 0.5},
        {"revision": 1},
        {"precision": "bfloat16"},
        {"as_hounsfield": True},
    ],
)
def test_other_work_gives_another_series(work, ct_slice, change):
    """And, of the same pixels, another instance: none is in two series."""
    one, other = work(ct_slice(), 1.0).written(), work(ct_slice(), 1.0, **change).written()
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_left_its_encoding_and_what_was_made_anew_for_it_are_one_series(work, ct_slice, precision):
    left = work(ct_slice(), into_metal, precision=precision)
    anew = work(ct_slice(), 1.0, precision=precision, as_hounsfield=True)
    assert left.derived.pixels.reencoded
    assert left.written().SeriesInstanceUID == anew.written().SeriesInstanceUID


def test_an_encoding_like_the_new_one_still_makes_no_instance_of_two_series(work, ct_slice):
    own = {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleIntercept": "0"}
    kept, anew = (work(ct_slice(**own), 1.0, as_hounsfield=wanted).written() for wanted in (False, True))
    assert kept.PixelData == anew.PixelData
    assert kept.SeriesInstanceUID != anew.SeriesInstanceUID
    assert kept.SOPInstanceUID != anew.SOPInstanceUID


def test_the_guards_warning_and_the_programs_version_change_no_uid(work, ct_slice):
    one = work(ct_slice(), 1.0).written()
    other = work(ct_slice(), 1.0, warning="odd", program="clearslice 0.2.0").written()
    assert (one.SeriesInstanceUID, one.SOPInstanceUID) == (other.SeriesInstanceUID, other.SOPInstanceUID)


@pytest.mark.parametrize(
    ("image_type", "expected", "noted"),
    [
        (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "AXIAL"], False),
        (["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"], ["DERIVED", "PRIMARY", "AXIAL"], False),
        (["DERIVED", "SECONDARY", "AXIAL"], ["DERIVED", "SECONDARY", "AXIAL"], False),
        (["DERIVED", "SECONDARY", "PROCESSED"], ["DERIVED", "SECONDARY", "AXIAL"], True),
        (["ORIGINAL"], ["DERIVED", "PRIMARY", "AXIAL"], True),
        (None, ["DERIVED", "PRIMARY", "AXIAL"], True),
    ],
)
def test_image_type(work, ct_slice, image_type, expected, noted):
    made = work(ct_slice(ImageType=image_type))
    assert any("ImageType" in note for note in made.derived.notes) is noted
    assert list(made.written().ImageType) == expected


def test_image_type_missing(work, ct_slice):
    assert list(work(ct_slice(drop=("ImageType",))).written().ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]


def test_series_number_and_description(work, ct_slice):
    derived = work(ct_slice(SeriesNumber="12", SeriesDescription="A" * 64)).written()
    assert derived.SeriesNumber == 8012
    assert derived.SeriesDescription == "A" * 58 + " AI-DN"
    without = work(ct_slice(SeriesNumber=None, drop=("SeriesDescription",))).written()
    assert without.SeriesNumber is None
    assert work(ct_slice(SeriesNumber="2147483000")).written().SeriesNumber is None
    assert without.SeriesDescription == "AI-DN"


def test_conventions_of_the_site(work, ct_slice):
    site = SiteConventions(
        series_number_offset=100,
        series_description_suffix=" DN",
        image_type_secondary=True,
        keep_scanner_manufacturer=True,
        content_qualification="PRODUCT",
    )
    derived = work(ct_slice(), conventions=site).written()
    assert derived.SeriesNumber == 102
    assert derived.SeriesDescription == "Thorax 5.0 DN"
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert (derived.Manufacturer, derived.StationName) == ("SCANNERS INC", "CT01")
    assert derived.ContentQualification == "PRODUCT"
    assert len(derived.ContributingEquipmentSequence) == 2


def test_times(work, ct_slice):
    alone = work(ct_slice()).written()
    assert "SeriesDate" not in alone
    assert "SeriesTime" not in alone
    assert (alone.ContentDate, alone.ContentTime) == ("20260304", "050607.890000")
    assert (alone.InstanceCreationDate, alone.InstanceCreationTime) == ("20260304", "050607.890000")
    begun = datetime(2026, 3, 4, 1, 2, 3, tzinfo=UTC)
    together = work(ct_slice(), series_begun=begun).written()
    assert (together.SeriesDate, together.SeriesTime) == ("20260304", "010203.000000")


def test_times_follow_the_instances_own_time_zone(work, ct_slice):
    derived = work(ct_slice(TimezoneOffsetFromUTC="-0530")).written()
    assert (derived.ContentDate, derived.ContentTime) == ("20260303", "233607.890000")


def test_equipment_is_ours_and_the_scanner_contributed(work, ct_slice):
    derived = work(ct_slice()).written()
    assert (derived.Manufacturer, derived.ManufacturerModelName) == ("Clearslice", "ct-tiny@1")
    assert "StationName" not in derived
    scanner, ours = derived.ContributingEquipmentSequence
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert (scanner.Manufacturer, scanner.ManufacturerModelName) == ("SCANNERS INC", "Spiral 9")
    assert (scanner.DeviceSerialNumber, scanner.SoftwareVersions, scanner.StationName) == ("SN1", "v1", "CT01")
    assert scanner.InstitutionName == derived.InstitutionName == "Hospital"
    assert scanner.ContributionDateTime == "20250102101114"
    assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert ours.DeviceUID == device_uid("0123456789abcdef" * 4)
    assert ours.ContributionDateTime == "20260304050607.890000+0000"


def equipment(code: str) -> Dataset:
    item, purpose = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code, "DCM", "x"
    item.Manufacturer, item.PurposeOfReferenceCodeSequence = "FIRST INC", Sequence([purpose])
    return item


def test_earlier_contributors_stay_in_front(work, ct_slice):
    earlier = Sequence([equipment("109101")])
    derived = work(ct_slice(ContributingEquipmentSequence=earlier)).written()
    first, second, third = derived.ContributingEquipmentSequence
    assert first.Manufacturer == "FIRST INC"
    # the scanner is named already, so the maker of the source processed it
    assert (second.Manufacturer, second.PurposeOfReferenceCodeSequence[0].CodeValue) == ("SCANNERS INC", "109102")
    assert third.Manufacturer == "Clearslice"


def test_derivation_and_source_are_named(work, ct_slice):
    derived = work(ct_slice(DerivationDescription="resliced"), strength=0.25).written()
    for piece in ("ct-tiny@1", "0123456789abcdef" * 4, "strength 0.25", "clearslice 0.1.0", "Before: resliced"):
        assert piece in derived.DerivationDescription
    assert [code.CodeValue for code in derived.DerivationCodeSequence] == ["113087"]
    (item,) = derived.SourceImageSequence
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (derived.SOPClassUID, "1.2.3.4.5")
    assert item.SpatialLocationsPreserved == "YES"
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"


def test_earlier_derivation_codes_stay(work, ct_slice):
    codes = equipment("113072").PurposeOfReferenceCodeSequence
    derived = work(ct_slice(DerivationCodeSequence=codes)).written()
    assert [code.CodeValue for code in derived.DerivationCodeSequence] == ["113072", "113087"]


def test_what_is_removed(work, ct_dataset, to_file):
    source = ct_dataset()
    source.SmallestImagePixelValue, source.LargestImagePixelValue = 1, 2
    source.ReferencedPerformedProcedureStepSequence = Sequence([Dataset()])
    source.IconImageSequence = Sequence([Dataset()])
    source.ICCProfile = b"profile."
    source.InstanceCreatorUID = "1.2"
    source.add_new(0x60000010, "US", 5)
    source.add_new(0x60003000, "OW", b"\0\0")
    source.add_new(0x50000010, "US", 5)
    source.add_new(0xFFFCFFFC, "OB", b"\0\0")
    source.private_block(0x0009, "SECRET", create=True).add_new(1, "LO", "x")
    request = Dataset()
    request.ScheduledProcedureStepID = "S1"
    request.private_block(0x0011, "SECRET", create=True).add_new(1, "LO", "x")
    source.RequestAttributesSequence = Sequence([request])
    derived = work(to_file(source)).written()
    for keyword in (
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "ReferencedPerformedProcedureStepSequence",
        "IconImageSequence",
        "ICCProfile",
        "InstanceCreatorUID",
    ):
        assert keyword not in derived
    assert not [element for element in derived.iterall() if element.tag.is_private]
    assert not [tag for tag in derived.keys() if tag.group in (0x5000, 0x6000, 0xFFFC)]  # noqa: SIM118
    assert derived.RequestAttributesSequence[0].ScheduledProcedureStepID == "S1"


@pytest.mark.parametrize(
    ("group", "element", "value"),
    [
        (0x0072, 0x0026, b"\x10\0\x20\0"),  # AT, which pydicom encodes
        (0x0010, 0x1001, b"M\xfcller^H"),  # PN
        (0x0010, 0x4000, b"plain text"),
        (0x0042, 0x0011, b"\1\2\3"),  # OB of odd length
    ],
)
def test_a_value_that_ends_at_a_delimiter_gets_its_length(work, ct_slice, group, element, value):
    """In Implicit VR any element may lack its length; in Explicit VR its own would hide the pixels behind it."""
    file = ct_slice(syntax="implicit")
    at = file.index(struct.pack("<HHI", 0x0028, 0x0002, 2))
    odd = struct.pack("<HHI", group, element, 0xFFFFFFFF) + value + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    if group > 0x0028:
        at = file.index(struct.pack("<HH", 0x7FE0, 0x0010))
    made = work(file[:at] + odd + file[at:], 1.0)
    data = made.write()
    assert read_file(data).get(group << 16 | element).value[: len(value)] == value
    assert pydicom.dcmread(io.BytesIO(data)).PixelData == made.derived.dataset.PixelData


def test_the_source_is_not_changed(work, ct_slice):
    made = work(ct_slice(), 5.0)
    before = pydicom.dcmread(io.BytesIO(ct_slice()))
    made.write()
    assert made.image.dataset == before


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({"WindowCenter": "40", "WindowWidth": "400"}, True),
        ({"WindowCenter": ["40", "-500"], "WindowWidth": ["400", "1500"]}, True),
        ({"WindowCenter": ["40", "-500"], "WindowWidth": "400"}, False),
        ({"WindowCenter": None, "WindowWidth": None}, False),
        ({"WindowWidth": "0.5"}, False),
        ({"WindowWidth": "0.5", "VOILUTFunction": "SIGMOID"}, True),
        ({"VOILUTFunction": "WHATEVER"}, False),
        ({"drop": ("WindowCenter",)}, False),
    ],
)
def test_windows_are_kept_when_valid_and_never_invented(work, ct_slice, attributes, kept):
    derived = work(ct_slice(**attributes)).written()
    assert ("WindowCenter" in derived) is kept
    assert ("WindowWidth" in derived) is kept


def test_lossy_compression_is_never_forgotten(work, ct_slice):
    past = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "8",
        "LossyImageCompressionMethod": "ISO_15444_1",
    }
    derived = work(ct_slice(**past)).written()
    assert {keyword: str(derived[keyword].value) for keyword in past} == past


def test_the_file_is_ours_with_an_empty_preamble(work, ct_slice):
    file = work(b"MZ" + ct_slice()[2:]).write()
    assert file[:132] == bytes(128) + b"DICM"
    meta = pydicom.dcmread(io.BytesIO(file)).file_meta
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationClassUID.startswith("2.25.")
    assert meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert meta.MediaStorageSOPInstanceUID == pydicom.dcmread(io.BytesIO(file)).SOPInstanceUID
    assert "SourceApplicationEntityTitle" not in meta


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated"])
def test_every_encoding_gives_the_same_instance(work, ct_slice, syntax):
    table = Dataset()
    table.LUTDescriptor = [2, 0, 16]
    table.add_new("LUTData", "OW", b"\x01\x02\x03\x04" if syntax != "big" else b"\x02\x01\x04\x03")
    derived = work(ct_slice(syntax=syntax, VOILUTSequence=Sequence([table]), PixelPaddingValue=-2000), 2.0).written()
    reference = work(ct_slice(syntax="explicit", PixelPaddingValue=-2000), 2.0).written()
    np.testing.assert_array_equal(derived.pixel_array, reference.pixel_array)
    assert derived.PatientName == reference.PatientName
    assert derived.PixelPaddingValue == -2000
    assert derived.VOILUTSequence[0].LUTData == b"\x01\x02\x03\x04"
    assert derived.SOPInstanceUID == reference.SOPInstanceUID


def test_moments_without_a_zone_are_refused(work, ct_slice):
    with pytest.raises(ValueError, match="time zone"):
        work(ct_slice(), series_begun=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_the_rules_hold_for_all_of_it(work, ct_slice):
    made = work(ct_slice(), 2.0)
    assert rules.findings(made.image.dataset, made.derived.dataset, padding=made.image.padding) == ()
