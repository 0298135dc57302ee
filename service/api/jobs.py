"""/v1/jobs: a whole series in, a whole series out.

multipart form --a place--> spool --accept--> 202, Location --> events (SSE), or asking again --> result: zip --> delete
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from service.api import schemas
from service.api.access import requires
from service.api.fields import KEY_HEADER, JobFields, parse_fields, parse_idempotency_key
from service.api.file_sink import FileSink
from service.api.uploaded import engine_of, while_connected
from service.api.uploads import FormLimits, declared_bytes, read_form
from service.errors import MalformedUpload, NoSpool
from service.jobs.live import Live, request_digest
from service.keys import Scope
from service.settings import environment_name

if TYPE_CHECKING:  # it loads the durable engine, which only a server with a spool needs
    from service.jobs.jobs import Jobs

router = APIRouter(tags=["jobs"])

FILES, TEXTS = frozenset({"series"}), frozenset(JobFields.model_fields)
_NO_STORE = {"Cache-Control": "no-store"}
_STREAM = {**_NO_STORE, "X-Accel-Buffering": "no"}
"""nginx would collect events until they fill a page."""

_RECONNECT_MS = 2000


def _jobs(request: Request) -> Jobs:
    jobs: Jobs | None = request.app.state.jobs
    if jobs is None:
        raise NoSpool(
            f"this server keeps no jobs: its operator has to name a folder for them ({environment_name('spool')});"
            " single images go to /v1/reconstructions"
        )
    return jobs


def _owner(request: Request) -> str:
    """The client, by its key or token: jobs of others do not exist for it."""
    return str(request.scope["state"].get("owner", ""))


def _job_of(request: Request) -> Live:
    return _jobs(request).find(request.path_params["id"], _owner(request))


@router.post(
    "/v1/jobs",
    summary="Restore a whole series",
    status_code=202,
    response_class=JSONResponse,
    responses=schemas.job_responses(400, 404, 408, 413, 415, 422, 429, 500, 507, success=202),
    openapi_extra={"parameters": schemas.JOB_HEADERS, "requestBody": schemas.JOB_BODY},
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def create(request: Request) -> Response:
    """Takes a CT series as a zip or tar file, and restores it in the background.

    The upload is checked whole before it is accepted: all its CT images must be of one patient, study and series, each
    there once. Other files (reports, localizers, what is no DICOM) are left out, and `left_out` counts them. What is
    accepted, answered 202 with a `Location`, is on the disk and survives a restart of the server.

    Model, version and precision are settled at acceptance and are the same for the whole series, also those that
    `auto` or a canary's weight choose. All derived instances share one new series, its date and its encoding. An
    instance that cannot be restored fails the job: a derived series never has a silent hole.

    With an `Idempotency-Key` the request can be repeated safely, after a lost connection, say: the same key, file and
    fields are the same job (`Idempotency-Replayed: true`), and the same key with another request is refused.
    """
    engine, jobs, owner = engine_of(request), _jobs(request), _owner(request)
    with engine.admit(needs="model"):
        pass  # ready, that is; an upload may take minutes, so no place is held, and `Places.take` bounds their number
    key = parse_idempotency_key(request.headers.get(KEY_HEADER))
    settings = engine.settings
    limits = FormLimits(
        max_bytes=settings.max_job_bytes,
        max_seconds=settings.job_upload_timeout,
        setting=environment_name("max_job_bytes"),
        timeout_setting=environment_name("job_upload_timeout"),
        files=FILES,
        texts=TEXTS,
    )
    async with jobs.places.take(upload_bytes=declared_bytes(request, limits), repeats=jobs.has(owner, key)) as entry:
        with entry.upload.open("xb") as file:
            sink = FileSink(file)
            form = await read_form(request, limits, {"series": sink})
        form.file("series")
        if not sink.size:
            raise MalformedUpload("the part 'series' is empty; send a zip or tar file of a DICOM series")
        fields = parse_fields(JobFields, form.texts)
        work = jobs.accept(
            entry,
            model=fields.model,
            strength=fields.strength,
            owner=owner,
            key=key,
            request_sha256=request_digest(sink.sha256(), fields.model, fields.strength),
        )
        live, replayed = await while_connected(request, work)
    headers = {"Location": f"/v1/jobs/{live.job.id}", **({"Idempotency-Replayed": "true"} if replayed else {})}
    return JSONResponse(jobs.describe(live), status_code=202, headers=headers)


@router.get(
    "/v1/jobs",
    summary="Your jobs",
    response_class=JSONResponse,
    responses={200: {"description": "The newest first."}, **schemas.problems(401, 403, 421, 503)},
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def list_jobs(request: Request) -> Response:
    """Those of the API key, or of the token's subject, that asks; without keys, everybody's."""
    jobs = _jobs(request)
    return JSONResponse({"jobs": [jobs.describe(live) for live in jobs.of(_owner(request))]}, headers=_NO_STORE)


@router.get(
    "/v1/jobs/{id}",
    summary="How far a job is",
    response_class=JSONResponse,
    responses=schemas.job_responses(404),
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def show(request: Request, id: str) -> Response:  # noqa: A002, ARG001 - as the path names it
    """State and progress; of a job that failed, the problem; of one that is done, when it expires."""
    return JSONResponse(_jobs(request).describe(_job_of(request)), headers=_NO_STORE)


@router.get(
    "/v1/jobs/{id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": schemas.JOB_EVENT}}},
        **schemas.problems(401, 403, 404, 421, 503),
    },
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def follow(request: Request, id: str) -> Response:  # noqa: A002, ARG001
    """Server-sent events, for `EventSource` or `curl -N`: `queued`, `running` with each instance that is finished, and
    last `done`, `failed` or `removed`. The data of each is what `GET /v1/jobs/{id}` answers, as JSON."""
    return StreamingResponse(_events(_jobs(request), _job_of(request)), media_type="text/event-stream", headers=_STREAM)


async def _events(jobs: Jobs, live: Live) -> AsyncIterator[bytes]:
    first = True
    async for document in jobs.events(live):
        if document is None:
            yield KEEPALIVE_COMMENT
            continue
        event = "removed" if live.removed else document["state"]
        yield format_sse_event(data_str=json.dumps(document), event=event, retry=_RECONNECT_MS if first else None)
        first = False


@router.get(
    "/v1/jobs/{id}/result",
    summary="The restored series",
    response_class=FileResponse,
    responses={
        200: {
            "description": "A zip file of derived DICOM instances, and report.json.",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **schemas.problems(401, 403, 404, 409, 421, 503),
    },
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def result(request: Request, id: str) -> Response:  # noqa: A002
    """A zip file: `00001.dcm` and so on, in the order of the names in the upload (of a tar file, its own), and
    `report.json`, which says of each what it was made of and what was noticed. A broken download can go on where it
    stopped (`Range`)."""
    path = _jobs(request).result(_job_of(request))
    return FileResponse(path, media_type="application/zip", filename=f"clearslice-{id}.zip", headers=_NO_STORE)


@router.delete(
    "/v1/jobs/{id}",
    summary="Stop and remove a job",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "It is gone, and its images with it."},
        **schemas.problems(401, 403, 404, 421, 503, 507),
    },
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def remove(request: Request, id: str) -> Response:  # noqa: A002, ARG001
    """Stops it, if it waits or runs, and removes everything that is kept of it."""
    await _jobs(request).remove(_job_of(request))
    return Response(status_code=204)
