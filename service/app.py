"""create_app: the whole service on one screen.

Settings --> ModelStore --> Engine --> FastAPI: routers, problem documents
    |                         |           around it: host check, request context, lingering close
    +------> KeysFile         |
    start: load, prove, warm in the background; liveness answers at once, readiness when it is done; jobs go on
    stop:  drain, stop jobs, which the next process takes up, then end the threads
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastapi import FastAPI

from imaging import codec_process
from model_store.store import ModelStore
from model_store.watched import WatchedStore
from service.api import comparisons, health, inference_protocol, jobs, metrics, models, problems, reconstructions
from service.api.access import HostCheck, allowed_names
from service.api.linger import LingeringClose
from service.dicom.identity import program_version
from service.engine import Engine
from service.inference.statistics import Statistics
from service.keys_file import KeysFile
from service.models import Load, load_by
from service.settings import Settings, check_exposure
from service.telemetry import Instruments, RequestContext
from service.tokens import Tokens
from service.tracing import Traces, traces_by_environment

if TYPE_CHECKING:
    from service.jobs.jobs import Jobs

DESCRIPTION = """Restores degraded images with U-Nets, low-dose CT first.

Send an image, get it back restored in the same format; errors are problem documents (RFC 9457). For research: not a
medical device."""

TAGS = [
    {"name": "images", "description": "Restore and measure images."},
    {"name": "jobs", "description": "Restore a whole series, however long it takes."},
    {"name": "models", "description": "What models there are, what they were trained on, how they score."},
    {"name": "inference protocol", "description": "Tensors in, tensors out: the Open Inference Protocol, version 2."},
    {"name": "operation", "description": "Health and figures."},
]


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def _jobs_of(settings: Settings, engine: Engine, instruments: Instruments) -> Jobs | None:
    if settings.spool is None:
        return None
    from service.jobs.jobs import Jobs  # noqa: PLC0415 - its durable engine takes 0.3 s and 20 MB

    return Jobs(settings.spool, settings, engine, instruments)


def create_app(
    settings: Settings,
    *,
    store: ModelStore | None = None,
    load: Load | None = None,
    clock: Callable[[], datetime] = _now,
    traces: Traces | None = None,
) -> FastAPI:
    """The service as an ASGI application, for exactly one process per device.

    Args:
        settings: read once, here; the environment is not looked at again.
        store: instead of the one that the settings name.
        load: instead of the loader that the settings describe.
        clock: the present moment, aware, written into derived DICOM instances.
        traces: instead of those that OpenTelemetry's variables describe.

    Raises:
        UnsafeConfiguration: as `check_exposure` and `service.jobs.spool.Spool` say; its subclass InvalidKeysFile, as
            `KeysFile` says.
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
    kept_jobs = _jobs_of(settings, engine, instruments)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        codec_process.configure(workers=settings.codec_threads, seconds=settings.codec_seconds)
        codec_process.start()
        app.state.starting = starting = asyncio.create_task(engine.start())
        tasks = [starting, asyncio.create_task(engine.watch_store())]
        if kept_jobs is not None:
            await kept_jobs.start()
            tasks.append(asyncio.create_task(kept_jobs.sweep()))
        if keys is not None:
            tasks.append(asyncio.create_task(keys.watch()))
        if tokens is not None:
            tasks.append(asyncio.create_task(tokens.watch()))
        try:
            yield
        finally:
            engine.drain()
            if kept_jobs is not None:
                await kept_jobs.stop()
            engine.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(traces.close)

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
    app.state.keys, app.state.tokens = keys, tokens
    # Routes are looked through in this order for each request.
    for module in (reconstructions, inference_protocol, comparisons, jobs, metrics, models, health):
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(HostCheck, names=allowed_names(settings))
    app.add_middleware(RequestContext, instruments=instruments, traces=traces)
    app.add_middleware(LingeringClose)  # the outermost
    return app
