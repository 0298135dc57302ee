"""Frames are told apart by the number of their fragments, by the offset table, or by where codestreams begin."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames

from imaging.encapsulated import MAX_ITEMS, read_items
from imaging.encapsulated_frames import split_frames
from imaging.errors import NotAnImage

JPEG = b"\xff\xd8\xff"


def item(content):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def offsets(*numbers):
    return item(struct.pack(f"<{len(numbers)}I", *numbers))


def test_as_many_fragments_as_frames_need_no_table_and_believe_none():
    for table in (item(b""), offsets(0, 999), item(b"xyz")):
        assert split_frames(table + item(b"ab") + item(b"") + item(b"cdef"), 2) == [b"ab", b"cdef"]


def test_an_extended_offset_table_is_for_frames_of_one_fragment():
    data, *_ = encapsulate_extended([b"abc", b"de"])
    assert split_frames(data, 2) == [b"abc\0", b"de"]


@given(
    frames=st.lists(st.binary(min_size=2, max_size=40), min_size=1, max_size=6),
    fragments=st.integers(1, 5),
)
def test_a_basic_offset_table_agrees_with_pydicom(frames, fragments):
    most = min(len(frame) // 2 for frame in frames)  # fragments have even length
    data = encapsulate(frames, fragments_per_frame=min(fragments, most), has_bot=True)
    expected = list(generate_frames(data, number_of_frames=len(frames)))
    assert split_frames(data, len(frames)) == expected


def test_where_codestreams_begin_when_there_is_no_table():
    parts = [JPEG + b"1", b"more\xff\xd8", JPEG + b"2", b"\xff\x4f\xff\x51", b"end!"]
    data = item(b"") + b"".join(map(item, parts))
    assert split_frames(data, 3) == [parts[0] + parts[1], parts[2], parts[3] + parts[4]]
    for count in (2, 4):
        with pytest.raises(NotAnImage, match=f"5 fragments for {count} frames and no offset table"):
            split_frames(data, count)


@pytest.mark.parametrize(
    "table",
    [offsets(0), offsets(0, 10, 20), offsets(10, 0), offsets(0, 0), offsets(2, 10), offsets(0, 11), item(b"abc")],
    ids=["short", "long", "descending", "equal", "late", "inside of a fragment", "no numbers"],
)
def test_a_table_that_contradicts_the_fragments(table):
    data = table + item(b"ab") + item(b"cd") + item(b"ef")
    with pytest.raises(NotAnImage, match="does not say where each of 2 frames begins"):
        split_frames(data, 2)
    assert split_frames(offsets(0, 10) + data[len(table) :], 2) == [b"ab", b"cdef"]


def test_fewer_fragments_than_frames():
    for data in (b"", item(b""), item(b"") + item(b"ab") + item(b"")):
        with pytest.raises(NotAnImage, match="NumberOfFrames is 2"):
            split_frames(data, 2)


def test_a_flood_of_empty_fragments_is_refused():
    with pytest.raises(NotAnImage, match="more than 65536 fragments"):
        read_items(item(b"") * (MAX_ITEMS + 1))
    assert len(read_items(item(b"") * MAX_ITEMS)) == MAX_ITEMS


@given(st.binary(max_size=64), st.integers(1, 4))
def test_anything_else_is_refused_and_nothing_crashes(data, count):
    try:
        frames = split_frames(item(b"") + data, count)
    except NotAnImage:
        return
    assert len(frames) == count
