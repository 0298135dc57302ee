"""Stored values to HU, for every native encoding, and all that is refused."""

from __future__ import annotations

import logging
import math

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.data import get_testdata_file
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
)

from imaging.dicom_pixels import image_from_dataset, is_localizer, pixel_encoding, read_dicom
from imaging.errors import ImagingError, NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat
from imaging.image import to_stored_values
from imaging.limits import Limits
from imaging.pixel_encoding import stored_values_to_bytes

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16)
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def image_of(data):
    return image_from_dataset(read_dicom(data, limits=LIMITS), max_pixels=LIMITS.max_pixels)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("shape", [(3, 4), (3, 5), (1, 1)])
def test_every_native_encoding_gives_its_stored_values(make_file, syntax, dtype, shape):
    info = np.iinfo(dtype)
    stored = np.random.default_rng(3).integers(info.min, info.max, shape, endpoint=True).astype(dtype)
    stored.flat[-1] = 1  # no undeclared padding
    changes = {}
    if syntax == ExplicitVRBigEndian and stored.itemsize == 1:
        # PS3.5 8.1.1: 8-bit pixels in 16-bit words; the first pixel is the less significant byte
        padded = np.append(stored.reshape(-1).view(np.uint8), np.zeros(stored.size % 2, np.uint8))
        changes["PixelData"] = padded.view("<u2").astype(">u2").tobytes()
    image = image_of(make_file(stored, syntax=syntax, RescaleIntercept=0, **changes))
    assert image.stored.dtype == np.dtype(dtype)
    assert image.stored.tolist() == stored.tolist()
    assert image.unit == "HU"
    assert image.format == "dicom"
    assert image.spacing == (0.5, 0.75)


def test_big_endian_bytes_are_not_swapped(make_ct):
    dataset = make_ct(np.zeros((1, 3), np.uint8), syntax=ExplicitVRBigEndian, PixelData=b"\1\2\3\0", RescaleIntercept=0)
    dataset["PixelData"].VR = "OB"
    assert image_from_dataset(dataset, max_pixels=9).stored.tolist() == [[1, 2, 3]]
    dataset["PixelData"].VR = "OW"
    assert image_from_dataset(dataset, max_pixels=9).stored.tolist() == [[2, 1, 0]]


@given(arrays(np.uint16, (2, 3)), st.integers(1, 16), st.booleans())
def test_garbage_in_unused_bits_is_cut_off_and_the_round_trip_is_exact(make_ct, words, bits, signed):
    dataset = make_ct(words, bits=bits, PixelRepresentation=int(signed))
    image = image_from_dataset(dataset, max_pixels=99)
    expected = [word % (1 << bits) for word in words.reshape(-1).tolist()]
    if signed:
        expected = [value - (1 << bits) if value >= 1 << (bits - 1) else value for value in expected]
    assert image.stored.reshape(-1).tolist() == expected
    encoding = pixel_encoding(dataset)
    back = to_stored_values(image, image.pixels.copy(), low=encoding.low, high=encoding.high, dtype=encoding.dtype)
    again = make_ct(
        words, bits=bits, PixelRepresentation=int(signed), PixelData=stored_values_to_bytes(back.values, encoding)
    )
    assert image_from_dataset(again, max_pixels=99).stored.tolist() == image.stored.tolist()


@pytest.mark.parametrize("name", ["CT_small.dcm"])
def test_bundled_ct_as_pydicom_decodes_it(name):
    path = get_testdata_file(name, download=False)
    with open(path, "rb") as file:  # noqa: PTH123 - pydicom gives a str
        image = image_of(file.read())
    reference = pydicom.dcmread(path)
    hounsfield = reference.pixel_array.astype(np.float64) * reference.RescaleSlope + reference.RescaleIntercept
    assert image.padding is None or image.padding.any()
    keep = np.ones(image.shape, bool) if image.padding is None else ~image.padding
    assert np.array_equal(image.pixels[keep], hounsfield.astype(np.float32)[keep])
    assert np.array_equal(image.stored, reference.pixel_array)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_photometric_interpretation_does_not_change_hu(make_ct, photometric):
    image = image_from_dataset(
        make_ct(np.array([[24, 1024]], np.uint16), PhotometricInterpretation=photometric), max_pixels=9
    )
    assert image.pixels.tolist() == [[-1000.0, 0.0]]


def test_rescale_by_hand(make_ct):
    dataset = make_ct(np.array([[0, 10, 4000]], np.uint16), RescaleSlope="0.5", RescaleIntercept="-1000.5")
    assert image_from_dataset(dataset, max_pixels=9).pixels.tolist() == [[-1000.5, -995.5, 999.5]]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"Modality": "MR", "SOPClassUID": MRImageStorage}, UnsuitableImage, "Modality is 'MR'"),
        ({"Modality": "PT"}, UnsuitableImage, "Modality is 'PT'"),
        ({"Modality": None}, UnsuitableImage, "Modality is ''"),
        ({"SOPClassUID": None}, UnsuitableImage, "SOP class is missing"),
        ({"SOPClassUID": EnhancedCTImageStorage}, UnsuitableImage, "Enhanced CT Image Storage is multi-frame"),
        ({"NumberOfFrames": 2}, UnsuitableImage, "NumberOfFrames is 2"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, UnsuitableImage, "localizer"),
        ({"PixelData": None}, UnsuitableImage, "no pixel data .*CT Image Storage"),
        ({"PhotometricInterpretation": None}, UnsuitableImage, "PhotometricInterpretation is ''"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, UnsuitableImage, "'RGB' with 3 samples"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, UnsuitableImage, "'PALETTE COLOR'"),
        ({"Rows": None}, UnsuitableImage, "Rows is missing"),
        ({"Rows": 0}, UnsuitableImage, "Rows 0"),
        ({"Columns": 0}, UnsuitableImage, "Columns 0"),
        ({"PixelRepresentation": None}, UnsuitableImage, "PixelRepresentation is missing"),
        ({"BitsAllocated": 12}, UnsuitableImage, "BitsAllocated is 12"),
        ({"RescaleSlope": None}, UnsuitableImage, "RescaleSlope is missing"),
        ({"RescaleIntercept": None}, UnsuitableImage, "RescaleIntercept is missing"),
        ({"RescaleSlope": None, "RescaleIntercept": None}, UnsuitableImage, "RescaleSlope is missing"),
        ({"RescaleSlope": 0}, UnsuitableImage, "slope 0.0"),
        ({"RescaleSlope": 1e6}, UnsuitableImage, "reach 3.28e"),
        ({"RescaleSlope": 1e300}, UnsuitableImage, "reach 3.28e"),
        ({"RescaleSlope": "1e-320"}, UnsuitableImage, "rescale slope 1e-320"),
        ({"RescaleSlope": [1, 2]}, UnsuitableImage, "RescaleSlope must be 1 finite number"),
        ({"RescaleType": "US"}, UnsuitableImage, "RescaleType is 'US'"),
        ({"RescaleType": "Z_EFF"}, UnsuitableImage, "RescaleType is 'Z_EFF'"),
        ({"ModalityLUTSequence": []}, UnsuitableImage, "ModalityLUTSequence"),
        ({"PixelSpacing": [0, 1]}, UnsuitableImage, "PixelSpacing is 0"),
        ({"PixelSpacing": [1]}, UnsuitableImage, "PixelSpacing must be 2"),
        ({"PixelData": b"\0" * 22}, NotAnImage, "22 bytes, but Rows 3 x Columns 4 x 2 needs 24"),
        ({"PixelData": b""}, NotAnImage, r"PixelData (has 0 bytes|is empty)"),
        ({"Rows": 65535, "Columns": 65535}, TooLarge, "65535 rows"),
    ],
)
def test_what_is_refused_and_why(make_ct, changes, error, message):
    with pytest.raises(error, match=message):
        image_from_dataset(make_ct(**changes), max_pixels=100)


@pytest.mark.parametrize("written", [b"abc", b"nan", b"1e400", b"inf", b"", b"1\\2", b"-1024,5"])
def test_an_intercept_that_is_no_number_is_refused(make_file, written):
    data = make_file(RescaleIntercept="-1024.125").replace(b"-1024.125 ", written.ljust(10))
    with pytest.raises(UnsuitableImage, match=r"RescaleIntercept (must be 1 finite number|is missing or empty)"):
        image_of(data)


@pytest.mark.parametrize(
    "changes", [{"RescaleType": "HU"}, {"RescaleType": ""}, {"ImageType": None}, {"PixelSpacing": None}]
)
def test_what_is_tolerated(make_ct, changes):
    image = image_from_dataset(make_ct(**changes), max_pixels=12)
    assert image.pixels[0, 1] == -1023.0
    assert (image.spacing is None) == ("PixelSpacing" in changes)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_native_pixels_under_a_compressed_syntax_are_refused(make_ct, syntax):
    dataset = make_ct()
    dataset.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(NotAnImage, match="not encapsulated although"):
        image_from_dataset(dataset, max_pixels=99)


def test_other_transfer_syntaxes_are_refused_by_name(make_ct):
    dataset = make_ct()
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(UnsupportedFormat, match="the transfer syntax is MPEG2"):
        image_from_dataset(dataset, max_pixels=99)


def test_a_data_set_without_file_meta_is_refused(make_ct):
    dataset = make_ct()
    del dataset.file_meta
    with pytest.raises(NotAnImage, match="TransferSyntaxUID"):
        image_from_dataset(dataset, max_pixels=99)


def test_encapsulated_pixels_under_an_uncompressed_syntax_are_no_pixels(make_file):
    fragment = b"\xfe\xff\x00\xe0" + (40).to_bytes(4, "little") + bytes(40)
    empty_table, end = b"\xfe\xff\x00\xe0" + bytes(4), b"\xfe\xff\xdd\xe0" + bytes(4)
    header = make_file(PixelData=None)
    data = header + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + empty_table + fragment + end
    with pytest.raises(NotAnImage, match="encapsulated although"):
        image_of(data)


@pytest.mark.parametrize(("extra", "logged"), [(0, False), (1, False), (6, True)])
def test_bytes_after_the_pixels_are_ignored_and_many_logged(make_ct, caplog, extra, logged):
    stored = np.array([[1, 2, 3]], np.uint8)
    with caplog.at_level(logging.WARNING):
        image = image_from_dataset(make_ct(stored, PixelData=stored.tobytes() + b"\7" * extra), max_pixels=9)
    assert image.stored.tolist() == [[1, 2, 3]]
    assert ("ignored 6 bytes" in caplog.text) is logged


def test_the_data_set_is_not_changed(make_ct):
    padded = np.array([[-2000, -1999, 0, 100]], np.int16)
    dataset, untouched = (make_ct(padded, PixelPaddingValue=-2000) for _ in range(2))
    image = image_from_dataset(dataset, max_pixels=9)
    assert dataset == untouched
    assert image.dataset is dataset


@pytest.mark.parametrize(
    ("image_type", "expected"),
    [(None, False), ("ORIGINAL", False), (["ORIGINAL", "PRIMARY", "LOCALIZER"], True), (["A", "LOCALIZER"], False)],
)
def test_localizers_are_known_by_the_third_value(make_ct, image_type, expected):
    assert is_localizer(make_ct(ImageType=image_type)) is expected


@pytest.mark.parametrize(
    "name",
    [
        "MR_small.dcm",
        "SC_rgb_small_odd.dcm",
        "examples_palette.dcm",
        "image_dfl.dcm",
        "reportsi.dcm",
        "rtdose.dcm",
        "liver_1frame.dcm",
        "dicomdirtests/DICOMDIR",
        "JPEG2000.dcm",
        "693_J2KI.dcm",
        "badVR.dcm",
        "UN_sequence.dcm",
        "MR_truncated.dcm",
    ],
)
def test_bundled_files_that_are_no_native_ct_are_refused(name):
    with open(get_testdata_file(name, download=False), "rb") as file, pytest.raises(ImagingError):  # noqa: PTH123
        image_of(file.read())


def test_hounsfield_units_are_exact_to_the_float(make_ct):
    stored = np.arange(-32768, 32768, dtype=np.int16).reshape(256, 256)
    image = image_from_dataset(make_ct(stored, RescaleSlope=1, RescaleIntercept=-1024), max_pixels=1 << 16)
    keep = np.ones(stored.shape, bool) if image.padding is None else ~image.padding
    assert np.array_equal(image.pixels[keep], (stored.astype(np.int64) - 1024)[keep])
    assert math.isclose(float(image.pixels.max()), 31743)
