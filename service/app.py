"""create_app: the whole service on one screen.

Settings --> ModelStore --> Engine --> FastAPI: routers, problem documents
    |                         |           around it: host check, request context, lingering close
    +------> KeysFile         |
    start: load, prove, warm in the background; liveness answers at once, readiness when it is done; jobs go on
    stop:  drain, stop jobs, which the next process takes up, then end the threads
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import FastAPI

from model_store.store import ModelStore
from model_store.watched import WatchedStore
from service.api import (
    comparisons,
    dicomweb,
    health,
    images,
    inference_protocol,
    jobs,
    metrics,
    models,
    page,
    problems,
    reconstructions,
)
from service.api import pacs as pacs_api
from service.api.access import HostCheck, allowed_names
from service.api.linger import LingeringClose
from service.dicom.identity import program_version
from service.engine import Engine
from service.errors import UnsafeConfiguration
from service.inference.statistics import Statistics
from service.keys_file import KeysFile
from service.loading import load_by
from service.models import Load
from service.pacs.configuration import read_configuration
from service.running import Parts, running
from service.settings import Settings, check_exposure, environment_name
from service.telemetry import Instruments, RequestContext
from service.tokens import Tokens
from service.tracing import Traces, traces_by_environment

if TYPE_CHECKING:
    from service.jobs.jobs import Jobs
    from service.pacs.service import PacsService

DESCRIPTION = """Restores degraded images with U-Nets, low-dose CT first.

Send an image, get it back restored in the same format; errors are problem documents (RFC 9457). For research: not a
medical device."""

TAGS = [
    {"name": "images", "description": "Restore and measure images."},
    {"name": "jobs", "description": "Restore a whole series, however long it takes."},
    {"name": "PACS", "description": "Series come in from a PACS, their reconstructions go out."},
    {"name": "models", "description": "What models there are, what they were trained on, how they score."},
    {"name": "inference protocol", "description": "Tensors in, tensors out: the Open Inference Protocol, version 2."},
    {"name": "operation", "description": "Health and figures."},
]


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def _kept(settings: Settings, engine: Engine, instruments: Instruments) -> tuple[Jobs | None, PacsService | None]:
    """What needs a spool: jobs, and the PACS node."""
    if settings.spool is None:
        if settings.pacs is not None:
            raise UnsafeConfiguration(
                f"a PACS node keeps what it was sent until it is delivered: name a folder for it"
                f" ({environment_name('spool')})"
            )
        return None, None
    from service.jobs.jobs import Jobs  # noqa: PLC0415 - its durable engine takes 0.3 s and 20 MB

    jobs = Jobs(settings.spool, settings, engine, instruments)
    if settings.pacs is None:
        return jobs, None
    from service.pacs.service import PacsService  # noqa: PLC0415 - pynetdicom takes 0.2 s

    configuration = read_configuration(settings.pacs)
    pacs = PacsService(configuration, settings.spool, engine=engine, durable=jobs.durable, instruments=instruments)
    return jobs, pacs


def create_app(
    settings: Settings,
    *,
    store: ModelStore | None = None,
    load: Load | None = None,
    clock: Callable[[], datetime] = _now,
    traces: Traces | None = None,
) -> FastAPI:
    """The service as an ASGI application, for exactly one process, whatever its devices.

    Args:
        settings: read once, here; the environment is not looked at again.
        store: instead of the one that the settings name.
        load: instead of the loader that the settings describe.
        clock: the present moment, aware, written into derived DICOM instances.
        traces: instead of those that OpenTelemetry's variables describe.

    Raises:
        UnsafeConfiguration: as `check_exposure` and `service.jobs.spool.Spool` say; its subclasses InvalidKeysFile and
            InvalidConfiguration, as `KeysFile` and `read_configuration` say.
    """
    check_exposure(settings)
    instruments = Instruments()
    traces = traces or traces_by_environment(program_version())
    keys = None if settings.api_keys_file is None else KeysFile(settings.api_keys_file, instruments=instruments)
    tokens = Tokens(settings) if settings.jwt_issuer else None
    layers = (settings.store, settings.published) if store is None else (store.writable, store.published)
    engine = Engine(
        settings,
        store=WatchedStore(*layers),
        load=load or load_by(settings),
        clock=clock,
        instruments=instruments,
        traces=traces,
    )
    kept_jobs, pacs = _kept(settings, engine, instruments)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watched = [each for each in (keys, tokens) if each is not None]
        parts = Parts(engine, jobs=kept_jobs, pacs=pacs, watched=watched, traces=traces)
        async with running(parts, settings) as starting:
            app.state.starting = starting
            yield

    app = FastAPI(
        title="clearslice",
        version=program_version(),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,  # clients of the inference protocol do not follow redirects
        # its own spans and records would hold paths, queries and texts of exceptions; see service.tracing
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        docs_url=None,  # FastAPI's pages load scripts from elsewhere, which a hospital's network does not allow
        redoc_url=None,
    )
    app.state.engine, app.state.jobs, app.state.statistics = engine, kept_jobs, Statistics()
    app.state.keys, app.state.tokens, app.state.pacs = keys, tokens, pacs
    # Routes are looked through in this order for each request.
    for module in (
        reconstructions,
        inference_protocol,
        comparisons,
        images,
        jobs,
        dicomweb,
        pacs_api,
        metrics,
        models,
        health,
        page,
    ):
        app.router.routes.extend(module.router.routes)  # included routers would be looked through twice
    problems.install(app)
    app.add_middleware(HostCheck, names=allowed_names(settings))
    app.add_middleware(RequestContext, instruments=instruments, traces=traces)
    app.add_middleware(LingeringClose)  # the outermost
    return app
