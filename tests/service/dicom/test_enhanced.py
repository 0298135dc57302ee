"""Derived multi-frame instances: what is said of an image elsewhere is said of each frame, and in the right place."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from pydicom import DataElement
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from service.dicom.identity import device_uid
from service.settings import SiteConventions

TYPE, RESCALE = "CTImageFrameTypeSequence", "PixelValueTransformationSequence"

OWN_GROUPS = {
    "rescales": [(1, -1024), (1, -1000), (0.5, 0)],
    "frame_types": [["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]] * 3,
}
"""Groups of each frame instead of shared ones."""


def shared(dataset, keyword):
    return dataset.SharedFunctionalGroupsSequence[0][keyword].value[0]


def own(dataset, keyword):
    return [groups[keyword].value[0] for groups in dataset.PerFrameFunctionalGroupsSequence]


def into_metal(image, number):
    """One pixel of the second frame beyond 12 bits."""
    restored = image.pixels.copy()
    if number == 1:
        restored[3, 4] = 20000
    return restored


@pytest.fixture
def file(enhanced):
    return lambda *arguments, **changes: enhanced.enhanced_file(enhanced.enhanced_ct(*arguments, **changes))


@pytest.mark.peer
@pytest.mark.parametrize("change", [5.5, into_metal])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("own_groups", [{}, OWN_GROUPS], ids=["shared", "own"])
def test_dciodvfy_finds_nothing_new(frames_work, file, new_findings, legacy, change, own_groups):  # noqa: PLR0917 - fixtures and cases
    source = file(legacy=legacy, **own_groups)
    assert not any("Error" in line for line in new_findings(b"", source))
    made = frames_work(source, change)
    assert made.findings() == ()
    assert new_findings(source, made.write()) == set()


@pytest.mark.peer
def test_dcentvfy_finds_source_and_derived_consistent(frames_work, file, tmp_path):
    program = shutil.which("dcentvfy")
    if program is None:
        pytest.skip("dcentvfy (Debian package dicom3tools) is not installed")
    made = frames_work(file(), 2.0)

    def complaints(derived):
        for name, data in (("source.dcm", made.file), ("derived.dcm", derived)):
            (tmp_path / name).write_bytes(data)
        paths = [tmp_path / "source.dcm", tmp_path / "derived.dcm"]
        done = subprocess.run([program, *paths], capture_output=True, text=True, check=False)
        return [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]

    derived = made.write()
    assert complaints(derived) == []
    assert complaints(derived.replace(b"19500101", b"19500102")) != []


@pytest.mark.peer
def test_dciodvfy_would_find_a_missing_group(frames_work, file, new_findings):
    made = frames_work(file(), 1.0)
    del made.derived.dataset.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence
    assert any("CTImageFrameTypeSequence" in line for line in new_findings(made.file, made.write()))


def test_instance_series_and_equipment(frames_work, file):
    made = frames_work(file(), 1.0)
    derived = made.written()
    assert made.findings() == ()
    assert derived.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"
    assert derived.SOPInstanceUID.startswith("2.25.")
    assert derived.SeriesInstanceUID.startswith("2.25.")
    assert derived.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert derived.file_meta.MediaStorageSOPInstanceUID == derived.SOPInstanceUID
    assert (derived.SeriesNumber, derived.SeriesDescription) == (8002, "Thorax 5.0 AI-DN")
    assert (derived.ContentQualification, derived.Manufacturer) == ("RESEARCH", "Clearslice")
    assert (derived.ContentDate, derived.AcquisitionDateTime) == ("20260304", "20250102101114")
    assert (derived.PatientName, derived.StudyInstanceUID, derived.InstanceNumber) == ("M\xfcller^Hans", "1.2.3", 7)
    scanner, ours = derived.ContributingEquipmentSequence
    assert (scanner.Manufacturer, scanner.ContributionDateTime) == ("SCANNERS INC", "20250102101114")
    assert ours.DeviceUID == device_uid(ours.DeviceSerialNumber)


def test_frames_keep_their_order_place_and_content(frames_work, file, enhanced):
    source, derived = enhanced.enhanced_ct(), frames_work(file(), 1.0).written()
    assert derived.NumberOfFrames == 3
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence", "AcquisitionContextSequence"):
        assert derived[keyword].value == source[keyword].value
    for keyword in ("FrameContentSequence", "PlanePositionSequence"):
        assert own(derived, keyword) == own(source, keyword)
    for keyword in ("PixelMeasuresSequence", "CTExposureSequence", "FrameVOILUTSequence", RESCALE):
        assert shared(derived, keyword) == shared(source, keyword)
    expected = enhanced.stack_of() + 1
    np.testing.assert_array_equal(derived.pixel_array, expected)


def test_each_frame_names_the_frame_that_it_was_made_from(frames_work, file):
    derived = frames_work(file(), 1.0, strength=0.5).written()
    for number, item in enumerate(own(derived, "DerivationImageSequence"), start=1):
        (source,) = item.SourceImageSequence
        assert source.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"
        assert (source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber) == ("1.2.3.4.5", number)
        assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        assert source.SpatialLocationsPreserved == "YES"
        assert item.DerivationCodeSequence[0].CodeValue == "113087"
        assert "ct-tiny@1" in item.DerivationDescription
        assert "strength 0.5" in item.DerivationDescription
    (evidence,) = derived.SourceImageEvidenceSequence
    (series,) = evidence.ReferencedSeriesSequence
    assert (evidence.StudyInstanceUID, series.SeriesInstanceUID) == ("1.2.3", "1.2.3.4")
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    (referenced,) = derived.ReferencedSeriesSequence
    assert referenced.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert "SourceImageSequence" not in derived


@pytest.mark.parametrize("is_shared", [True, False])
def test_earlier_derivations_and_their_evidence_stay(frames_work, enhanced, is_shared):
    source = enhanced.enhanced_ct()
    places = source.SharedFunctionalGroupsSequence if is_shared else source.PerFrameFunctionalGroupsSequence
    for place in places:
        place.DerivationImageSequence = [enhanced.item(DerivationDescription="resampled", SourceImageSequence=[])]
    raw = enhanced.item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.8.1")
    series = enhanced.item(SeriesInstanceUID="1.8", ReferencedSOPSequence=[raw])
    source.SourceImageEvidenceSequence = [enhanced.item(StudyInstanceUID="1.2.3", ReferencedSeriesSequence=[series])]
    made = frames_work(enhanced.enhanced_file(source), 1.0)
    assert made.findings() == ()
    derived = made.written()
    assert "DerivationImageSequence" not in derived.SharedFunctionalGroupsSequence[0]
    for groups in derived.PerFrameFunctionalGroupsSequence:
        assert [item.DerivationDescription[:9] for item in groups.DerivationImageSequence] == ["resampled", "Noise red"]
    (evidence,) = derived.SourceImageEvidenceSequence
    assert [item.SeriesInstanceUID for item in evidence.ReferencedSeriesSequence] == ["1.8", "1.2.3.4"]


NONE = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
RESTED = ["DERIVED", "PRIMARY", "REST", "MAXIMUM"]
# FrameType of the frames and ImageType of the source, and values 3 and 4 of both in the derived instance
TYPES = {
    "shared": ([NONE], NONE, [("VOLUME", "FILTERED")] * 3, ("VOLUME", "FILTERED")),
    "own": (
        [NONE, RESTED] * 2,
        ["MIXED", "PRIMARY", "VOLUME", "MIXED"],
        [("VOLUME", "FILTERED"), ("REST", "MAXIMUM")] * 2,
        ("VOLUME", "MIXED"),
    ),
    "short": (
        [["ORIGINAL", "PRIMARY"]],
        ["ORIGINAL", "PRIMARY", "AXIAL"],
        [("AXIAL", "FILTERED")] * 3,
        ("AXIAL", "FILTERED"),
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_frame_types_and_what_sums_them_up(frames_work, file, enhanced, name):
    frame_types, image_type, expected, expected_image = TYPES[name]
    stack = enhanced.stack_of(len(expected))
    made = frames_work(file(stack, bits=12, frame_types=frame_types, ImageType=image_type), 1.0)
    assert made.findings() == ()
    assert any("FrameType" in note for note in made.derived.notes) is (name == "short")
    derived = made.written()
    assert tuple(derived.ImageType) == ("DERIVED", "PRIMARY", *expected_image)
    types = [shared(derived, TYPE)] * len(expected) if len(frame_types) == 1 else own(derived, TYPE)
    assert [tuple(one.FrameType) for one in types] == [("DERIVED", "PRIMARY", *one) for one in expected]
    assert {one.PixelPresentation for one in types} == {"MONOCHROME"}
    assert (derived.PixelPresentation, derived.VolumetricProperties) == ("MONOCHROME", "VOLUME")
    assert derived.VolumeBasedCalculationTechnique == "NONE"


def test_missing_frame_types_are_filled_in_from_the_image(frames_work, enhanced):
    source = enhanced.enhanced_ct()
    del source.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence
    made = frames_work(enhanced.enhanced_file(source), 1.0, conventions=SiteConventions(image_type_secondary=True))
    assert made.findings() == ()
    for one in own(made.written(), TYPE):
        assert list(one.FrameType) == ["DERIVED", "PRIMARY", "VOLUME", "FILTERED"]
        assert (one.PixelPresentation, one.VolumetricProperties) == ("MONOCHROME", "VOLUME")


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("keyword", [TYPE, RESCALE, "DerivationImageSequence"])
def test_a_group_that_is_empty_in_the_other_place_does_no_harm(frames_work, enhanced, keyword, is_shared):
    source = enhanced.enhanced_ct(**({} if is_shared else OWN_GROUPS))
    places = source.PerFrameFunctionalGroupsSequence if is_shared else source.SharedFunctionalGroupsSequence
    for place in places:
        place[keyword] = DataElement(keyword, "SQ", Sequence())
    made = frames_work(enhanced.enhanced_file(source), 1.0)
    assert made.findings() == ()
    derived = made.written()
    assert {
        groups.DerivationImageSequence[0].DerivationCodeSequence[0].CodeValue
        for groups in derived.PerFrameFunctionalGroupsSequence
    } == {"113087"}
    assert "DerivationImageSequence" not in derived.SharedFunctionalGroupsSequence[0]


def test_a_rescale_at_the_top_level_goes_since_it_would_contradict_the_frames(frames_work, enhanced):
    source = enhanced.enhanced_ct(RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")
    made = frames_work(enhanced.enhanced_file(source), into_metal)
    assert made.findings() == ()
    derived = made.written()
    assert not {"RescaleSlope", "RescaleIntercept", "RescaleType"} & set(derived.dir())
    assert (shared(derived, RESCALE).RescaleSlope, shared(derived, RESCALE).RescaleIntercept) == (1, 0)


def test_what_belongs_to_the_old_pixels_is_removed(frames_work, enhanced):
    source = enhanced.enhanced_ct(legacy=True, SmallestImagePixelValue=3, DerivationDescription="x")
    private = source.PerFrameFunctionalGroupsSequence[0].private_block(0x2001, "SCANNERS", create=True)
    private.add_new(1, "SQ", Sequence([enhanced.item(ImageComments="secret")]))
    source.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence = [enhanced.item(WindowCenter="40", WindowWidth="0")]
    made = frames_work(enhanced.enhanced_file(source), 1.0)
    assert made.findings() == ()
    assert "WindowCenter and WindowWidth were invalid and are left out" in made.derived.notes
    written = made.write()
    assert b"secret" not in written
    derived = made.derived.dataset
    assert "SmallestImagePixelValue" not in derived
    assert "DerivationDescription" not in derived
    groups = derived.SharedFunctionalGroupsSequence[0]
    assert "FrameVOILUTSequence" not in groups
    assert groups.UnassignedSharedConvertedAttributesSequence[0].KVP == 120
    assert "SmallestImagePixelValue" not in groups.UnassignedSharedConvertedAttributesSequence[0]
    for one in derived.PerFrameFunctionalGroupsSequence:
        assert "ConversionSourceAttributesSequence" not in one
        assert one.UnassignedPerFrameConvertedAttributesSequence[0].SliceLocation


def test_uids_follow_from_source_work_pixels_and_rescale(frames_work, file, enhanced):
    def uid(change=1.0, source=None, **changes):
        return frames_work(source or file(), change, **changes).derived.dataset.SOPInstanceUID

    assert uid() == uid()
    assert len({uid(), uid(2.0), uid(strength=0.5), uid(into_metal), uid(source=file(SOPInstanceUID="1.9"))}) == 5
    # the same bytes with another meaning, in one frame only
    stack = enhanced.stack_of()
    one, other = ([(1, -1024), (1, -1024), (1, intercept)] for intercept in (-1024, -1000))
    assert uid(0.0, file(stack, bits=12, rescales=one)) != uid(0.0, file(stack, bits=12, rescales=other))
