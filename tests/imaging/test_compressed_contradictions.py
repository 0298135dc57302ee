"""How compressed pixels are wrapped does not matter, and what contradicts the data set is refused."""

from __future__ import annotations

import jpeg_ls
import numpy as np
import pytest
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from imaging.dicom_file import read_dicom
from imaging.dicom_pixels import image_from_dataset
from imaging.errors import NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 16)
SHAPE = (33, 35)
"""Odd, and the least that OpenJPEG writes."""


def image_of(data):
    return image_from_dataset(read_dicom(data, limits=LIMITS), max_pixels=LIMITS.max_pixels)


def noise(dtype, bits, shape=SHAPE):
    return np.random.default_rng(5).integers(0, 1 << (bits - 1), shape).astype(dtype)


def j2k(pixels, **options):
    return bytes(encode_array(pixels, photometric_interpretation=2, use_mct=False, codec_format=0, **options))


def jls(pixels, bits):
    return bytes(jpeg_ls.encode_buffer(pixels.tobytes(), *pixels.shape, 1, bits))


@pytest.fixture
def compressed_file(make_file):
    """(stored, stream or items, syntax, Keyword=...) -> a file whose data set describes `stored`."""

    def make(stored, stream, syntax, *, encapsulated=None, **changes):
        data = encapsulate([stream]) if encapsulated is None else encapsulated
        return make_file(stored, syntax=syntax, PixelData=data, RescaleIntercept=0, **changes)

    return make


@pytest.mark.parametrize("fragments", [1, 2, 7])
@pytest.mark.parametrize("has_table", [False, True])
def test_fragments_of_one_frame(compressed_file, fragments, has_table):
    stored = noise("i2", 16)
    data = encapsulate([jls(stored.view(np.uint16), 16)], fragments_per_frame=fragments, has_bot=has_table)
    np.testing.assert_array_equal(
        image_of(compressed_file(stored, b"", JPEGLSLossless, encapsulated=data)).stored, stored
    )


def test_wrong_offset_tables_are_not_believed(compressed_file):
    stored = noise("u2", 16)
    data, offsets, lengths = encapsulate_extended([j2k(stored)])
    assert len(offsets) == len(lengths) == 8
    wrong = {"ExtendedOffsetTable": b"\xff" * 8, "ExtendedOffsetTableLengths": b"\1" + bytes(7)}
    np.testing.assert_array_equal(
        image_of(compressed_file(stored, b"", JPEG2000Lossless, encapsulated=data, **wrong)).stored, stored
    )
    wild = encapsulate([j2k(stored)], has_bot=True).replace(b"\4\0\0\0" + bytes(4), b"\4\0\0\0\xff\xff\xff\x7f", 1)
    np.testing.assert_array_equal(
        image_of(compressed_file(stored, b"", JPEG2000Lossless, encapsulated=wild)).stored, stored
    )


def test_a_jpeg_2000_file_inside_of_dicom(compressed_file):
    stored = noise("u2", 16)
    wrapped = bytes(encode_array(stored, photometric_interpretation=2, use_mct=False, codec_format=1))
    np.testing.assert_array_equal(image_of(compressed_file(stored, wrapped, JPEG2000Lossless)).stored, stored)


def test_a_delimiter_inside_of_the_data_ends_nothing(compressed_file):
    stored = np.frombuffer(b"\xfe\xff\xdd\xe0\0\0\0\0" * 16, "<u2").reshape(8, 8).astype(np.uint16)
    np.testing.assert_array_equal(image_of(compressed_file(stored, jls(stored, 16), JPEGLSLossless)).stored, stored)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(("rows", "columns"), [(33, 34), (64, 64), (35, 33), (1, 1155)])
def test_another_size_than_rows_and_columns(compressed_file, syntax, rows, columns):
    stored = noise("u2", 16)
    stream = jls(stored, 16) if syntax == JPEGLSLossless else j2k(stored)
    told = f"33 rows and 35 columns, but Rows is {rows} and Columns {columns}"
    with pytest.raises(UnsuitableImage, match=told):
        image_of(compressed_file(stored, stream, syntax, Rows=rows, Columns=columns))


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_three_components(compressed_file, syntax):
    colours = noise("u1", 8, (33, 35, 3))
    if syntax == JPEGLSLossless:
        stream = bytes(jpeg_ls.encode_buffer(colours.tobytes(), 33, 35, 3, 8, interleave_mode=2))
    else:
        stream = bytes(encode_array(colours, photometric_interpretation=1, use_mct=False, codec_format=0))
    with pytest.raises(UnsuitableImage, match="3 components, but SamplesPerPixel is 1"):
        image_of(compressed_file(colours[:, :, 0], stream, syntax))


@pytest.mark.parametrize(
    ("syntax", "stream", "stored", "told"),
    [
        (JPEGLSLossless, jls(noise("u2", 16), 16), noise("u1", 8), "16 bits, which JPEG-LS"),
        (JPEG2000Lossless, j2k(noise("u4", 17), bits_stored=17), noise("u2", 16), "17 bits, which JPEG 2000"),
    ],
)
def test_more_bits_than_allocated(compressed_file, syntax, stream, stored, told):
    with pytest.raises(UnsuitableImage, match=told):
        image_of(compressed_file(stored, stream, syntax))


@pytest.mark.parametrize(("dtype", "low", "high"), [("u2", 0, 4096), ("i2", -2049, 0), ("i2", 0, 2048)])
@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_values_beyond_bits_stored(compressed_file, syntax, dtype, low, high):
    stored = np.zeros(SHAPE, dtype)
    stored[0, :2] = low, high
    stored[1, 0] = -1 if dtype == "i2" else 0  # so that it is seen that all 16 bits carry the sign
    stream = jls(stored.view(np.uint16), 16) if syntax == JPEGLSLossless else j2k(stored, bits_stored=16)
    with pytest.raises(NotAnImage, match=f"values from {stored.min()} to {stored.max()}, and BitsStored 12 holds"):
        image_of(compressed_file(stored, stream, syntax, bits=12))


def test_another_codec_than_the_transfer_syntax_names(compressed_file):
    stored = noise("u2", 16)
    for stream, syntax, told in (
        (j2k(stored), JPEGLSLossless, "no JPEG stream"),
        (jls(stored, 16), JPEG2000Lossless, "no JPEG 2000 stream"),
        (jls(stored, 16), JPEGLosslessSV1, "process SOF55, which JPEG Lossless"),
        (jls(stored, 16), JPEGBaseline8Bit, "process SOF55"),
        (jls(stored, 16), RLELossless, "segments"),
    ):
        with pytest.raises((NotAnImage, UnsuitableImage), match=told):
            image_of(compressed_file(stored, stream, syntax))


def test_not_encapsulated_or_empty(make_file, make_ct):
    for data, told in ((b"", "empty"), (b"\0" * 24, "not encapsulated")):
        dataset = make_ct(syntax=JPEGLSLossless, PixelData=data)
        with pytest.raises(NotAnImage, match=told):
            image_from_dataset(dataset, max_pixels=99)
    with pytest.raises(NotAnImage, match="no fragment with data"):
        image_of(make_file(syntax=JPEGLSLossless, PixelData=b"\xfe\xff\x00\xe0" + bytes(4)))


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.102"]
)
def test_other_syntaxes_are_named(make_file, uid):
    with pytest.raises(
        UnsupportedFormat, match=r"the transfer syntax is (JPEG|MPEG|JPIP).* send the image uncompressed"
    ):
        image_of(make_file(syntax=uid, PixelData=encapsulate([b"data"])))


def test_the_size_is_checked_before_the_codestream(compressed_file):
    with pytest.raises(TooLarge, match="65535 rows"):
        image_of(compressed_file(noise("u2", 16), b"any", RLELossless, Rows=65535, Columns=65535))
