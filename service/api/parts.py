"""A response whose body comes in parts, which are sent as they are and never copied together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Parts(Response):
    """Bytes, or memory of an array, one part after the other.

    Args:
        parts: at least one.
        headers: Content-Length is added.
    """

    def __init__(self, parts: Sequence[bytes | memoryview], headers: Mapping[str, str]) -> None:
        size = sum(len(part) for part in parts)  # of memory in bytes, as of bytes
        super().__init__(headers={**headers, "Content-Length": str(size)})
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Sends it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": part is not self._parts[-1]})
