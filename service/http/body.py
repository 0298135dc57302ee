"""A body of a declared length, on its way from the connection into the memory that the app reads it from.

connection --room--> memory --(full, or the body's end)--> piece --take--> app

The bytes are put where they stay: nothing is copied together, as long as a body fits into one piece.
"""

from __future__ import annotations

from typing import Final

PIECE_BYTES: Final = 2 * 2**20
"""Of one piece: a CT slice in float32, and what is around it, fits."""

SPARING_BYTES: Final = 16384
"""Of one that comes from somebody who is only heard out."""

_ALIGNMENT: Final = 16
"""Of memory that is fetched for many bytes. A piece ends there, since of what has text and numbers the numbers come
last: they are aligned, and can be read where they are."""


class Body:
    """What is still to come of one body, and what has come and was not taken.

    Args:
        length: of the whole, in bytes.
        begin: what has come of it; not all.

    Attributes:
        left: how many bytes have not come.
    """

    def __init__(self, length: int, begin: bytes | bytearray) -> None:
        self.left = length - len(begin)
        self._begin = begin
        self._most = PIECE_BYTES
        self._piece, self._ahead, self._filled = bytearray(), 0, 0
        self._whole, self._skip = bytearray(), 0

    def room(self) -> memoryview:
        """Where the next bytes go; at least one."""
        if not self._piece:
            size = len(self._begin) + min(self.left, self._most)
            self._ahead = -size % _ALIGNMENT
            self._filled = self._ahead + len(self._begin)
            self._piece = bytearray(self._ahead + size)
            self._piece[self._ahead : self._filled] = self._begin
            self._begin = b""
        return memoryview(self._piece)[self._filled :]

    def fill(self, count: int) -> bool:
        """So many bytes are in the room; whether a piece is whole, which has to be taken before there is room again."""
        self.left -= count
        self._filled += count
        if self._filled < len(self._piece):
            return False
        self._whole, self._skip = self._piece, self._ahead
        self._piece = bytearray()
        return True

    def spare(self) -> None:
        """Takes little memory from now on; nothing that has come is lost."""
        self._most = SPARING_BYTES
        if self._piece:
            self._begin, self._piece = self._piece[self._ahead : self._filled], bytearray()

    def take(self) -> bytearray:
        """The piece that is whole, the caller's own now; not while the event loop still holds on to the room."""
        whole, self._whole = self._whole, bytearray()
        del whole[: self._skip]  # CPython moves nothing: a bytearray can begin behind the begin of its memory
        return whole
