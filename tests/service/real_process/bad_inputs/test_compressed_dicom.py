"""Compressed pixel data that lies to its codec: sizes, damage, missing pieces (items 6 to 8)."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pydicom
import pytest

SYNTAXES = ("rle", "jpeg-ls", "jpeg 2000")
ROWS, COLUMNS = 40, 48  # of the files that `compressed` makes
ITEM = b"\xfe\xff\x00\xe0"
END = b"\xfe\xff\xdd\xe0" + bytes(4)


def codestream(data: bytes) -> tuple[int, int]:
    """Where the frame's bytes begin and end: after the header of the second item, before the delimiter."""
    first = data.index(ITEM, data.index(b"\xe0\x7f\x10\x00"))
    second = data.index(ITEM, first + 8)
    return second + 8, second + 8 + struct.unpack("<I", data[second + 4 : second + 8])[0]


def replaced(data: bytes, frame: bytes) -> bytes:
    """The file with another frame, whose item says its length."""
    start, end = codestream(data)
    frame += b"\0" * (len(frame) % 2)
    return data[: start - 4] + struct.pack("<I", len(frame)) + frame + data[end:]


def with_size(data: bytes, rows: int, columns: int) -> bytes:
    """The codestream, and not the header, claims another size."""
    start, end = codestream(data)
    frame = bytearray(data[start:end])
    if frame.startswith(b"\xff\x4f\xff\x51"):  # JPEG 2000: SIZ with Xsiz and Ysiz, and one tile of that size
        frame[8:16] = struct.pack(">II", columns, rows)
        frame[24:32] = struct.pack(">II", columns, rows)
    else:  # JPEG-LS: SOF55 with precision, lines, samples per line
        at = frame.index(b"\xff\xf7") + 5
        frame[at : at + 4] = struct.pack(">HH", rows, columns)
    return replaced(data, bytes(frame))


@pytest.mark.parametrize("name", SYNTAXES)
def test_the_good_ones_are_good(client, compressed, name):
    answer = client.post("/v1/reconstructions", files={"image": compressed(name)})
    assert answer.status_code == 200, answer.text
    source, restored = (pydicom.dcmread(io.BytesIO(data)) for data in (compressed(name), answer.content))
    np.testing.assert_array_equal(restored.pixel_array, source.pixel_array)


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_header_that_claims_more_than_memory(refuse, compressed, name):
    data = compressed(name)
    for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
        at = data.index(tag) + 8
        data = data[:at] + b"\xff\xff" + data[at + 2 :]
    refuse(data, "image-too-large")


@pytest.mark.parametrize("name", ["jpeg-ls", "jpeg 2000"])
@pytest.mark.parametrize(
    ("rows", "columns"), [(8192, 8192), (65535, 65535), (ROWS, COLUMNS + 1), (COLUMNS, ROWS), (1, 1)]
)
def test_a_codestream_of_another_size_is_not_decoded(refuse, compressed, name, rows, columns):
    problem = refuse(with_size(compressed(name), rows, columns), "unsuitable-image")
    assert f"{rows} rows and {columns} columns" in problem["detail"]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda frame: frame[:0],
    "garbage": lambda frame: bytes(range(256)) * 2 + frame[:0],
    "first half": lambda frame: frame[: len(frame) // 2],
    "header only": lambda frame: frame[:64],
    "one byte": lambda frame: frame[:1],
    "zeros": lambda frame: bytes(len(frame)),
    "the other half zeros": lambda frame: frame[: len(frame) // 2] + bytes(len(frame) // 2),
}
# an RLE header is a count and offsets: any bytes are one, of a frame that is not CT
UNSUITABLE = {("rle", "garbage"), ("rle", "zeros")}


@pytest.mark.parametrize("name", SYNTAXES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_codestreams(refuse, compressed, name, damage):
    data = compressed(name)
    start, end = codestream(data)
    broken = replaced(data, DAMAGE[damage](data[start:end]))
    refuse(broken, "unsuitable-image" if (name, damage) in UNSUITABLE else "not-an-image")


def item(content: bytes, length: int | None = None) -> bytes:
    """A fragment, whose length may lie."""
    return ITEM + struct.pack("<I", len(content) if length is None else length) + content


ENVELOPES: dict[str, Callable[[bytes], bytes]] = {
    "no items at all": lambda frame: frame[:0] + END,
    "an offset table alone": lambda frame: item(frame[:0]) + END,
    "no delimiter": lambda frame: item(b"") + item(frame),
    "an item beyond the file": lambda frame: item(b"") + item(frame, 2**31 - 1),
    "an item of undefined length": lambda frame: item(b"") + item(frame, 2**32 - 1) + END,
    "100000 empty items": lambda frame: item(frame[:0]) * 100_000 + END,
    "garbage instead of items": lambda frame: b"garbage!" * len(frame),
}


def with_envelope(data: bytes, envelope: Callable[[bytes], bytes]) -> bytes:
    """The file with other fragments around the same frame."""
    start, end = codestream(data)
    return data[: data.index(ITEM, data.index(b"\xe0\x7f\x10\x00"))] + envelope(data[start:end])


@pytest.mark.parametrize("name", SYNTAXES)
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_envelopes_that_hold_no_frame(refuse, compressed, name, envelope):
    refuse(with_envelope(compressed(name), ENVELOPES[envelope]), "not-an-image")


@pytest.mark.parametrize("name", SYNTAXES)
def test_an_offset_table_that_points_nowhere_is_not_needed(client, compressed, name):
    """One frame is all fragments together, as PS3.5 A.4 says; the table only helps to find one of many."""
    data = with_envelope(compressed(name), lambda frame: item(b"\xff\xff\xff\x7f") + item(frame) + END)
    assert client.post("/v1/reconstructions", files={"image": data}).status_code == 200
