"""Routes on the way of every slice: FastAPI describes them in OpenAPI, and finds out nothing about a request.

request --its dependencies, each with the request--> endpoint, with the request and the texts in its path
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response


class DirectRoute(APIRoute):
    """One whose dependencies take the request alone, and whose endpoint takes it and texts of its path, and gives the
    response."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Called by FastAPI when the route is made."""
        checks: list[Callable[[Request], Coroutine[Any, Any, None]]] = [
            each.dependency for each in self.dependencies if each.dependency is not None
        ]
        names = [each.name for each in self.dependant.path_params]

        async def handle(request: Request) -> Response:
            for check in checks:
                await check(request)
            answer: Response = await self.endpoint(request, *(request.path_params[name] for name in names))
            return answer

        return handle
