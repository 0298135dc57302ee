"""A request body in memory, capped while it is being received; and a multipart one -> its parts.

    Content-Type --> boundary --> chunk by chunk (size, time) --> parts (count, names, sizes) --> Form
    NotMultipart  MalformedUpload  UploadTooLarge UploadTimeout   MalformedUpload

Nothing is spooled to a file, but where the caller gives a sink for a part, and no file name of the client is read. The
cap counts bytes that arrived, so a body without Content-Length, or with a wrong one, costs no more than an honest one.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header
from starlette.requests import ClientDisconnect, Request

from service.api.file_sink import FileSink
from service.api.multipart import parser_for
from service.errors import ClientLeft, MalformedUpload, NotMultipart, UploadTimeout, UploadTooLarge
from service.settings import environment_name

_DIGITS = re.compile(r"[0-9]+")
_LONGEST_LENGTH = 18
"""Decimal digits of a Content-Length that is worth reading as a number: an exabyte."""

MAX_FIELD_BYTES = 4096
"""Of one text field: the longest is a list of 16 model refs, of at most 129 characters each."""


@dataclass(frozen=True)
class BodyLimits:
    """What one body may cost.

    Attributes:
        max_bytes: of the whole body (`CLEARSLICE_MAX_UPLOAD_BYTES`).
        max_seconds: from the first byte to the last (`CLEARSLICE_UPLOAD_TIMEOUT`).
        setting: the environment variable that holds `max_bytes`; empty where none does.
        timeout_setting: the one that holds `max_seconds`.
    """

    max_bytes: int
    max_seconds: float
    setting: str = environment_name("max_upload_bytes")
    timeout_setting: str = environment_name("upload_timeout")


@dataclass(frozen=True, kw_only=True)
class FormLimits(BodyLimits):
    """What one form may cost and hold.

    Attributes:
        files: names of the parts that hold files.
        texts: names of the parts that hold text.
    """

    files: frozenset[str]
    texts: frozenset[str]


@dataclass(frozen=True)
class Form:
    """The parts of a body; each name came at most once."""

    files: dict[str, bytes] = field(repr=False)
    texts: dict[str, str]

    def file(self, name: str) -> bytes:
        """The bytes of a part that has to be there.

        Raises:
            MalformedUpload: it is not.
        """
        if name not in self.files:
            raise MalformedUpload(f"the form has no part named {name!r}; send the file as that part")
        return self.files[name]


_AT_ONCE = 1 << 20


async def read_form(request: Request, limits: FormLimits, sinks: Mapping[str, FileSink] | None = None) -> Form:
    """Receives the whole body.

    Args:
        request: with the body.
        limits: for it.
        sinks: where the bytes of some file parts go, which the form then has as empty ones.

    Raises:
        NotMultipart: another Content-Type, or a Content-Encoding.
        MalformedUpload: no boundary; broken or incomplete body; unknown, nameless or repeated parts; a long text field.
        UploadTooLarge, UploadTimeout: past the limits.
        ClientLeft: the connection closed before the end.
    """
    sinks = sinks or {}
    parts = _Parts(limits, sinks)
    parser = _parser(request, parts)

    def take(chunk: bytes) -> Awaitable[object] | None:
        parser.write(chunk)
        return _flush(sinks, least=_AT_ONCE) if sinks else None

    try:
        await receive(request, limits, take)
        await _flush(sinks, least=0)
    except FormParserError:
        raise MalformedUpload("the request body does not follow multipart/form-data (RFC 7578)") from None
    if parser.state != MultipartState.END:
        raise MalformedUpload("the request body ends before the closing boundary; it was cut off or written wrongly")
    return parts.form()


async def _flush(sinks: Mapping[str, FileSink], *, least: int) -> None:
    for sink in sinks.values():
        await sink.flush(least=least)


async def receive(request: Request, limits: BodyLimits, take: Callable[[bytes], object]) -> None:
    """Receives the whole body and gives `take` each chunk of it, to keep; none is empty. What it returns is awaited if
    it can be.

    Raises:
        UploadTooLarge, UploadTimeout: past the limits.
        ClientLeft: the connection closed before the end.
    """
    declared_bytes(request, limits)
    received = 0
    try:
        async with asyncio.timeout(limits.max_seconds):
            async for chunk in request.stream():
                if not chunk:  # as the last one, of Starlette
                    continue
                received += len(chunk)
                if received > limits.max_bytes:
                    raise too_large(limits)
                done = take(chunk)
                if inspect.isawaitable(done):
                    await done
    except TimeoutError:
        raise UploadTimeout(
            f"the request body did not arrive within {limits.max_seconds:g} seconds; the limit is the setting"
            f" {limits.timeout_setting} of this server"
        ) from None
    except ClientDisconnect:
        raise ClientLeft("the connection closed before the request body was complete") from None


def unpack(body: bytes | memoryview, encoding: str, limits: BodyLimits) -> bytes | memoryview:
    """The body without its Content-Encoding; what it decompresses to is capped like what arrives.

    Raises:
        NotMultipart: another encoding than gzip, deflate and identity.
        MalformedUpload: broken data.
        UploadTooLarge: it decompresses to more than is allowed.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "deflate"):
        raise NotMultipart("the Content-Encoding of a body here can be gzip or deflate")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # reads both headers
    try:
        plain = inflater.decompress(body, limits.max_bytes + 1)
    except zlib.error:
        raise MalformedUpload(f"the body is no {name} data") from None
    if len(plain) > limits.max_bytes:
        raise too_large(limits)
    if not inflater.eof or inflater.unused_data:
        raise MalformedUpload(f"the {name} data of the body are cut off, or something follows them")
    return plain


def declared_bytes(request: Request, limits: BodyLimits) -> int:
    """By Content-Length; 0 where it says nothing usable, since what arrives is counted anyway.

    Raises:
        UploadTooLarge: it says more than is allowed.
    """
    declared = request.headers.get("content-length", "")
    if not _DIGITS.fullmatch(declared):
        return 0
    if len(declared) > _LONGEST_LENGTH or int(declared) > limits.max_bytes:
        raise too_large(limits)
    return int(declared)


def too_large(limits: BodyLimits) -> UploadTooLarge:
    """The error of a body with more bytes than allowed."""
    whose = f"the setting {limits.setting} of this server allows" if limits.setting else "are read here"
    return UploadTooLarge(
        f"the request body has more than the {limits.max_bytes} bytes that {whose}", setting=limits.setting
    )


def _parser(request: Request, parts: _Parts) -> MultipartParser:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise NotMultipart("the request has a Content-Encoding; send the body uncompressed")
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        raise NotMultipart("the request body must be multipart/form-data, with the file as one of its parts")
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise MalformedUpload("the Content-Type multipart/form-data names no boundary; let the HTTP client set it")
    return parser_for(boundary, parts)


class _Parts:
    """The parts of a form, as a `service.api.multipart.PartHandler`."""

    def __init__(self, limits: FormLimits, sinks: Mapping[str, FileSink]) -> None:
        self._limits = limits
        self._sinks = sinks
        self._known = limits.files | limits.texts
        self._done: dict[str, bytes] = {}
        self._name = ""
        self._content: memoryview | bytearray = bytearray()

    def begin(self) -> None:
        self._name, self._content = "", bytearray()

    def headers_read(self, headers: dict[bytes, bytes]) -> None:
        disposition, options = parse_options_header(headers.get(b"content-disposition", b"").decode("latin-1"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        known = ", ".join(sorted(self._known))
        if disposition != b"form-data" or name not in self._known:
            raise MalformedUpload(f"the form has a part that is none of the known ones: {known}")
        if name in self._done:
            raise MalformedUpload(f"the form has more than one part named {name!r}; send each part once")
        if headers.get(b"content-transfer-encoding", b"binary").strip().lower() not in {
            b"binary",
            b"8bit",
            b"7bit",
        }:
            raise MalformedUpload(f"part {name!r} has a Content-Transfer-Encoding; send its bytes as they are")
        self._name = name

    def data(self, piece: memoryview) -> None:
        if self._name in self._limits.texts and len(self._content) + len(piece) > MAX_FIELD_BYTES:
            raise MalformedUpload(f"text field {self._name!r} is longer than {MAX_FIELD_BYTES} bytes")
        if self._name in self._sinks:
            self._sinks[self._name].take(piece)
        elif not self._content:
            self._content = piece  # mostly all of it
        else:
            if isinstance(self._content, memoryview):
                self._content = bytearray(self._content)
            self._content += piece

    def end(self) -> None:
        self._done[self._name] = bytes(self._content)

    def form(self) -> Form:
        files = {name: content for name, content in self._done.items() if name in self._limits.files}
        texts = {}
        for name in self._limits.texts & self._done.keys():
            try:
                texts[name] = self._done[name].decode("utf-8").strip()
            except UnicodeDecodeError:
                raise MalformedUpload(f"text field {name!r} is not UTF-8") from None
        return Form(files, texts)
