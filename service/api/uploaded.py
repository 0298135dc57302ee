"""What both upload routes do around their work: a place, the form, a deadline, and an eye on the client.

admit --> read_form --> work --> response
                          |
                          +-- the client leaves: the work is cancelled, and its place in every queue is freed
                              ClientLeft
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from service.api.uploads import BodyLimits, FormLimits, receive
from service.engine import Engine
from service.errors import ClientLeft, InvalidField
from service.http.leaving import offered

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

MAX_JSON_BYTES = 4096
"""Of a body that says what to change."""

FILES = frozenset({"image", "reference"})


def engine_of(request: Request) -> Engine:
    """The engine of the app that got the request."""
    engine: Engine = request.app.state.engine
    return engine


def request_id_of(request: Request) -> str:
    """The id that the answer's X-Request-ID header will have."""
    return str(request.scope["state"]["request_id"])


def form_limits(engine: Engine, texts: frozenset[str]) -> FormLimits:
    """What one form may cost, by the settings."""
    settings = engine.settings
    return FormLimits(
        max_bytes=settings.max_upload_bytes, max_seconds=settings.upload_timeout, files=FILES, texts=texts
    )


async def read_json(request: Request, kind: type[M]) -> M:
    """A small JSON body, which FastAPI would read whole, however large, before it asks for a key.

    Raises:
        InvalidField: it is no such object; the message names what is wrong.
        UploadTooLarge, UploadTimeout, ClientLeft: as `service.api.uploads.receive`.
    """
    body = bytearray()
    limits = BodyLimits(MAX_JSON_BYTES, engine_of(request).settings.upload_timeout, setting="")
    await receive(request, limits, body.extend)
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        found = {".".join(map(str, item["loc"])) or "body": str(item["msg"]) for item in error.errors()}
        raise InvalidField("; ".join(f"{name}: {wrong}" for name, wrong in found.items()), fields=found) from None


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` until it is done or the client is gone; the request's body has been read to its end.

    Raises:
        ClientLeft: the connection closed first; `work` was cancelled.
    """
    working = asyncio.current_task()
    assert working is not None  # noqa: S101 - a coroutine that awaits runs in one
    left = over = False

    def leave(_: object) -> None:
        nonlocal left
        if not over:  # both can come at once, and then the work is done
            left = True
            working.cancel()

    told = offered(request.scope)
    leaving = asyncio.ensure_future(_disconnected(request)) if told is None else told
    leaving.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if not left or working.cancelling() > 1:  # somebody else wants it to end, too
            raise
        engine_of(request).instruments.abandoned.inc()
        raise ClientLeft("the client closed the connection before its answer was ready") from None
    finally:
        over = True
        leaving.remove_done_callback(leave)
        if told is None:
            leaving.cancel()
        if left:
            working.uncancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
