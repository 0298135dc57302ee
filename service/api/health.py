"""GET /v2, /v2/health/live and /v2/health/ready of the Open Inference Protocol, and the plain index at `/`.

live: this process answers. ready: the models are loaded, proven and warm, and requests are taken. Neither touches the
device or its queue, and none needs an API key: probes carry no secrets, and these answers hold none.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from service.api import schemas
from service.api.uploaded import engine_of
from service.dicom.identity import program_version

router = APIRouter(tags=["operation"])

NAME = "clearslice"
_MISDIRECTED: dict[int | str, Any] = {421: schemas.PROTOCOL_RESPONSES["default"]}
_NO_STORE = {"Cache-Control": "no-store"}

INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>clearslice</title>
<h1>clearslice</h1>
<p>Restores degraded images, low-dose CT first. For research; not a medical device.</p>
<ul>
<li><a href="/v1/models">Models</a> and what they were trained on</li>
<li><code>POST /v1/reconstructions</code>, <code>POST /v1/comparisons</code> and <code>POST /v1/metrics</code> for an
image, <code>POST /v1/jobs</code> for a series: see the <a href="/openapi.json">API description</a> (OpenAPI)</li>
<li><code>POST /dicom-web/studies</code> (STOW-RS) and <code>GET /v1/pacs</code>, where this server is a PACS node</li>
<li><a href="/v2/health/ready">Ready?</a> <a href="/v2/health/live">Alive?</a> <a href="/metrics">Figures</a></li>
</ul>
"""
_INDEX_HEADERS = {"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}


@router.get("/", summary="Index page", response_class=HTMLResponse, include_in_schema=False)
async def index() -> Response:
    """Links to everything."""
    return HTMLResponse(INDEX, headers=_INDEX_HEADERS)


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
