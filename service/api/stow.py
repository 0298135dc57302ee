"""The body of a STOW-RS request -> one instance after the other, while it comes in.

multipart/related; type="application/dicom" --parts, each bounded--> take(bytes of one file)
application/dicom ----------------------------------------------------^
NotMultipart  MalformedUpload  UploadTooLarge  UploadTimeout
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartState, parse_options_header
from starlette.requests import Request

from service.api.multipart import parser_for
from service.api.uploads import BodyLimits, receive, too_large
from service.errors import MalformedUpload, NotMultipart, UploadTooLarge

DICOM = b"application/dicom"
RELATED = b"multipart/related"

MOST_INSTANCES = 10_000
"""Of one request, as of one archive: bounds what is remembered of each, and how long empty ones keep it busy."""

Take = Callable[[bytes], Awaitable[object]]
"""Called with each file, in order; the body is not read on before it has returned."""


async def read_instances(request: Request, limits: BodyLimits, part_limits: BodyLimits, take: Take) -> int:
    """Receives a whole body, and gives each instance in it to `take`.

    Args:
        request: with the body; chunked or not.
        limits: of all of it.
        part_limits: of one instance: its `max_bytes`.
        take: keeps an instance.

    Returns:
        How many there were.

    Raises:
        NotMultipart: another Content-Type, or a Content-Encoding.
        MalformedUpload: no boundary, a broken or incomplete body, or a part of another type.
        UploadTooLarge, UploadTimeout: past the limits, or more than `MOST_INSTANCES`.
        ClientLeft: the connection closed before the end.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise NotMultipart("the request has a Content-Encoding; send the body uncompressed")
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type == DICOM:
        single = _Single(part_limits)
        await receive(request, limits, single.write)
        await take(bytes(single.data))
        return 1
    if media_type != RELATED or options.get(b"type", DICOM).lower() != DICOM:
        raise NotMultipart('the request body must be multipart/related; type="application/dicom" (PS3.18 10.5)')
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise MalformedUpload("the Content-Type multipart/related names no boundary")
    parts = _Parts(part_limits)
    parser = parser_for(boundary, parts)

    async def write(chunk: bytes) -> None:
        parser.write(chunk)
        for data in parts.complete():
            await take(data)

    try:
        await receive(request, limits, write)
    except FormParserError:
        raise MalformedUpload("the request body does not follow multipart/related (RFC 2387)") from None
    if parser.state != MultipartState.END:
        raise MalformedUpload("the request body ends before the closing boundary; it was cut off or written wrongly")
    return parts.count


class _Single:
    """A body that is one instance."""

    def __init__(self, limits: BodyLimits) -> None:
        self.data = bytearray()
        self._limits = limits

    def write(self, chunk: bytes) -> None:
        self.data += chunk
        if len(self.data) > self._limits.max_bytes:
            raise too_large(self._limits)


class _Parts:
    """The instances among the parts, as a `service.api.multipart.PartHandler`."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._content = bytearray()
        self._complete: list[bytes] = []
        self.count = 0

    def complete(self) -> list[bytes]:
        """The parts that are whole, once."""
        found, self._complete = self._complete, []
        return found

    def begin(self) -> None:
        if self.count == MOST_INSTANCES:
            raise UploadTooLarge(
                f"the request has more than {MOST_INSTANCES} instances; send them in several requests", setting=""
            )
        self._content = bytearray()

    def headers_read(self, headers: dict[bytes, bytes]) -> None:
        kind = parse_options_header(headers.get(b"content-type", b""))[0]
        if kind not in (b"", DICOM):
            raise NotMultipart("a part of the request is of another type than application/dicom")

    def data(self, piece: memoryview) -> None:
        if len(self._content) + len(piece) > self._limits.max_bytes:
            raise too_large(self._limits)
        self._content += piece

    def end(self) -> None:
        self.count += 1
        self._complete.append(bytes(self._content))
        self._content = bytearray()
