"""TIFF: bombs, loops, and pages of other kinds than gray (item 17)."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

GRAY = {"model": "gray-tiny"}
PIXELS = np.random.default_rng(3).integers(0, 255, (8, 8)).astype(np.uint8)


def of(*pages, **options) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=options.pop("bigtiff", False)) as writer:
        for page in pages:
            writer.write(page, **{"photometric": "minisblack", "metadata": None, **options})
    return file.getvalue()


def by_pillow(mode: str, **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8)).save(file, format="TIFF", **options)
    return file.getvalue()


def by_hand(*entries: tuple[int, int, int, int], following: int = 0, pixels: bytes = bytes(64)) -> bytes:
    """One page, little-endian; the pixels begin at byte 8 and the page directory follows them."""
    directory = 8 + len(pixels)
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return (
        b"II*\0"
        + struct.pack("<I", directory)
        + pixels
        + struct.pack("<H", len(entries))
        + table
        + struct.pack("<I", following)
    )


def page(width: int = 8, height: int = 8, size: int = 64) -> list[tuple[int, int, int, int]]:
    """Entries of an uncompressed 8-bit gray page."""
    return [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, size),
    ]  # fmt: skip


WHOLE = by_hand(*page())
FILES = {
    "without a page": (b"II*\0" + bytes(40), "not-an-image"),
    "one header": (b"MM\0*\0\0", "not-an-image"),
    "directory beyond the file": (b"II*\0\xff\xff\xff\x7f" + bytes(40), "not-an-image"),
    "page that points to itself": (by_hand(*page(), following=72), "not-an-image"),
    "65535 entries": (b"II*\0\x08\0\0\0\xff\xff" + bytes(4000), "not-an-image"),
    "bomb": (by_hand(*page(60_000, 60_000)), "image-too-large"),
    "size that overflows": (by_hand(*page(2**32 - 1, 2**32 - 1)), "image-too-large"),
    "size 0": (by_hand(*page(0, 8)), "not-an-image"),
    "deflate bomb": (of(np.zeros((8000, 8000), np.uint8), compression="zlib"), "image-too-large"),
    "damaged deflate": (
        of(PIXELS, compression="zlib").replace(zlib.compress(PIXELS.tobytes())[:2], b"\0\0"),
        "not-an-image",
    ),
    "truncated": (of(PIXELS)[:-30], "not-an-image"),
    "rgb": (of(np.zeros((8, 8, 3), np.uint8), photometric="rgb"), "unsupported-format"),
    "1 bit": (by_pillow("1"), "unsupported-format"),
    "palette": (by_pillow("P"), "unsupported-format"),
    "CMYK": (by_pillow("CMYK"), "unsupported-format"),
    "alpha": (by_pillow("LA"), "unsupported-format"),
    "jpeg inside": (by_pillow("L", compression="jpeg"), "unsupported-format"),
    "all NaN": (of(np.full((8, 8), np.nan, np.float32)), "unsuitable-image"),
    "infinite": (of(np.full((8, 8), np.inf, np.float32)), "unsuitable-image"),
    "complex": (of(np.zeros((8, 8), np.complex64)), "unsupported-format"),
    "pages of other sizes": (of(PIXELS, np.zeros((8, 9), np.uint8)), "unsuitable-image"),
    "pages of other types": (of(PIXELS, PIXELS.astype(np.uint16)), "unsuitable-image"),
}


@pytest.mark.parametrize("name", FILES)
def test_as_image_and_as_reference(refuse, good, name):
    content, slug = FILES[name]
    refuse(content, slug, **GRAY)
    refuse(good, slug, reference=content, **GRAY)


GOOD = {
    "by hand": WHOLE,
    "strip of more bytes than there are": by_hand(*page(size=2**31)),
    "note with a count of billions": by_hand(*page(), (270, 2, 2**32 - 1, 8)),
    "BigTIFF": of(PIXELS, bigtiff=True),
    "two pages": of(PIXELS, PIXELS),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_only_looks_odd_is_taken(client, name):
    answer = client.post("/v1/reconstructions", files={"image": GOOD[name]}, data=GRAY)
    assert answer.status_code == 200, answer.text
    restored = tifffile.imread(io.BytesIO(answer.content))
    expected = {"BigTIFF": PIXELS, "two pages": np.stack([PIXELS] * 2)}.get(name, np.zeros((8, 8), np.uint8))
    np.testing.assert_array_equal(restored, expected)
