"""The process that serves: one uvicorn server, one worker, drained on SIGTERM.

SIGTERM --> readiness 503, no new connections --> accepted requests finish (drain_seconds) --> threads end --> exit 0
"""

from __future__ import annotations

import functools
import signal
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.engine import Engine
from service.http.protocol import Connection
from service.memory import keep_freed
from service.settings import Settings, is_loopback
from service.telemetry import configure_logging

KEEP_ALIVE_SECONDS = 65
"""Longer than the 60 s of common load balancers, so that they and not we close an idle connection."""


class _DrainingServer(uvicorn.Server):
    """Tells the engine before uvicorn closes its sockets, so that probes on open connections see it at once."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called in the main thread on SIGTERM and SIGINT."""
        self._engine.drain()
        super().handle_exit(sig, frame)


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then returns when everything accepted is answered.

    Raises:
        UnsafeConfiguration: as `create_app` says.
        SystemExit: the address cannot be bound.
    """
    keep_freed()
    app = create_app(settings)
    configure_logging(settings.log_level)
    _tell_who_may_call(settings)
    serve_app(app, settings)


def _tell_who_may_call(settings: Settings) -> None:
    log = structlog.get_logger("clearslice").bind(host=settings.host)
    if settings.knows_clients():
        log.info("access", who="holders of API keys or tokens")
    elif is_loopback(settings.host):
        log.info("access", who="everybody on this machine")
    else:
        log.warning("access", who="everybody who reaches this host, without API keys")


def serve_app(app: FastAPI, settings: Settings) -> None:
    """As `run`, with an app that is already made."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=functools.partial(Connection, unread=app.state.engine.instruments.count_unread),  # type: ignore[arg-type]  # one that brings its own memory
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    # uvicorn raises the signal again after it has shut down; a drained server has then done what it was asked to.
    before = {sig: signal.signal(sig, _already_drained) for sig in (signal.SIGTERM, signal.SIGINT)}
    try:
        _DrainingServer(config, app.state.engine).run()
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def _already_drained(_: int, __: FrameType | None) -> None:
    """Takes the signal that comes after the end."""
