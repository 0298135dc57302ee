"""The elements of a derived instance's file as they lie in its bytes: nothing is decoded, nothing encoded anew.

    file --read_file--> File: file meta, data set --write_file--> the same bytes
                          |          ^
                     items_of     sequence
                          v          |
                      items of a sequence, each elements again

pydicom decodes text and encodes it again, which loses bytes (see `original`). What is done to a finished instance, its
compression or de-identification, changes a few elements, and all others must stay as they are. Only files as
`write_instance` makes them are read: Explicit VR Little Endian, all lengths defined (PS3.5 7.1.2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pydicom.uid import ExplicitVRLittleEndian

LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs whose length has four bytes, after two that are reserved (PS3.5 7.1.2)."""

SHORT_MAX = 0xFFFF
"""Most bytes of a value of any other VR."""

FILE_META_LENGTH, TRANSFER_SYNTAX = 0x00020000, 0x00020010
PIXEL_DATA = 0x7FE00010

PREAMBLE = b"\0" * 128 + b"DICM"
_LENGTH_BYTES = 12
"""Of the element that says how long the file meta is."""

_ITEM = 0xFFFEE000


@dataclass(frozen=True)
class Element:
    """One element.

    Attributes:
        tag: group and element.
        vr: its value representation.
        value: as in the file, of even length.
    """

    tag: int
    vr: str
    value: bytes

    def number(self) -> int:
        """The value of an element of VR US."""
        return int.from_bytes(self.value[:2], "little")

    def text(self) -> str:
        """The value of an element of only ASCII, without padding."""
        return self.value.decode("ascii").rstrip("\0 ").lstrip(" ")


@dataclass(frozen=True)
class File:
    """A file of a derived instance.

    Attributes:
        meta: elements of group 0002, without its length.
        elements: of the data set, in order.
    """

    meta: tuple[Element, ...]
    elements: tuple[Element, ...]

    def get(self, tag: int) -> Element | None:
        """The element of the data set with that tag."""
        return next((element for element in self.elements if element.tag == tag), None)


def read_file(data: bytes) -> File:
    """The elements of a file.

    Raises:
        ValueError: it is none that `write_instance` made.
    """
    if data[: len(PREAMBLE)] != PREAMBLE:
        raise ValueError("the bytes are no file of a derived instance")
    begin = len(PREAMBLE) + _LENGTH_BYTES
    length = read_elements(data[len(PREAMBLE) : begin])
    if [one.tag for one in length] != [FILE_META_LENGTH]:
        raise ValueError("the bytes are no file of a derived instance: its file meta has no length")
    end = begin + int.from_bytes(length[0].value, "little")
    meta = read_elements(data[begin:end])
    syntax = [one.text() for one in meta if one.tag == TRANSFER_SYNTAX]
    if syntax != [ExplicitVRLittleEndian]:
        raise ValueError(f"a derived instance is in Explicit VR Little Endian, not {syntax}")
    return File(meta, read_elements(data[end:]))


def write_file(file: File) -> bytes:
    """The bytes of a file with a zero preamble; of what `read_file` gives, the same again."""
    meta = write_elements(file.meta)
    length = Element(FILE_META_LENGTH, "UL", struct.pack("<I", len(meta)))
    return b"".join((PREAMBLE, write_elements([length]), meta, write_elements(file.elements)))


def read_elements(data: bytes) -> tuple[Element, ...]:
    """The elements that lie one after the other in `data`; raises ValueError when they do not."""
    found, position = [], 0
    while position < len(data):
        group, element, vr, length = _header(data, position)
        position += 12 if vr in LONG_VRS else 8
        if length > len(data) - position:
            raise ValueError(f"element ({group:04x},{element:04x}) has no defined length, or reaches beyond the end")
        found.append(Element(group << 16 | element, vr, data[position : position + length]))
        position += length
    return tuple(found)


def _header(data: bytes, position: int) -> tuple[int, int, str, int]:
    """Group, element, VR and length of the element at `position`."""
    try:
        group, element, vr, length = struct.unpack_from("<HH2sH", data, position)
        if vr.decode("ascii") in LONG_VRS:
            (length,) = struct.unpack_from("<I", data, position + 8)
    except (struct.error, UnicodeDecodeError):
        raise ValueError(f"no element of Explicit VR Little Endian at byte {position}") from None
    return group, element, vr.decode("ascii"), length


def write_elements(elements: Iterable[Element]) -> bytes:
    """The bytes of elements, one after the other; raises ValueError when a value is too long for its VR."""
    parts: list[bytes] = []
    for element in elements:
        parts += head(element.tag, element.vr, len(element.value)), element.value
    return b"".join(parts)


def head(tag: int, vr: str, size: int) -> bytes:
    """What stands before a value of that many bytes; raises ValueError when it is too long for its VR."""
    group, number = tag >> 16, tag & 0xFFFF
    if vr in LONG_VRS:
        return struct.pack("<HH2sHI", group, number, vr.encode("ascii"), 0, size)
    if size > SHORT_MAX:
        raise ValueError(f"element ({group:04x},{number:04x}) of VR {vr} has {size} bytes")
    return struct.pack("<HH2sH", group, number, vr.encode("ascii"), size)


def items_of(element: Element) -> list[tuple[Element, ...]]:
    """The items of a sequence; raises ValueError as `read_elements`."""
    items, position, data = [], 0, element.value
    while position < len(data):
        if len(data) - position < 8:  # noqa: PLR2004 - tag and length
            raise ValueError("a sequence ends within an item")
        group, number, length = struct.unpack_from("<HHI", data, position)
        position += 8
        if group << 16 | number != _ITEM or length > len(data) - position:
            raise ValueError("a sequence holds no item of defined length where one should be")
        items.append(read_elements(data[position : position + length]))
        position += length
    return items


def sequence(tag: int, items: Iterable[Iterable[Element]]) -> Element:
    """A sequence of these items."""
    return Element(tag, "SQ", b"".join(item(write_elements(one)) for one in items))


def item(content: bytes) -> bytes:
    """An item of a sequence or of encapsulated pixel data."""
    return struct.pack("<HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(content)) + content


def text_element(tag: int, vr: str, value: str) -> Element:
    """An element of only ASCII, padded to even length (PS3.5 6.2)."""
    encoded = value.encode("ascii")
    return Element(tag, vr, encoded + (b"\0" if vr == "UI" else b" ") * (len(encoded) % 2))


def replaced(elements: Iterable[Element], *new: Element) -> tuple[Element, ...]:
    """The elements with those of `new` in place of their former ones or, where there were none, in order of tags."""
    by_tag = {one.tag: one for one in elements} | {one.tag: one for one in new}
    return tuple(by_tag[tag] for tag in sorted(by_tag))


def with_syntax(file: File, syntax: str) -> File:
    """The file with another TransferSyntaxUID."""
    return replace(file, meta=replaced(file.meta, text_element(TRANSFER_SYNTAX, "UI", syntax)))
