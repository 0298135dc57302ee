"""The Open Inference Protocol, version 2: tensors in, tensors out, for clients that exist, such as Triton's.

    /v2/models/{name}[/versions/{version}] ready, metadata, config, stats    POST .../infer
    /v2/repository  index, and for the admin scope load and unload

A version is a number or a label; without one it is what the name alone means. Errors are {"error": ...}. The calls that
ask for the server itself are in `service/api/health.py`.
"""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from model_store.errors import ModelStoreError
from model_store.refs import check_name
from model_store.store import ModelVersion
from service.api import schemas
from service.api.access import requires
from service.api.answers import MODEL_HEADER, WARNING_HEADER, server_timing
from service.api.direct import DirectRoute
from service.api.fields import TIMEOUT_HEADER, parse_timeout
from service.api.parts import Parts
from service.api.uploaded import engine_of, while_connected
from service.api.uploads import BodyLimits, receive
from service.codecs import NO_DEADLINE
from service.engine import Engine
from service.inference.infer import INPUT, RESTORED, Sent, infer
from service.inference.message import LENGTH_HEADER, together
from service.inference.statistics import Statistics
from service.keys import Scope

router = APIRouter(tags=["inference protocol"], responses=schemas.PROTOCOL_RESPONSES, route_class=DirectRoute)

PLATFORM = "tensorflow_savedmodel"
_FREE = [-1, -1, -1, 1]
_VERSIONED: dict[str, Any] = {
    "parameters": [{"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}]
}
_READ, _SEND, _ADMIN = ([requires(scope)] for scope in (Scope.READ, Scope.RECONSTRUCT, Scope.ADMIN))


@router.post("/v2/models/{name}/infer", summary="Restore a tensor", openapi_extra=schemas.INFER, dependencies=_SEND)
@router.post(
    "/v2/models/{name}/versions/{version}/infer",
    summary="Restore a tensor with a version",
    openapi_extra={**schemas.INFER, "parameters": [*schemas.INFER["parameters"], *_VERSIONED["parameters"]]},
    dependencies=_SEND,
)
async def run(request: Request, name: str) -> Response:
    """Restores images, (N, H, W, 1) in the model's unit, each by itself.

    The tensor comes as binary data behind the JSON part, or as numbers in it. FP32 is answered, in the shape that came:
    `restored`, and of models that say how sure they are `lower` and `upper`, or `sigma`, unless `outputs` says
    otherwise. The guard's warning, if any, is in `parameters` and in the header `Clearslice-Warning`.
    """
    engine = engine_of(request)
    with engine.admit():
        timeout = parse_timeout(request.headers.get(TIMEOUT_HEADER), longest=engine.settings.request_timeout)
        ref, chunks = _ref(name, _version(request)), list[bytes]()
        await receive(
            request, BodyLimits(engine.settings.max_upload_bytes, engine.settings.upload_timeout), chunks.append
        )
        deadline = time.monotonic() + timeout
        header = request.headers.get(LENGTH_HEADER)
        sent = Sent(
            ref=ref,
            body=together(chunks, header),
            encoding=request.headers.get("content-encoding", ""),
            header=header,
        )
        chunks.clear()
        answer = await while_connected(request, infer(engine, sent, deadline=deadline, counts=_counts(request)))
    headers = {
        **answer.headers,
        MODEL_HEADER: answer.version.ref,
        "Clearslice-Precision": answer.precision,
        "Clearslice-Device": answer.device,
        "Server-Timing": server_timing(answer.seconds),
        "Cache-Control": "no-store",
    }
    if answer.warnings:
        headers[WARNING_HEADER] = "; ".join(answer.warnings)
    return Parts(answer.body, headers)


@router.get("/v2/models/stats", summary="Statistics of all versions", dependencies=_READ)
async def all_statistics(request: Request) -> Response:
    """Of every version in the store."""
    engine = engine_of(request)
    names = await engine.codecs.run(NO_DEADLINE, engine.store.names)
    found = [await _versions(engine, name) for name in names]
    return _statistics(request, [ref for refs in found for ref in refs])


@router.get("/v2/models/{name}", summary="Metadata of a model", dependencies=_READ)
@router.get(
    "/v2/models/{name}/versions/{version}",
    summary="Metadata of a version",
    dependencies=_READ,
    openapi_extra=_VERSIONED,
)
async def metadata(request: Request, name: str) -> Response:
    """Inputs, outputs and versions."""
    engine = engine_of(request)
    found = await _resolve(engine, name, _version(request))
    return JSONResponse(
        {
            "name": found.name,
            "versions": [str(number) for _, number in await _versions(engine, name)],
            "platform": PLATFORM,
            "inputs": [_tensor(INPUT)],
            "outputs": [_tensor(output) for output in _outputs(found)],
        }
    )


@router.get("/v2/models/{name}/config", summary="Configuration of a model", dependencies=_READ)
@router.get(
    "/v2/models/{name}/versions/{version}/config",
    summary="Configuration of a version",
    dependencies=_READ,
    openapi_extra=_VERSIONED,
)
async def config(request: Request, name: str) -> Response:
    """The same in the words of Triton's model configuration."""
    found = await _resolve(engine_of(request), name, _version(request))

    def described(tensor: str) -> dict[str, Any]:
        return {"name": tensor, "data_type": "TYPE_FP32", "dims": _FREE}

    return JSONResponse(
        {
            "name": found.name,
            "platform": PLATFORM,
            "max_batch_size": 0,
            "version_policy": {"specific": {"versions": [found.version]}},
            "input": [described(INPUT)],
            "output": [described(output) for output in _outputs(found)],
        }
    )


@router.get("/v2/models/{name}/stats", summary="Statistics of a model", dependencies=_READ)
@router.get(
    "/v2/models/{name}/versions/{version}/stats",
    summary="Statistics of a version",
    dependencies=_READ,
    openapi_extra=_VERSIONED,
)
async def statistics(request: Request, name: str) -> Response:
    """How many inferences since the start, and how long each part took."""
    engine = engine_of(request)
    found = await _resolve(engine, name, _version(request))
    return _statistics(request, [(name, found.version)] if _version(request) else await _versions(engine, name))


@router.get("/v2/models/{name}/ready", summary="Can a model be used?", dependencies=_READ)
@router.get(
    "/v2/models/{name}/versions/{version}/ready",
    summary="Can a version be used?",
    dependencies=_READ,
    openapi_extra=_VERSIONED,
)
async def ready(request: Request, name: str) -> Response:
    """200 when an inference would be answered: the first of a version that is not in memory waits for it."""
    engine = engine_of(request)
    found = await _resolve(engine, name, _version(request))
    is_ready, reason = engine.readiness()
    reason = engine.versions.refused().get(found.ref, reason)
    if not is_ready or reason:
        return JSONResponse({"error": reason}, status_code=503)
    return JSONResponse({"name": found.name, "ready": True})


@router.post("/v2/repository/index", summary="All versions", dependencies=_READ)
async def index(request: Request) -> Response:
    """Every version and whether it is in memory (`READY`)."""
    engine = engine_of(request)
    loaded, loading, refused = engine.versions.loaded(), engine.versions.loading(), engine.versions.refused()

    def entry(name: str, number: int) -> dict[str, str]:
        ref = f"{name}@{number}"
        state = "READY" if ref in loaded else "LOADING" if ref in loading else "UNAVAILABLE"
        reason = refused.get(ref, "" if ref in loaded or ref in loading else "loaded when it is first asked for")
        return {"name": name, "version": str(number), "state": state, "reason": reason}

    names = await engine.codecs.run(NO_DEADLINE, engine.store.names)
    return JSONResponse([entry(*each) for name in names for each in await _versions(engine, name)])


@router.post("/v2/repository/models/{name}/load", summary="Load a model", dependencies=_ADMIN)
async def load(request: Request, name: str) -> Response:
    """Loads, proves and warms what the name means now; answers when that is done."""
    engine = engine_of(request)
    timeout = parse_timeout(request.headers.get(TIMEOUT_HEADER), longest=engine.settings.request_timeout)
    found = await _resolve(engine, name, "")
    async with engine.versions.lease(found, deadline=time.monotonic() + timeout):
        return JSONResponse({"name": found.name, "version": str(found.version), "state": "READY"})


@router.post("/v2/repository/models/{name}/unload", summary="Unload a model", dependencies=_ADMIN)
async def unload(request: Request, name: str) -> Response:
    """Frees the memory of its versions, of those in use when their last request is done; also of what the store has no
    more. The next request loads it again."""
    return JSONResponse({"name": name, "unloaded": engine_of(request).versions.unload(check_name(name))})


def _version(request: Request) -> str:
    """Of the path; empty where it names none. No parameter of the handlers, which FastAPI would read from the query."""
    return str(request.path_params.get("version", ""))


def _ref(name: str, version: str) -> str:
    return f"{check_name(name)}@{version}" if version else check_name(name)


async def _resolve(engine: Engine, name: str, version: str) -> ModelVersion:
    return await engine.codecs.run(NO_DEADLINE, engine.store.resolve, _ref(name, version))


async def _versions(engine: Engine, name: str) -> list[tuple[str, int]]:
    try:
        return [(name, number) for number in await engine.codecs.run(NO_DEADLINE, engine.store.versions, name)]
    except ModelStoreError:
        return []


def _counts(request: Request) -> Statistics:
    counts: Statistics = request.app.state.statistics
    return counts


def _statistics(request: Request, versions: list[tuple[str, int]]) -> Response:
    counts = _counts(request)
    return JSONResponse({"model_stats": [counts.describe(name, number) for name, number in versions]})


def _outputs(version: ModelVersion) -> tuple[str, ...]:
    return (RESTORED, *version.manifest.spread_outputs)


def _tensor(name: str) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": _FREE}
