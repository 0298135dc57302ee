"""Answers that come before the end of an upload reach the client all the same, and its connection ends soon after.

    request body ....................................... (unread)
    answer (413, 401, 429 ...), Connection: close --> read on and discard, a few seconds --> close

Left to itself the server would either read an endless body for ever, or close at once. A close with unread bytes resets
the connection, and the client sees "connection reset" instead of the problem document that says what is wrong. HTTP
servers call this a lingering close (RFC 9112 section 9.6).
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_SECONDS = 5.0
"""For the client to notice the answer; nginx waits as long for each next piece. No place is taken meanwhile."""

_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class LingeringClose:
    """ASGI middleware around everything; requests whose body was read to its end are not touched."""

    def __init__(self, app: ASGIApp, *, seconds: float = LINGER_SECONDS) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        unread = True
        held_back = False

        async def receive_and_note() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_without_end(message: Message) -> None:
            nonlocal held_back
            if unread and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            elif unread and message["type"] == "http.response.body" and not message.get("more_body", False):
                held_back = True  # the server closes the connection at the end, so that comes last
                message = {**message, "more_body": True}
            await send(message)

        await self._app(scope, receive_and_note, send_without_end)
        if held_back:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    while unread:
                        await receive_and_note()
            await send(_END)


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
