"""De-identified derived instances: nothing that could name anybody is left, and what belongs together stays so."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.sequence import Sequence

from service.dicom import basic_profile, elements
from service.dicom.compression import compressed
from service.dicom.deidentify import deidentified
from service.dicom.eligibility import made_here
from service.dicom.identity import device_uid

SECRET = b"0123456789abcdef"

CANARIES = {
    "AE": "CANARY",
    "AS": "077Y",
    "CS": "CANARY",
    "DA": "19770707",
    "DT": "19770707074747.474747",
    "LO": "Canary",
    "LT": "Canary",
    "PN": "Canary^Ann",
    "SH": "Canary",
    "ST": "Canary",
    "TM": "074747.474747",
    "UC": "Canary",
    "UI": "1.2.77777.1",
    "UR": "http://canary.example",
    "UT": "Canary",
}
TRACE = re.compile(rb"canary|19770707|074747|\.77777\.|077Y", re.IGNORECASE)

NEEDED = {
    "SpecificCharacterSet",
    "SOPClassUID",
    "Modality",
    "PhotometricInterpretation",
    "RescaleType",
    "MultienergyCTAcquisition",
    "ConcatenationUID",
    "BurnedInAnnotation",
    "TimezoneOffsetFromUTC",
}
"""Without their values no instance is derived."""

DOCUMENTED = (basic_profile.KEPT - basic_profile.UIDS) | {0x00020002}
"""Attributes that stay, by the module's documentation."""


def canary_elements(*, without=()):
    """A canary in every text, date, time and UID attribute of the dictionary."""
    found = Dataset()
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        texts = vr in CANARIES and keyword and keyword not in {*NEEDED, *without}
        if texts and tag >> 16 not in (0x0000, 0x0002, 0x0004):
            found.add_new(tag, vr, CANARIES[vr])
    return found


def sequences_with(item):
    """Every sequence of the dictionary, with that one item."""
    found = Dataset()
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        refused = keyword in {"ModalityLUTSequence", "VOILUTSequence", "DimensionIndexSequence"}
        if vr == "SQ" and keyword and not refused and tag >> 16 not in (0x0004, 0x5200):
            found.add_new(tag, "SQ", Sequence([item]))
    return found


def small(item):
    """A few of those, of each VR."""
    chosen = Dataset()
    for keyword in (
        "PatientName",
        "StationName",
        "InstitutionName",
        "CodeMeaning",
        "ReferencedSOPInstanceUID",
        "TextValue",
        "ContributionDateTime",
        "ContributionDescription",
        "DeviceSerialNumber",
        "DeviceUID",
        "RetrieveURL",
        "RetrieveAETitle",
        "StudyDate",
        "StudyTime",
        "PatientAge",
        "ImageComments",
        "PersonName",
        "UID",
        "Manufacturer",
    ):
        chosen[keyword] = item[keyword]
    return chosen


def leaves(found, above=()):
    """(keywords from the top, element) of all elements that are no sequences."""
    for element in found:
        path = (*above, keyword_for_tag(element.tag) or hex(element.tag))
        if element.vr == "SQ":
            for item in elements.items_of(element):
                yield from leaves(item, path)
        else:
            yield path, element


def traces(file):
    read = elements.read_file(file)
    return {path: element.tag for path, element in leaves((*read.meta, *read.elements)) if TRACE.search(element.value)}


@pytest.fixture
def canaries(ct_dataset, to_file):
    """A CT file with canaries wherever they may stand."""
    dataset = ct_dataset()
    texts = canary_elements(without=("ImageType", "FrameType", "WindowCenterWidthExplanation"))
    dataset.update(sequences_with(small(texts)))
    dataset.update(texts)
    deep = Dataset()
    deep.update(sequences_with(small(texts)))
    dataset.UnassignedSharedConvertedAttributesSequence = Sequence([deep])
    return to_file(dataset)


@pytest.fixture
def enhanced_canaries(enhanced):
    """A multi-frame CT file with them, in its frames and shared groups too."""
    dataset = enhanced.enhanced_ct()
    texts = canary_elements(without=("ImageType", "FrameType", "WindowCenterWidthExplanation"))
    below = sequences_with(small(texts))
    dataset.update({element.tag: element for element in [*below, *texts] if element.tag not in dataset})
    for keyword in ("PatientName", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "ContentDate"):
        dataset[keyword] = texts[keyword]
    for place in (*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence):
        for group in [*place]:
            for item in group.value:
                item.update({element.tag: element for element in small(texts) if element.tag not in item})
        more = [*below, *texts] if place in dataset.SharedFunctionalGroupsSequence else small(texts)
        place.update({element.tag: element for element in more if element.tag not in place})
    return enhanced.enhanced_file(dataset)


def check_no_trace(file):
    """In a source's derived file there are many; of the de-identified one all are documented."""
    before, after = traces(file), traces(deidentified(file, SECRET))
    assert len(before) > 1000
    assert not [path for path, tag in after.items() if tag not in DOCUMENTED]
    assert after  # what is documented does stay


def test_no_canary_is_left(work, canaries):
    check_no_trace(work(canaries, 1.0).write())


def test_no_canary_is_left_in_multi_frame_instances(frames_work, enhanced_canaries):
    check_no_trace(frames_work(enhanced_canaries, 1.0).write())


def test_what_stays_is_no_name_date_or_uid():
    """By VR: the names of persons, dates, times and places have VRs of their own, which nothing that stays has."""
    kept = {DicomDictionary[tag][0] for tag in basic_profile.KEPT}
    assert kept & {"PN", "DA", "TM", "DT", "AE", "AS", "LT", "ST", "UT"} == set()
    unlike_uids = {tag for tag in basic_profile.KEPT if DicomDictionary[tag][0] == "UI"}
    assert {keyword_for_tag(tag) for tag in unlike_uids} == {
        "SOPClassUID",
        "ReferencedSOPClassUID",
        "RelatedGeneralSOPClassUID",
    }
    groups = (basic_profile.EMPTIED, basic_profile.DUMMIES, basic_profile.UIDS, basic_profile.KEPT)
    assert sum(len(group) for group in groups) == len(frozenset().union(*groups))
    assert {DicomDictionary[tag][0] for tag in basic_profile.DUMMIES} == set(basic_profile.DUMMY_VALUES)


def test_a_wrong_keyword_in_the_profile_is_noticed():
    with pytest.raises(ValueError, match="NoSuchKeyword"):
        basic_profile._tags("PatientName NoSuchKeyword")


def read(file):
    return dcmread(io.BytesIO(file))


def test_the_image_itself_stays(work, ct_slice):
    file = work(ct_slice(), 1.0).write()
    made, source = read(deidentified(file, SECRET)), read(file)
    np.testing.assert_array_equal(made.pixel_array, source.pixel_array)
    for keyword in (
        "SOPClassUID",
        "ImageType",
        "Modality",
        "Manufacturer",
        "ManufacturerModelName",
        "SoftwareVersions",
        "ContentQualification",
        "KVP",
        "SliceThickness",
        "ConvolutionKernel",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
        "SeriesNumber",
        "InstanceNumber",
        "DerivationCodeSequence",
    ):
        assert made[keyword] == source[keyword], keyword


def test_it_says_that_and_how(work, ct_slice):
    made = read(deidentified(work(ct_slice(BurnedInAnnotation="NO"), 1.0).write(), SECRET))
    assert made.PatientIdentityRemoved == "YES"
    assert made.DeidentificationMethod.startswith("Basic Application Confidentiality Profile, clearslice ")
    (code,) = made.DeidentificationMethodCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == (
        "113100",
        "DCM",
        "Basic Application Confidentiality Profile",
    )
    assert made.LongitudinalTemporalInformationModified == "REMOVED"
    assert made.BurnedInAnnotation == "NO"


def test_what_the_table_empties_replaces_and_removes(work, ct_slice):
    made = read(deidentified(work(ct_slice(PatientAge="075Y", StudyDescription="x"), 1.0).write(), SECRET))
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "PatientSex", "PatientBirthDate"):
        assert made[keyword].is_empty, keyword
    assert (made.ContentDate, made.ContentTime) == ("19000101", "000000")
    for keyword in ("AcquisitionDate", "SeriesDate", "InstanceCreationDate", "InstitutionName", "StudyDescription"):
        assert keyword not in made
    assert "SeriesDescription" not in made
    assert "PatientAge" not in made


def test_the_scanner_loses_its_serial_number_and_this_program_does_not(work, ct_slice):
    file = work(ct_slice(), 1.0).write()
    made, source = read(deidentified(file, SECRET)), read(file)
    scanner, ours = made.ContributingEquipmentSequence
    assert (scanner.Manufacturer, scanner.DeviceSerialNumber) == ("SCANNERS INC", "REMOVED")
    for keyword in ("StationName", "InstitutionName", "ContributionDateTime"):
        assert keyword not in scanner
    serial = source.DeviceSerialNumber
    assert (ours.DeviceSerialNumber, ours.DeviceUID, made.DeviceSerialNumber) == (serial, device_uid(serial), serial)
    assert made_here(made)


def test_a_serial_number_that_only_looks_like_ours_goes(work, ct_slice):
    """DeviceUID follows from a name as it would from weights."""
    item = Dataset()
    item.Manufacturer, item.DeviceSerialNumber, item.DeviceUID = "X", "SMITH", device_uid("SMITH")
    file = work(ct_slice(), 1.0).write()
    parsed = elements.read_file(file)
    contributors = parsed.get(tag_for_keyword("ContributingEquipmentSequence"))
    fake = [
        elements.text_element(tag_for_keyword("Manufacturer"), "LO", "X"),
        elements.text_element(tag_for_keyword("DeviceSerialNumber"), "LO", "SMITH"),
        elements.text_element(tag_for_keyword("DeviceUID"), "UI", device_uid("SMITH")),
    ]
    both = elements.sequence(contributors.tag, [*elements.items_of(contributors), fake])
    changed = elements.write_file(elements.File(parsed.meta, elements.replaced(parsed.elements, both)))
    made = read(deidentified(changed, SECRET))
    assert made.ContributingEquipmentSequence[-1].DeviceSerialNumber == "REMOVED"
    assert made.ContributingEquipmentSequence[-1].DeviceUID != device_uid("SMITH")


def test_references_stay_linked(work, ct_slice):
    """Two derived slices of one series, one of which is the source of the other's next derivation."""
    one, two = (read(deidentified(work(ct_slice(SOPInstanceUID=f"1.2.3.{n}"), n).write(), SECRET)) for n in (1, 2))
    source = read(deidentified(work(ct_slice(SOPInstanceUID="1.2.3.1"), 1.0, strength=0.5).write(), SECRET))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert one[keyword] == two[keyword]
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SourceImageSequence[0].ReferencedSOPInstanceUID
    assert one.SourceImageSequence[0].ReferencedSOPInstanceUID not in ("1.2.3.1", one.SOPInstanceUID)
    assert one.SourceImageSequence[0].ReferencedSOPClassUID == one.SOPClassUID
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", one.SOPInstanceUID)


def test_evidence_of_frames_is_mapped_alike(frames_work, enhanced):
    file = frames_work(enhanced.enhanced_file(enhanced.enhanced_ct()), 1.0).write()
    made = read(deidentified(file, SECRET))
    evidence = made.SourceImageEvidenceSequence[0]
    image = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    sources = [
        groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for groups in made.PerFrameFunctionalGroupsSequence
    ]
    assert set(sources) == {image}
    assert evidence.StudyInstanceUID == made.StudyInstanceUID
    organization = made.DimensionOrganizationSequence[0].DimensionOrganizationUID
    assert {item.DimensionOrganizationUID for item in made.DimensionIndexSequence} == {organization}
    dates = {item.FrameContentSequence[0].FrameAcquisitionDateTime for item in made.PerFrameFunctionalGroupsSequence}
    assert dates == {"19000101000000"}


def test_uids_of_the_standard_stay(work, ct_slice):
    atlas = "1.2.840.10008.1.4.1.1"  # a well-known frame of reference (PS3.6 table A-2)
    made = read(deidentified(work(ct_slice(FrameOfReferenceUID=atlas), 1.0).write(), SECRET))
    assert made.FrameOfReferenceUID == atlas


def test_another_secret_gives_other_uids_and_names(work, ct_slice):
    file = work(ct_slice(), 1.0).write()
    one, other = read(deidentified(file, SECRET)), read(deidentified(file, SECRET[::-1]))
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"):
        assert one[keyword] != other[keyword]
    assert deidentified(file, SECRET) == deidentified(file, SECRET)


def test_one_patient_keeps_one_pseudonym_and_no_two_share_one(work, ct_slice):
    def pseudonym(**attributes):
        made = read(deidentified(work(ct_slice(**attributes), 1.0).write(), SECRET))
        assert made.PatientID == made.PatientName
        return made.PatientID

    first = pseudonym(PatientID="P1", StudyInstanceUID="1.2.1")
    assert pseudonym(PatientID="P1 ", StudyInstanceUID="1.2.2", PatientName="Other^Spelling") == first
    assert pseudonym(PatientID="P1", IssuerOfPatientID="another hospital") != first
    # nobody is named: each study is somebody else's
    assert pseudonym(PatientID="", StudyInstanceUID="1.2.1") != pseudonym(PatientID="", StudyInstanceUID="1.2.2")


def test_free_text_under_another_vr_does_not_pass(work, ct_slice):
    parsed = elements.read_file(work(ct_slice(), 1.0).write())
    changed = elements.replaced(
        parsed.elements,
        elements.text_element(tag_for_keyword("KVP"), "LO", "Smith 120"),
        elements.text_element(tag_for_keyword("ExposureTime"), "IS", "Smith"),
        elements.text_element(tag_for_keyword("BodyPartExamined"), "CS", "Smith's chest"),
        elements.text_element(tag_for_keyword("PatientSex"), "LO", "Smith"),
    )
    made = deidentified(elements.write_file(elements.File(parsed.meta, changed)), SECRET)
    assert b"Smith" not in made
    assert "KVP" not in read(made)
    assert read(made)["PatientSex"].VR == "CS"


def test_who_sent_the_file_is_not_told(work, ct_slice):
    parsed = elements.read_file(work(ct_slice(), 1.0).write())
    sender = elements.text_element(0x00020016, "AE", "WARD7")
    file = elements.write_file(elements.File(elements.replaced(parsed.meta, sender), parsed.elements))
    assert b"WARD7" in file
    assert b"WARD7" not in deidentified(file, SECRET)


def test_it_can_be_compressed_afterwards(work, ct_slice):
    made = deidentified(work(ct_slice(), 1.0).write(), SECRET)
    np.testing.assert_array_equal(read(compressed(made, "rle")).pixel_array, read(made).pixel_array)


def test_short_secrets_and_other_files_are_refused(ct_slice):
    with pytest.raises(ValueError, match="15 bytes"):
        deidentified(ct_slice(), b"x" * 15)
    with pytest.raises(ValueError, match="derived instance"):
        deidentified(b"", SECRET)


@pytest.mark.peer
def test_dciodvfy_finds_no_new_error(work, ct_slice, new_findings):
    file = work(ct_slice(), 1.0).write()
    assert not [line for line in new_findings(file, deidentified(file, SECRET)) if "Error" in line]


@pytest.mark.peer
@pytest.mark.parametrize("legacy", [False, True])
def test_dciodvfy_finds_no_new_error_in_multi_frame_instances(frames_work, enhanced, new_findings, legacy):
    file = frames_work(enhanced.enhanced_file(enhanced.enhanced_ct(legacy=legacy)), 1.0).write()
    assert not [line for line in new_findings(file, deidentified(file, SECRET)) if "Error" in line]
