"""Whole files: what is read, what is refused, and at what cost."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from imaging import dicom_file
from imaging.dicom_file import read_dicom
from imaging.errors import NotAnImage, TooLarge, UnsupportedFormat
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 20)
ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HH", 0xFFFE, element) for element in (0xE000, 0xE00D, 0xE0DD))


def bundled(name):
    """The bytes of a file in the pydicom package."""
    path = get_testdata_file(name, download=False)
    with open(path, "rb") as file:  # noqa: PTH123 - pydicom gives a str
        return file.read()


def explicit(group, element, vr, value):
    """One element with a long length field, Explicit VR Little Endian."""
    return struct.pack("<HH2sHI", group, element, vr, 0, len(value)) + value


def short(group, element, vr, value):
    """One element with a short length field, Explicit VR Little Endian."""
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


@pytest.fixture
def header(make_file):
    """A valid file whose last element is (0028,1053), so that elements of higher groups can follow."""
    return make_file(PixelData=None)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"])
def test_bundled_files_are_read_as_pydicom_reads_them(name):
    data = bundled(name)
    ours, theirs = read_dicom(data, limits=LIMITS), pydicom.dcmread(get_testdata_file(name, download=False))
    assert ours.file_meta == theirs.file_meta
    assert ours.original_encoding == theirs.original_encoding
    standard = [element for element in theirs if not element.tag.is_private]
    assert list(ours.keys()) == [element.tag for element in standard]
    for element in standard:
        assert ours[element.tag] == element


def test_an_element_is_never_converted_later():
    dataset = read_dicom(bundled("CT_small.dcm"), limits=LIMITS)
    assert not any(isinstance(dataset.get_item(tag), RawDataElement) for tag in dataset.keys())  # noqa: SIM118


@pytest.mark.parametrize("preamble", [b"MZ\x90" + b"\1" * 125, b"\x7fELF" + b"\2" * 124, b"II*\0" + b"\0" * 124])
def test_what_the_preamble_holds_does_not_matter_and_is_not_kept(make_file, preamble):
    dataset = read_dicom(preamble + make_file()[128:], limits=LIMITS)
    assert dataset.Rows == 3
    assert dataset.preamble is None


@pytest.mark.parametrize("name", ["no_meta.dcm", "ExplVR_BigEndNoMeta.dcm", "rtstruct.dcm"])
def test_a_file_without_preamble_is_refused(name):
    with pytest.raises(NotAnImage, match="no DICM prefix"):
        read_dicom(bundled(name), limits=LIMITS)


def test_a_file_without_transfer_syntax_is_refused():
    with pytest.raises(NotAnImage, match="TransferSyntaxUID"):
        read_dicom(bundled("meta_missing_tsyntax.dcm"), limits=LIMITS)


@pytest.mark.parametrize("uid", [b"1.2.840.10008.1.2.9\0", b"1.2.840.113619.5.2\0\0", b"1.2.840.10008.1.1\0\0\0"])
def test_an_unknown_transfer_syntax_is_refused(make_file, uid):
    data = make_file().replace(b"1.2.840.10008.1.2.1\0", uid)
    with pytest.raises(UnsupportedFormat, match="none of the DICOM standard"):
        read_dicom(data, limits=LIMITS)


def test_more_bytes_than_allowed_are_refused(make_file):
    data = make_file()
    assert read_dicom(data, limits=Limits(max_bytes=len(data), max_pixels=1)).Rows == 3
    with pytest.raises(TooLarge, match=f"{len(data)} bytes") as refused:
        read_dicom(data, limits=Limits(max_bytes=len(data) - 1, max_pixels=1))
    assert refused.value.limit == "max_bytes"


def test_a_deflate_bomb_costs_no_more_than_the_limit(make_file):
    data = make_file(syntax=DeflatedExplicitVRLittleEndian)
    start = data.index(b"1.2.840.10008.1.2.1.99") + 22
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = data[:start] + deflate.compress(bytes(64 << 20)) + deflate.flush()
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge, match="deflated") as refused:
        read_dicom(bomb, limits=LIMITS)
    assert refused.value.limit == "max_bytes"


def test_a_deflated_file_that_ends_early_is_refused(make_file):
    data = make_file(
        np.random.default_rng(1).integers(0, 999, (30, 30)).astype(np.int16), syntax=DeflatedExplicitVRLittleEndian
    )
    with pytest.raises(NotAnImage, match="ends early"):
        read_dicom(data[:-40], limits=LIMITS)


def nested(depth, *, defined):
    """`depth` sequences inside each other, with defined or undefined lengths."""
    inside = b""
    for _ in range(depth):
        if defined:
            inside = explicit(0x0040, 0x0275, b"SQ", ITEM + struct.pack("<I", len(inside)) + inside)
        else:
            item = ITEM + b"\xff" * 4 + inside + ITEM_END + bytes(4)
            inside = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + item + SEQUENCE_END + bytes(4)
    return inside


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("depth", [40, 500, 3000])
def test_deeply_nested_sequences_are_refused(header, depth, defined):
    with pytest.raises(NotAnImage, match=r"deep|RecursionError"):
        read_dicom(header + nested(depth, defined=defined), limits=LIMITS)


@pytest.mark.parametrize("defined", [True, False])
def test_ordinary_nesting_is_read(header, defined):
    dataset = read_dicom(header + nested(10, defined=defined), limits=LIMITS)
    for _ in range(10):
        (dataset,) = dataset.RequestAttributesSequence
    assert len(dataset) == 0


@pytest.mark.parametrize("defined", [True, False])
def test_very_many_items_are_refused_before_they_become_objects(monkeypatch, header, defined):
    monkeypatch.setattr(dicom_file, "MAX_ELEMENTS", 500)
    monkeypatch.setattr(dicom_file, "MAX_READS", 2000)
    items = (ITEM + bytes(4)) * 3000
    body = (
        explicit(0x0040, 0x0275, b"SQ", items)
        if defined
        else explicit(0x0040, 0x0275, b"SQ", b"")[:-4] + b"\xff" * 4 + items
    )
    with pytest.raises(NotAnImage, match="more than 500 elements"):
        read_dicom(header + body, limits=LIMITS)


def test_private_elements_count_with_all_others(monkeypatch, header):
    monkeypatch.setattr(dicom_file, "MAX_ELEMENTS", 500)
    private = b"".join(short(0x0029, 0x1000 + number, b"US", b"ab") for number in range(250))
    items = explicit(0x0040, 0x0275, b"SQ", (ITEM + bytes(4)) * 150)
    assert len(read_dicom(header + private + items, limits=LIMITS).RequestAttributesSequence) == 150
    items = explicit(0x0040, 0x0275, b"SQ", (ITEM + bytes(4)) * 250)
    with pytest.raises(NotAnImage, match="more than 500 elements"):
        read_dicom(header + private + items, limits=LIMITS)


def test_a_sequence_of_a_repeating_group_knows_the_sign_of_the_pixels(make_file):
    """As all that is in a sequence must, for VRs that depend on it (PS3.5 6.2, US or SS)."""
    inside = struct.pack("<HHI", 0x0028, 0x0120, 2) + b"\xff\xff"
    item = ITEM + struct.pack("<I", len(inside)) + inside
    file = make_file(PixelData=None, PixelRepresentation=1, syntax=ImplicitVRLittleEndian)
    dataset = read_dicom(file + struct.pack("<HHI", 0x5000, 0x2600, len(item)) + item, limits=LIMITS)
    (found,) = dataset[0x50002600].value
    assert found.PixelPaddingValue == -1


def test_a_huge_element_outside_of_pixel_data_is_refused(header):
    body = explicit(0x0040, 0x0275, b"SQ", (ITEM + bytes(4)) * 140_000)
    with pytest.raises(NotAnImage, match=r"\(0040,0275\).*1120000 bytes"):
        read_dicom(header + body, limits=Limits(max_bytes=1 << 24, max_pixels=1))


def test_a_broken_standard_element_is_named(header):
    broken = explicit(0x0040, 0xA30A, b"ZZ", b"abc ")
    with pytest.raises(NotAnImage, match=r"\(0040,A30A\)"):
        read_dicom(header + broken, limits=LIMITS)


def test_private_elements_are_left_out_unread(header):
    broken = short(0x0041, 0x1001, b"US", b"abc")
    inside = short(0x0009, 0x0010, b"LO", b"SECRET") + short(0x0040, 0x0007, b"LO", b"CHEST ")
    item = ITEM + struct.pack("<I", len(inside)) + inside
    dataset = read_dicom(header + explicit(0x0040, 0x0275, b"SQ", item) + broken, limits=LIMITS)
    assert not [element for element in dataset.iterall() if element.tag.is_private]
    assert dataset.RequestAttributesSequence[0].ScheduledProcedureStepDescription == "CHEST"


def test_an_element_that_is_cut_off_says_so(make_file):
    data = make_file(PatientComments="x" * 100)
    cut = data[: data.index(b"x" * 100) + 50]
    with pytest.raises(NotAnImage, match=r"\(0010,4000\).*50 of 100 bytes.*truncated"):
        read_dicom(cut, limits=LIMITS)


@pytest.mark.parametrize("end", [b"\xff" * 51, explicit(0x0040, 0x0275, b"SQ", b"")[:-4] + b"\xff" * 4 + ITEM])
def test_an_end_inside_of_a_sequence_is_no_empty_data_set(header, end):
    with pytest.raises(NotAnImage, match=r"truncated|cut off"):
        read_dicom(header + end, limits=LIMITS)


def test_raw_values_are_the_bytes_of_the_file(make_file):
    dataset = read_dicom(make_file(PatientID="P1  "), limits=LIMITS)
    assert dataset.PatientID == "P1"
    assert dataset.raw_values[0x00100020] == b"P1  "


def test_neither_warnings_nor_values_get_out(make_file, caplog):
    data = make_file(PatientID="SECRETIVE", PatientBirthDate="19000101").replace(b"19000101", b"SECRETS!")
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        dataset = read_dicom(data, limits=LIMITS)
    assert dataset.PatientBirthDate == "SECRETS!"
    assert "SECRET" not in caplog.text


def test_every_truncation_is_an_error_of_ours_or_a_data_set(make_file):
    data = make_file(syntax=ImplicitVRLittleEndian)
    outcomes = set()
    for length in range(len(data)):
        try:
            outcomes.add(type(read_dicom(data[:length], limits=LIMITS)).__name__)
        except (NotAnImage, UnsupportedFormat) as error:
            outcomes.add(type(error).__name__)
    # cut within TransferSyntaxUID it names another syntax; cut after it, only later elements are missing
    assert outcomes == {"SourceInstance", "NotAnImage", "UnsupportedFormat"}


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_flipped_bytes_never_raise_anything_else(make_file, syntax):
    data = make_file(syntax=syntax)
    generator = np.random.default_rng(7)
    for _ in range(300):
        broken = bytearray(data)
        for position in generator.integers(128, len(data), 3):
            broken[position] = generator.integers(256)
        try:
            dataset = read_dicom(bytes(broken), limits=LIMITS)
        except (NotAnImage, UnsupportedFormat, TooLarge):
            continue
        assert isinstance(dataset, Dataset)
