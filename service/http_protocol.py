"""HTTP/1.1 as uvicorn reads it with h11, with a limit of time that both lack, and without copies that both make.

    connection --(head, HEAD_SECONDS)--> h11 --> app <-- body of a declared length, as it came
                        408               |
                                    chunked body

A head is the request line and the headers. How large one may be, what is no HTTP (400), and how long a body is, h11
says. Where a body is as long as a head declares there is nothing else to be read of it, and h11 would copy each byte
four times: it goes to the app past it (docs/decisions/0015-what-the-wire-costs.md).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from service.api.problems import answer_to
from service.errors import HeadTimeout

HEAD_SECONDS: Final = 30.0
"""From a head's first byte to its last. A connection may wait for the first as long as between two requests."""

MAX_HEAD_BYTES: Final = 16384
"""Of a head, or trailers, that are not complete yet."""


class Http(H11Protocol):
    """One connection; arguments as uvicorn gives them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Conversation(h11.SERVER, MAX_HEAD_BYTES)
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False
        self._body_left: int | None = None  # of one that goes past h11
        self._behind = b""  # that body, of the next request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._body_left is None:
            super().data_received(data)
            return
        body, behind = data[: self._body_left], data[self._body_left :]
        self._body_left -= len(body)
        self._behind += behind
        if self.cycle.response_complete:  # the rest of its body is read in vain
            self._go_on()
        elif body:
            self._give(body)
        elif behind:
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
            self._body_left = length - len(self.cycle.body)  # what came with the head; the app has not run since

    def on_response_complete(self) -> None:
        """Called by uvicorn."""
        past = self._body_left is not None
        super().on_response_complete()  # which may begin the next request
        if past:
            self._go_on()

    def _give(self, body: bytes) -> None:
        """To the app, as it is where that has taken all that came before."""
        cycle = self.cycle
        cycle.body = cycle.body + body if cycle.body else body  # type: ignore[assignment]
        cycle.more_body = bool(self._body_left)
        cycle.message_event.set()
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def _go_on(self) -> None:
        """To the next request, when this one is answered and its body is read: h11, which has not seen the end of the
        body, begins anew."""
        if self._body_left or self.transport.is_closing():
            return
        self.conn = _Conversation(h11.SERVER, MAX_HEAD_BYTES)
        self._body_left = None
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
            answer = answer_to(
                HeadTimeout(f"the request's headers did not arrive within {HEAD_SECONDS:g} seconds"), path=""
            )
            headers = [*answer.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(
                    status_code=answer.status_code, reason=STATUS_PHRASES[answer.status_code], headers=headers
                ),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Conversation(h11.Connection):
    """Requests and answers on one connection, as h11 knows them; an answer's body is not copied."""

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]
        parts = self.send_with_data_passthrough(event)
        if parts is None or len(parts) == 1:
            return None if parts is None else parts[0]
        return b"".join(parts)


def _declared_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Of a body; None where its end is in itself, which comes first (RFC 9112 section 6.3). h11 has checked them."""
    lengths = {name: value for name, value in headers if name in {b"content-length", b"transfer-encoding"}}
    return int(lengths[b"content-length"]) if lengths.keys() == {b"content-length"} else None
