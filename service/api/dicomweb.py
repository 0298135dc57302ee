"""/dicom-web/studies: STOW-RS, the door of the PACS node for those who speak DICOMweb (PS3.18 10.5).

multipart/related --instance by instance--> arrivals.take --> 200, 202 some failed, 409 all, 503 no room
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from service.api import pacs_schemas
from service.api.access import requires
from service.api.stow import read_instances
from service.api.uploaded import engine_of
from service.api.uploads import BodyLimits
from service.errors import MalformedUpload
from service.keys import Scope
from service.pacs.errors import NoNode
from service.pacs.statuses import OUT_OF_RESOURCES, PROCESSING_FAILURE, status_of
from service.pacs.visit import who
from service.settings import environment_name
from service.telemetry import log_defect
from service.wholly import whole

if TYPE_CHECKING:  # they load pynetdicom, which only a node needs
    from service.pacs.service import PacsService

router = APIRouter(tags=["PACS"])

MEDIA_TYPE = "application/dicom+json"
ANONYMOUS = "DICOMWEB"
"""Sender of those who came without a key."""

_NO_STORE = {"Cache-Control": "no-store"}
_RETRY_SECONDS = 60


def service_of(request: Request) -> PacsService:
    """The node of the app.

    Raises:
        NoNode: it is none.
    """
    service: PacsService | None = request.app.state.pacs
    if service is None:
        raise NoNode(f"this server is no PACS node: its operator has to write a pacs.toml ({environment_name('pacs')})")
    return service


@dataclass
class _Stored:
    """What became of the instances of a request."""

    taken: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[tuple[str, str] | None, int]] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As PS3.18 10.5.3 has it, in the DICOM JSON model."""
        found: dict[str, Any] = {"00081190": {"vr": "UR"}}
        if self.taken:
            items = [_reference(*each) for each in self.taken]
            found["00081199"] = {"vr": "SQ", "Value": items}
        known = [(who, reason) for who, reason in self.failed if who is not None]
        if known:
            items = [{**_reference(*who), **_reason(reason)} for who, reason in known]
            found["00081198"] = {"vr": "SQ", "Value": items}
        others = [_reason(reason) for who, reason in self.failed if who is None]
        if others:
            found["0008119A"] = {"vr": "SQ", "Value": others}
        return found

    def status(self) -> int:
        """Of the answer."""
        if not self.failed:
            return 200
        if self.taken:
            return 202
        return 503 if all(reason == OUT_OF_RESOURCES for _, reason in self.failed) else 409


@router.post(
    "/dicom-web/studies",
    summary="Store instances (STOW-RS)",
    response_class=JSONResponse,
    responses=pacs_schemas.STOW_RESPONSES,
    openapi_extra={"requestBody": pacs_schemas.STOW_BODY},
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def store(request: Request) -> Response:
    """Takes CT instances, as a PACS sends them. Each that is in `ReferencedSOPSequence` of the answer is on the disk;
    when its series is complete, what the node's rules say happens to it. Those in `FailedSOPSequence`, and in
    `OtherFailuresSequence` where not even the UID could be read, are not kept, for the reason that is told.

    202: some failed. 409: all did. 503: the disk has no room.
    """
    return await _store(request, None)


@router.post(
    "/dicom-web/studies/{study}",
    summary="Store instances of one study (STOW-RS)",
    response_class=JSONResponse,
    responses=pacs_schemas.STOW_RESPONSES,
    openapi_extra={"requestBody": pacs_schemas.STOW_BODY},
    dependencies=[requires(Scope.RECONSTRUCT)],
)
async def store_study(request: Request, study: str) -> Response:
    """As above; instances of another study fail (A900)."""
    return await _store(request, study)


async def _store(request: Request, study: str | None) -> Response:
    service, engine = service_of(request), engine_of(request)
    settings = engine.settings
    with engine.admit(needs="nothing"):
        pass  # it is not about to end; an upload may take minutes, so that no place of a request is held
    limits = BodyLimits(
        max_bytes=settings.max_job_bytes,
        max_seconds=settings.job_upload_timeout,
        setting=environment_name("max_job_bytes"),
        timeout_setting=environment_name("job_upload_timeout"),
    )
    one = BodyLimits(max_bytes=settings.max_upload_bytes, max_seconds=settings.job_upload_timeout)
    sender = str(request.scope["state"].get("owner", "")) or ANONYMOUS
    with service.visit(sender, "" if request.client is None else request.client.host) as visit:
        stored = _Stored()

        async def take(data: bytes) -> None:
            try:
                taken = await whole(asyncio.to_thread(visit.take, data, study or ""))
            except Exception as error:  # noqa: BLE001 - one instance fails, the others go on
                instance = await whole(asyncio.to_thread(who, data, settings.limits()))
                stored.failed.append((instance, _status(error, sender)))
            else:  # not the data set: a request may bring thousands
                stored.taken.append((taken.sop_class, taken.uid))

        count = await read_instances(request, limits, one, take)
    if not count:
        raise MalformedUpload("the request body has no instance in it")
    status = stored.status()
    headers = {**_NO_STORE, "Retry-After": str(_RETRY_SECONDS)} if status == 503 else _NO_STORE  # noqa: PLR2004
    return JSONResponse(stored.document(), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _status(error: Exception, sender: str) -> int:
    status = status_of(error)
    if status == PROCESSING_FAILURE:
        log_defect(error)
    else:
        structlog.get_logger("clearslice").warning(
            "instance_not_taken", sender=sender, status=f"{status:04X}", reason=str(error)
        )
    return status


def _reference(sop_class: str, uid: str) -> dict[str, Any]:
    return {"00081150": {"vr": "UI", "Value": [sop_class]}, "00081155": {"vr": "UI", "Value": [uid]}}


def _reason(status: int) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [status]}}
