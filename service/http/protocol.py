"""HTTP/1.1 as uvicorn reads it with h11, with a limit of time that both lack, and without copies that both make.

    connection --(head, HEAD_SECONDS)--> h11 --> app <-- body of a declared length, where the connection put it
                        408               |  400, 431, 501
                                    chunked body

A head is the request line and the headers. Whether one is too large (431), what is no HTTP (400), which codings of a
body are not read (501), and how long a body is, h11 says. Where a body is as long as a head declares there is nothing
else to be read of it, and h11 would copy each byte four times: it goes to the app past it
(docs/decisions/0015-what-the-wire-costs.md).
"""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from service.api.problems import answer_to
from service.errors import HeadTimeout, HeadTooLarge, MalformedRequest, ServiceError, UnknownCoding
from service.http.body import Body
from service.http.leaving import offer
from service.http.writes import GatheredWrites

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn._types import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope

HEAD_SECONDS: Final = 30.0
"""From a head's first byte to its last. A connection may wait for the first as long as between two requests."""

MAX_HEAD_BYTES: Final = 16384
"""Of a head, trailers, or the line of a chunk's size, that are not complete yet."""

READ_BYTES: Final = 16384
"""Read at once of what h11 is to look at, and to copy: a head, and as little as may be of the body behind it."""


class Connection(asyncio.BufferedProtocol):
    """One connection: tells the event loop where to put the next bytes, and `Http` that they are there.

    Arguments as uvicorn gives them, and as `Http` has them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._http = Http(*args, **kwargs)
        self._memory: bytearray | None = None  # of the next bytes, where they are no body of a declared length

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._http.connection_made(transport)  # type: ignore[arg-type]  # of a stream

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()

    def eof_received(self) -> None:
        """Called by the event loop, which closes the connection then: what is already answered leaves before."""
        self._http.flush()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - we know better
        """Called by the event loop before it reads."""
        if (room := self._http.room()) is not None:
            return room
        self._memory = bytearray(READ_BYTES)
        return memoryview(self._memory)

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the event loop when it has read."""
        memory, self._memory = self._memory, None
        if memory is None:
            self._http.body_received(nbytes)
        else:
            self._http.data_received(bytes(memoryview(memory)[:nbytes]))


class Http(H11Protocol):
    """The requests and answers of one connection.

    Args:
        args, kwargs: as uvicorn gives them.
        unread: is told the status of each answer to a head of which the app was not asked.
    """

    def __init__(self, *args: Any, unread: Callable[[int], None] = lambda _: None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unread = unread
        self._app, self.app = self.app, self._serve
        self.conn = _Conversation(h11.SERVER, MAX_HEAD_BYTES)
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False
        self._body: Body | None = None  # that goes past h11
        self._behind = b""  # that body, of the next request
        self._left: asyncio.Future[None] | None = None  # by the client of the last request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._writes = GatheredWrites(transport, self.loop)
        super().connection_made(self._writes)
        self._wait(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._writes.drop()
        super().connection_lost(exc)
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    def flush(self) -> None:
        """What is written leaves now."""
        self._writes.flush()

    def room(self) -> memoryview | None:
        """Where the next bytes of a body go that the app wants; None where other bytes come next."""
        if self._body is None or not self._body.left or self.cycle.response_complete:
            return None
        return self._body.room()

    def body_received(self, count: int) -> None:
        """So many bytes are where `room` said."""
        assert self._body is not None  # noqa: S101 - there was room
        if self._body.fill(count):
            self.cycle.more_body = self._body.left > 0
            self.cycle.message_event.set()
            if self._body.left:
                self.flow.pause_reading()  # until the app asks for more

    def data_received(self, data: bytes) -> None:
        """Other bytes: a head, a body in chunks; of a body of a declared length what nobody wants, and what follows."""
        if self._body is None:
            super().data_received(data)
            return
        self._behind += data[self._body.left :]
        self._body.left -= min(self._body.left, len(data))
        if self.cycle.response_complete:
            self._go_on()
        else:
            self.flow.pause_reading()

    def handle_events(self) -> None:
        """Called by uvicorn when bytes came, and when the next request may be looked for."""
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:  # its head is read, or nothing more is
            self._stop_waiting()
        elif not self._begun and self.conn.trailing_data[0]:
            self._begun = True
            self._wait(HEAD_SECONDS)
        if self.conn.their_state is h11.SEND_BODY and (length := _declared_length(self.headers)) is not None:
            # what came with the head is a part of it: the app has not run since
            self._body = Body(length, self.cycle.body)
            self.cycle.body = bytearray()
            self.cycle.message_event.clear()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - which says less than h11
        """Called by uvicorn where it catches what h11 raises."""
        self._refuse(_why(sys.exception()))

    def on_response_complete(self) -> None:
        """Called by uvicorn."""
        past = self._body is not None
        super().on_response_complete()  # which may begin the next request
        if past:
            self._go_on()

    async def _serve(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """The app, with the body of this request, if it goes past h11: its task has just begun."""
        self._left = self.loop.create_future()
        if self.cycle.disconnected:
            self._left.set_result(None)
        offer(scope, self._left)  # type: ignore[arg-type]
        body = self._body

        async def receive_all() -> ASGIReceiveEvent:
            if body is not None and self.cycle.response_started:
                body.spare()  # who is answered already is only heard out
            message = await receive()
            if message["type"] == "http.request":
                if body is not None:
                    message["body"] = body.take()  # type: ignore[typeddict-item]  # all of bytes' methods that are used
                if not message["more_body"]:
                    self.flow.resume_reading()  # to see that the client leaves
            return message

        await self._app(scope, receive_all, send)

    def _go_on(self) -> None:
        """To the next request, when this one is answered and its body is read: h11, which has not seen the end of the
        body, begins anew."""
        if self._body is None or self._body.left or self.transport.is_closing():
            return
        self.conn = _Conversation(h11.SERVER, MAX_HEAD_BYTES)
        self._body = None
        behind, self._behind = self._behind, b""
        if behind:
            self.data_received(behind)

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._lose_patience)

    def _stop_waiting(self) -> None:
        self._begun = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lose_patience(self) -> None:
        if self._begun and not self.transport.is_closing():
            self._refuse(HeadTimeout(f"the request's headers did not arrive within {HEAD_SECONDS:g} seconds"))
        else:
            self.transport.close()

    def _refuse(self, error: ServiceError) -> None:
        """The last answer on this connection, unless another has begun; the app, if it was asked, has nobody left."""
        asked = self.conn.our_state is h11.SEND_RESPONSE
        if asked or self.conn.our_state is h11.IDLE:
            answer = answer_to(error, path=self.scope["path"] if asked else "")
            if not asked:
                self._unread(answer.status_code)
            headers = [*answer.raw_headers, (b"connection", b"close")]
            reason = STATUS_PHRASES[answer.status_code]
            body = b"" if asked and self.scope["method"] == "HEAD" else bytes(answer.body)
            for event in (
                h11.Response(status_code=answer.status_code, reason=reason, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if asked:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


class _Conversation(h11.Connection):
    """Requests and answers on one connection, as h11 knows them; an answer's body is not copied."""

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]
        parts = self.send_with_data_passthrough(event)
        if parts is None or len(parts) == 1:
            return None if parts is None else parts[0]
        return b"".join(parts)


def _why(violation: BaseException | None) -> ServiceError:
    """What h11 raised, as an error of ours; nothing is repeated of what was sent."""
    hint = getattr(violation, "error_status_hint", HTTPStatus.BAD_REQUEST)
    if hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
        return HeadTooLarge(f"{MAX_HEAD_BYTES} bytes of headers, trailers or the size of a chunk had no end")
    if hint == HTTPStatus.NOT_IMPLEMENTED:
        return UnknownCoding("of transfer codings only chunked is read, and it once; send the body in chunks, or whole")
    reason = str(violation).partition(": b")[0]  # from there on it repeats
    return MalformedRequest(f"this is no HTTP/1.1 request: {reason}")


def _declared_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Of a body; None where its end is in itself, which comes first (RFC 9112 section 6.3). h11 has checked them."""
    lengths = {name: value for name, value in headers if name in {b"content-length", b"transfer-encoding"}}
    return int(lengths[b"content-length"]) if lengths.keys() == {b"content-length"} else None
