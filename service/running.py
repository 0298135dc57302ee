"""What runs while an app does, from its start to its end.

start: decoders, models in the background, jobs and PACS node as their spools have them, watchers of files
stop:  drain, watchers, what comes in, jobs and node, which the next process takes up; then the threads end
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from imaging import codec_process
from service.engine import Engine
from service.settings import Settings
from service.tracing import Traces

if TYPE_CHECKING:
    from service.jobs.jobs import Jobs
    from service.pacs.service import PacsService


class Watched(Protocol):
    """Something whose source may change."""

    async def watch(self) -> None:
        """Follows the changes; never ends."""


@dataclass(frozen=True)
class Parts:
    """Of one app.

    Attributes:
        engine: loads models in the background.
        jobs, pacs: as far as they are configured; the node's work runs on the jobs' durable engine.
        watched: API keys, and keys of tokens.
        traces: sent to the last one.
    """

    engine: Engine
    jobs: Jobs | None
    pacs: PacsService | None
    watched: Sequence[Watched]
    traces: Traces


@contextlib.asynccontextmanager
async def running(parts: Parts, settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """While it lasts, requests can be served.

    Yields:
        The task that loads the models.
    """
    codec_process.configure(workers=settings.codec_threads, seconds=settings.codec_seconds)
    codec_process.start()
    starting = asyncio.create_task(parts.engine.start())
    tasks = [starting, asyncio.create_task(parts.engine.watch_store())]
    tasks += [asyncio.create_task(each.watch()) for each in parts.watched]
    try:
        async with _kept(parts):
            yield starting
    finally:
        parts.engine.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(parts.traces.close)


@contextlib.asynccontextmanager
async def _kept(parts: Parts) -> AsyncIterator[None]:
    """Jobs and PACS node, which share a durable engine: it starts when both know what they have."""
    engine, jobs, pacs = parts.engine, parts.jobs, parts.pacs
    sweeps: list[asyncio.Task[None]] = []
    try:
        if pacs is not None:
            await pacs.load()
        if jobs is not None:
            await jobs.start()
            sweeps.append(asyncio.create_task(jobs.sweep()))
        if pacs is not None:
            await pacs.start()
            sweeps.append(asyncio.create_task(pacs.node.sweep()))
        yield
    finally:
        engine.drain()
        if pacs is not None:
            await pacs.stop_receiving()
        for sweep in sweeps:
            sweep.cancel()
        await asyncio.gather(*sweeps, return_exceptions=True)
        if jobs is not None:
            await jobs.stop()
        if pacs is not None:
            await pacs.stop()
        if jobs is not None:
            jobs.close()
