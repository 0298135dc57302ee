"""Headers, directories and tags: what is read, and what costs nothing but an error."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from imaging.errors import NotAnImage
from imaging.tiff_tags import Tag, directories

PAGE = np.zeros((2, 3), np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_all_integer_types_and_texts(make_tiff, order, big):
    data = make_tiff(
        PAGE, PAGE, order=order, big=big, t258=(1, [8]), t256=(16, [3]), t270=(2, b"ImageJ=1\0rest"), t282=(5, [(7, 2)])
    )
    pages = list(directories(data))
    assert [page.number for page in pages] == [1, 2]
    first = pages[0]
    assert (first.integer(Tag.BITS_PER_SAMPLE), first.integer(Tag.IMAGE_WIDTH), first.integer(Tag.IMAGE_LENGTH)) == (
        8,
        3,
        2,
    )
    assert first.integer(Tag.PREDICTOR, 1) == 1
    assert first.text(Tag.IMAGE_DESCRIPTION) == "ImageJ=1"
    assert first.ratio(Tag.X_RESOLUTION) == (7, 2)
    assert first.ratio(Tag.Y_RESOLUTION) is None
    assert Tag.ORIENTATION not in first


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "within its header"),
        (b"II*\0", "within its header"),
        (b"II*\0\x08\0\0", "within its header"),
        (b"XX*\0\x08\0\0\0", "begins with none"),
        (b"II\x00*\x08\0\0\0", "begins with none"),
        (b"II+\0\x04\0\0\0" + bytes(8), "other than 8 bytes"),
        (b"II+\0\x08\0\x01\0" + bytes(8), "other than 8 bytes"),
        (b"II*\0\0\0\0\0", "has no page"),
        (b"II*\0\xff\xff\xff\xff", "ends within the tags of page 1"),
        (b"II*\0\x08\0\0\0\x01", "ends within the tags of page 1"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "has 0 tags"),
        (b"II*\0\x08\0\0\0\xff\xff" + bytes(40), "has 65535 tags"),
        (b"II*\0\x08\0\0\0\x02\0" + bytes(20), "ends within the tags"),
        (b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 1 << 63), "has 9223372036854775808 tags"),
    ],
)
def test_broken_headers(data, message):
    with pytest.raises(NotAnImage, match=message):
        list(directories(data))


@pytest.mark.parametrize("loop", [0, 1, 2])
def test_pages_in_a_loop(make_tiff, loop):
    with pytest.raises(NotAnImage, match="form a loop: after page 3"):
        list(directories(make_tiff(PAGE, PAGE, PAGE, loop=loop)))


def test_pages_are_read_one_by_one(make_tiff):
    pages = directories(make_tiff(PAGE, PAGE, loop=0))
    assert [next(pages).number, next(pages).number] == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((3, []), "0 values"),
        ((3, [5, 5]), "2 values instead of one"),
        ((12, [5.0]), "type 12"),
        ((2, b"3\0"), "2 values instead of one"),
    ],
)
def test_tags_that_hold_something_else(make_tiff, change, message):
    (page,) = directories(make_tiff(PAGE, t256=change))
    with pytest.raises(NotAnImage, match=message):
        page.integer(Tag.IMAGE_WIDTH)


def test_a_count_beyond_the_file_takes_no_memory(make_tiff):
    data = make_tiff(PAGE)
    entry = struct.pack("<HHI", Tag.STRIP_OFFSETS, 4, 1)
    (page,) = directories(data.replace(entry, struct.pack("<HHI", Tag.STRIP_OFFSETS, 4, 0xFFFFFFFF)))
    with pytest.raises(NotAnImage, match="4294967295 values of its tag STRIP_OFFSETS"):
        page.integers(Tag.STRIP_OFFSETS)


def test_the_first_of_two_equal_tags_counts(make_tiff):
    data = make_tiff(PAGE)
    other, same = struct.pack("<HHI", Tag.IMAGE_LENGTH, 4, 1), struct.pack("<HHI", Tag.IMAGE_WIDTH, 4, 1)
    (page,) = directories(data.replace(other, same))
    assert page.integer(Tag.IMAGE_WIDTH) == 3
