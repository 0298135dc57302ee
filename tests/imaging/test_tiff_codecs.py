"""The three byte codecs against independent encoders, and damaged streams; here without a worker process."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL.TiffImagePlugin import TiffImageFile

from imaging.errors import NotAnImage
from imaging.tiff_codecs import unpack


def strips_of(pixels, compression):
    """(code, strips, rows of a strip) as libtiff writes them."""
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, format="TIFF", compression=compression)
    with TiffImageFile(io.BytesIO(file.getvalue())) as picture:
        tags = picture.tag_v2
        parts = [file.getvalue()[at : at + size] for at, size in zip(tags[273], tags[279], strict=True)]
        return tags[259], parts, tags[278]


def call(code, parts, width, rows, last):
    segments, data = [], b"prefix"
    for part in parts:
        segments.append((len(data), len(part)))
        data += part
    pages = np.array([[code, width, rows, last, len(parts)]], np.int64)
    return unpack(data, pages, np.array(segments, np.int64))


PIXELS = np.random.default_rng(1).integers(0, 9, (700, 300)).astype(np.uint8)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("height", [700, 1])
def test_strips_come_out_one_after_the_other(compression, height):
    pixels = PIXELS[:height]
    code, parts, rows = strips_of(pixels, compression)
    assert (len(parts) > 1) is (height > 1)
    unpacked = call(code, parts, 300, rows, height - rows * (len(parts) - 1))
    assert unpacked.dtype == np.uint8
    assert unpacked.tobytes() == pixels.tobytes()


def test_several_pages_with_different_codecs():
    first, second = PIXELS[:50], PIXELS[50:60]
    streams = [zlib.compress(first.tobytes()), strips_of(second, "tiff_lzw")[1][0]]
    data = b"".join(streams)
    segments = np.array([(0, len(streams[0])), (len(streams[0]), len(streams[1]))], np.int64)
    pages = np.array([[32946, 300, 50, 50, 1], [5, 300, 10, 10, 1]], np.int64)
    assert unpack(data, pages, segments).tobytes() == PIXELS[:60].tobytes()


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize(
    "damage", [lambda part: part[: len(part) // 2], lambda part: part[:1], lambda part: bytes(len(part)), lambda _: b""]
)
def test_streams_that_are_cut_off_or_no_streams(compression, damage):
    code, parts, rows = strips_of(PIXELS, compression)
    last = 700 - rows * (len(parts) - 1)
    with pytest.raises(NotAnImage, match="compressed page 1 of the TIFF file do not decode"):
        call(code, [*parts[:-1], damage(parts[-1])], 300, rows, last)


def test_no_more_is_written_than_the_header_says():
    unpacked = call(8, [zlib.compress(bytes(50 << 20))], 10, 2, 2)
    assert unpacked.tolist() == [0] * 20
