"""What our server tells an app beyond ASGI: when the client leaves, without being asked.

connection closed --> future of the request in progress: done

ASGI has an app ask (`receive`), for which it needs a task of its own beside each request's.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

_EXTENSION = "clearslice.leaving"


def offer(scope: MutableMapping[str, Any], left: asyncio.Future[None]) -> None:
    """Adds it to a request's scope, as an extension."""
    scope["extensions"] = {**scope.get("extensions", {}), _EXTENSION: {"left": left}}


def offered(scope: MutableMapping[str, Any]) -> asyncio.Future[None] | None:
    """Done when the client has left, for nobody to cancel; None where another server serves."""
    extension = scope.get("extensions", {}).get(_EXTENSION)
    return None if extension is None else extension["left"]
