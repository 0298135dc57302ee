"""PNG: bombs, damage, and pixels of other kinds than gray (item 17)."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

GRAY = {"model": "gray-tiny"}


def png(*chunks: tuple[bytes, bytes], crc: int = 0) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ crc)
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def header(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">II5B", width, height, depth, colour, 0, 0, interlace)


def pixels(data: bytes) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(data, 9)


def by_pillow(mode: str, **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8)).save(file, format="PNG", **options)
    return file.getvalue()


END = (b"IEND", b"")
ROWS = bytes(9 * 8)  # eight rows of a filter byte and eight pixels
GOOD = png(header(8, 8), pixels(ROWS), END)

FILES = {
    "bomb": (png(header(60_000, 60_000), (b"IDAT", b""), END), "image-too-large"),
    "bomb of real zeros": (png(header(20_000, 20_000), pixels(bytes(20_001 * 2000)), END), "image-too-large"),
    "more pixels than the header says": (png(header(8, 8), pixels(bytes(50_000_000)), END), None),
    "text bomb": (
        png(header(8, 8), (b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 9)), pixels(ROWS), END),
        None,
    ),
    "profile bomb": (
        png(header(8, 8), (b"iCCP", b"k\0\0" + zlib.compress(bytes(50_000_000), 9)), pixels(ROWS), END),
        None,
    ),
    "largest size": (png(header(2**31 - 1, 2**31 - 1), END), "image-too-large"),
    "size 0": (png(header(0, 8), pixels(ROWS), END), "not-an-image"),
    "1 bit": (by_pillow("1"), "unsupported-format"),
    "palette": (by_pillow("P"), "unsupported-format"),
    "rgb": (by_pillow("RGB"), "unsupported-format"),
    "alpha": (by_pillow("LA"), "unsupported-format"),
    "animated": (by_pillow("L", save_all=True, append_images=[Image.new("L", (8, 8), 9)]), "unsuitable-image"),
    "unknown depth": (png(header(8, 8, depth=7), pixels(ROWS), END), "unsupported-format"),
    "truncated after the header": (png(header(8, 8)), "not-an-image"),
    "truncated in the pixels": (GOOD[:-20], "not-an-image"),
    "without pixels": (png(header(8, 8), pixels(b""), END), "not-an-image"),
    "too few pixels": (png(header(8, 8), pixels(ROWS[:-9]), END), "not-an-image"),
    "pixels that are no zlib": (png(header(8, 8), (b"IDAT", b"nonsense"), END), "not-an-image"),
    "wrong checksums": (png(header(8, 8), pixels(ROWS), END, crc=1), "not-an-image"),
    "no header": (png(pixels(ROWS), END), "not-an-image"),
    "chunk longer than the file": (GOOD[:8] + b"\x7f\xff\xff\xffIHDR" + GOOD[16:], "not-an-image"),
}


@pytest.mark.parametrize("name", FILES)
def test_as_image_and_as_reference(refuse, good, client, name):
    content, slug = FILES[name]
    if slug is None:  # a good image with something evil beside or after its pixels: taken or not, it must cost nothing
        assert client.post("/v1/reconstructions", files={"image": content}, data=GRAY).status_code in {200, 400}
        slug, content = "not-an-image", content[:-20]
    refuse(content, slug, **GRAY)
    refuse(good, slug, reference=content, **GRAY)


def test_the_good_one_is_good(client):
    answer = client.post("/v1/reconstructions", files={"image": GOOD}, data=GRAY)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), np.zeros((8, 8), np.uint8))
