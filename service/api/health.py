"""GET /v2, /v2/health/live and /v2/health/ready of the Open Inference Protocol.

live: this process answers. ready: the models are loaded, proven and warm, and requests are taken. Neither touches the
device or its queue, and none needs an API key: probes carry no secrets, and these answers hold none.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from service.api import schemas
from service.api.uploaded import engine_of
from service.dicom.identity import program_version

router = APIRouter(tags=["operation"])

NAME = "clearslice"
_MISDIRECTED: dict[int | str, Any] = {421: schemas.PROTOCOL_RESPONSES["default"]}
_NO_STORE = {"Cache-Control": "no-store"}


@router.get("/v2/", include_in_schema=False)
@router.get("/v2", summary="Server name and version", response_class=JSONResponse, responses=_MISDIRECTED)
async def server() -> Response:
    """Name, version and protocol extensions of this server."""
    return JSONResponse(
        {
            "name": NAME,
            "version": program_version(),
            "extensions": ["binary_tensor_data", "model_configuration", "model_repository", "statistics"],
        }
    )


@router.get("/v2/health/live", summary="Is the process alive?", response_class=JSONResponse, responses=_MISDIRECTED)
async def live() -> Response:
    """200 as soon as the process answers, also while models load."""
    return JSONResponse({"live": True}, headers=_NO_STORE)


@router.get(
    "/v2/health/ready",
    summary="Are requests taken?",
    response_class=JSONResponse,
    responses={503: {"description": "Starting, failed, draining or stuck; `reason` says which."}, **_MISDIRECTED},
)
async def ready(request: Request) -> Response:
    """200 once the models are loaded, proven and warm; 503 before, and again when the service shuts down."""
    is_ready, reason = engine_of(request).readiness()
    body = {"ready": True} if is_ready else {"ready": False, "reason": reason, "error": reason}
    return JSONResponse(body, status_code=200 if is_ready else 503, headers=_NO_STORE)
