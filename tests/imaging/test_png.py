"""PNG: which kinds are read, and that damage is noticed."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from imaging.errors import NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat
from imaging.limits import Limits
from imaging.png import SIGNATURE, read_png, write_png

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16)


def saved(picture, **options):
    file = io.BytesIO()
    picture.save(file, format="PNG", **options)
    return file.getvalue()


def png_of(*chunks):
    """A PNG file of the given (type, payload) chunks, with right checksums."""
    return SIGNATURE + b"".join(
        struct.pack(">I4s", len(payload), name) + payload + struct.pack(">I", zlib.crc32(name + payload))
        for name, payload in chunks
    )


def header(width, height, depth=8, colour=0, interlace=0):
    return (b"IHDR", struct.pack(">II5B", width, height, depth, colour, 0, 0, interlace))


END = (b"IEND", b"")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_written_values_are_read_by_pillow_and_by_us(dtype):
    stored = np.arange(15, dtype=dtype).reshape(3, 5) * (np.iinfo(dtype).max // 15)
    data = write_png(stored)
    with PillowImage.open(io.BytesIO(data)) as picture:
        assert picture.mode == ("L" if dtype == np.uint8 else "I;16")
        assert np.array(picture).tolist() == stored.tolist()
    ours = read_png(data, limits=LIMITS)
    assert ours.dtype == np.dtype(dtype)
    assert ours.tolist() == stored.tolist()


def test_bytes_by_hand():
    # 16 bits, big-endian in the file, filter type 0 before each row
    rows = b"\0\x01\x02\xff\xfe" + b"\0\0\0\0\x07"
    data = png_of(header(2, 2, 16), (b"IDAT", zlib.compress(rows)), END)
    assert read_png(data, limits=LIMITS).tolist() == [[0x0102, 0xFFFE], [0, 7]]


def test_interlaced_and_filtered_images_in_several_chunks():
    # Adam7 of a 2 x 2 image: pass 1 has pixel (0, 0), pass 6 has (0, 1), pass 7 the second row
    packed = zlib.compress(b"\0\x0a" + b"\0\x14" + b"\1\x1e\x0a")
    data = png_of(header(2, 2, 8, interlace=1), (b"IDAT", packed[:5]), (b"IDAT", packed[5:]), END)
    assert read_png(data, limits=LIMITS).tolist() == [[10, 20], [30, 40]]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (5, 5), (8, 8), (17, 13)])
def test_interlaced_sizes(size):
    """Every pass of constant rows, unfiltered; one byte less is refused."""
    width, height = size
    rows = b""
    for left, top, step_x, step_y in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        columns = -(-(width - left) // step_x) if width > left else 0
        lines = -(-(height - top) // step_y) if height > top else 0
        rows += (b"\0" + b"\x2a" * columns) * lines if columns else b""
    ihdr = header(width, height, 8, interlace=1)
    read = read_png(png_of(ihdr, (b"IDAT", zlib.compress(rows)), END), limits=LIMITS)
    assert read.tolist() == [[42] * width] * height
    with pytest.raises(NotAnImage, match="bytes of pixels"):
        read_png(png_of(ihdr, (b"IDAT", zlib.compress(rows[:-1])), END), limits=LIMITS)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (PillowImage.new("1", (4, 4)), "1 bits"),
        (PillowImage.new("RGB", (4, 4)), "is RGB"),
        (PillowImage.new("RGBA", (4, 4)), "RGB with alpha"),
        (PillowImage.new("LA", (4, 4)), "gray with alpha"),
        (PillowImage.new("P", (4, 4)), "palette"),
    ],
)
def test_other_kinds_are_refused(picture, message):
    with pytest.raises(UnsupportedFormat, match=message):
        read_png(saved(picture), limits=LIMITS)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_fewer_bits_are_refused(depth):
    with pytest.raises(UnsupportedFormat, match=f"{depth} bits a pixel"):
        read_png(png_of(header(8, 1, depth), (b"IDAT", zlib.compress(bytes(5))), END), limits=LIMITS)


def test_transparency_animation_and_unknown_critical_chunks_are_refused():
    gray = PillowImage.new("L", (4, 4))
    with pytest.raises(UnsupportedFormat, match="tRNS"):
        read_png(saved(gray, transparency=0), limits=LIMITS)
    with pytest.raises(UnsuitableImage, match="animation"):
        read_png(saved(gray, save_all=True, append_images=[PillowImage.new("L", (4, 4), 9)]), limits=LIMITS)
    with pytest.raises(UnsupportedFormat, match="critical chunk 'ABCD'"):
        read_png(png_of(header(1, 1), (b"ABCD", b""), (b"IDAT", zlib.compress(b"\0\7")), END), limits=LIMITS)


def test_a_text_bomb_costs_nothing():
    data = png_of(
        header(1, 1),
        (b"zTXt", b"k\0\0" + zlib.compress(bytes(50 << 20))),
        (b"IDAT", zlib.compress(b"\0\7")),
        END,
    )
    assert read_png(data, limits=LIMITS).tolist() == [[7]]


def test_texts_and_profiles_do_not_change_values():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "text")
    info.add(b"gAMA", struct.pack(">I", 45455))
    assert read_png(saved(PillowImage.new("L", (2, 1), 99), pnginfo=info), limits=LIMITS).tolist() == [[99, 99]]


def test_every_truncation_is_refused_and_trailing_bytes_are_ignored():
    data = write_png(np.arange(64, dtype=np.uint16).reshape(8, 8))
    for length in range(len(SIGNATURE), len(data)):
        with pytest.raises(NotAnImage, match="ends early"):
            read_png(data[:length], limits=LIMITS)
    assert read_png(data + b"more", limits=LIMITS)[7, 7] == 63


def test_every_flipped_byte_is_noticed():
    data = write_png(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for position in range(len(SIGNATURE), len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x10
        with pytest.raises(NotAnImage):
            read_png(bytes(broken), limits=LIMITS)


@pytest.mark.parametrize(
    "chunks",
    [
        ((b"IDAT", b""), END),
        ((b"IHDR", b"\0" * 12), END),
        (header(0, 4), (b"IDAT", zlib.compress(b"")), END),
        (header(4, 0), (b"IDAT", zlib.compress(b"")), END),
        (header(4, 4), END),
        (header(1, 1, interlace=2), (b"IDAT", zlib.compress(b"\0\7")), END),
        (header(4, 4), (b"IDAT", zlib.compress(bytes(3 * 5))), END),  # a row is missing
        (header(4, 4), (b"IDAT", b"no zlib stream"), END),
        (header(4, 4), (b"IDAT", zlib.compress(b"\x09" + bytes(19))), END),  # no such filter
    ],
)
def test_contradictions_are_refused(chunks):
    with pytest.raises(NotAnImage):
        read_png(png_of(*chunks), limits=LIMITS)


def test_size_is_refused_by_the_header():
    with pytest.raises(TooLarge, match="20000 rows and 20000 columns"):
        read_png(png_of(header(20000, 20000, 16), (b"IDAT", b""), END), limits=LIMITS)


@pytest.mark.parametrize("stored", [np.zeros((2, 2), np.int16), np.zeros(4, np.uint8), np.zeros((2, 2, 3), np.uint8)])
def test_only_what_png_can_hold_is_written(stored):
    with pytest.raises(ValueError, match="PNG takes"):
        write_png(stored)
