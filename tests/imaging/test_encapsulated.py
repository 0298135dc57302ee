"""Fragments become one codestream, whatever the offset table holds."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, generate_frames

from imaging.encapsulated import join_fragments
from imaging.errors import NotAnImage

END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def item(data, length=None):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data) if length is None else length) + data


@pytest.mark.parametrize(
    "table", [b"", bytes(4), b"\xff" * 4, b"\x08\0\0\0" * 3, b"odd"], ids=["empty", "right", "wild", "many", "odd"]
)
@pytest.mark.parametrize("end", [END, b"", END + b"garbage", b"\0\0"])
def test_offset_tables_and_what_follows_the_end_do_not_matter(table, end):
    assert join_fragments(item(table) + item(b"abcd") + item(b"") + item(b"ef") + end) == b"abcdef"


@given(st.binary(min_size=2, max_size=99), st.integers(1, 5), st.booleans())
def test_what_pydicom_encapsulates_is_joined_as_pydicom_joins_it(frame, fragments, has_table):
    frame += b"\1" * (2 * fragments)
    data = encapsulate([frame], fragments_per_frame=fragments, has_bot=has_table)
    assert join_fragments(data) == next(generate_frames(data, number_of_frames=1))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no fragment with data"),
        (item(b""), "no fragment with data"),
        (item(b"") + END, "no fragment with data"),
        (item(b"") + item(b"") + END, "no fragment with data"),
        (item(b"") + item(b"abcd", length=6), "states 6 bytes and 4 are left"),
        (item(b"") + item(b"abcd", length=0xFFFFFFFF), "states 4294967295 bytes"),
        (item(b"", length=4), "states 4 bytes and 0 are left"),
        (b"\xff\xd8\xff\xe0 a bare JPEG stream", "no sequence of items"),
        (item(b"") + item(b"abcd") + b"12345678", "no sequence of items"),
    ],
)
def test_no_items(data, told):
    with pytest.raises(NotAnImage, match=told):
        join_fragments(data)
