"""/v1/pacs: what the PACS node is at, and what to do about what went wrong. For administrators.

node --> series and their states --> requeue, discard       quarantine --> fetch, discard       pulls --> a series comes
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, get_args

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import FileResponse, JSONResponse, Response

from service.api import pacs_schemas, schemas
from service.api.access import requires
from service.api.dicomweb import service_of
from service.api.fields import KEY_HEADER, parse_idempotency_key
from service.api.uploaded import read_json
from service.errors import InvalidField, SpoolFull
from service.keys import Scope
from service.pacs.live import LiveJob, State, describe
from service.pacs.overview import overview as counts_of

if TYPE_CHECKING:  # it loads pynetdicom and the durable engine, which only a node needs
    from service.pacs.node import PacsNode

router = APIRouter(tags=["PACS"])

_NO_STORE = {"Cache-Control": "no-store"}

_LIMIT = re.compile(r"[0-9]{1,9}")

_SHORT = 20
"""Series of which a list is made in the event loop, within a millisecond."""


def _node(request: Request) -> PacsNode:
    return service_of(request).node


def _owner(request: Request) -> str:
    return str(request.scope["state"].get("owner", ""))


@router.get(
    "/v1/pacs",
    summary="What the PACS node is at",
    response_class=JSONResponse,
    responses={
        200: {"description": "Counts of instances and series.", **pacs_schemas.PACS_OBJECT},
        **schemas.problems(401, 403, 421, 503),
    },
    dependencies=[requires(Scope.ADMIN)],
)
async def overview(request: Request) -> Response:
    """Instances by what became of them, series that still come in, and what is in quarantine. All instances that were
    ever taken and are not forgotten yet are counted here once."""
    node = _node(request)
    found = await asyncio.to_thread(counts_of, node.jobs(), node.arrivals)
    return JSONResponse({"aet": node.configuration.node.aet, **found}, headers=_NO_STORE)


@router.get(
    "/v1/pacs/series",
    summary="Series that came from a PACS",
    response_class=JSONResponse,
    responses={
        200: {"description": "The newest first.", **pacs_schemas.SERIES_LIST},
        **schemas.problems(401, 403, 421, 422, 503),
    },
    openapi_extra={"parameters": pacs_schemas.SERIES_PARAMETERS},
    dependencies=[requires(Scope.ADMIN)],
)
async def index(request: Request) -> Response:
    """Complete series that are not forgotten yet: what was settled for each, how far it is, and where its
    reconstruction went. A `problem` says why it failed; of a dead letter, what the peer said."""
    state, limit = _asked(request.query_params)
    jobs = _node(request).jobs()
    wanted: Iterator[LiveJob] = (live for live in jobs if state in ("", live.state))
    shown = list(islice(wanted, limit))
    more = next(wanted, None) is not None

    def answer() -> Response:
        return JSONResponse({"series": [describe(live) for live in shown], "more": more}, headers=_NO_STORE)

    return answer() if len(shown) <= _SHORT else await asyncio.to_thread(answer)


def _asked(query: Mapping[str, str]) -> tuple[str, int]:
    """State, or empty for any, and limit; a parameter that is empty counts as absent, like a field of a form.

    Raises:
        InvalidField: no such state, or no number of series that can be had.
    """
    state, limit = query.get("state", ""), query.get("limit", "")
    wrong = {}
    if state and state not in get_args(State):
        wrong["state"] = f"must be one of {', '.join(get_args(State))}"
    most = pacs_schemas.MOST_SERIES
    if limit and not (_LIMIT.fullmatch(limit) and 1 <= int(limit) <= most):
        wrong["limit"] = f"must be a whole number from 1 to {most}"
    if wrong:
        raise InvalidField("; ".join(f"{name} {what}" for name, what in wrong.items()), fields=wrong)
    return state, int(limit or pacs_schemas.SERIES_LIMIT)


@router.get(
    "/v1/pacs/series/{id}",
    summary="One of them",
    response_class=JSONResponse,
    responses={
        200: {"description": "The series.", **pacs_schemas.PACS_OBJECT},
        **schemas.problems(401, 403, 404, 421, 503),
    },
    dependencies=[requires(Scope.ADMIN)],
)
async def show(request: Request, id: str) -> Response:  # noqa: A002 - as the path names it
    """As in the list."""
    return JSONResponse(describe(_node(request).repair.find(id)), headers=_NO_STORE)


@router.post(
    "/v1/pacs/series/{id}/requeue",
    summary="Try a failed series or a dead letter once more",
    status_code=202,
    response_class=JSONResponse,
    responses={
        202: {"description": "It is tried; `series` is null where it becomes another one.", **pacs_schemas.PACS_OBJECT},
        **schemas.problems(401, 403, 404, 421, 503, 507),
    },
    dependencies=[requires(Scope.ADMIN)],
)
async def requeue(request: Request, id: str) -> Response:  # noqa: A002
    """What was restored is not made again: a dead letter is sent as it was. A series that was not whole, or that no
    rule took, is looked at anew, under the rules of now."""
    live = await _node(request).repair.requeue(id)
    found = None if live is None else describe(live)
    return JSONResponse({"series": found}, status_code=202, headers=_NO_STORE)


@router.delete(
    "/v1/pacs/series/{id}",
    summary="Remove the images of a failed series or a dead letter",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "They are removed."}, **schemas.problems(401, 403, 404, 421, 503, 507)},
    dependencies=[requires(Scope.ADMIN)],
)
async def discard(request: Request, id: str) -> Response:  # noqa: A002
    """The record of it stays until it is forgotten like those that were delivered."""
    await _node(request).repair.discard(id)
    return Response(status_code=204)


class PullRequest(BaseModel):
    """Which series to fetch, and from whom."""

    model_config = ConfigDict(extra="forbid")

    peer: str
    series: str
    study: str = ""


@router.post(
    "/v1/pacs/pulls",
    summary="Fetch a series from a PACS",
    status_code=202,
    response_class=JSONResponse,
    responses={
        202: {"description": "It is fetched in the background.", **pacs_schemas.PACS_OBJECT},
        **schemas.problems(401, 403, 408, 413, 421, 422, 503, 507),
    },
    openapi_extra={"parameters": schemas.JOB_HEADERS, "requestBody": pacs_schemas.PULL_BODY},
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def pull(request: Request) -> Response:
    """For a PACS that tells of a new series instead of sending it. The peer is one of pacs.toml with a `url`; where
    `study` is left out, it is asked. What is fetched goes the same way as what is sent: the rules decide.

    Accepted means on the disk: it is tried again while the peer is down, also over restarts. With an `Idempotency-Key`
    the request can be repeated safely.
    """
    pulls = _node(request).pulls
    key = parse_idempotency_key(request.headers.get(KEY_HEADER))
    asked = await read_json(request, PullRequest)
    try:
        found, again = await pulls.accept(asked.peer, asked.study, asked.series, owner=_owner(request), key=key)
    except OSError as error:
        raise SpoolFull(f"the spool could not be written to: {error.strerror}", retry_after=60) from None
    document = pulls.describe(found)
    headers = {
        **_NO_STORE,
        "Location": document["links"]["self"],
        **({"Idempotency-Replayed": "true"} if again else {}),
    }
    return JSONResponse(document, status_code=202, headers=headers)


@router.get(
    "/v1/pacs/pulls",
    summary="What is, and was, fetched",
    response_class=JSONResponse,
    responses={
        200: {"description": "The newest first.", **pacs_schemas.PACS_OBJECT},
        **schemas.problems(401, 403, 421, 503),
    },
    dependencies=[requires(Scope.ADMIN)],
)
async def pulls_index(request: Request) -> Response:
    """Whoever asked for it; a `failed` one is tried again when it is asked for again."""
    pulls = _node(request).pulls
    return JSONResponse({"pulls": [pulls.describe(each) for each in pulls.all()]}, headers=_NO_STORE)


@router.get(
    "/v1/pacs/pulls/{id}",
    summary="How far a pull is",
    response_class=JSONResponse,
    responses={
        200: {"description": "The pull.", **pacs_schemas.PACS_OBJECT},
        **schemas.problems(401, 403, 404, 421, 503),
    },
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def show_pull(request: Request, id: str) -> Response:  # noqa: A002
    """`waiting`, `running`, `done` or `failed`, and why; those of the key that asks."""
    pulls = _node(request).pulls
    return JSONResponse(pulls.describe(pulls.find(id, _owner(request))), headers=_NO_STORE)


@router.get(
    "/v1/pacs/quarantine",
    summary="Instances in quarantine",
    response_class=JSONResponse,
    responses={
        200: {"description": "Each with the reason.", **pacs_schemas.PACS_OBJECT},
        **schemas.problems(401, 403, 421, 503),
    },
    dependencies=[requires(Scope.ADMIN)],
)
async def quarantine(request: Request) -> Response:
    """Instances whose UID had come before with other content. Neither of the two can be known to be right."""
    found = await asyncio.to_thread(_node(request).arrivals.quarantine.index)
    return JSONResponse({"instances": found}, headers=_NO_STORE)


@router.get(
    "/v1/pacs/quarantine/{id}",
    summary="Fetch one of them",
    response_class=FileResponse,
    responses={
        200: {
            "description": "The instance, as it came.",
            "content": {"application/dicom": {"schema": {"type": "string", "format": "binary"}}},
        },
        **schemas.problems(401, 403, 404, 421, 503),
    },
    dependencies=[requires(Scope.ADMIN)],
)
async def fetch(request: Request, id: str) -> Response:  # noqa: A002
    """A DICOM file."""
    path = await asyncio.to_thread(_node(request).arrivals.quarantine.find, id)
    return FileResponse(path, media_type="application/dicom", filename=f"{id}.dcm", headers=_NO_STORE)


@router.delete(
    "/v1/pacs/quarantine/{id}",
    summary="Remove one of them",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "It is gone."}, **schemas.problems(401, 403, 404, 421, 503)},
    dependencies=[requires(Scope.ADMIN)],
)
async def release(request: Request, id: str) -> Response:  # noqa: A002
    """For when somebody has looked at it."""
    await asyncio.to_thread(_node(request).arrivals.quarantine.remove, id)
    return Response(status_code=204)
