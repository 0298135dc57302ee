"""POST /v1/comparisons: one file through several models, side by side.

multipart form --> Task, model refs --engine, one model after the other--> Answers --> JSON, or JSON and files
"""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import schemas
from service.api.access import requires
from service.api.answers import respond_comparison
from service.api.fields import TIMEOUT_HEADER, ComparisonFields, check_reference, parse_fields, parse_timeout
from service.api.negotiation import choose, parse_accept
from service.api.uploaded import engine_of, form_limits, request_id_of, while_connected
from service.api.uploads import read_form
from service.codecs import NO_DEADLINE
from service.keys import Scope
from service.scores import METRICS
from service.task import Task

router = APIRouter(tags=["images"])

TEXTS = frozenset(ComparisonFields.model_fields)
SEVERAL = 2
"""Files in an answer, as far as its representation goes: JSON or multipart/mixed, also for one model."""


@router.post(
    "/v1/comparisons",
    summary="Restore one image with several models",
    response_class=Response,
    responses=schemas.COMPARISON_RESPONSES,
    openapi_extra={"parameters": schemas.REQUEST_HEADERS, "requestBody": schemas.COMPARISON_BODY},
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def compare(request: Request) -> Response:
    """Restores an image with each of `models` and answers them all, with metrics where there is a `reference`.

    `multipart/mixed` has JSON first, and then a file for each model, whose header `Clearslice-Model` names it;
    `application/json` has the files as base64. What JSON says of each model is what `POST /v1/reconstructions` answers;
    the metrics of the degraded image, which are the same for all, are also under `degraded`.

    All models must take the image as it is, and all are done by the request's one deadline, or none is answered.
    """
    engine = engine_of(request)
    with engine.admit():
        ranges = parse_accept(", ".join(request.headers.getlist("accept")))
        choose(ranges, None, outputs=SEVERAL)
        timeout = parse_timeout(request.headers.get(TIMEOUT_HEADER), longest=engine.settings.request_timeout)
        form = await read_form(request, form_limits(engine, TEXTS))
        deadline = time.monotonic() + timeout
        fields = parse_fields(ComparisonFields, form.texts)
        image, reference = form.file("image"), form.files.get("reference")
        check_reference(fields, reference)
        task = Task(
            image=image,
            reference=reference,
            model=None,
            outputs=("restored",),
            strength=fields.strength,
            metrics=METRICS if fields.metrics is None else fields.metrics,
            rescale=fields.rescale(),
            choose_format=lambda native, frames: choose(ranges, native, frames, outputs=SEVERAL).format,
        )
        del form
        answers = await while_connected(request, engine.compare(task, fields.models, deadline=deadline))
        first = answers[0]
        envelope = choose(ranges, first.native, first.frames, outputs=SEVERAL).envelope
        return await engine.codecs.run(
            NO_DEADLINE, respond_comparison, answers, envelope, request_id=request_id_of(request)
        )
