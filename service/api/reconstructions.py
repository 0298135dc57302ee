"""POST /v1/reconstructions: one degraded image in, one restored image out.

multipart form --> Task --engine--> Answer --> image, JSON or both
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from imaging.image import Format
from service.api import schemas
from service.api.answers import respond
from service.api.fields import TIMEOUT_HEADER, ReconstructionFields, parse_fields, parse_timeout
from service.api.negotiation import choose, parse_accept
from service.api.uploaded import engine_of, form_limits, request_id_of, while_connected
from service.api.uploads import read_form
from service.codecs import NO_DEADLINE
from service.engine import Task
from service.errors import InvalidField
from service.scores import METRICS

router = APIRouter(tags=["images"])

TEXTS = frozenset(ReconstructionFields.model_fields)
OPENAPI: dict[str, Any] = {"parameters": schemas.REQUEST_HEADERS, "requestBody": schemas.RECONSTRUCTION_BODY}


@router.post(
    "/v1/reconstructions",
    summary="Restore one image",
    response_class=Response,
    responses=schemas.RECONSTRUCTION_RESPONSES,
    openapi_extra=OPENAPI,
)
async def reconstruct(request: Request) -> Response:
    """Restores a degraded image with a model and answers it in the format and bit depth it came in.

    A **DICOM** CT slice becomes a derived instance in a new series of the same study. **PNG** and **NPY** files state
    no unit: give `rescale_slope` and `rescale_intercept` (HU = slope x value + intercept) for a CT model, or choose a
    model that takes relative images. The `Accept` header may ask for `image/png` (16 bits; HU are stored as HU + 1024)
    or `application/x-npy` (float32) instead, for `application/json` with the image as base64, or for `multipart/mixed`
    with JSON and image.

    With a `reference`, metrics of the restored and of the degraded image are answered: in full as JSON, and on one
    line in the header `Clearslice-Metrics`. A PSNR of identical images is `null`, with `identical` true.
    """
    engine = engine_of(request)
    with engine.admit():
        ranges = parse_accept(", ".join(request.headers.getlist("accept")))
        choose(ranges, None)  # a request that nothing could satisfy need not send its image
        timeout = parse_timeout(request.headers.get(TIMEOUT_HEADER), longest=engine.settings.request_timeout)
        form = await read_form(request, form_limits(engine, TEXTS))
        deadline = time.monotonic() + timeout
        fields = parse_fields(ReconstructionFields, form.texts)
        image, reference = form.file("image"), form.files.get("reference")
        if reference is None and fields.metrics:
            wrong = "need a reference to measure against; send it as the part 'reference'"
            raise InvalidField(f"metrics {wrong}", fields={"metrics": wrong})

        def choose_format(native: Format) -> Format:
            return choose(ranges, native).format

        task = Task(
            image=image,
            reference=reference,
            model=fields.model,
            strength=fields.strength,
            metrics=METRICS if fields.metrics is None else fields.metrics,
            rescale=fields.rescale(),
            choose_format=choose_format,
        )
        del form
        answer = await while_connected(request, engine.reconstruct(task, deadline=deadline))
        envelope = choose(ranges, answer.native).envelope
        # on a thread, because base64 and JSON of a large image would hold up everybody else
        return await engine.codecs.run(NO_DEADLINE, respond, answer, envelope, request_id=request_id_of(request))
