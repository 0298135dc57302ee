"""Encapsulated PixelData of a single frame -> the bytes of its codestream (PS3.5 A.4).

    item: offset table | item: fragment | item: fragment | ... | delimiter --join_fragments--> codestream
                                                                           NotAnImage

Offset tables say where frames begin. One frame begins at the beginning, so they are skipped, whatever they hold.
Several frames are told apart by `imaging.encapsulated_frames`.
"""

from __future__ import annotations

import struct

from imaging.errors import NotAnImage

_HEADER = struct.Struct("<HHI")
_GROUP, _ITEM, _DELIMITER = 0xFFFE, 0xE000, 0xE0DD

MAX_ITEMS = 1 << 16
"""Of one file. Encoders write one fragment per frame, some one per 64 KiB; bounds the memory of many empty ones."""


def join_fragments(data: bytes) -> bytes:
    """All fragments in the order of the file, as one frame; empty ones add nothing.

    Args:
        data: the value of PixelData with undefined length, from the item of the offset table on.

    Raises:
        NotAnImage: as `read_items`, or no compressed byte in the fragments.
    """
    fragments = [content for _, content in read_items(data)[1:]]
    if not any(len(fragment) for fragment in fragments):
        raise NotAnImage("the compressed PixelData hold no fragment with data after the offset table")
    return b"".join(fragments)


def read_items(data: bytes) -> list[tuple[int, memoryview]]:
    """Position and content of each item, the offset table first.

    Args:
        data: as `join_fragments`; the position of an item is where its tag begins.

    Raises:
        NotAnImage: no items, more than `MAX_ITEMS`, or items that reach beyond the end.
    """
    items: list[tuple[int, memoryview]] = []
    view = memoryview(data)
    position = 0
    while position + _HEADER.size <= len(data):
        group, element, length = _HEADER.unpack_from(data, position)
        if group != _GROUP or element not in (_ITEM, _DELIMITER):
            raise NotAnImage("the compressed PixelData are no sequence of items (PS3.5 A.4): the file is damaged")
        if element == _DELIMITER:
            break
        start, position = position, position + _HEADER.size
        if position + length > len(data):
            raise NotAnImage(
                f"a fragment of the compressed PixelData states {length} bytes and {len(data) - position} are left:"
                " the file is truncated"
            )
        if len(items) == MAX_ITEMS:
            raise NotAnImage(f"the compressed PixelData have more than {MAX_ITEMS} fragments, far more than any image")
        items.append((start, view[position : position + length]))
        position += length
    return items
