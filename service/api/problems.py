"""The one table from errors to HTTP, and how an error looks: RFC 9457 problem documents.

    exception --TABLE--> status, type, title --> application/problem+json
                                             '-> {"error": detail} below /v2, as the inference protocol has it
    anything else -----> 500 without internals (telemetry.RequestContext logs it)

`type` is a relative reference that identifies the kind of problem; `detail` is the error's own sentence.
"""

from __future__ import annotations

import http
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from imaging.errors import ImagingError, NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat
from model_store.errors import (
    InvalidRef,
    ModelStoreError,
    OutOfDeviceMemory,
    RefusedVersion,
    StoreConflict,
    UnknownModel,
)
from service import errors
from service.pacs import errors as pacs_errors

MEDIA_TYPE = "application/problem+json"
PROTOCOL = "/v2"
"""Below it the inference protocol says what an error looks like."""

CLIENT_CLOSED_REQUEST = 499
_LIMIT_SETTINGS = {
    "max_bytes": "CLEARSLICE_MAX_UPLOAD_BYTES",
    "max_entry_bytes": "CLEARSLICE_MAX_UPLOAD_BYTES",
    "max_total_bytes": "CLEARSLICE_MAX_JOB_BYTES",
    "max_pixels": "CLEARSLICE_MAX_PIXELS",
    "max_frames": "CLEARSLICE_MAX_FRAMES",
}


@dataclass(frozen=True)
class Kind:
    """What a class of errors becomes: the HTTP status, the last part of the problem's type, and its title."""

    status: int
    slug: str
    title: str


TABLE: dict[type[Exception], Kind] = {
    NotAnImage: Kind(400, "not-an-image", "The bytes are no readable image"),
    UnsupportedFormat: Kind(415, "unsupported-format", "The image format is not supported"),
    TooLarge: Kind(413, "image-too-large", "The image is larger than this service allows"),
    UnsuitableImage: Kind(422, "unsuitable-image", "The image cannot be used as asked"),
    InvalidRef: Kind(400, "invalid-model-ref", "The model ref is malformed"),
    UnknownModel: Kind(404, "unknown-model", "There is no such model or version"),
    OutOfDeviceMemory: Kind(503, "out-of-device-memory", "The device has not the memory for this image"),
    RefusedVersion: Kind(503, "refused-version", "The model version is damaged and not served"),
    StoreConflict: Kind(409, "store-conflict", "The model store does not allow it"),
    ModelStoreError: Kind(503, "model-store", "The model store cannot be used"),
    errors.HeadTimeout: Kind(408, "head-timeout", "The headers came too slowly"),
    errors.HeadTooLarge: Kind(431, "head-too-large", "The headers are larger than this service reads"),
    errors.UnknownCoding: Kind(501, "unknown-coding", "The transfer coding is not read here"),
    errors.MalformedRequest: Kind(400, "malformed-request", "The request is no HTTP"),
    errors.HostNotAllowed: Kind(421, "host-not-allowed", "This server does not answer to that name"),
    errors.KeyRequired: Kind(401, "key-required", "A valid API key is needed"),
    errors.ScopeRequired: Kind(403, "scope-required", "The API key is not meant for this"),
    errors.ForeignOrigin: Kind(403, "foreign-origin", "Web pages of other sites may not do this"),
    errors.MalformedUpload: Kind(400, "malformed-upload", "The request body is malformed"),
    errors.MalformedInference: Kind(400, "malformed-inference", "The inference request is malformed"),
    errors.NotMultipart: Kind(415, "unsupported-body", "The request body is of an unsupported type"),
    errors.UploadTooLarge: Kind(413, "upload-too-large", "The request body is larger than this service allows"),
    errors.UploadTimeout: Kind(408, "upload-timeout", "The request body came too slowly"),
    errors.InvalidField: Kind(422, "invalid-field", "A field or header has an impossible value"),
    errors.NotAcceptable: Kind(406, "not-acceptable", "The answer cannot have the requested media type"),
    errors.UnitMismatch: Kind(422, "unit-mismatch", "The model takes images in another unit"),
    errors.NoSuchOutput: Kind(422, "no-such-output", "The model does not give what was asked for"),
    errors.DerivationRefused: Kind(422, "derivation-refused", "No image is derived from this DICOM instance"),
    errors.TooBusy: Kind(429, "too-busy", "Too much is asked for at once"),
    errors.NotReady: Kind(503, "not-ready", "The service is not ready"),
    errors.DeadlinePassed: Kind(504, "deadline-passed", "The deadline passed"),
    errors.NoSuchJob: Kind(404, "no-such-job", "There is no such job"),
    errors.NotFinished: Kind(409, "not-finished", "The job has no result"),
    errors.GivenUp: Kind(500, "given-up", "The job was given up"),
    errors.KeyReused: Kind(422, "idempotency-key-reused", "The idempotency key belongs to another request"),
    errors.NoSpool: Kind(503, "no-spool", "This server keeps no jobs"),
    errors.SpoolFull: Kind(507, "spool-full", "The disk has no room for another job"),
    pacs_errors.NoRoom: Kind(507, "no-room", "The disk has no room for another instance"),
    pacs_errors.NotAsAnnounced: Kind(409, "not-as-announced", "The instance is another one than was announced"),
    pacs_errors.ClassNotTaken: Kind(409, "class-not-taken", "Instances of this class are not taken"),
    pacs_errors.NotWanted: Kind(409, "not-wanted", "The rules of this node refuse the series"),
    pacs_errors.Incomplete: Kind(409, "incomplete", "Instances that would be needed are not here any more"),
    pacs_errors.NotDelivered: Kind(502, "not-delivered", "A peer did not take the series"),
    pacs_errors.NoSuchPacsJob: Kind(404, "no-such-series", "There is no such series in this state"),
    pacs_errors.NoNode: Kind(503, "no-node", "This server is no PACS node"),
    errors.ClientLeft: Kind(CLIENT_CLOSED_REQUEST, "client-left", "The client closed the connection"),
    errors.ModelFailed: Kind(500, "model-failed", "The model gave an unusable answer"),
    errors.RuleViolated: Kind(500, "rule-violated", "The derived instance broke a rule and was not delivered"),
}

_HEADERS = {"retry_after": "Retry-After", "challenge": "WWW-Authenticate"}
_OF_THE_MOMENT = (errors.NotReady, errors.DeadlinePassed)
_EXTRA_MEMBERS = ("fields", "available", "missing_fields", "models", "findings")


def problem(
    status: int, slug: str, title: str, detail: str, *, headers: dict[str, str] | None = None, **members: Any
) -> Response:
    """One problem document as a response."""
    content = {**_document(status, slug, title, detail), **members}
    return JSONResponse(content, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def is_protocol(path: str) -> bool:
    """Whether a path is of the inference protocol, whose clients read `error` of every refusal."""
    return path == PROTOCOL or path.startswith(f"{PROTOCOL}/")


def as_protocol(response: Response) -> Response:
    """A problem document -> what the inference protocol answers instead."""
    document = json.loads(bytes(response.body))
    headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return JSONResponse({"error": document["detail"]}, status_code=response.status_code, headers=headers)


def internal_error(path: str) -> Response:
    """What an unexpected exception becomes; the log line with the same X-Request-ID says more."""
    answer = _internal_error()
    return as_protocol(answer) if is_protocol(path) else answer


def _internal_error() -> Response:
    return problem(
        500,
        "internal-error",
        "Internal error",
        "An unexpected error happened and was logged. Report it with the X-Request-ID of this answer.",
    )


def kind_of(error: Exception) -> Kind | None:
    """The row of the table for an error, by its nearest class."""
    return next((TABLE[cls] for cls in type(error).__mro__ if cls in TABLE), None)


def install(app: FastAPI) -> None:
    """Registers the table's classes, FastAPI's validation errors and the framework's own 404, 405 and such."""
    for base in (ImagingError, ModelStoreError, errors.ServiceError):
        app.add_exception_handler(base, _handler(_expected))
    app.add_exception_handler(RequestValidationError, _handler(_invalid_request))
    app.add_exception_handler(HTTPException, _handler(_http))


def answer_to(error: Exception, path: str) -> Response:
    """What is answered at a path to an expected error, which is logged; any other error is raised again."""
    answer = _expected(error)
    return as_protocol(answer) if is_protocol(path) else answer


def _handler(answer: Callable[[Exception], Response]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        found = answer(error)
        return as_protocol(found) if is_protocol(request.url.path) else found

    return handle


def _expected(error: Exception) -> Response:
    kind = kind_of(error)
    if kind is None:
        raise error
    _log(kind, error)
    headers = {name: str(getattr(error, field)) for field, name in _HEADERS.items() if hasattr(error, field)}
    document = document_of(error, kind)
    return JSONResponse(document, status_code=kind.status, headers=headers, media_type=MEDIA_TYPE)


def document_of(error: Exception, kind: Kind) -> dict[str, Any]:
    """The problem document of an expected error.

    Args:
        error: any.
        kind: from `kind_of`.
    """
    members: dict[str, Any] = {name: getattr(error, name) for name in _EXTRA_MEMBERS if getattr(error, name, None)}
    detail = str(error)
    setting = getattr(error, "setting", None) or _LIMIT_SETTINGS.get(getattr(error, "limit", ""))
    if setting is not None:
        members["setting"] = setting
        if setting not in detail:
            detail = f"{detail}. The limit is the setting {setting} of this server"
    return {**_document(kind.status, kind.slug, kind.title, detail), **members}


def internal_document() -> dict[str, Any]:
    """The problem document of an unexpected error."""
    return _document(500, "internal-error", "Internal error", "An unexpected error happened and was logged.")


def _document(status: int, slug: str, title: str, detail: str) -> dict[str, Any]:
    return {"type": f"/problems/{slug}", "title": title, "status": status, "detail": detail}


def _log(kind: Kind, error: Exception) -> None:
    """What clients do wrong is information; what passes by itself, such as starting and draining, is a warning; what
    is wrong on our side is an error. Of the latter two the reason is told."""
    log = structlog.get_logger("clearslice").bind(problem=kind.slug, status=kind.status)
    if kind.status < 500:  # noqa: PLR2004 - HTTP's own limit
        log.info("problem")
    elif isinstance(error, _OF_THE_MOMENT):
        log.warning("problem", reason=str(error))
    else:
        log.error("problem", reason=str(error), findings=getattr(error, "findings", ()))


def _invalid_request(error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    fields = {".".join(str(part) for part in item["loc"]): str(item["msg"]) for item in error.errors()}
    detail = "; ".join(f"{name}: {message}" for name, message in fields.items())
    kind = TABLE[errors.InvalidField]
    return problem(kind.status, kind.slug, kind.title, detail, fields=fields)


def _http(error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    phrase = http.HTTPStatus(error.status_code).phrase
    details = {
        404: "Nothing is served at this path; GET /openapi.json lists what there is.",
        405: "This path does not take that method; the Allow header lists those it takes.",
    }
    detail = details.get(error.status_code, str(error.detail))
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, phrase.lower().replace(" ", "-"), phrase, detail, headers=headers)
