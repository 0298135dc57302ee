"""The directories of a TIFF file: which tags there are and what they hold, and nothing believed before it is checked.

    bytes --(II or MM, 42 or 43)--> offset --(inside? seen before?)--> Directory --> the next offset
            NotAnImage                       NotAnImage                    |
                                              integers, text, ratio <------+  NotAnImage

Only the tags below are looked at. tifffile, which writes the answers, reads those of every vendor too, some of them in
loops whose length the file decides. The layout: TIFF 6.0 section 2; BigTIFF by the design of Joris Van Damme.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import NotAnImage

MAX_ENTRIES = 4096
"""Of one directory: microscopes write some 60 tags."""

MAX_TEXT = 1 << 16
"""Characters of a description that are looked at."""


class Tag(IntEnum):
    """The tags that say what the pixels are and where (TIFF 6.0, and 339 of its supplement)."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    IMAGE_DESCRIPTION = 270
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    RESOLUTION_UNIT = 296
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339


_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
"""Field types BYTE, SHORT, LONG, IFD, LONG8 and IFD8."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_ASCII, _RATIONAL = 2, 5
_KNOWN = frozenset(Tag)


@dataclass(frozen=True)
class _Flavour:
    """Classic TIFF or BigTIFF, in one of two byte orders."""

    order: str
    big: bool

    @property
    def count(self) -> struct.Struct:
        """How many entries a directory has."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, count, and the value itself or its offset."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @property
    def offset(self) -> struct.Struct:
        """Of the next directory, or of values."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))


@dataclass(frozen=True, eq=False)
class Directory:
    """One page as its tags describe it.

    Attributes:
        number: of the page, from 1, for messages.
        start: where it begins in the file.
        order: `<` or `>`, of numbers in the whole file.
        data: the whole file.
        fields: tag -> (type, count, offset of the values).
    """

    number: int
    start: int
    order: str
    data: bytes
    fields: dict[int, tuple[int, int, int]]

    def __contains__(self, tag: Tag) -> bool:
        """Whether the page has that tag."""
        return tag in self.fields

    def integers(self, tag: Tag) -> NDArray[np.int64]:
        """All values (N,) of a tag that has to be there.

        Raises:
            NotAnImage: it is missing, empty, of another type, beyond the end of the file, or holds absurd values.
        """
        kind, count, offset = self._field(tag)
        if kind not in _INTEGERS or count < 1:
            raise self._broken(f"its tag {tag.name} has type {kind} and {count} values")
        found = np.frombuffer(self.data, self.order + _INTEGERS[kind], count, offset)
        if kind in (16, 18) and int(found.max()) >= 1 << 62:
            raise self._broken(f"its tag {tag.name} holds {int(found.max())}")
        return found.astype(np.int64)

    def integer(self, tag: Tag, default: int | None = None) -> int:
        """The only value of a tag; raises as `integers`, unless it is missing and there is a default."""
        if default is not None and tag not in self.fields:
            return default
        count = self._field(tag)[1]
        if count != 1:
            raise self._broken(f"its tag {tag.name} has {count} values instead of one")
        return int(self.integers(tag)[0])

    def text(self, tag: Tag) -> str:
        """The beginning of a text, empty when there is none."""
        kind, count, offset = self.fields.get(tag, (0, 0, 0))
        if kind != _ASCII:
            return ""
        return self.data[offset : offset + min(count, MAX_TEXT)].split(b"\0")[0].decode("latin-1")

    def ratio(self, tag: Tag) -> tuple[int, int] | None:
        """Numerator and denominator, None when there is none that makes sense."""
        kind, count, offset = self.fields.get(tag, (0, 0, 0))
        if kind != _RATIONAL or count != 1 or offset + 8 > len(self.data):
            return None
        over, under = struct.unpack_from(self.order + "II", self.data, offset)
        return (over, under) if over and under else None

    def _field(self, tag: Tag) -> tuple[int, int, int]:
        if tag not in self.fields:
            raise self._broken(f"its tag {tag.name} ({int(tag)}) is missing")
        kind, count, offset = self.fields[tag]
        if offset + count * _SIZES.get(kind, 1) > len(self.data):
            raise self._broken(f"the file ends within the {count} values of its tag {tag.name}")
        return kind, count, offset

    def _broken(self, why: str) -> NotAnImage:
        return NotAnImage(
            f"page {self.number} of the TIFF file cannot be read: {why}; send the whole file, or write it again"
        )


def directories(data: bytes) -> Iterator[Directory]:
    """The pages of a TIFF file in the order of its chain; read one by one, so that the caller can stop.

    Raises:
        NotAnImage: no TIFF header, no page, an offset beyond the end, a loop, or more than `MAX_ENTRIES` tags.
    """
    flavour, start = _header(data)
    seen: set[int] = set()
    while start:
        if start in seen:
            raise NotAnImage(f"the pages of the TIFF file form a loop: after page {len(seen)} comes an earlier one")
        seen.add(start)
        fields, after = _directory(data, flavour, start, len(seen))
        yield Directory(len(seen), start, flavour.order, data, fields)
        start = after
    if not seen:
        raise NotAnImage("the TIFF file has no page")


def _header(data: bytes) -> tuple[_Flavour, int]:
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    version = struct.unpack_from(order + "H", data, 2)[0] if order and len(data) > 3 else 0  # noqa: PLR2004
    flavour = _Flavour(order, big=version == 43)  # noqa: PLR2004 - 42 is TIFF, 43 BigTIFF
    place = 8 if flavour.big else 4
    if version not in (42, 43) or len(data) < place + flavour.offset.size:
        raise NotAnImage("the TIFF file ends within its header, or begins with none")
    if flavour.big and struct.unpack_from(order + "HH", data, 4) != (8, 0):
        raise NotAnImage("the header of the BigTIFF file promises offsets of other than 8 bytes")
    return flavour, int(flavour.offset.unpack_from(data, place)[0])


def _directory(data: bytes, flavour: _Flavour, start: int, number: int) -> tuple[dict[int, tuple[int, int, int]], int]:
    early = f"the TIFF file ends within the tags of page {number}, after {len(data)} bytes; send the whole file"
    entries = start + flavour.count.size
    if entries > len(data):
        raise NotAnImage(early)
    count = int(flavour.count.unpack_from(data, start)[0])
    if not 1 <= count <= MAX_ENTRIES:
        raise NotAnImage(f"page {number} of the TIFF file has {count} tags; an image has about 20")
    end = entries + count * flavour.entry.size
    if end + flavour.offset.size > len(data):
        raise NotAnImage(early)
    fields: dict[int, tuple[int, int, int]] = {}
    inline = flavour.offset.size
    packed: Any
    for index, (tag, kind, values, packed) in enumerate(flavour.entry.iter_unpack(data[entries:end])):
        if tag in _KNOWN and tag not in fields:
            fits = values * _SIZES.get(kind, 1) <= inline
            inside = entries + (index + 1) * flavour.entry.size - inline
            fields[tag] = kind, values, inside if fits else int(flavour.offset.unpack(packed)[0])
    return fields, int(flavour.offset.unpack_from(data, end)[0])
