"""/v1/models and below: what the store holds, what it says of itself, what of it is in memory; and changes to both.

ModelStore (files) + LoadedVersions (memory) --> JSON        InvalidRef 400, UnknownModel 404, StoreConflict 409

Reading needs a key of any scope: manifests tell what a site trained its own models on. Changing needs the scope admin.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from model_store.errors import ModelStoreError, RefusedVersion
from model_store.refs import check_name, parse_ref
from model_store.store import CANARY
from model_store.version import read_card
from service.api import schemas
from service.api.access import requires
from service.api.fields import TIMEOUT_HEADER, parse_timeout
from service.api.uploaded import engine_of, read_json
from service.codecs import NO_DEADLINE
from service.engine import Engine
from service.errors import InvalidField
from service.keys import Scope

router = APIRouter(tags=["models"], responses=schemas.MODEL_RESPONSES)

CARD_TYPE = "text/markdown"

_READ, _ADMIN = [requires(Scope.READ)], [requires(Scope.ADMIN)]


@router.get("/v1/models", summary="All models", response_class=JSONResponse, dependencies=_READ)
async def models(request: Request) -> Response:
    """Every model with its versions and labels, and the ref that is used when a request names none."""
    engine = engine_of(request)
    return JSONResponse(await engine.codecs.run(NO_DEADLINE, _all, engine, _Memory(engine)))


@router.get("/v1/models/{name}", summary="One model", response_class=JSONResponse, dependencies=_READ)
async def model(request: Request, name: str) -> Response:
    """The versions of one model, each with its state, unit, summary and scores."""
    engine = engine_of(request)
    return JSONResponse(await engine.codecs.run(NO_DEADLINE, _model, engine, name, _Memory(engine)))


@router.get(
    "/v1/models/{name}/versions/{version}", summary="One version", response_class=JSONResponse, dependencies=_READ
)
async def version(request: Request, name: str, version: str) -> Response:
    """The whole manifest of a version, named by number or label: training data, scores, hashes; and its state."""
    engine = engine_of(request)
    return JSONResponse(await engine.codecs.run(NO_DEADLINE, _version, engine, name, version, _Memory(engine)))


@router.get(
    "/v1/models/{name}/versions/{version}/card",
    summary="The model card of a version",
    response_class=Response,
    responses={200: {"description": "Markdown.", "content": {CARD_TYPE: {"schema": {"type": "string"}}}}},
    dependencies=_READ,
)
async def card(request: Request, name: str, version: str) -> Response:
    """What the version says of itself to people: data, scores beside classical filters, where it fails, limits."""
    engine = engine_of(request)
    return Response(await engine.codecs.run(NO_DEADLINE, _card, engine, name, version), media_type=CARD_TYPE)


class Promotion(BaseModel):
    """What a label is to point at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[int, Field(ge=1, le=999_999_999)]
    weight: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Of the label canary: the share of DICOM series that it gets of those whose senders name no"
        " version. Without it the share stays as it was.",
    )


@router.post(
    "/v1/models/{name}/labels/{label}",
    summary="Point a label at a version",
    openapi_extra={"requestBody": schemas.json_body(Promotion)},
    dependencies=_ADMIN,
)
async def promote(request: Request, name: str, label: str) -> Response:
    """The label means that version once it is loaded and warm; until then it means what it did."""
    engine = engine_of(request)
    promotion = await read_json(request, Promotion)
    if promotion.weight is not None and label != CANARY:
        wrong = f"only the label {CANARY} has one"
        raise InvalidField(f"weight: {wrong}", fields={"weight": wrong})
    await engine.codecs.run(NO_DEADLINE, engine.store.promote, name, label, promotion.version, weight=promotion.weight)
    return JSONResponse(await engine.codecs.run(NO_DEADLINE, _labels, engine, name))


@router.delete("/v1/models/{name}/labels/{label}", summary="Take a label away", dependencies=_ADMIN)
async def remove_label(request: Request, name: str, label: str) -> Response:
    """Without `stable` a bare name means the highest version."""
    engine = engine_of(request)
    await engine.codecs.run(NO_DEADLINE, engine.store.remove_label, check_name(name), label)
    return JSONResponse(await engine.codecs.run(NO_DEADLINE, _labels, engine, name))


@router.post("/v1/models/{name}/versions/{version}/load", summary="Load a version", dependencies=_ADMIN)
async def load(request: Request, name: str, version: str) -> Response:
    """Loads, proves and warms a version, so that no request waits for it; answers when that is done."""
    engine = engine_of(request)
    timeout = parse_timeout(request.headers.get(TIMEOUT_HEADER), longest=engine.settings.request_timeout)
    found = await engine.codecs.run(NO_DEADLINE, engine.store.resolve, f"{check_name(name)}@{version}")
    async with engine.versions.lease(found, deadline=time.monotonic() + timeout):
        return JSONResponse({"ref": found.ref, **_Memory(engine).state(found.ref)})


@router.post("/v1/models/{name}/versions/{version}/unload", summary="Unload a version", dependencies=_ADMIN)
async def unload(request: Request, name: str, version: str) -> Response:
    """Frees its memory, of a version in use when its last request is done; also of one that the store has no more. The
    next request loads it again."""
    engine = engine_of(request)
    ref = parse_ref(f"{check_name(name)}@{version}")
    number = ref.version
    if number is None:  # only the store knows what a label means
        number = (await engine.codecs.run(NO_DEADLINE, engine.store.resolve, str(ref))).version
    engine.versions.unload(name, number)
    return JSONResponse({"ref": f"{name}@{number}", **_Memory(engine).state(f"{name}@{number}")})


class _Memory:
    """A snapshot of what is loaded, taken in the event loop and read on a codec thread."""

    def __init__(self, engine: Engine) -> None:
        self.loaded = engine.versions.loaded()
        self.loading = engine.versions.loading()
        self.refused = engine.versions.refused()

    def state(self, ref: str) -> dict[str, Any]:
        if ref in self.loaded:
            running = self.loaded[ref]
            told = {"precision": running.precision, "device": ", ".join(running.devices), "timings": running.timings}
            return {"state": "loaded", **told}
        if ref in self.refused:
            return {"state": "refused", "reason": self.refused[ref]}
        return {"state": "loading" if ref in self.loading else "not loaded"}


def _all(engine: Engine, memory: _Memory) -> dict[str, Any]:
    try:
        default: str | None = engine.store.default_ref()
    except ModelStoreError:
        default = None
    return {"default": default, "models": [_model(engine, name, memory) for name in engine.store.names()]}


def _model(engine: Engine, name: str, memory: _Memory) -> dict[str, Any]:
    numbers = engine.store.versions(check_name(name))
    if not numbers:
        engine.store.resolve(name)  # raises UnknownModel, whose message lists what there is
    return {
        **_labels(engine, name),
        "versions": [_summary(engine, name, number, memory) for number in numbers],
    }


def _labels(engine: Engine, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "labels": engine.store.labels(name),
        "canary_weight": engine.store.canary_weight(name),
    }


def _summary(engine: Engine, name: str, number: int, memory: _Memory) -> dict[str, Any]:
    ref = f"{name}@{number}"
    try:
        manifest = engine.store.resolve(ref).manifest
    except RefusedVersion as error:
        return {"version": number, "state": "refused", "reason": str(error)}
    return {
        "version": number,
        **memory.state(ref),
        "domain": manifest.domain,
        "unit": manifest.unit,
        "recipe": manifest.recipe,
        "summary": manifest.summary,
        "scores": [score.model_dump(mode="json") for score in manifest.scores],
    }


def _version(engine: Engine, name: str, selector: str, memory: _Memory) -> dict[str, Any]:
    found = engine.store.resolve(f"{check_name(name)}@{selector}")
    labels = sorted(label for label, number in engine.store.labels(name).items() if number == found.version)
    return {
        "ref": found.ref,
        "labels": labels,
        **memory.state(found.ref),
        "weights_sha256": found.weights_sha256,
        "manifest": found.manifest.model_dump(mode="json"),
    }


def _card(engine: Engine, name: str, selector: str) -> str:
    return read_card(engine.store.resolve(f"{check_name(name)}@{selector}"))
