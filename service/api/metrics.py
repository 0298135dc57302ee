"""POST /v1/metrics: how far an image is from a reference, without a model. GET /metrics: figures of the service."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from service.api import schemas
from service.api.access import requires
from service.api.fields import TIMEOUT_HEADER, MetricFields, parse_fields, parse_timeout
from service.api.uploaded import engine_of, form_limits, request_id_of, while_connected
from service.api.uploads import read_form
from service.errors import InvalidField
from service.keys import Scope
from service.scores import METRICS

router = APIRouter()

TEXTS = frozenset(MetricFields.model_fields)
OPENAPI: dict[str, Any] = {"parameters": schemas.REQUEST_HEADERS[:2], "requestBody": schemas.METRICS_BODY}


@router.post(
    "/v1/metrics",
    tags=["images"],
    summary="Measure an image against a reference",
    response_class=JSONResponse,
    responses=schemas.METRICS_RESPONSES,
    openapi_extra=OPENAPI,
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def measure(request: Request) -> Response:
    """PSNR, SSIM, RMSE and bias of `image` against `reference`, each under its contract: range, clipping and window.

    HU images are measured in the soft tissue window and over the full range, relative images from 0 to 1. The two
    files may differ in format; a rescale applies to those of them that state no unit. Stacks need as many frames: the
    metrics are then means over the frames, and `frames` of each contract lists those of each frame.
    """
    engine = engine_of(request)
    with engine.admit(needs="nothing"):
        timeout = parse_timeout(request.headers.get(TIMEOUT_HEADER), longest=engine.settings.request_timeout)
        form = await read_form(request, form_limits(engine, TEXTS))
        fields = parse_fields(MetricFields, form.texts)
        if fields.metrics == ():
            wrong = f"must name at least one of {', '.join(METRICS)} where nothing else is asked for"
            raise InvalidField(f"metrics {wrong}", fields={"metrics": wrong})
        work = engine.measure(
            form.file("image"),
            form.file("reference"),
            rescale=fields.rescale(),
            metrics=fields.metrics or METRICS,
            deadline=time.monotonic() + timeout,
        )
        unit, frames, scores = await while_connected(request, work)
    return JSONResponse({"unit": unit, "frames": frames, "metrics": scores, "request_id": request_id_of(request)})


@router.get(
    "/metrics",
    tags=["operation"],
    summary="Figures for Prometheus",
    response_class=Response,
    responses=schemas.problems(401, 421),
    dependencies=[requires(Scope.READ)],
)
async def figures(request: Request) -> Response:
    """Counters and histograms of this process in Prometheus' text format."""
    return Response(generate_latest(engine_of(request).instruments.registry), media_type=CONTENT_TYPE_LATEST)
