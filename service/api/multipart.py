"""The parts of a multipart body, whichever kind it is of (RFC 2046), as they come in.

chunks --MultipartParser--> headers, then data of each part --> a PartHandler, which raises what is wrong with them
"""

from __future__ import annotations

from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from service.errors import MalformedUpload


class PartHandler(Protocol):
    """What is told of each part, in order."""

    def begin(self) -> None:
        """A part begins."""

    def headers_read(self, headers: dict[bytes, bytes]) -> None:
        """Its headers, by their names in lower case; of one that comes twice, the last."""

    def data(self, piece: memoryview) -> None:
        """More of its content, in memory that nobody writes into."""

    def end(self) -> None:
        """It is whole."""


class _Headers:
    """Collects the headers of one part after the other."""

    def __init__(self, handler: PartHandler) -> None:
        self._handler = handler
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}

    def begin(self) -> None:
        self._name, self._value, self._headers = bytearray(), bytearray(), {}
        self._handler.begin()

    def name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def finished(self) -> None:
        self._handler.headers_read(self._headers)


def parser_for(boundary: bytes, handler: PartHandler) -> MultipartParser:
    """A parser to write chunks to, which tells `handler` of the parts.

    Raises:
        MalformedUpload: the boundary is none.
    """
    headers = _Headers(handler)
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": headers.begin,
                "on_header_field": headers.name,
                "on_header_value": headers.value,
                "on_header_end": headers.end,
                "on_headers_finished": headers.finished,
                "on_part_data": lambda data, start, end: handler.data(memoryview(data)[start:end]),
                "on_part_end": handler.end,
            },
        )
    except FormParserError:
        raise MalformedUpload("the boundary in the Content-Type is longer than RFC 2046 allows (70)") from None
