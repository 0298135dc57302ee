"""Damaged and malicious compressed pixels: a clear refusal, at a bounded cost in memory and time.

The bombs run in a process of their own, whose peak memory and whose workers' are measured.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib

import jpeg_ls
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from imaging.dicom_file import read_dicom
from imaging.dicom_pixels import image_from_dataset
from imaging.errors import ImagingError, NotAnImage, UnsuitableImage
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 22)
SIZE = 256


def tissue(size=SIZE):
    """(size, size) uint16: noise around smooth shapes, as CT images are."""
    rows, columns = np.mgrid[:size, :size]
    smooth = 1000 + 300 * np.sin(rows / 30) * np.cos(columns / 25)
    return (smooth + np.random.default_rng(3).normal(0, 20, (size, size))).astype(np.uint16)


def j2k(pixels):
    return bytes(encode_array(pixels, photometric_interpretation=2, use_mct=False, codec_format=0))


def jls(pixels):
    return bytes(jpeg_ls.encode_buffer(pixels.tobytes(), *pixels.shape, 1, 16))


def rle(pixels, make_ct):
    dataset = make_ct(pixels)
    dataset.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


@pytest.fixture(scope="module")
def streams(make_ct):
    """By syntax: one stream of `tissue()`."""
    pixels = tissue()
    return {RLELossless: rle(pixels, make_ct), JPEGLSLossless: jls(pixels), JPEG2000Lossless: j2k(pixels)}


def decode(make_file, stream, syntax, stored=None, **changes):
    stored = tissue() if stored is None else stored
    file = make_file(stored, syntax=syntax, PixelData=encapsulate([stream]), **changes)
    return image_from_dataset(read_dicom(file, limits=LIMITS), max_pixels=LIMITS.max_pixels).stored


DAMAGE = {
    "half zeroed": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "half zeroed, end kept": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2 - 2) + data[-2:],
    "a page zeroed": lambda data: data[:20000] + bytes(4096) + data[24096:],
    "truncated": lambda data: data[: len(data) // 2],
    "truncated, end kept": lambda data: data[: len(data) // 2] + data[-2:],
    "tail of another file": lambda data: data[: len(data) // 2] + bytes(range(256)) * 99 + data[-2:],
    "only its header": lambda data: data[:120],
    "one byte": lambda data: data[:1],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_damaged_streams_are_refused(make_file, streams, syntax, damage):
    np.testing.assert_array_equal(decode(make_file, streams[syntax], syntax), tissue())
    with pytest.raises(NotAnImage):
        decode(make_file, DAMAGE[damage](streams[syntax]), syntax)


@given(
    st.sampled_from([RLELossless, JPEGLSLossless, JPEG2000Lossless]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=9),
)
@settings(max_examples=60)
def test_any_change_gives_a_refusal_or_an_image_of_the_right_size(make_file, streams, syntax, changes):
    stream = bytearray(streams[syntax])
    for place, byte in changes:
        stream[int(place**3 * len(stream))] = byte  # more of them near the beginning, where the header is
    try:
        made = decode(make_file, bytes(stream), syntax)
    except ImagingError:
        return
    assert (made.shape, made.dtype) == ((SIZE, SIZE), np.uint16)


JPEG_LOSSLESS = (
    # SOI, SOF3: 16 bits, 2 x 4 pixels; DHT: code 0 = no difference, code 10 = a difference of 1 bit
    b"\xff\xd8\xff\xc3\0\x0b\x10\0\2\0\4\1\1\x11\0\xff\xc4\0\x15\0\1\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
    b"\xff\xda\0\x08\1\1\0\1\0\0"
)


def test_a_jpeg_stream_by_hand(make_file):
    stored = np.zeros((2, 4), np.uint16)
    for scan, value in ((b"\0", 32768), (b"\xa0\0", 32769)):
        # eight times code 0: the prediction, half of the range; or first code 10 and bit 1, one step up, seven times 0
        made = decode(make_file, JPEG_LOSSLESS + scan + b"\xff\xd9", JPEGLosslessSV1, stored, RescaleIntercept=-32768)
        assert made.tolist() == [[value] * 4] * 2


@pytest.mark.parametrize("scan", [b"", bytes(99)], ids=["too few", "too many"])
def test_a_jpeg_stream_with_too_few_or_too_many_data(make_file, scan):
    with pytest.raises(NotAnImage, match="corrupt"):
        decode(make_file, JPEG_LOSSLESS + scan + b"\xff\xd9", JPEGLosslessSV1, np.zeros((2, 4), np.uint16))


def test_a_syntax_with_fewer_bits_than_its_stream(make_file):
    twelve = JPEG_LOSSLESS.replace(b"\xff\xc3\0\x0b\x10", b"\xff\xc1\0\x0b\x0c") + b"\0\xff\xd9"
    with pytest.raises(UnsuitableImage, match="samples of 12 bits, which JPEG Baseline"):
        decode(make_file, twelve, JPEGBaseline8Bit, np.zeros((2, 4), np.uint16))


MEASURED = """
import json, resource, sys, time
from imaging import codec_process
from imaging.dicom_file import read_dicom
from imaging.dicom_pixels import image_from_dataset
from imaging.errors import ImagingError
from imaging.limits import Limits

limits = Limits(max_bytes=16 << 20, max_pixels=2048 * 2048)
data = open(sys.argv[1], "rb").read()
peak = lambda who: resource.getrusage(who).ru_maxrss / 1024
before, begin, error = peak(resource.RUSAGE_SELF), time.monotonic(), None
try:
    image_from_dataset(read_dicom(data, limits=limits), max_pixels=limits.max_pixels)
except ImagingError as raised:
    error = f"{type(raised).__name__}: {raised}"
seconds = time.monotonic() - begin
codec_process.close()
print(json.dumps([error, peak(resource.RUSAGE_SELF) - before, peak(resource.RUSAGE_CHILDREN), seconds]))
"""


def resized(stream, rows, columns, *, tile=None):
    """A JPEG 2000 stream whose header states another size, and tiles of other than the whole image."""
    size = struct.pack(">II", columns, rows)
    tiles = stream[24:32] if tile is None else struct.pack(">II", tile, tile)
    return stream[:8] + size + stream[16:24] + tiles + stream[32:]


def bombs(make_file):
    """(name, file, beginning of the error)."""
    small = np.zeros((64, 64), np.uint16)

    def file(stream, syntax, **changes):
        return make_file(small, syntax=syntax, PixelData=encapsulate([stream]), **changes)

    deflated = make_file(small, syntax=DeflatedExplicitVRLittleEndian)
    start = deflated.index(DeflatedExplicitVRLittleEndian.encode()) + 22
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    yield "deflate", deflated[:start] + deflate.compress(bytes(200 << 20)) + deflate.flush(), "TooLarge: the deflated"

    runs = struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\0\x81\0"
    huge, large = ({"Rows": size, "Columns": size} for size in (65535, 2048))
    yield "RLE of 65535 x 65535", file(runs, RLELossless, **huge), "TooLarge: the image has 65535 rows"
    yield "RLE of 2048 x 2048 from 68 bytes", file(runs, RLELossless, **large), "NotAnImage: the RLE stream"

    told = "UnsuitableImage: the compressed image has 8192 rows and 8192 columns"
    lines = jls(tissue(64))
    assert lines[7:11] == struct.pack(">HH", 64, 64)
    yield "JPEG-LS of 8192 x 8192", file(lines[:7] + struct.pack(">HH", 8192, 8192) + lines[11:], JPEGLSLossless), told
    waves = j2k(tissue(64))
    yield "JPEG 2000 of 8192 x 8192", file(resized(waves, 8192, 8192), JPEG2000Lossless), told
    tiles = resized(waves, 2048, 2048, tile=1)
    yield "JPEG 2000 of 4 million tiles", file(tiles, JPEG2000Lossless, **large), "NotAnImage: the JPEG 2000 stream"
    empty = resized(waves, 2048, 2048)
    yield "JPEG 2000 of 2048 x 2048 from 3 kB", file(empty, JPEG2000Lossless, **large), None


def test_bombs_cost_no_more_than_an_image_of_their_header(make_file, tmp_path):
    for name, data, told in bombs(make_file):
        path = tmp_path / "bomb.dcm"
        path.write_bytes(data)
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, check=True, timeout=60
        )
        error, here, worker, seconds = json.loads(done.stdout)
        assert told is None or (error or "").startswith(told), (name, error)
        assert here < 64, (name, here)  # MiB on top of the program itself, for files of up to 16 MiB
        assert worker < 60 + 32 + 16 * 8 + 64, (name, worker)  # MiB: the program, and the allowance of 2048 x 2048
        assert seconds < 20, (name, seconds)
        print(f"{name}: {error} | +{here:.0f} MiB, worker {worker:.0f} MiB, {seconds:.2f} s")  # noqa: T201 - with -s
