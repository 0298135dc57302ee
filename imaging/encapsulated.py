"""Encapsulated PixelData of a single frame -> the bytes of its codestream (PS3.5 A.4).

    item: offset table | item: fragment | item: fragment | ... | delimiter --join_fragments--> codestream
                                                                           NotAnImage

Offset tables say where frames begin. One frame begins at the beginning, so they are skipped, whatever they hold.
"""

from __future__ import annotations

import struct

from imaging.errors import NotAnImage

_HEADER = struct.Struct("<HHI")
_GROUP, _ITEM, _DELIMITER = 0xFFFE, 0xE000, 0xE0DD


def join_fragments(data: bytes) -> bytes:
    """All fragments in the order of the file, as one frame; empty ones add nothing.

    Args:
        data: the value of PixelData with undefined length, from the item of the offset table on.

    Raises:
        NotAnImage: no items, items that reach beyond the end, or no compressed byte in them.
    """
    fragments: list[memoryview] = []
    view = memoryview(data)
    position = 0
    while position + _HEADER.size <= len(data):
        group, element, length = _HEADER.unpack_from(data, position)
        if group != _GROUP or element not in (_ITEM, _DELIMITER):
            raise NotAnImage("the compressed PixelData are no sequence of items (PS3.5 A.4): the file is damaged")
        if element == _DELIMITER:
            break
        position += _HEADER.size
        if position + length > len(data):
            raise NotAnImage(
                f"a fragment of the compressed PixelData states {length} bytes and {len(data) - position} are left:"
                " the file is truncated"
            )
        fragments.append(view[position : position + length])
        position += length
    if not any(len(fragment) for fragment in fragments[1:]):
        raise NotAnImage("the compressed PixelData hold no fragment with data after the offset table")
    return b"".join(fragments[1:])
