"""HTTP/1.1 as uvicorn reads it with h11, and the limit that both lack: how long the head of a request may take.

    connection --(head, HEAD_SECONDS)--> app --> answer
                        408

A head is the request line and the headers. How large one may be, and what is no HTTP, h11 says (400). uvicorn's other
parser is faster and lets through what h11 stops (docs/decisions/0015-what-the-wire-costs.md).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from service.api.problems import answer_to
from service.errors import HeadTimeout

HEAD_SECONDS: Final = 30.0
"""From a head's first byte to its last. A connection may wait for the first as long as between two requests."""


class TimedHttp(H11Protocol):
    """One connection; arguments as uvicorn gives them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Called by uvicorn when bytes came, and when the next request may be looked for."""
        super().handle_events()
        if self.conn.their_state is not h11.IDLE:  # its head is read, or nothing more is
            self._stop_waiting()
        elif not self._begun and self.conn.trailing_data[0]:
            self._begun = True
            self._wait(HEAD_SECONDS)

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
