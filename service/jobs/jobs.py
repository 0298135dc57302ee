"""Jobs: a whole series in, a whole series out, however long it takes and whatever happens meanwhile.

    upload --place--> incoming/ --unpack, settle--> jobs/<id>/ --durable--> SeriesWork --> outcome --> expires
             TooBusy SpoolFull   4xx               202            |            |
                                                        after a restart     temporary? again, a little later
                                                                            else: failed, with a problem document

All state is touched in the event loop only; the disk is its memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from imaging.errors import ImagingError
from model_store.errors import ModelStoreError, OutOfDeviceMemory
from service.api.problems import document_of, internal_document, kind_of
from service.engine import Engine
from service.errors import (
    GivenUp,
    KeyReused,
    NoSpool,
    NoSuchJob,
    NotFinished,
    NotReady,
    ServiceError,
    SpoolFull,
    TooBusy,
)
from service.jobs.accept import Unpacked, settle, unpack
from service.jobs.record import Job, Outcome, State
from service.jobs.spool import Entry, Spool
from service.jobs.work import SeriesWork, described, task_of
from service.settings import Settings, environment_name
from service.telemetry import Instruments, log_defect

if TYPE_CHECKING:
    from service.jobs.durable import Durable

NAMESPACE = uuid.UUID("0b1f5a0e-53a5-5c0e-8f5e-7d5b8f4a7c21")
"""Of job ids that follow from an idempotency key."""

RETRY_SECONDS = (2.0, 10.0, 60.0, 300.0)
"""Before a job that something temporary stopped is tried again; after the last it has failed."""

SWEEP_SECONDS = 30.0
HEARTBEAT_SECONDS = 15.0
"""Between two signs of life to who listens: proxies close what is silent for a minute."""

BUSY_RETRY_SECONDS, FULL_RETRY_SECONDS = 10, 60


@dataclass(eq=False)
class Live:
    """A job as it is known in memory.

    Attributes:
        job, entry: what was accepted, and where it is.
        outcome: how it ended, or None.
        done: instances that are finished.
        work: the task that runs it, or None.
        removed: whether it is being removed.
        changed: set, and replaced, whenever one of these changes.
    """

    job: Job
    entry: Entry
    outcome: Outcome | None = None
    done: int = 0
    work: asyncio.Task[Any] | None = None
    removed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wakes everybody who listens."""
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def state(self) -> State:
        """Of the job."""
        if self.outcome is not None:
            return self.outcome.state
        return "queued" if self.work is None else "running"


class Jobs:
    """All jobs of an app.

    Args:
        settings: of the app.
        engine: restores.
        instruments: of the app.

    Raises:
        UnsafeConfiguration: as `Spool`.
    """

    def __init__(self, settings: Settings, engine: Engine, instruments: Instruments) -> None:
        self._settings = settings
        self._engine = engine
        self._instruments = instruments
        self._live: dict[str, Live] = {}
        self._accepting = 0
        self._spool = None if settings.spool is None else Spool(settings.spool)
        self._durable: Durable | None = None
        if self._spool is not None:
            from service.jobs.durable import Durable  # noqa: PLC0415 - 0.3 s and 20 MB, only where there are jobs

            spool = self._spool
            self._durable = Durable(spool.folder / "jobs.sqlite", at_once=settings.jobs_at_once, run=self._run)
            instruments.spool_free_bytes.set_function(spool.free_bytes)
            instruments.jobs_open.set_function(self._open)

    def check_on(self) -> None:
        """Raises NoSpool unless jobs are kept."""
        if self._spool is None:
            raise NoSpool(
                f"this server keeps no jobs: its operator has to name a folder for them ({environment_name('spool')});"
                " single images go to /v1/reconstructions"
            )

    async def start(self) -> None:
        """Takes up the jobs that the spool holds."""
        if self._spool is None or self._durable is None:
            return
        for live in await asyncio.to_thread(_read_all, self._spool):
            self._live[live.job.id] = live
        await self._durable.start()
        for live in self._live.values():
            if live.outcome is None:
                await self._take_up(live)

    async def _take_up(self, live: Live) -> None:
        """A job that has not ended: the durable engine knows of it, or is told, or gave it up."""
        assert self._durable is not None  # noqa: S101 - there are no jobs without
        fate = await self._durable.fate(live.job.id)
        if live.work is not None or live.outcome is not None:
            return
        if fate == "over":  # and nothing was written down: the disk refused it
            await self._durable.forget(live.job.id)
        if fate in ("over", "unknown"):
            await self._durable.enqueue(live.job.id)
        elif fate == "given up":
            error = GivenUp("the server ended again and again while it restored this series; it is not tried once more")
            await self._end(live, self._failed(error))

    async def sweep(self) -> None:
        """Removes what has expired, and ends what was given up; a task that never ends."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            oldest = self._engine.clock() - timedelta(seconds=self._settings.job_retention)
            for live in list(self._live.values()):
                try:
                    if live.outcome is None:
                        await self._take_up(live)
                    elif live.outcome.finished < oldest:
                        await self._remove(live)
                except Exception as error:  # noqa: BLE001 - were this the end, nothing would expire any more
                    log_defect(error)

    async def stop(self) -> None:
        """Stops what runs; the next process goes on with it."""
        if self._durable is not None:
            await self._durable.stop()
        if self._spool is not None:
            self._spool.close()

    # accepting

    @contextlib.contextmanager
    def place(self) -> Iterator[Entry]:
        """A folder for an upload, which `accept` makes a job of.

        Raises:
            NoSpool: jobs are not kept here.
            TooBusy: `max_jobs` wait, run or come in.
            SpoolFull: the disk would have less than `spool_reserve` left.
        """
        self.check_on()
        assert self._spool is not None  # noqa: S101 - just checked
        if self._open() + self._accepting >= self._settings.max_jobs:
            self._instruments.shed.labels("jobs").inc()
            raise TooBusy(
                f"{self._open()} jobs wait or run, and no more may ({environment_name('max_jobs')}); try again later",
                retry_after=BUSY_RETRY_SECONDS,
            )
        self._check_disk()
        self._accepting += 1
        try:
            with self._spool.incoming() as entry:
                yield entry
        finally:
            self._accepting -= 1

    def _check_disk(self) -> None:
        assert self._spool is not None  # noqa: S101 - the callers checked
        if self._spool.free_bytes() < self._settings.spool_reserve:
            self._instruments.shed.labels("disk").inc()
            raise SpoolFull(
                f"the disk of the spool has less than {self._settings.spool_reserve} bytes left"
                f" ({environment_name('spool_reserve')}); fetch and delete finished jobs, or try again later",
                retry_after=FULL_RETRY_SECONDS,
            )

    def repeated(self, owner: str, key: str | None, request_sha256: str) -> Live | None:
        """The job that the same request made before; None when it is new.

        Raises:
            KeyReused: the key came with another request.
        """
        live = self._live.get(job_id_of(owner, key)) if key is not None else None
        if live is not None and live.job.request_sha256 != request_sha256:
            raise KeyReused(
                "the Idempotency-Key was used before, with another file or other fields; a new request needs a new key"
            )
        return live

    async def accept(
        self, entry: Entry, *, model: str | None, strength: float, owner: str, key: str | None, request_sha256: str
    ) -> Live:
        """Makes a job of an upload. When this returns, the job is on the disk and will be done.

        Args:
            entry: from `place`, with the whole upload.
            model: ref, `auto` or None for the store's default.
            strength: 0 to 1.
            owner: name of the client's API key, or empty.
            key: its Idempotency-Key, or None.
            request_sha256: of all that was asked.

        Raises:
            ImagingError, ModelStoreError, ServiceError: the series cannot be restored as asked.
            SpoolFull: there is no room for it.
        """
        assert self._spool is not None and self._durable is not None  # noqa: S101, PT018 - `place` checked
        self._check_disk()
        engine, settings = self._engine, self._settings
        unpacked = await self._unpack(entry)
        self._check_disk()
        task, standing = task_of(b"", model, strength), engine.meanings.standing()
        deadline = time.monotonic() + settings.request_timeout
        prepared = await engine.codecs.run(
            deadline,
            functools.partial(settle, store=engine.store, settings=settings, standing=standing),
            entry,
            unpacked.instances,
            task,
        )
        prepared = await engine.settled(task, prepared, deadline=deadline)
        async with engine.versions.lease(prepared.version, deadline=deadline) as restorer:
            precision = restorer.precision
        job = Job(
            id=uuid.uuid4().hex if key is None else job_id_of(owner, key),
            owner=owner,
            created=engine.clock(),
            model=prepared.version.ref,
            weights_sha256=prepared.version.weights_sha256,
            precision=precision,
            chosen=prepared.chosen,
            strength=strength,
            instances=unpacked.instances,
            left_out=unpacked.left_out,
            request_sha256=request_sha256,
        )
        return await asyncio.shield(self._commit(entry, job, key))

    async def _unpack(self, entry: Entry) -> Unpacked:
        """On a thread of its own, which has ended when this has, whatever happens."""
        left = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(unpack, entry, self._settings, wanted=lambda: not left.is_set()))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            left.set()
            await asyncio.gather(work, return_exceptions=True)
            raise
        except OSError as error:
            raise SpoolFull(
                f"the series could not be written to the spool: {error.strerror}", retry_after=FULL_RETRY_SECONDS
            ) from None

    async def _commit(self, entry: Entry, job: Job, key: str | None) -> Live:
        """Not to be stopped half way: a job on the disk is one in memory."""
        assert self._spool is not None and self._durable is not None  # noqa: S101, PT018 - `accept` checked
        try:
            place = await asyncio.to_thread(self._spool.commit, entry, job)
        except FileExistsError:  # the same request came twice at once
            live = self.repeated(job.owner, key, job.request_sha256)
            if live is None:
                raise
            return live
        live = self._live[job.id] = Live(job, place)
        await self._durable.enqueue(job.id)
        structlog.get_logger("clearslice").info("job_accepted", job=job.id, model=job.model, instances=job.instances)
        return live

    # working

    async def _run(self, job_id: str) -> None:
        """What the durable engine calls; it raises nothing, and ends early only when the process does."""
        live = self._live.get(job_id)
        if live is None or live.outcome is not None or live.removed:
            return
        live.work = asyncio.current_task()
        live.tell()
        try:
            await self._end(live, await self._outcome_of(live))
        except asyncio.CancelledError:
            if not live.removed:
                raise
        except Exception as error:  # noqa: BLE001 - the disk refused even the outcome: the sweep tries again
            log_defect(error)
        finally:
            live.work = None

    async def _outcome_of(self, live: Live) -> Outcome:
        def progress(done: int) -> None:
            live.done = done
            live.tell()

        for pause in (*RETRY_SECONDS, None):
            work = SeriesWork(live.entry, live.job, engine=self._engine, progress=progress)
            try:
                return await work.run()
            except (NotReady, OutOfDeviceMemory, OSError) as error:
                if pause is None:
                    return self._failed(error)
                reason = error.strerror if isinstance(error, OSError) else str(error)
                structlog.get_logger("clearslice").warning("job_waits", job=live.job.id, reason=reason, seconds=pause)
                await asyncio.sleep(pause)
            except (ImagingError, ModelStoreError, ServiceError) as error:
                return self._failed(error)
            except Exception as error:  # noqa: BLE001 - a defect fails its job, and no other
                log_defect(error)
                return self._failed(error)
        raise AssertionError("the last pause ends it")

    def _failed(self, error: Exception) -> Outcome:
        if isinstance(error, OSError):
            error = SpoolFull(f"the spool's disk failed: {error.strerror}", retry_after=FULL_RETRY_SECONDS)
        kind = kind_of(error)
        problem = internal_document() if kind is None else document_of(error, kind)
        return Outcome(state="failed", finished=self._engine.clock(), problem=problem)

    async def _end(self, live: Live, outcome: Outcome) -> None:
        await asyncio.shield(asyncio.to_thread(live.entry.end, outcome))
        live.outcome = outcome
        live.tell()
        self._instruments.jobs.labels(outcome.state).inc()
        log = structlog.get_logger("clearslice").bind(job=live.job.id, instances=live.job.instances)
        if outcome.problem is None:
            log.info("job_done", warned=outcome.warned)
        else:
            log.warning("job_failed", problem=outcome.problem["type"])

    # asking

    def find(self, job_id: str, owner: str | None) -> Live:
        """A job.

        Args:
            job_id: as the client wrote it.
            owner: whose it must be; None for anybody's.

        Raises:
            NoSpool: jobs are not kept here.
            NoSuchJob: there is none, or it is somebody else's.
        """
        self.check_on()
        live = self._live.get(job_id)
        if live is None or live.removed or owner not in (None, live.job.owner):
            raise NoSuchJob("there is no job with this id; it may have expired or been deleted")
        return live

    def of(self, owner: str | None) -> list[Live]:
        """A client's jobs, the newest first; None for everybody's."""
        self.check_on()
        found = [live for live in self._live.values() if not live.removed and owner in (None, live.job.owner)]
        return sorted(found, key=lambda live: live.job.created, reverse=True)

    def describe(self, live: Live) -> dict[str, Any]:
        """What a client is told of a job."""
        job, outcome = live.job, live.outcome
        path = f"/v1/jobs/{job.id}"
        document: dict[str, Any] = {
            "id": job.id,
            "state": live.state,
            "created": job.created.isoformat(),
            **described(job),
            "progress": {"done": job.instances if live.state == "done" else live.done, "total": job.instances},
            "links": {"self": path, "events": f"{path}/events"},
        }
        if outcome is not None:
            expires = outcome.finished + timedelta(seconds=self._settings.job_retention)
            document |= {"finished": outcome.finished.isoformat(), "expires": expires.isoformat()}
            if outcome.problem is None:
                document |= {"precision": outcome.precision, "reencoded": outcome.reencoded}
                document |= {"clipped": outcome.clipped, "warned": outcome.warned}
                document["links"]["result"] = f"{path}/result"
            else:
                document["problem"] = outcome.problem
        return document

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
        """Stops a job if need be, and removes all that is kept of it."""
        await asyncio.shield(self._remove(live))

    async def _remove(self, live: Live) -> None:
        assert self._spool is not None and self._durable is not None  # noqa: S101, PT018 - there are no jobs without
        if live.removed:
            return
        live.removed = True
        if live.work is not None:
            live.work.cancel()
            await asyncio.gather(live.work, return_exceptions=True)
        await self._durable.forget(live.job.id)
        await asyncio.to_thread(self._spool.remove, live.entry)
        self._live.pop(live.job.id, None)
        live.tell()
        structlog.get_logger("clearslice").info("job_removed", job=live.job.id)

    def _open(self) -> int:
        """How many jobs wait or run."""
        return sum(live.outcome is None for live in self._live.values())


def job_id_of(owner: str, key: str) -> str:
    """The id of the job that a client's Idempotency-Key belongs to."""
    return uuid.uuid5(NAMESPACE, f"{owner}\n{key}").hex


def request_digest(upload_sha256: str, model: str | None, strength: float) -> str:
    """SHA-256 of all that a request asks."""
    return hashlib.sha256(json.dumps([upload_sha256, model, strength]).encode()).hexdigest()


def _read_all(spool: Spool) -> list[Live]:
    found = []
    for entry in spool.entries():
        try:
            job, outcome = entry.job(), entry.outcome()
        except (OSError, ValueError) as error:
            structlog.get_logger("clearslice").error("job_unreadable", job=entry.id, type=type(error).__name__)
            continue
        if outcome is not None:
            entry.tidy()
        found.append(Live(job, entry, outcome, done=0 if outcome else len(entry.finished())))
    return found
