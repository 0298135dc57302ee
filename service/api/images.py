"""POST /v1/images: what a file holds, as the server reads it.

multipart form --> bytes --look_at--> Frames, and what is said of them --> JSON, NPY or both
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import image_schemas
from service.api.access import requires
from service.api.answers import respond_look
from service.api.fields import TIMEOUT_HEADER, LookFields, parse_fields, parse_timeout
from service.api.image_schemas import IMAGE_TYPES
from service.api.negotiation import best_of, parse_accept
from service.api.uploaded import engine_of, form_limits, request_id_of, while_connected
from service.api.uploads import read_form
from service.codecs import NO_DEADLINE
from service.keys import Scope
from service.looking import look_at
from service.pipeline import MEDIA_TYPES

router = APIRouter(tags=["images"])

FILES, TEXTS = frozenset({"image"}), frozenset(LookFields.model_fields)
OPENAPI: dict[str, Any] = {"parameters": image_schemas.IMAGE_HEADERS, "requestBody": image_schemas.IMAGE_BODY}


@router.post(
    "/v1/images",
    summary="Read an image: its pixels in their unit, its noise, and what `auto` would choose",
    response_class=Response,
    responses=image_schemas.IMAGE_RESPONSES,
    openapi_extra=OPENAPI,
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def look(request: Request) -> Response:
    """Says what a file holds, as a reconstruction of it would begin with; no model runs.

    `application/json` describes it: size, unit, spacing, the windows and the place in its series that a DICOM file
    states, the noise, and the model that `model=auto` would choose for it. `multipart/mixed` has that first and the
    pixels second; `application/x-npy` is the pixels alone: float32 in the unit, (H, W), or (N, H, W) for several
    frames, nothing rounded, and -1000 HU where a CT image has padding.

    Nothing in the answer identifies a patient. DICOM images from which none may be derived, as already derived ones of
    this program, can be looked at all the same. `noise=false` leaves the noise and `auto` out, which saves a tenth of a
    second or more an image.
    """
    engine = engine_of(request)
    with engine.admit(needs="nothing"):
        accept = ", ".join(request.headers.getlist("accept"))
        media_type = best_of(parse_accept(accept, IMAGE_TYPES), IMAGE_TYPES)
        timeout = parse_timeout(request.headers.get(TIMEOUT_HEADER), longest=engine.settings.request_timeout)
        form = await read_form(request, replace(form_limits(engine, TEXTS), files=FILES))
        deadline = time.monotonic() + timeout
        fields = parse_fields(LookFields, form.texts)
        work = engine.codecs.run(
            deadline,
            look_at,
            form.file("image"),
            engine.store,
            limits=engine.settings.limits(),
            rescale=fields.rescale(),
            noise=fields.noise and media_type != MEDIA_TYPES["npy"],  # which has no place for it
        )
        del form
        frames, said = await while_connected(request, work)
        return await engine.codecs.run(
            NO_DEADLINE, respond_look, frames, said, media_type, request_id=request_id_of(request)
        )
