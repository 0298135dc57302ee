"""HTTP/1.1 as uvicorn's fast parser reads it, with the limits that it lacks: how large a request's head may be, and how
long it may take.

    connection --(head: MAX_HEAD_BYTES, HEAD_SECONDS)--> app --> answer
                  431           408       400

A head is the request line and the headers. What is refused here reached no route, and the connection is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.linger import LINGER_SECONDS
from service.api.problems import answer_to
from service.errors import HeadTimeout, HeadTooLarge, MalformedRequest, ServiceError

MAX_HEAD_BYTES: Final = 64 * 1024
"""Several times what the most cookie-laden browser sends."""

HEAD_SECONDS: Final = 30.0
"""From a head's first byte to its last. A connection may wait for the first as long as between two requests."""


class LimitedHttp(HttpToolsProtocol):
    """One connection, with one request at a time: who sends the next before the answer must send it again, on another
    connection, as RFC 9112 (9.3.2) lets a server ask. Arguments as uvicorn gives them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._place: Literal["before", "head", "body"] = "before"
        self._steps = 0
        self._stepless = 0
        self._timer: asyncio.TimerHandle | None = None
        self._problem: ServiceError | None = None
        self._deaf = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.timeout_keep_alive, self._lose_patience)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        steps = self._steps
        super().data_received(data)
        self._look_at(len(data), went_on=steps != self._steps)

    def _look_at(self, received: int, *, went_on: bool) -> None:
        """After that many bytes were read, which brought a request on or did not."""
        if self._deaf:
            return
        # what brings nothing on: a head without an end, empty lines, extensions of chunks, trailers
        self._stepless = 0 if went_on else self._stepless + received
        if self._stepless > MAX_HEAD_BYTES:
            self._refuse(_too_large())
        elif self._place == "before" and self._timer is None and not self._answering():
            self._wait(self.timeout_keep_alive, self._lose_patience)  # an empty line has ended uvicorn's own wait

    def on_message_begin(self) -> None:
        if self._answering():
            self._listen_no_more()
            raise MalformedRequest("the next request came before the answer")
        self._place = "head"
        self._wait(HEAD_SECONDS, self._lose_patience)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._place == "head":  # and not after the body: trailers must not pass for headers (RFC 9110, 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._steps += 1
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._problem = _too_large()
            raise self._problem
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            self._problem = MalformedRequest("a request of HTTP/1.1 has one Host header (RFC 9112, 3.2)")
            raise self._problem
        self._place = "body"
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._steps += 1
        self._place = "before"
        super().on_message_complete()
        if self.parser.should_upgrade():  # to another protocol: it is not, and the parser reads nothing beyond it
            self._listen_no_more()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - its English says less
        """Called by uvicorn with any error of the parser."""
        if not self._deaf:
            self._refuse(self._problem or MalformedRequest("the bytes on this connection are no HTTP/1.1 request"))

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _listen_no_more(self) -> None:
        """The connection ends with the answer that is being made."""
        self._deaf = True
        self.cycle.keep_alive = False

    def _lose_patience(self) -> None:
        if self._place == "before":  # there is nobody to be told
            self.transport.close()
        else:
            self._refuse(HeadTimeout(f"the request's headers did not arrive within {HEAD_SECONDS:g} seconds"))

    def _refuse(self, error: ServiceError) -> None:
        """Answers, and closes when the client has had the time to read that: see `service.api.linger`."""
        if self._answering() and self._place == "before":
            self._listen_no_more()  # what is wrong comes after a request that is not
            return
        self._deaf = True
        if self._answering():  # it waits for the rest of its body
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        if self.transport.is_closing():
            return
        answer = answer_to(error, "")
        headers = [*answer.raw_headers, (b"connection", b"close")]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.write_eof()
        self._wait(LINGER_SECONDS, self.transport.close)

    def _wait(self, seconds: float, then: Callable[[], object]) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the request line and headers have more than {MAX_HEAD_BYTES} bytes")
