"""Files to images and back: content decides, limits come first, round trips are exact."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image as PillowImage

from imaging.errors import ImagingError, NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat
from imaging.formats import HU_IN_PNG, Limits, decode, encode, encode_npy, encode_png, encode_tiff, sniff
from imaging.image import Rescale

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16, max_frames=5)
ONE_TO_ONE = Rescale(1, 0)


def png_of(array, **options):
    file = io.BytesIO()
    PillowImage.fromarray(array).save(file, format="PNG", **options)
    return file.getvalue()


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tiff_of(*pages, **options):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            writer.write(page, **{"photometric": "minisblack", "metadata": None, **options})
    return file.getvalue()


def one(data, rescale=None):
    """The frames of a file that holds one image, and that image."""
    frames = decode(data, limits=LIMITS, rescale=rescale)
    (image,) = frames
    return frames, image


def zip_of(name, data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", NotAnImage, "is empty"),
        (b"hello, world\n", NotAnImage, "text"),
        ("Größe\r\n".encode(), NotAnImage, "text"),
        (b"BMI 23, MZ, PK", NotAnImage, "text"),
        (b"\n <!DOCTYPE html>\0", NotAnImage, "HTML"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", NotAnImage, "PDF"),
        (zip_of("a.png", b"x"), NotAnImage, "zip archive"),
        (b"\x1f\x8b\x08\0\0\0\0\0", NotAnImage, "gzip"),
        (b"\x02\0\0\0UL\x04\0\xb6\0\0\0", NotAnImage, "DICOM without preamble"),
        (b"\x08\0\x05\0CS\x0a\0ISO_IR 100", NotAnImage, "DICOM without preamble"),
        (b"\0\x08\0\x05CS\0\x0aISO_IR 100", NotAnImage, "DICOM without preamble"),
        (b"\x7fELF\2\1\1\0", NotAnImage, "nothing known"),
        (bytes(200), NotAnImage, "nothing known"),
        (b"\x89PNG\n\x1a\n", NotAnImage, "PNG file whose first bytes are damaged"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", UnsupportedFormat, "JPEG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", UnsupportedFormat, "JPEG 2000"),
        (b"GIF89a\x01\0\x01\0", UnsupportedFormat, "GIF"),
        (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0", UnsupportedFormat, "BMP"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", UnsupportedFormat, "WebP"),
    ],
)
def test_other_content_is_refused_by_what_it_is(data, error, message):
    with pytest.raises(error, match=message):
        sniff(data)
    with pytest.raises(error, match="DICOM, PNG, TIFF and NPY are read"):
        decode(data, limits=LIMITS)


def test_content_decides_the_format(make_file):
    assert sniff(png_of(np.zeros((2, 2), np.uint8))) == "png"
    assert sniff(npy_of(np.zeros((2, 2)))) == "npy"
    assert sniff(make_file()) == "dicom"
    assert sniff(tiff_of(np.zeros((2, 2), np.uint8))) == "tiff"
    assert {sniff(start) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")} == {"tiff"}
    assert sniff(b"II*\0" + bytes(124) + make_file()[128:]) == "dicom"  # a file that is both TIFF and DICOM


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_our_errors(data):
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"\x93NUMPY", bytes(128) + b"DICM", b"II*\0", b"MM\0+"):
        with pytest.raises(ImagingError):
            decode(start + data, limits=LIMITS)


def test_more_bytes_than_allowed_are_refused_before_looking_at_them():
    with pytest.raises(TooLarge, match="11 bytes and at most 10") as refused:
        decode(b"hello world", limits=Limits(max_bytes=10, max_pixels=1))
    assert refused.value.limit == "max_bytes"


@pytest.mark.parametrize("kind", ["png", "npy", "tiff", "dicom"])
def test_more_pixels_than_allowed_are_refused(kind, make_file):
    stored = np.zeros((5, 4), np.uint16)
    data = {"png": png_of, "npy": npy_of, "tiff": tiff_of, "dicom": make_file}[kind](stored)
    assert decode(data, limits=Limits(max_bytes=9999, max_pixels=20)).shape == (5, 4)
    with pytest.raises(TooLarge, match="5 rows and 4 columns = 20 pixels, and at most 19") as refused:
        decode(data, limits=Limits(max_bytes=9999, max_pixels=19))
    assert refused.value.limit == "max_pixels"


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, 1), (1, 1, 0)])
def test_limits_that_allow_nothing_are_refused(limits):
    with pytest.raises(ValueError, match="at least 1"):
        Limits(*limits)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("write", [png_of, npy_of, tiff_of])
def test_relative_integers_fill_zero_to_one_and_every_value_comes_back(write, dtype):
    top = np.iinfo(dtype).max
    stored = np.arange(top + 1, dtype=dtype).reshape(-1, 256)
    frames, image = one(write(stored))
    assert (image.unit, image.spacing, image.padding) == ("relative", None, None)
    assert image.pixels.dtype == np.float32
    assert (image.pixels[0, 0], image.pixels[-1, -1]) == (0.0, 1.0)
    assert image.pixels[0, 51] == np.float32(51 / top)
    assert np.array_equal(one(encode(frames, [image.pixels.copy()]))[1].stored, stored)
    # also where every value went through the network and came back as a new number
    nearby = np.clip(image.pixels + np.float32(0.3 / top), 0, 1).astype(np.float32)
    assert np.array_equal(one(encode(frames, [nearby]))[1].stored, stored)


@given(
    arrays(
        st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float32, np.float64]),
        array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_npy_in_hu_comes_back_bit_for_bit(stored):
    if not np.isfinite(stored).all() or np.abs(stored.astype(np.float64)).max() > 1e6:
        with pytest.raises(UnsuitableImage):
            decode(npy_of(stored), limits=LIMITS, rescale=ONE_TO_ONE)
        return
    frames, image = one(npy_of(stored), ONE_TO_ONE)
    assert image.unit == "HU"
    back = np.load(io.BytesIO(encode(frames, [image.pixels.copy()])))
    assert back.dtype == stored.dtype
    assert back.tobytes() == np.ascontiguousarray(stored).tobytes()


def test_png_with_rescale_is_in_hu_and_padding_comes_back():
    stored = np.array([[0, 1000, 1024, 3000]], np.uint16)
    frames, image = one(png_of(stored), Rescale(1, -2000))
    assert image.unit == "HU"
    assert image.padding.tolist() == [[True, False, False, False]]
    assert image.pixels.tolist() == [[-1000.0, -1000.0, -976.0, 1000.0]]
    restored = np.array([[5.0, -990.4, -976.0, 1e6]], np.float32)
    _, back = one(encode(frames, [restored]))
    assert back.stored.tolist() == [[0, 1010, 1024, 65535]]


def test_relative_results_are_clipped_to_what_relative_means():
    frames, image = one(npy_of(np.array([[0.5, 0.25]], np.float32)))
    assert image.rescale == ONE_TO_ONE
    restored = np.array([[1.5, -0.5]], np.float32)
    assert np.load(io.BytesIO(encode(frames, [restored]))).tolist() == [[1.0, 0.0]]
    frames, _ = one(png_of(np.array([[3, 4]], np.uint8)))
    assert one(encode(frames, [restored]))[1].stored.tolist() == [[255, 0]]


def test_integers_of_64_bits_are_clipped_where_floats_stay_exact():
    frames, _ = one(npy_of(np.array([[0, 1]], np.int64)), Rescale(1e-8, 0))
    back = np.load(io.BytesIO(encode(frames, [np.array([[1e30, -1e30]], np.float32)])))
    assert back.tolist() == [[2**53, -(2**53)]]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.array([[-1000.0, 40.0]], np.float32), "from -1000 to 40; .* rescale_slope=1 and rescale_intercept=0"),
        (np.array([[0.0, 1.001]], np.float64), "from 0 to 1.001"),
        (np.array([[-1000, 40]], np.int16), "int16 values without a unit; send rescale_slope=1"),
        (np.array([[1, 2]], np.int64), "int64 values without a unit"),
        (np.array([[1, 2]], np.uint32), "uint32 values without a unit"),
    ],
)
def test_values_without_a_unit_are_refused_and_told_how_to_send_them(stored, message):
    with pytest.raises(UnsuitableImage, match=message):
        decode(npy_of(stored), limits=LIMITS)
    assert decode(npy_of(stored), limits=LIMITS, rescale=ONE_TO_ONE).unit == "HU"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rescale", [None, ONE_TO_ONE])
def test_nan_and_infinity_are_refused(value, rescale):
    with pytest.raises(UnsuitableImage, match="NaN or infinite"):
        decode(npy_of(np.array([[0.5, value]])), limits=LIMITS, rescale=rescale)


@pytest.mark.parametrize(
    "rescale", [Rescale(1e30, 0), Rescale(1, 1e300), Rescale(1e-300, 0), Rescale(1e308, 1e308), Rescale(1.0, -2e6)]
)
def test_a_rescale_that_leads_nowhere_near_hu_is_refused(rescale):
    with pytest.raises(UnsuitableImage, match="rescale slope"):
        decode(png_of(np.array([[0, 65535]], np.uint16)), limits=LIMITS, rescale=rescale)


def test_dicom_takes_no_rescale_and_is_not_encoded_here(make_file):
    with pytest.raises(UnsuitableImage, match="rescale of its own"):
        decode(make_file(), limits=LIMITS, rescale=ONE_TO_ONE)
    frames, image = one(make_file())
    assert (image.format, image.unit) == ("dicom", "HU")
    with pytest.raises(ValueError, match=r"service\.dicom\.derive"):
        encode(frames, [image.pixels.copy()])


def test_hu_converted_to_png_npy_and_tiff():
    pixels = np.array([[-1024.0, 0.5, 1.5, 100.4, -3024.0, 1e6]], np.float32)
    assert np.load(io.BytesIO(encode_npy([pixels]))).tobytes() == pixels.tobytes()
    assert np.load(io.BytesIO(encode_npy([pixels, pixels + 1]))).tolist() == [pixels.tolist(), (pixels + 1).tolist()]
    with tifffile.TiffFile(io.BytesIO(encode_tiff([pixels, pixels + 1], spacing=(0.5, 0.703125)))) as written:
        assert [page.asarray().tobytes() for page in written.pages] == [pixels.tobytes(), (pixels + 1).tobytes()]
        assert {page.dtype for page in written.pages} == {np.dtype(np.float32)}
        tags = written.pages[0].tags
        # pixels per centimetre, across and down
        assert (tags[282].value[0] / tags[282].value[1]) == pytest.approx(10 / 0.703125, rel=1e-6)
        assert (tags[283].value[0] / tags[283].value[1], tags[296].value) == (20, 3)
    # half to even: 1024.5 -> 1024, 1025.5 -> 1026
    _, written = one(encode_png(pixels, rescale=HU_IN_PNG))
    assert written.stored.tolist() == [[0, 1024, 1026, 1124, 0, 65535]]
    small = encode_png(np.array([[0.0, 0.5, 1.0, 2.0]], np.float32), rescale=Rescale(1 / 255, 0), bits=8)
    assert one(small)[1].stored.tolist() == [[0, 128, 255, 255]]
    with pytest.raises(ValueError, match="NaN"):
        encode_png(np.array([[math.nan]], np.float32), rescale=HU_IN_PNG)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (15, 17)])
def test_odd_shapes(shape):
    stored = np.full(shape, 7, np.uint8)
    for data in (png_of(stored), npy_of(stored), tiff_of(stored)):
        assert decode(data, limits=LIMITS).shape == shape


def test_png_bomb_of_a_small_file_is_refused_by_its_header():
    header = struct.pack(">II5B", 20000, 20000, 16, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I4s", len(payload), name) + payload + struct.pack(">I", zlib.crc32(name + payload))
        for name, payload in chunks
    )
    with pytest.raises(TooLarge, match="400000000 pixels"):
        decode(data, limits=LIMITS)
    # where the caller allows that many, Pillow does not warn, and what is missing does not become black
    with pytest.raises(NotAnImage, match="holds 1000 bytes of pixels"):
        decode(data, limits=Limits(max_bytes=1 << 20, max_pixels=1 << 30))


def pages_of(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        yield from file.pages


def test_where_zero_is_white_relative_images_turn_round_and_come_back_as_they_were():
    stored = np.array([[0, 51, 255]], np.uint8)
    frames, image = one(tiff_of(stored, photometric="miniswhite"))
    assert image.pixels.tolist() == [[1.0, np.float32(0.8), 0.0]]
    assert image.rescale == Rescale(-1 / 255, 1.0)
    (page,) = pages_of(encode(frames, [image.pixels.copy()]))
    assert (page.photometric.name, page.asarray().tolist()) == ("MINISWHITE", stored.tolist())
    brighter = np.clip(image.pixels + np.float32(0.2), 0, 1).astype(np.float32)
    assert one(encode(frames, [brighter]))[1].stored.tolist() == [[0, 0, 204]]
    floats = np.array([[0.25, 1.0]], np.float32)
    assert one(tiff_of(floats, photometric="miniswhite"))[1].pixels.tolist() == [[0.75, 0.0]]


def test_where_zero_is_white_hu_are_what_the_rescale_says():
    stored = np.array([[-1000, 40]], np.int16)
    frames, image = one(tiff_of(stored, photometric="miniswhite"), ONE_TO_ONE)
    assert image.pixels.tolist() == [[-1000.0, 40.0]]
    (page,) = pages_of(encode(frames, [image.pixels + np.float32(1)]))
    assert (page.photometric.name, page.asarray().tolist()) == ("MINISWHITE", [[-999, 41]])


def test_int16_tiff_without_a_rescale_is_told_how_to_be_sent():
    with pytest.raises(UnsuitableImage, match="int16 values without a unit; send rescale_slope=1"):
        decode(tiff_of(np.zeros((2, 3), np.int16)), limits=LIMITS)
