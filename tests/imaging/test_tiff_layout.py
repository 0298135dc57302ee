"""Which pages are refused, by whose fault, and that no number of the file is believed."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from imaging.errors import NotAnImage, TooLarge, UnsupportedFormat
from imaging.limits import Limits
from imaging.tiff import read_tiff
from imaging.tiff_layout import MAX_SEGMENTS, check_segments

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16, max_frames=8)
PAGE = np.arange(20, dtype=np.uint8).reshape(4, 5)


def by_pillow(mode, **options):
    file = io.BytesIO()
    PillowImage.new(mode, (16, 16)).save(file, format="TIFF", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (by_pillow("RGB"), "page 1 of the TIFF file is RGB; grayscale is needed"),
        (by_pillow("RGBA"), "is RGB"),
        (by_pillow("P"), "is palette colour"),
        (by_pillow("CMYK"), "is CMYK"),
        (by_pillow("LAB"), "is CIELab"),
        (by_pillow("YCbCr"), "is YCbCr"),
        (by_pillow("LA"), "has 2 samples per pixel; grayscale with one is needed, without alpha"),
        (by_pillow("1"), "has pixels of 1 bits"),
        (by_pillow("1", compression="group4"), "pixels of 1 bits"),
        (by_pillow("L", compression="jpeg"), "is compressed by JPEG, whose losses"),
        (by_pillow("L", compression="lzma"), "is compressed by LZMA; uncompressed, deflate, LZW and PackBits are read"),
        (by_pillow("L", compression="zstd"), "is compressed by Zstandard"),
    ],
)
def test_real_files_of_other_kinds(data, message):
    with pytest.raises(UnsupportedFormat, match=message):
        read_tiff(data, limits=LIMITS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t262": (3, [32803])}, "photometric interpretation 32803"),
        ({"t262": (3, [4])}, "transparency mask"),
        ({"t338": (3, [2])}, "without alpha"),
        ({"t277": (3, [3])}, "has 3 samples"),
        ({"t258": (3, [12])}, r"pixels of 12 bits \(unsigned\)"),
        ({"t258": (3, [64])}, "pixels of 64 bits"),
        ({"t258": (3, [24]), "t339": (3, [3])}, r"24 bits \(floating point\)"),
        ({"t258": (3, [8]), "t339": (3, [3])}, "8 bits"),
        ({"t258": None}, "pixels of 1 bits"),
        ({"t339": (3, [5])}, "sample format 5"),
        ({"t266": (3, [2])}, "FillOrder 2"),
        ({"t259": (3, [6])}, "old JPEG"),
        ({"t259": (3, [12345])}, "compressed by 12345"),
        ({"t259": (3, [8]), "t317": (3, [3])}, "predictor 3, which does not exist for uint8"),
        ({"t259": (3, [8]), "t317": (3, [34892])}, "predictor 34892"),
        ({"t317": (3, [2])}, "predictor 2 with compression none"),
        ({"t259": (3, [32773]), "t317": (3, [2])}, "predictor 2 with compression PackBits"),
    ],
)
def test_features_that_are_not_read(make_tiff, changes, message):
    with pytest.raises(UnsupportedFormat, match=message):
        read_tiff(make_tiff(PAGE, **changes), limits=LIMITS)


TILES = {"t273": None, "t279": None, "t278": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t256": (4, [0])}, "4 rows and 0 columns"),
        ({"t257": None}, "IMAGE_LENGTH"),
        ({"t262": None}, "PHOTOMETRIC"),
        ({"t273": None}, "STRIP_OFFSETS"),
        ({"t278": (4, [0])}, "strips of 0 rows"),
        ({"t278": (4, [1])}, "needs 4 strips or tiles and has 1 offsets and 1 sizes"),
        ({"t273": (4, [8, 8])}, "has 2 offsets"),
        ({"t273": (4, [4_000_000_000])}, "beyond the end"),
        ({"t273": (4, [0])}, "beyond the end"),
        ({"t273": (16, [1 << 61])}, "beyond the end"),
        ({"t273": (16, [1 << 63])}, "holds 9223372036854775808"),
        ({"t279": (4, [19])}, "fewer bytes than their pixels need"),
        ({"t259": (3, [8]), "t279": (4, [0])}, "empty"),
        ({"t259": (3, [8]), "t279": (4, [4_000_000_000])}, "beyond the end"),
        ({"t259": (3, [8]), "t279": None}, "STRIP_BYTE_COUNTS"),
        ({**TILES, "t322": (4, [20]), "t323": (4, [16]), "t324": (4, [8]), "t325": (4, [20])}, "tiles of 16 x 20"),
        ({**TILES, "t322": (4, [0]), "t323": (4, [0]), "t324": (4, [8]), "t325": (4, [20])}, "tiles of 0 x 0"),
        ({**TILES, "t322": (4, [1 << 31]), "t323": (4, [16]), "t324": (4, [8]), "t325": (4, [20])}, "at most 65536"),
        ({**TILES, "t322": (4, [16]), "t323": (4, [16]), "t324": (4, [8]), "t325": (4, [20])}, "fewer bytes"),
        ({**TILES, "t322": (4, [16]), "t324": (4, [8]), "t325": (4, [20])}, "TILE_LENGTH"),
    ],
)
def test_tags_that_contradict_each_other(make_tiff, changes, message):
    with pytest.raises(NotAnImage, match=message):
        read_tiff(make_tiff(PAGE, **changes), limits=LIMITS)


def test_sizes_are_checked_before_anything_else_is_computed(make_tiff):
    with pytest.raises(TooLarge, match="4294967295 rows and 4294967295 columns"):
        read_tiff(make_tiff(PAGE, t256=(4, [0xFFFFFFFF]), t257=(4, [0xFFFFFFFF])), limits=LIMITS)
    tile = {**TILES, "t322": (4, [65536]), "t323": (4, [65536]), "t324": (4, [8]), "t325": (4, [20])}
    with pytest.raises(TooLarge, match="decompresses to 4294967296 bytes"):
        read_tiff(make_tiff(PAGE, **tile, t259=(3, [5])), limits=LIMITS)


def test_too_many_strips():
    check_segments(MAX_SEGMENTS)
    with pytest.raises(NotAnImage, match="262145 strips or tiles"):
        check_segments(MAX_SEGMENTS + 1)


def test_rows_per_strip_of_more_than_the_image(make_tiff):
    for rows in ((4, [0xFFFFFFFF]), None):  # 2**32 - 1 is TIFF's default: one strip
        assert read_tiff(make_tiff(PAGE, t278=rows), limits=LIMITS).stored[0].tolist() == PAGE.tolist()


def test_sizes_of_uncompressed_strips_may_be_missing_or_too_large(make_tiff):
    for sizes in (None, (4, [999_999])):
        assert read_tiff(make_tiff(PAGE, t279=sizes), limits=LIMITS).stored[0].tolist() == PAGE.tolist()


def test_strips_in_any_order():
    file = io.BytesIO()
    tifffile.imwrite(file, PAGE, rowsperstrip=1, photometric="minisblack", metadata=None)
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+") as opened:
        page = opened.pages[0]
        offsets = page.dataoffsets
        page.tags[273].overwrite(tuple(reversed(offsets)))
    assert read_tiff(file.getvalue(), limits=LIMITS).stored[0].tolist() == PAGE[::-1].tolist()
