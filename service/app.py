"""create_app: the whole service on one screen.

Settings --> ModelStore --> Engine --> FastAPI: routers, problem documents, request context
                              |
    start: load, prove, warm in the background; liveness answers at once, readiness when it is done
    stop:  drain, then end the threads
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from fastapi import FastAPI

from model_store.store import ModelStore
from service.api import health, metrics, models, problems, reconstructions
from service.dicom.identity import program_version
from service.engine import Engine
from service.models import Load, load_by
from service.settings import Settings, check_exposure
from service.telemetry import Instruments, RequestContext

DESCRIPTION = """Restores degraded images with U-Nets, low-dose CT first.

Send an image, get it back restored in the same format; errors are problem documents (RFC 9457). For research: not a
medical device."""

TAGS = [
    {"name": "images", "description": "Restore and measure images."},
    {"name": "models", "description": "What models there are, what they were trained on, how they score."},
    {"name": "operation", "description": "Health and figures."},
]


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def create_app(
    settings: Settings,
    *,
    store: ModelStore | None = None,
    load: Load | None = None,
    clock: Callable[[], datetime] = _now,
) -> FastAPI:
    """The service as an ASGI application, for exactly one process per device.

    Args:
        settings: read once, here; the environment is not looked at again.
        store: instead of the one that the settings name.
        load: instead of the loader that the settings describe.
        clock: the present moment, aware, written into derived DICOM instances.

    Raises:
        UnsafeConfiguration: as `check_exposure` says.
    """
    check_exposure(settings)
    instruments = Instruments()
    engine = Engine(
        settings,
        store=store or ModelStore(settings.store, settings.published),
        load=load or load_by(settings),
        clock=clock,
        instruments=instruments,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.starting = starting = asyncio.create_task(engine.start())
        try:
            yield
        finally:
            engine.close()
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    app = FastAPI(
        title="clearslice",
        version=program_version(),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,  # clients of the inference protocol do not follow redirects
        docs_url=None,  # FastAPI's pages load scripts from elsewhere, which a hospital's network does not allow
        redoc_url=None,
    )
    app.state.engine = engine
    for module in (health, reconstructions, metrics, models):
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(RequestContext, instruments=instruments)
    return app
