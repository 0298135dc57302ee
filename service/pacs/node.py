"""The node: all that the PACS side of an app consists of, and what keeps it going.

    arrivals <-- Receiver (DIMSE), api.dicomweb (STOW-RS)
        |  sweep: complete? --Closing--> LiveJob --durable: "pacs"--> Restoring --durable: "to-<peer>"--> Outbox
        |                                   |                             failed                        dead
        +-- sweep: forgotten in the end <---+------------------- ended ----------------------------------+

All state is touched in the event loop only; the disk is its memory. What a task left undone, for whatever reason, the
next sweep takes up.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from service.api.problems import document_of, internal_document, kind_of
from service.engine import Engine
from service.errors import SpoolFull
from service.jobs.durable import Durable, Queue
from service.pacs.arrivals import Arrivals, folder_of
from service.pacs.audit.trail import Trail
from service.pacs.closing import Closing, anew
from service.pacs.completeness import Completeness
from service.pacs.configuration import Configuration
from service.pacs.errors import Incomplete
from service.pacs.job_folder import JobFolder, create_job, jobs_of
from service.pacs.live import LiveJob
from service.pacs.outbox import is_due, is_over, not_delivered
from service.pacs.outboxes import outboxes_of
from service.pacs.peers.asking import asker_of
from service.pacs.pulls import Pulls
from service.pacs.record import End, Ended
from service.pacs.repair import Repair
from service.pacs.reports import Reports
from service.pacs.restore import Otherwise, Restoring
from service.pacs.tidying import Tidying
from service.telemetry import Instruments, log_defect
from service.wholly import whole

RESTORE_QUEUE = "pacs"
PULL_QUEUE, PULLS_AT_ONCE = "pull", 2
SENDERS_PER_PEER = 2
"""Series that are sent to one peer at once: one may wait for the disk while the other uses the network."""

SWEEP_SECONDS = 1.0
TIDY_EVERY = 30
"""Sweeps between two looks for what has expired."""


def queue_of(peer: str) -> str:
    """The durable queue of what is sent to a peer."""
    return f"to-{peer}"


class PacsNode:
    """The node of an app.

    Args:
        configuration: of the node.
        spool: of the app.
        engine: restores.
        durable: runs its work; not started yet.
        instruments: of the app.
        trail: where it is told what is sent to whom.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(
        self,
        configuration: Configuration,
        spool: Path,
        *,
        engine: Engine,
        durable: Durable,
        instruments: Instruments,
        trail: Trail,
    ) -> None:
        self.configuration = configuration
        self.arrivals = Arrivals(folder_of(spool), configuration, engine.settings)
        self._engine = engine
        self._durable = durable
        self._instruments = instruments
        self._live: dict[str, LiveJob] = {}
        self._asked: set[tuple[str, str]] = set()
        self._log = structlog.get_logger("clearslice")
        self._completeness = Completeness(self.arrivals, configuration.node, counts=self._count)
        self._closing = Closing(
            self.arrivals, configuration, engine, completeness=self._completeness, describe=problem_of
        )
        self._restoring = Restoring(engine, describe=problem_of)
        self._reports = Reports(self.arrivals.folder)
        self.pulls = Pulls(
            self.arrivals,
            configuration,
            engine.settings,
            clock=engine.clock,
            trail=trail,
            told=self.count_arrival,
        )
        self.repair = Repair(self._live, self.arrivals)
        self._commitments = Commitments(
            CommitmentRequests(self.arrivals.folder), configuration, lambda uid: whereabouts(self._live, uid)
        )
        self._tidying = Tidying(self.arrivals, configuration.node)
        self._outboxes = outboxes_of(configuration, self.arrivals.folder, clock=engine.clock, trail=trail)
        durable.add(RESTORE_QUEUE, Queue(self._restore, engine.settings.jobs_at_once))
        durable.add(PULL_QUEUE, Queue(self.pulls.run, PULLS_AT_ONCE))
        for name in self._outboxes:
            durable.add(queue_of(name), Queue(functools.partial(self._deliver, name), SENDERS_PER_PEER))
        instruments.pacs_open.set_function(lambda: sum(live.ended is None for live in self._live.values()))
        instruments.pacs_dead.set_function(lambda: sum(_waits_for_somebody(live) for live in self._live.values()))

    async def load(self) -> None:
        """Reads what the spool holds; before the durable engine starts."""

        def read() -> list[LiveJob]:
            return [LiveJob.read(job) for series in self.arrivals.all_series() for job in jobs_of(series)]

        for live in await asyncio.to_thread(read):
            self._live[live.job.id] = live
        await asyncio.to_thread(self.pulls.load)

    async def sweep(self) -> None:
        """Keeps everything going; a task that never ends."""
        count = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            count += 1
            for step in (
                self._take_reports,
                self.repair.take_requests,
                self._close_complete,
                self._push_all,
                self._push_pulls,
            ):
                await self._safely(step)
            if count % TIDY_EVERY == 0:
                await self._safely(self._tidy)

    async def _safely(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - were this the end, nothing would go on any more
            log_defect(error)

    async def stop(self) -> None:
        """Waits for what was stopped, to its last thread; the durable engine has been stopped before."""
        tasks = [live.work for live in self._live.values() if live.work is not None]
        tasks += [task for live in self._live.values() for task in live.sending.values()]
        await asyncio.gather(*tasks, return_exceptions=True)

    # from a series to a job

    async def _close_complete(self) -> None:
        if not self._engine.readiness()[0]:
            return
        # what comes late joins what was there before, which must be restored first
        busy = {each.job.series for each in self._live.values() if each.ended is None and each.restored is None}
        for uid in await asyncio.to_thread(self._completeness.quiet):
            if uid in busy or self._completeness.waits(uid):
                continue
            folder = await self._closing.close(uid)
            if folder is not None:
                self._register(folder)

    def _register(self, folder: JobFolder) -> LiveJob:
        live = self._live[folder.job.id] = LiveJob.read(folder)
        job = live.job
        self._log.info("series_complete", job=job.id, rule=job.rule, model=job.model, instances=job.count)
        self._note_end(live)
        return live

    async def _count(self, peer: str, study: str, series: str) -> frozenset[str]:
        ask = asker_of(peer, self.configuration)
        assert ask is not None  # noqa: S101 - the configuration says so
        return await whole(asyncio.to_thread(ask, study, series))

    # keeping jobs going

    async def _push_all(self) -> None:
        now = self._engine.clock()
        for live in list(self._live.values()):
            if live.ended is not None:
                continue
            if live.restored is None:
                if live.work is None:
                    await self._have_run(RESTORE_QUEUE, live.job.id)
                continue
            for peer, delivery in live.deliveries.items():
                if peer not in self._outboxes:
                    live.deliveries[peer] = delivery.model_copy(
                        update={"state": "dead", "reason": "it is not configured any more"}
                    )
                elif peer not in live.sending and is_due(delivery, now):
                    await self._have_run(queue_of(peer), live.job.id)
            await self._settle(live)

    async def _push_pulls(self) -> None:
        for identity in self.pulls.due():
            await self._have_run(PULL_QUEUE, identity)

    async def _have_run(self, queue: str, ticket: str) -> None:
        """Work that nobody is at: the durable engine knows of it, or is told."""
        fate = await self._durable.fate(queue, ticket)
        if fate == "over":
            await self._durable.forget(queue, ticket)
        if fate in ("over", "unknown"):
            await self._durable.enqueue(queue, ticket)

    async def _restore(self, ticket: str) -> None:
        live = self._live.get(ticket)
        if live is None or live.ended is not None or live.restored is not None or live.work is not None:
            return
        live.work = asyncio.current_task()
        try:
            await self._restoring.run(live)
            self._note_end(live)
        except Otherwise:
            await whole(self._make_anew(live))
        except Exception as error:  # noqa: BLE001 - the disk refused even the outcome: the sweep tries again
            log_defect(error)
        finally:
            live.work = None
        await self._push(live)

    async def _push(self, live: LiveJob) -> None:
        """Its deliveries, at once: the sweep would come a second later."""
        if live.restored is not None and live.ended is None:
            for peer in live.deliveries:
                if peer in self._outboxes:
                    await self._have_run(queue_of(peer), live.job.id)

    async def _make_anew(self, live: LiveJob) -> None:
        """The whole series as another job, and this one is none."""
        series, old = live.folder.series, live.job

        def make() -> JobFolder | None:
            chain = [each for each in jobs_of(series) if each.job.kind() == old.kind()]
            uids = dict.fromkeys(uid for each in chain for uid in each.job.uids)
            missing = [uid for uid in uids if not series.source(uid).is_file()]
            if missing:
                return None
            job = anew(old, tuple(uids), created=self._engine.clock(), precision=live.folder.job.precision)
            made = create_job(self.arrivals.incoming(), series, job, None)
            live.folder.remove(self.arrivals.incoming())
            return made

        made = await asyncio.to_thread(make)
        if made is None:
            await self._restoring.fail(
                live,
                Incomplete(
                    "instances came late, and cannot join the derived series, which is encoded or computed otherwise;"
                    " the others are not kept any more: send the whole series again"
                ),
            )
            self._note_end(live)
            return
        self._live.pop(old.id, None)
        self._log.info("series_anew", job=made.job.id, instead_of=old.id, revision=made.job.revision)
        self._register(made)

    async def _deliver(self, peer: str, ticket: str) -> None:
        live = self._live.get(ticket)
        if live is None or live.restored is None or live.ended is not None or peer in live.sending:
            return
        if not is_due(live.deliveries[peer], self._engine.clock()):
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs in one
        live.sending[peer] = task
        try:
            await self._outboxes[peer].run(live)
        finally:
            live.sending.pop(peer, None)
        await self._settle(live)

    async def _settle(self, live: LiveJob) -> None:
        """Ends a job when all peers have it, or never will."""
        if live.ended is not None or not all(is_over(each) for each in live.deliveries.values()):
            return
        dead = any(each.state == "dead" for each in live.deliveries.values())
        state: End = "dead" if dead else "delivered"
        problem = problem_of(not_delivered(live)) if dead else None
        ended = Ended(state=state, finished=self._engine.clock(), problem=problem)
        await whole(asyncio.to_thread(live.folder.write_ended, ended))
        if live.ended is None:
            live.ended = ended
            self._note_end(live)

    def _note_end(self, live: LiveJob) -> None:
        """Counts and logs it, if it has ended just now."""
        if live.ended is not None:
            self._instruments.pacs_jobs.labels(live.ended.state).inc()
            self._log.info("series_ended", job=live.job.id, state=live.ended.state, instances=live.job.count)

    async def _take_reports(self) -> None:
        """What peers said later about keeping what they took."""
        for place, report in await asyncio.to_thread(self._reports.waiting):
            for live in list(self._live.values()):
                for peer, delivery in live.deliveries.items():
                    if delivery.transaction == report.transaction_uid and peer in self._outboxes:
                        await self._outboxes[peer].committed(live, report)
                        await self._settle(live)
            await asyncio.to_thread(place.unlink)

    async def _tidy(self) -> None:
        gone = await whole(asyncio.to_thread(self._tidying.run, list(self._live.values()), self._engine.clock()))
        for job_id in gone:
            self._live.pop(job_id, None)
        kept = timedelta(days=self.configuration.node.remember_days)
        await whole(asyncio.to_thread(self.pulls.tidy, self._engine.clock(), kept))

    # asking

    def jobs(self) -> list[LiveJob]:
        """All, the newest first."""
        return sorted(self._live.values(), key=lambda live: live.job.created, reverse=True)

    def count_arrival(self, kind: str) -> None:
        """An instance came, and this was said of it."""
        self._instruments.pacs_instances.labels(kind).inc()


def _waits_for_somebody(live: LiveJob) -> bool:
    return live.ended is not None and live.ended.state in ("failed", "dead") and not live.ended.tidied


def problem_of(error: Exception) -> dict[str, Any]:
    """An error as a problem document."""
    if isinstance(error, OSError):
        error = SpoolFull(f"the spool's disk failed: {error.strerror}", retry_after=60)
    kind = kind_of(error)
    return internal_document() if kind is None else document_of(error, kind)
