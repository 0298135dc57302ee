"""An answer's parts leave together: each write of its own would be a call of the kernel, a packet, and a client woken.

head, JSON, tensor --write--> [head, JSON, tensor] --(much, or the turn of the event loop is over)--> connection
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

AT_ONCE_BYTES: Final = 65536
"""So much is not held back until the turn is over, so that who writes a lot is told to wait as he would be without."""


class GatheredWrites(asyncio.Transport):
    """A transport that gathers what is written in one turn of the event loop.

    Args:
        transport: what it goes to.
        loop: that turns.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._parts: list[bytes | bytearray | memoryview] = []
        self._size = 0
        self._turn: asyncio.Handle | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Takes bytes that nobody changes any more."""
        if not data:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > AT_ONCE_BYTES:
            self.flush()
        elif self._turn is None:
            self._turn = self._loop.call_soon(self.flush)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Takes each of them."""
        for data in list_of_data:
            self.write(data)

    def flush(self) -> None:
        """What was gathered leaves now."""
        parts = self._parts
        self.drop()
        if parts:
            self._transport.writelines(parts)

    def drop(self) -> None:
        """What was gathered is forgotten."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._parts, self._size = [], 0

    def close(self) -> None:
        """After what was gathered."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """As the transport."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the transport."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """As the transport."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As the transport."""
        self._transport.resume_reading()
