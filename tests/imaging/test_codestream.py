"""What a codestream states about itself, by streams that other programs made and by hand-made ones."""

from __future__ import annotations

import struct

import jpeg_ls
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openjpeg.utils import encode_array
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from imaging.codestream import Codestream, bare_codestream, read_jpeg, read_jpeg2000, read_rle
from imaging.errors import ImagingError, NotAnImage, UnsuitableImage, UnsupportedFormat

PIXELS = np.arange(33 * 35, dtype=np.uint16).reshape(33, 35) * 3
"""OpenJPEG writes no fewer than 32 rows and columns."""


def frame_of(name):
    dataset = dcmread(get_testdata_file(f"{name}.dcm", download=False))
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


def j2k(pixels=PIXELS, **options):
    return bytes(encode_array(pixels, photometric_interpretation=2, use_mct=False, codec_format=0, **options))


def segment(marker, content):
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def jpeg(sof=0xC3, frame=(16, 3, 5, 1), scan=b"\1\1\0\1\0\0", before=b"", end=b"\xff\xd9"):
    header = segment(sof, struct.pack(">BHHB", *frame) + b"\1\x11\0")
    return b"\xff\xd8" + before + header + segment(0xDA, scan) + b"data" + end


@pytest.mark.parametrize(
    ("name", "read", "expected"),
    [
        ("693_J2KI", read_jpeg2000, Codestream(512, 512, 1, 16, True, "reversible")),
        ("J2K_pixelrep_mismatch", read_jpeg2000, Codestream(512, 512, 1, 13, False, "reversible")),
        ("JPEG2000", read_jpeg2000, Codestream(1024, 256, 1, 16, True, "lossy")),
        ("JPEG2000-embedded-sequence-delimiter", read_jpeg2000, None),
        ("JPGExtended", read_jpeg, Codestream(1024, 256, 1, 12, None, "lossy", 1)),
        ("SC_rgb_jpeg_gdcm", read_jpeg, Codestream(100, 100, 3, 8, None, "exact", 3)),
        ("JPEGLSNearLossless_08", read_jpeg, Codestream(45, 10, 1, 8, None, "lossy", 55)),
        ("MR_small_jpeg_ls_lossless", read_jpeg, Codestream(64, 64, 1, 16, None, "exact", 55)),
    ],
)
def test_bundled_streams(name, read, expected):
    if expected is None:
        with pytest.raises(ImagingError):
            read(frame_of(name)[:40])
    else:
        assert read(frame_of(name)) == expected


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("i1", 8), ("u2", 12), ("i2", 13), ("u2", 16), ("i2", 16)])
@pytest.mark.parametrize("lossy", [False, True])
def test_jpeg_2000_as_openjpeg_writes_it(dtype, bits, lossy):
    options = {"compression_ratios": [2]} if lossy else {}
    stream = j2k((PIXELS // 16).astype(dtype), bits_stored=bits, **options)
    fidelity = "lossy" if lossy else "reversible"
    assert read_jpeg2000(stream) == Codestream(33, 35, 1, bits, dtype[0] == "i", fidelity)


def test_jpeg_2000_in_a_file_of_its_own_is_taken_out_of_it():
    stream = j2k()
    file = bytes(encode_array(PIXELS, photometric_interpretation=2, use_mct=False, codec_format=1))
    assert file[4:8] == b"jP  "
    bare = bare_codestream(file)
    assert read_jpeg2000(bare) == read_jpeg2000(stream)
    assert bare_codestream(stream) is stream
    with pytest.raises(NotAnImage, match="without a codestream"):
        bare_codestream(file[: file.index(b"jp2c") - 4])


@pytest.mark.parametrize("error", [0, 2])
def test_jpeg_ls_as_charls_writes_it(error):
    stream = bytes(jpeg_ls.encode_buffer(PIXELS.tobytes(), 33, 35, 1, 12, lossy_error=error))
    assert read_jpeg(stream) == Codestream(33, 35, 1, 12, None, "lossy" if error else "exact", 55)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Codestream(3, 5, 1, 16, None, "exact", 3)),
        ({"scan": b"\1\1\0\1\0\2"}, Codestream(3, 5, 1, 16, None, "lossy", 3)),  # a point transform drops 2 bits
        ({"sof": 0xC1, "frame": (12, 3, 5, 1)}, Codestream(3, 5, 1, 12, None, "lossy", 1)),
        ({"sof": 0xC9}, Codestream(3, 5, 1, 16, None, "lossy", 9)),
        ({"before": segment(0xE0, b"JFIF\0") + b"\xff\xff" + segment(0xFE, b"text")}, None),
        ({"before": b"\xff\x01\xff\xd0"}, None),
        ({"end": b"\xff\xd9\0"}, None),
        ({"end": b"\xff\xff\xd9"}, None),
        ({"end": b"\xff\xd9\0\0\0\0"}, None),
        ({"end": b"\xff\xd9\n"}, None),
    ],
)
def test_jpeg_headers_by_hand(changes, expected):
    assert read_jpeg(jpeg(**changes)) == (expected or Codestream(3, 5, 1, 16, None, "exact", 3))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "do not begin"),
        (b"\xff\xd8", "no end marker"),
        (b"\xff\xd8\xff\xd9", "no complete header"),
        (jpeg(end=b""), "no end marker"),
        (jpeg(end=bytes(50)), "no end marker"),
        (jpeg(sof=0xC4), "no complete header"),
        (jpeg(scan=b"\1"), "no complete header"),
        (jpeg(before=segment(0xC3, struct.pack(">BHHB", 16, 3, 5, 1))), "malformed or second"),
        (jpeg(before=segment(0xC3, b"\x10")), "malformed or second"),
        (jpeg(before=b"\xff\xe0\xff\xff"), "no complete header"),
        (jpeg(before=b"\xff\xe0\0\0"), "no complete header"),
        (jpeg(before=b"nonsense"), "no complete header"),
    ],
)
def test_damaged_jpeg(data, told):
    with pytest.raises(NotAnImage, match=told):
        read_jpeg(data)


@pytest.mark.parametrize("padding", [b"", b"\0"])
@pytest.mark.parametrize(("stream", "read"), [(jpeg(), read_jpeg), (j2k(), read_jpeg2000)])
def test_two_images_in_one(stream, read, padding):
    with pytest.raises(UnsuitableImage, match="several images"):
        read(stream + padding + stream)


def test_damaged_jpeg_2000():
    stream = j2k()
    tiles = stream.index(b"\xff\x90")
    for data, told in (
        (b"", "do not begin"),
        (stream[: len(stream) // 2], "no end marker"),
        (stream[: len(stream) // 2] + bytes(len(stream)), "no end marker"),
        (stream[:tiles].replace(b"\xff\x52", b"\xff\x64") + stream[tiles:], "no complete header"),
        (stream[:4] + b"\0\x05" + stream[6:], "no complete header"),
    ):
        with pytest.raises(NotAnImage, match=told):
            read_jpeg2000(data)
    with pytest.raises(UnsupportedFormat, match="lower resolution"):
        read_jpeg2000(stream[:43] + b"\x02" + stream[44:])  # XRsiz of the only component


def test_a_component_may_have_a_filter_of_its_own():
    stream = j2k()
    begin = stream.index(b"\xff\x52")
    length = 2 + int.from_bytes(stream[begin + 2 : begin + 4], "big")
    component = segment(0x53, b"\0\0" + stream[begin + 9 : begin + 13] + b"\0")
    assert read_jpeg2000(stream).fidelity == "reversible"
    assert read_jpeg2000(stream[: begin + length] + component + stream[begin + length :]).fidelity == "lossy"


def rle(*offsets, count=None, data=b"\0" * 40):
    numbers = [len(offsets) if count is None else count, *offsets]
    return struct.pack("<16I", *numbers, *[0] * (16 - len(numbers))) + data


def test_rle_headers():
    assert read_rle(rle(64, 80), rows=3, columns=5, bits_allocated=16) == Codestream(3, 5, 1, 16, None, "exact")
    assert read_rle(rle(64), rows=1, columns=1, bits_allocated=8).precision == 8
    assert read_rle(frame_of("MR_small_RLE"), rows=64, columns=64, bits_allocated=16).precision == 16


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (b"", NotAnImage, "0 bytes"),
        (rle(64, 80)[:63], NotAnImage, "63 bytes"),
        (rle(64), UnsuitableImage, "1 segments"),
        (rle(64, 80, 90, 95, 97, 99), UnsuitableImage, "6 segments"),
        (rle(64, 80, count=0), UnsuitableImage, "0 segments"),
        (rle(64, 80, count=99), UnsuitableImage, "99 segments"),
        (rle(0, 80), NotAnImage, "out of order"),
        (rle(80, 64), NotAnImage, "out of order"),
        (rle(64, 64), NotAnImage, "out of order"),
        (rle(64, 104), NotAnImage, "out of order"),
        (rle(64, 0xFFFFFFFF), NotAnImage, "out of order"),
    ],
)
def test_damaged_rle(data, error, told):
    with pytest.raises(error, match=told):
        read_rle(data, rows=3, columns=5, bits_allocated=16)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", jpeg()[:20], j2k()[:60]]))
def test_any_bytes_give_an_error_of_ours_or_a_header(tail, begin):
    for read in (read_jpeg, read_jpeg2000):
        try:
            found = read(begin + tail + b"\xff\xd9")
        except ImagingError:
            continue
        assert 0 <= found.rows < 1 << 32
