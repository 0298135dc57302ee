"""Every compressed transfer syntax gives back its stored values, and what contradicts itself is refused.

The streams are made by pydicom's encoders (OpenJPEG, CharLS, RLE) and by GDCM; HTJ2K ones are constants, which OpenJPH
0.26 made of `WAVES`. What dcmtk makes of real series is in `test_compressed_peer.py`.
"""

from __future__ import annotations

import base64
import logging
import subprocess
import sys

import jpeg_ls
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openjpeg.utils import encode_array
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from imaging.dicom_file import read_dicom
from imaging.dicom_pixels import image_from_dataset
from imaging.errors import UnsuitableImage
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 16)
SHAPE = (33, 35)
"""Odd, and the least that OpenJPEG writes."""

_ROWS, _COLUMNS = np.mgrid[:8, :8]
WAVES = ((_ROWS * 37 + _COLUMNS * 111 + _ROWS * _COLUMNS * 29) % 4096).astype(np.uint16)
HT_UNSIGNED = (
    "|4;u>04YEK0000800008000000000000008000080000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&kdTm&kdTmwh=~7W"
    "02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000b^rnYlfVEbE&K%sbN~PVzyK3K0206e697*B0*7<}tO5sg0J8i7hjakI02L4b1n>X^pa96nhyb8e0"
    "H)yk0E1KjBmiU70Kfn$-~bg+00}_cPyi5T<dAq`RRBml7}>xv0qnK__}~Ck0RPz"
)
HT_SIGNED = (
    "|4;u>04YEK000080000800000000000000800008000000000000EBy0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&kdTm&kdTmwh=~7W"
    "02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000b^rnYlfVEbE&Kw9bN~PVzyK3K0206e697*B0*7<}tO5sg0J8i7hjakI02L4b1n>X^pa96nhyb8e0"
    "H)yk0E1KjBmiU70Kfn$-~bg+00}_cPyi5T<dAq`RRBml7}>xv0qnK__}~Ck0RPz"
)
HT_LOSSY = (
    "|4;u>04YEK0000800008000000000000008000080000000000009pH0sl|{2mk^A001TbQUDA90ssL31q1{@0RLP7BO;G<k429~j~9nrhg^p}f2x0~f"
    "5K=rXf<efU>aZ=Z@>R!02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000TmS+8lfVEbr33|sbN~PVzyOv21h4=lqyYzX0N?<JbO7uC2Xp|y0%!nD00"
    "{t`{s0100E+kk15^O~3)29=1w;T&D2ei4Z_<STz=DEhmgNBd*#"
)


def image_of(data, limits=LIMITS):
    return image_from_dataset(read_dicom(data, limits=limits), max_pixels=limits.max_pixels)


def noise(dtype, bits, shape=SHAPE):
    """Every value that `bits` can hold, the ends included."""
    signed = np.dtype(dtype).kind == "i"
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    values = np.random.default_rng(5).integers(low, high, shape, endpoint=True).astype(dtype)
    values.flat[:3] = low, high, 1
    return values


def j2k(pixels, **options):
    return bytes(encode_array(pixels, photometric_interpretation=2, use_mct=False, codec_format=0, **options))


def jls(pixels, bits, **options):
    return bytes(jpeg_ls.encode_buffer(pixels.tobytes(), *pixels.shape, 1, bits, **options))


GDCM = """
import sys, gdcm
source, target, syntax = sys.argv[1:]
reader = gdcm.ImageReader()
reader.SetFileName(source)
assert reader.Read()
change = gdcm.ImageChangeTransferSyntax()
change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
change.SetInput(reader.GetImage())
assert change.Change()
writer = gdcm.ImageWriter()
writer.SetFileName(target)
writer.SetFile(reader.GetFile())
writer.SetImage(change.GetOutput())
assert writer.Write()
"""


def gdcm_stream(folder, data, syntax):
    """The frame that GDCM's encoder makes of a file's native pixels, in a process of its own, since it may abort."""
    source, target = folder / "native.dcm", folder / "compressed.dcm"
    source.write_bytes(data)
    subprocess.run([sys.executable, "-c", GDCM, str(source), str(target), syntax], check=True, capture_output=True)
    return next(generate_frames(dcmread(target).PixelData, number_of_frames=1))


@pytest.fixture
def compressed_file(make_file):
    """(stored, stream or fragments, syntax, Keyword=...) -> a file whose data set describes `stored`."""

    def make(stored, stream, syntax, *, encapsulated=None, **changes):
        data = encapsulate([stream]) if encapsulated is None else encapsulated
        return make_file(stored, syntax=syntax, PixelData=data, RescaleIntercept=0, **changes)

    return make


ENCODINGS = [("u1", 8), ("i1", 8), ("u1", 7), ("u2", 16), ("i2", 16), ("u2", 12), ("i2", 12), ("i2", 13), ("u2", 8)]
every_encoding = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda one: f"{one[0]}-{one[1]}")


def with_padding(image, stored):
    """What is compared: the stored values themselves, padding included."""
    assert image.stored.dtype == stored.dtype
    np.testing.assert_array_equal(image.stored, stored)
    measured = np.ones(stored.shape, bool) if image.padding is None else ~image.padding
    np.testing.assert_array_equal(image.pixels[measured], stored[measured].astype(np.float32))


@every_encoding
@pytest.mark.parametrize(
    ("syntax", "plugin"),
    [
        (RLELossless, "pydicom"),
        (RLELossless, "pylibjpeg"),
        (JPEGLSLossless, "pyjpegls"),
        (JPEG2000Lossless, "pylibjpeg"),
    ],
)
def test_what_pydicoms_encoders_make_is_exact(make_ct, make_file, encoding, syntax, plugin):
    dtype, bits = encoding
    if syntax == RLELossless and bits == 8:
        dtype = f"{dtype[0]}1"  # pydicom's encoders cannot write RLE of 8 bits in 16
    stored = noise(dtype, bits)
    dataset = make_ct(stored, bits=bits)
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    file = make_file(stored, bits=bits, syntax=syntax, PixelData=dataset.PixelData, RescaleIntercept=0)
    with_padding(image_of(file), stored)


@pytest.mark.parametrize(
    ("encoding", "syntax"),
    [
        (encoding, syntax)
        for encoding in ENCODINGS
        for syntax in (JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
        if (encoding[1], syntax) != (7, JPEGLSLossless)  # GDCM cannot write that
    ],
)
def test_what_gdcm_makes_is_exact(make_file, compressed_file, tmp_path, encoding, syntax):
    dtype, bits = encoding
    stored = noise(dtype, bits, (34, 36))  # it refuses an odd number of bytes
    stream = gdcm_stream(tmp_path, make_file(stored, bits=bits), syntax)
    with_padding(image_of(compressed_file(stored, stream, syntax, bits=bits)), stored)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
@pytest.mark.parametrize(("stream", "offset"), [(HT_UNSIGNED, 0), (HT_SIGNED, -1024)])
def test_high_throughput_jpeg_2000_is_exact(compressed_file, syntax, stream, offset):
    stored = WAVES if not offset else (WAVES.astype(np.int32) + offset).astype(np.int16)
    with_padding(image_of(compressed_file(stored, base64.b85decode(stream), syntax)), stored)


def test_lossy_high_throughput_jpeg_2000_is_near(compressed_file):
    image = image_of(compressed_file(WAVES, base64.b85decode(HT_LOSSY), HTJ2K))
    error = np.abs(image.stored.astype(int) - WAVES)
    assert 0 < error.max() <= 60  # a step of 0.0005 x 65536 in each subband


def test_near_lossless_jpeg_ls_keeps_its_bound(compressed_file):
    stored = noise("u2", 12)
    image = image_of(compressed_file(stored, jls(stored, 12, lossy_error=3), JPEGLSNearLossless, bits=12))
    assert np.abs(image.stored.astype(int) - stored).max() == 3


def test_lossy_jpeg_2000_keeps_its_sign(compressed_file):
    rows, columns = np.mgrid[:64, :64]
    stored = (1000 * np.sin(rows / 9) * np.cos(columns / 7)).astype(np.int16)
    image = image_of(compressed_file(stored, j2k(stored, compression_ratios=[8]), JPEG2000))
    assert 0 < np.abs(image.stored.astype(int) - stored).max() < 60


@pytest.mark.parametrize("name", ["693_J2KI", "J2K_pixelrep_mismatch"])
def test_bundled_ct_as_pydicom_decodes_it(name):
    path = get_testdata_file(f"{name}.dcm", download=False)
    with open(path, "rb") as file:  # noqa: PTH123 - pydicom gives a str
        image = image_of(file.read(), Limits(max_bytes=1 << 22, max_pixels=1 << 18))
    np.testing.assert_array_equal(image.stored, dcmread(path).pixel_array)
    assert image.stored.min() < -1500 < 1500 < image.stored.max()


def test_bundled_12_bit_jpeg_as_its_only_other_decoder_has_it(make_file):
    """JPGExtended.dcm is no CT image; the stream is from the standard's NM sample, mostly 1 and at most 264."""
    source = dcmread(get_testdata_file("JPGExtended.dcm", download=False))
    shape = np.zeros((1024, 256), np.uint16)
    data = make_file(shape, bits=12, syntax=JPEGExtended12Bit, PixelData=source.PixelData, RescaleIntercept=0)
    stored = image_of(data, Limits(max_bytes=1 << 22, max_pixels=1 << 18)).stored
    assert (stored.min(), stored.max()) == (0, 264)
    assert np.median(stored) == 1


def test_a_jpeg_2000_stream_of_the_other_sign_is_read_as_the_header_says(compressed_file, caplog):
    signed = noise("i2", 13)
    words = (signed.astype(np.int32) & 0x1FFF).astype(np.uint16)
    with caplog.at_level(logging.WARNING):
        with_padding(image_of(compressed_file(signed, j2k(words, bits_stored=13), JPEG2000Lossless, bits=13)), signed)
    assert "disagree about the sign" in caplog.text
    as_signed = np.where(words >= 4096, words.astype(int) - 8192, words).astype(np.int16)
    with_padding(image_of(compressed_file(words, j2k(as_signed, bits_stored=13), JPEG2000Lossless, bits=13)), words)


def test_a_lossy_one_is_refused(compressed_file):
    words = np.zeros((64, 64), np.uint16)
    words[::2] = 65535
    stream = j2k(words, compression_ratios=[4])
    with pytest.raises(UnsuitableImage, match="lossy codestream is unsigned and PixelRepresentation says the opposite"):
        image_of(compressed_file(words.view(np.int16), stream, JPEG2000))


def test_words_of_16_bits_under_fewer_bits_stored(compressed_file):
    """Writers extend the sign into the unused bits, or leave them 0; both mean the same values."""
    stored = noise("i2", 12)
    for words in (stored.view(np.uint16), stored.view(np.uint16) & np.uint16(0x0FFF)):
        with_padding(image_of(compressed_file(stored, jls(words, 16), JPEGLSLossless, bits=12)), stored)


def test_fewer_bits_than_stored_are_read_where_no_value_can_be_negative(compressed_file):
    stored = np.arange(33 * 35, dtype=np.int16).reshape(SHAPE)
    with_padding(image_of(compressed_file(stored, jls(stored, 12), JPEGLSLossless)), stored)
    stored = noise("u2", 12)
    with_padding(image_of(compressed_file(stored, jls(stored, 12), JPEGLSLossless)), stored)
    with pytest.raises(UnsuitableImage, match="cannot be known which of them are negative"):
        image_of(compressed_file(stored.view(np.int16), jls(stored, 12), JPEGLSLossless))


@given(st.integers(0, 65535), st.integers(1, 16), st.booleans())
@settings(max_examples=25)
def test_rle_holds_native_words_with_anything_in_unused_bits(make_ct, make_file, word, bits, signed):
    words = np.full((2, 3), word, np.uint16)
    dataset = make_ct(words)
    dataset.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    changes = {"bits": bits, "PixelRepresentation": int(signed), "RescaleIntercept": 0}
    packed = image_of(make_file(words, syntax=RLELossless, PixelData=dataset.PixelData, **changes))
    np.testing.assert_array_equal(packed.stored, image_of(make_file(words, **changes)).stored)
