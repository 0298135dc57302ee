"""Encapsulated PixelData of several frames -> the bytes of the codestream of each (PS3.5 A.4).

    item: offset table | item: fragment | ... --as many fragments as frames--> one each
                                              --more-----> by the offset table, else where codestreams begin
                                              --fewer----> NotAnImage

Every frame has at least one fragment, and fragments are in the order of the frames. So where there are as many of them,
nobody has to be believed. That includes every file with an Extended Offset Table, which is for frames of one fragment.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from imaging.encapsulated import read_items
from imaging.errors import NotAnImage

_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
"""Of JPEG, JPEG-LS, JPEG 2000 and JP2. A continuation does not begin so: JPEG and JPEG-LS stuff the 0xFF of their data,
and in those of JPEG 2000 the four bytes occur by chance, once in 2^32 fragments: then there is a frame too many, which
is refused. RLE frames have one fragment each."""


def split_frames(data: bytes, count: int) -> list[bytes]:
    """The codestream of each frame, in order.

    Args:
        data: the value of PixelData with undefined length, from the item of the offset table on.
        count: how many frames there are, at least 1.

    Raises:
        NotAnImage: as `read_items`; fewer fragments than frames; an offset table that contradicts the fragments; or
            no table, and it cannot be seen either where the frames begin.
    """
    items = read_items(data)
    table = bytes(items[0][1]) if items else b""
    fragments = [(position, content) for position, content in items[1:] if len(content)]
    if len(fragments) < count:
        raise NotAnImage(
            f"the compressed PixelData hold {len(fragments)} fragments with data, and NumberOfFrames is {count}: frames"
            " are missing, or NumberOfFrames is wrong"
        )
    if len(fragments) == count:
        return [bytes(content) for _, content in fragments]
    positions = [position - items[1][0] for position, _ in fragments]
    firsts = _by_table(table, positions, count) if table else _by_beginning([content for _, content in fragments])
    if len(firsts) != count or firsts[0] != 0:
        raise NotAnImage(
            f"the compressed PixelData hold {len(fragments)} fragments for {count} frames and no offset table, and it"
            " cannot be seen where frames begin; write the file with a Basic Offset Table"
        )
    ends = [*firsts[1:], len(fragments)]
    return [b"".join(content for _, content in fragments[first:end]) for first, end in zip(firsts, ends, strict=True)]


def _by_table(table: bytes, positions: list[int], count: int) -> list[int]:
    """Indices of the fragments at which the Basic Offset Table says that frames begin."""
    offsets = np.frombuffer(table, "<u4").tolist() if len(table) == 4 * count else []
    index = {position: number for number, position in enumerate(positions)}
    firsts = [index.get(offset, -1) for offset in offsets]
    ascending = all(before < after for before, after in pairwise(firsts))
    if not firsts or firsts[0] != 0 or not ascending:
        raise NotAnImage(
            f"the Basic Offset Table of the compressed PixelData does not say where each of {count} frames begins: it"
            " is damaged, or NumberOfFrames is wrong"
        )
    return firsts


def _by_beginning(fragments: list[memoryview]) -> list[int]:
    longest = max(len(beginning) for beginning in _BEGINNINGS)
    return [number for number, content in enumerate(fragments) if bytes(content[:longest]).startswith(_BEGINNINGS)]
