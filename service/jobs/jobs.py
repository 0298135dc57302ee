"""Jobs: a whole series in, a whole series out, however long it takes and whatever happens meanwhile.

    upload --places--> incoming/ --unpack, settle--> jobs/<id>/ --durable--> SeriesWork --> outcome --> expires
             TooBusy SpoolFull   4xx               202            |            |
                                                        after a restart     temporary? again, a little later
                                                                            else: failed, with a problem document

All state is touched in the event loop only; the disk is its memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from service.engine import Engine
from service.errors import (
    KeyReused,
    NoSuchJob,
    NotFinished,
    NotReady,
    SpoolFull,
)
from service.jobs.accept import Unpacked, settle, unpack
from service.jobs.durable import FIRST_QUEUE, Durable, Queue
from service.jobs.live import Live, describe, job_id_of
from service.jobs.places import Places
from service.jobs.record import Job
from service.jobs.runner import FULL_RETRY_SECONDS, Runner
from service.jobs.spool import Entry, Spool
from service.jobs.work import task_of
from service.settings import Settings
from service.telemetry import Instruments, log_defect
from service.wholly import whole

SWEEP_SECONDS = 30.0
HEARTBEAT_SECONDS = 15.0
"""Between two signs of life to who listens: proxies close what is silent for a minute."""

UNPACKERS = 2

TICKETS_KEPT = timedelta(hours=1)
"""How long the durable engine remembers what has ended."""


class Jobs:
    """All jobs of an app.

    Args:
        spool: the folder that keeps them.
        settings: of the app.
        engine: restores.
        instruments: of the app.

    Raises:
        UnsafeConfiguration: as `Spool`.
    """

    def __init__(self, spool: Path, settings: Settings, engine: Engine, instruments: Instruments) -> None:
        self._settings = settings
        self._engine = engine
        self._instruments = instruments
        self._live: dict[str, Live] = {}
        self._committing = asyncio.Lock()
        # few, since each is as much work as a core can do; the others wait their turn
        self._unpacking = ThreadPoolExecutor(UNPACKERS, thread_name_prefix="unpack")
        self._spool = Spool(spool)
        self.places = Places(self._spool, self._live, settings, instruments)
        self._runner = Runner(self._live, engine, instruments)
        url = settings.jobs_database.get_secret_value()
        schema = f"clearslice_{self._spool.identity()}"
        self.durable = Durable(url, schema=schema) if url else Durable(self._spool.folder / "jobs.sqlite")
        self.durable.add(FIRST_QUEUE, Queue(self._runner.run, settings.jobs_at_once))
        instruments.spool_free_bytes.set_function(self._spool.free_bytes)
        instruments.jobs_open.set_function(self.places.open)

    async def start(self) -> None:
        """Takes up the jobs that the spool holds."""
        for live in await asyncio.to_thread(_read_all, self._spool):
            self._live[live.job.id] = live
        await self.durable.start()
        for live in list(self._live.values()):
            if live.outcome is None:
                await self._take_up(live)

    async def _take_up(self, live: Live) -> None:
        """A job that has not ended: the durable engine knows of it, or is told."""
        ticket = live.job.ticket
        fate = await self.durable.fate(FIRST_QUEUE, ticket)
        if fate == "over" and self._idle(live):  # and nothing was written down: the disk refused it
            await self.durable.forget(FIRST_QUEUE, ticket)
        if fate in ("over", "unknown") and self._idle(live):
            await self.durable.enqueue(FIRST_QUEUE, ticket)

    def _idle(self, live: Live) -> bool:
        """Whether a job has still to be done, and nobody does it."""
        there = self._live.get(live.job.id) is live and not live.removed
        return there and live.work is None and live.outcome is None

    async def sweep(self) -> None:
        """Removes what has expired, and takes up what was left; a task that never ends."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            oldest = self._engine.clock() - timedelta(seconds=self._settings.job_retention)
            for live in list(self._live.values()):
                try:
                    if live.outcome is None:
                        await self._take_up(live)
                    elif live.outcome.finished < oldest:
                        await self.remove(live)
                except Exception as error:  # noqa: BLE001 - were this the end, nothing would expire any more
                    log_defect(error)
            try:
                async with self._committing:
                    await asyncio.to_thread(self._spool.expire_unknown, set(self._live), oldest.timestamp())
            except OSError as error:
                log_defect(error)
            try:
                await self.durable.tidy(TICKETS_KEPT)
            except Exception as error:  # noqa: BLE001 - it is tried again
                log_defect(error)

    async def stop(self) -> None:
        """Stops what runs, to its last thread; the next process goes on with it."""
        await self.durable.stop()
        running = [live.work for live in self._live.values() if live.work is not None]
        await asyncio.gather(*running, return_exceptions=True)
        self._unpacking.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Lets another process have the spool."""
        self._spool.close()

    # accepting

    def has(self, owner: str, key: str | None) -> bool:
        """Whether a client's Idempotency-Key is one of a job that is there."""
        return key is not None and job_id_of(owner, key) in self._live

    def repeated(self, owner: str, key: str | None, request_sha256: str) -> Live | None:
        """The job that the same request made before; None when it is new.

        Raises:
            KeyReused: the key came with another request.
            NotReady: that job is just being removed.
        """
        live = self._live.get(job_id_of(owner, key)) if key is not None else None
        if live is not None and live.removed:
            raise NotReady("the job of this Idempotency-Key is just being removed; try again", retry_after=1)
        if live is not None and live.job.request_sha256 != request_sha256:
            raise KeyReused(
                "the Idempotency-Key was used before, with another file or other fields; a new request needs a new key"
            )
        return live

    async def accept(
        self, entry: Entry, *, model: str | None, strength: float, owner: str, key: str | None, request_sha256: str
    ) -> tuple[Live, bool]:
        """Makes a job of an upload. When this returns, the job is on the disk and will be done.

        Args:
            entry: from `Places.take`, with the whole upload.
            model: ref, `auto` or None for the store's default.
            strength: 0 to 1.
            owner: name of the client's API key, or empty.
            key: its Idempotency-Key, or None.
            request_sha256: of all that was asked.

        Returns:
            The job, and whether the same request had made it before.

        Raises:
            ImagingError, ModelStoreError, ServiceError: the series cannot be restored as asked.
            OSError: the disk refuses it.
        """
        live = self.repeated(owner, key, request_sha256)
        if live is not None:
            return live, True
        engine, settings = self._engine, self._settings
        unpacked = await self._unpack(entry)
        self.places.check_disk(2 * unpacked.result_bytes)
        task, standing = task_of(b"", model, strength), engine.meanings.standing()
        deadline = time.monotonic() + settings.request_timeout
        prepared = await whole(
            engine.codecs.run(
                deadline,
                functools.partial(settle, store=engine.store, settings=settings, standing=standing),
                entry,
                unpacked.instances,
                task,
            )
        )
        prepared = await engine.settled(task, prepared, deadline=deadline)
        async with engine.versions.lease(prepared.version, deadline=deadline) as replicas:
            precision = replicas.precision
        job = Job(
            id=uuid.uuid4().hex if key is None else job_id_of(owner, key),
            ticket=uuid.uuid4().hex,
            owner=owner,
            created=engine.clock(),
            model=prepared.version.ref,
            weights_sha256=prepared.version.weights_sha256,
            precision=precision,
            chosen=prepared.chosen,
            strength=strength,
            instances=unpacked.instances,
            result_bytes=unpacked.result_bytes,
            left_out=unpacked.left_out,
            request_sha256=request_sha256,
        )
        return await whole(self._commit(entry, job, key))

    async def _unpack(self, entry: Entry) -> Unpacked:
        """On one of a few threads, which has ended with it when this has, whatever happens."""
        left = threading.Event()
        work = functools.partial(unpack, entry, self._settings, wanted=lambda: not left.is_set())
        waiting = asyncio.get_running_loop().run_in_executor(self._unpacking, work)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            left.set()
            await whole(asyncio.wait({waiting}))
            raise

    async def _commit(self, entry: Entry, job: Job, key: str | None) -> tuple[Live, bool]:
        """One at a time: a job on the disk is one in memory."""
        async with self._committing:
            live = self.repeated(job.owner, key, job.request_sha256)  # the same request may have come twice at once
            if live is not None:
                return live, True
            place = await asyncio.to_thread(self._spool.commit, entry, job)
            live = self._live[job.id] = Live(job, place)
        try:
            await self.durable.enqueue(FIRST_QUEUE, job.ticket)
        except Exception as error:  # noqa: BLE001 - it is on the disk, and accepted: the sweep enqueues it
            log_defect(error)
        structlog.get_logger("clearslice").info("job_accepted", job=job.id, model=job.model, instances=job.instances)
        return live, False

    # asking

    def find(self, job_id: str, owner: str) -> Live:
        """A job.

        Args:
            job_id: as the client wrote it.
            owner: whose it must be.

        Raises:
            NoSuchJob: there is none, or it is somebody else's.
        """
        live = self._live.get(job_id)
        if live is None or live.removed or live.job.owner != owner:
            raise NoSuchJob("there is no job with this id; it may have expired or been deleted")
        return live

    def of(self, owner: str) -> list[Live]:
        """A client's jobs, the newest first."""
        found = [live for live in reversed(self._live.values()) if not live.removed and live.job.owner == owner]
        return sorted(found, key=lambda live: live.job.created, reverse=True)

    def describe(self, live: Live) -> dict[str, Any]:
        """What a client is told of a job."""
        return describe(live, retention=self._settings.job_retention)

    async def events(self, live: Live) -> AsyncIterator[dict[str, Any] | None]:
        """What is told of a job, now and at each change, until it has ended or the server drains.

        None is a sign of life.
        """
        while True:
            changed = live.changed
            yield self.describe(live)
            if live.outcome is not None or live.removed:
                return
            quiet = time.monotonic() + HEARTBEAT_SECONDS
            while not changed.is_set():
                if self._engine.draining():
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), timeout=1.0)
                if not changed.is_set() and time.monotonic() > quiet:
                    quiet = time.monotonic() + HEARTBEAT_SECONDS
                    yield None

    def result(self, live: Live) -> Path:
        """The archive of a job that is done.

        Raises:
            NotFinished: it is not, or failed.
        """
        if live.outcome is None:
            raise NotFinished(f"the job is {live.state}, and has no result yet", retry_after=2)
        if live.outcome.problem is not None:
            raise NotFinished(f"the job failed: {live.outcome.problem['detail']}")
        return live.entry.result

    async def remove(self, live: Live) -> None:
        """Stops a job if need be, and removes all that is kept of it.

        Raises:
            SpoolFull: the disk refuses it; the job is as it was, and may be removed later.
        """
        await whole(self._remove(live))

    async def _remove(self, live: Live) -> None:
        if live.removed:
            return
        live.removed = True
        try:
            if live.work is not None:
                live.work.cancel()
                await asyncio.gather(live.work, return_exceptions=True)
            await asyncio.to_thread(self._spool.remove, live.entry)
        except OSError as error:
            live.removed = False
            raise SpoolFull(f"the job could not be removed: {error.strerror}", retry_after=FULL_RETRY_SECONDS) from None
        self._live.pop(live.job.id, None)
        live.tell()
        structlog.get_logger("clearslice").info("job_removed", job=live.job.id)
        try:
            await self.durable.forget(FIRST_QUEUE, live.job.ticket)
        except Exception as error:  # noqa: BLE001 - a ticket without a job runs nothing
            log_defect(error)


def _read_all(spool: Spool) -> list[Live]:
    """All jobs that can be read; the folder of one that cannot expires like theirs."""
    found = []
    for entry in spool.entries():
        try:
            job = entry.job()
        except (OSError, ValueError) as error:
            structlog.get_logger("clearslice").error("job_unreadable", job=entry.id, type=type(error).__name__)
            continue
        outcome = entry.outcome()
        if outcome is not None:
            entry.tidy()
        found.append(Live(job, entry, outcome, done=0 if outcome else entry.count_derived()))
    return found
