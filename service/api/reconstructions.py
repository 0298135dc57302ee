"""POST /v1/reconstructions: one degraded file in, one restored file out, with as many frames.

multipart form --> Task --engine--> Answer --> file, JSON or both
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from imaging.image import Format
from service.api import schemas
from service.api.access import requires
from service.api.answers import respond
from service.api.fields import TIMEOUT_HEADER, ReconstructionFields, check_reference, parse_fields, parse_timeout
from service.api.negotiation import choose, parse_accept
from service.api.uploaded import engine_of, form_limits, request_id_of, while_connected
from service.api.uploads import read_form
from service.codecs import NO_DEADLINE
from service.keys import Scope
from service.scores import METRICS
from service.task import Task

router = APIRouter(tags=["images"])

TEXTS = frozenset(ReconstructionFields.model_fields)
OPENAPI: dict[str, Any] = {"parameters": schemas.REQUEST_HEADERS, "requestBody": schemas.RECONSTRUCTION_BODY}


@router.post(
    "/v1/reconstructions",
    summary="Restore one image, or all frames of one file",
    response_class=Response,
    responses=schemas.RECONSTRUCTION_RESPONSES,
    openapi_extra=OPENAPI,
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def reconstruct(request: Request) -> Response:
    """Restores a degraded image with a model and answers it in the format and bit depth it came in.

    A **DICOM** CT slice becomes a derived instance in a new series of the same study. **PNG**, **TIFF** and **NPY**
    files state no unit: give `rescale_slope` and `rescale_intercept` (HU = slope x value + intercept; 1 and 0 for HU
    themselves) for a CT model, or choose a model that takes relative images.

    **Several frames**: the pages of a TIFF file and the planes of an NPY array (N, H, W) are restored one by one, each
    as an image of its own, and come back as many and in order.

    The `Accept` header may ask for another format: `image/tiff` and `application/x-npy` hold float32 in the image's
    unit, nothing rounded; `image/png` has 16 bits, HU stored as HU + 1024, and is for one image only;
    `application/dicom` is possible where DICOM came in. `application/json` has the file, in the format it came in, as
    base64, and `multipart/mixed` has JSON as its first part and that file as its second.

    `model=auto` reads the noise of the image (level, correlation, impulses; over all frames) and takes the model that
    did best under such noise in the store's evidence, or the default where none did better; the header
    `Clearslice-Auto` and `chosen` in JSON say which and why.

    Models that say how sure they are give more than the restored image: `outputs=restored,lower,upper` for the ends of
    an interval, or `outputs=restored,sigma`, each as a file of its own in `multipart/mixed` (the header
    `Clearslice-Output` of a part names it) or under `outputs` in JSON. They are computed in float32, and what they say
    is of the reference, whatever the `strength`. Where DICOM came in they are NPY in HU: the end of an interval is no
    image for an archive.

    A **guard** looks at every answer. Where what a model took out of an image is not like what it takes out of the
    images that it was made for, in amount or in place, the header `Clearslice-Warning`, `warnings` in JSON and the
    derived instance's DerivationDescription say so; the image is answered all the same.

    With a `reference`, which needs as many frames, metrics of the restored and of the degraded image are answered: in
    full as JSON, and on one line in the header `Clearslice-Metrics`. Of several frames they are means, and JSON lists
    those of each as `frames`. A PSNR of identical images is `null`, with `identical` true.
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
        check_reference(fields, reference)
        several = len(fields.outputs)

        def choose_format(native: Format, frames: int) -> Format:
            return choose(ranges, native, frames, outputs=several).format

        task = Task(
            image=image,
            reference=reference,
            model=fields.model,
            outputs=fields.outputs,
            strength=fields.strength,
            metrics=METRICS if fields.metrics is None else fields.metrics,
            rescale=fields.rescale(),
            choose_format=choose_format,
        )
        del form
        answer = await while_connected(request, engine.reconstruct(task, deadline=deadline))
        envelope = choose(ranges, answer.native, answer.frames, outputs=several).envelope
        # on a thread, because base64 and JSON of a large image would hold up everybody else
        return await engine.codecs.run(NO_DEADLINE, respond, answer, envelope, request_id=request_id_of(request))
