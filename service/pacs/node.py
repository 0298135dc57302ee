"""The node: all that the PACS side of an app consists of, and what keeps it going.

    Receiver (DIMSE), api.dicomweb (STOW-RS), Pulls --> arrivals
    sweep: complete? --Closing--> LiveJob --> Work: restored, delivered, ended --> Tidying: forgotten in the end
                                               ^
    Reports, Repair, Commitments --------------+

All state is touched in the event loop only; the disk is its memory. What a task left undone, for whatever reason, the
next sweep takes up.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from model_store.errors import OutOfDeviceMemory
from service.api.problems import document_of, internal_document, kind_of
from service.engine import Engine
from service.errors import DeadlinePassed, NotReady, SpoolFull, TooBusy
from service.jobs.durable import Durable, Queue
from service.pacs.arrivals import Arrivals, folder_of
from service.pacs.audit.trail import Trail
from service.pacs.closing import Closing
from service.pacs.commitment import CommitmentReport
from service.pacs.commitments import CommitmentRequests, Commitments
from service.pacs.completeness import Completeness
from service.pacs.configuration import Configuration
from service.pacs.drop import Drop
from service.pacs.job_folder import jobs_of
from service.pacs.live import LiveJob
from service.pacs.outboxes import outboxes_of
from service.pacs.overview import whereabouts
from service.pacs.peers.asking import asker_of
from service.pacs.promises import Promises
from service.pacs.pulls import Pulls
from service.pacs.repair import FULL_RETRY_SECONDS, Repair
from service.pacs.reports import Reports
from service.pacs.tidying import Tidying
from service.pacs.work import SENDERS_PER_PEER, Work
from service.telemetry import Instruments, log_defect
from service.wholly import whole

PULL_QUEUE, PULLS_AT_ONCE = "pull", 2

CLOSINGS_AT_ONCE = 2
"""Series whose headers are read, and models settled, at once."""

WAIT_SECONDS, FAULT_SECONDS = 5.0, 60.0
"""Before a series is looked at again that could not be closed for now, or at which something failed."""

ASKERS = 4
"""Threads for questions to peers, beside those that send and fetch."""

SWEEP_SECONDS = 1.0
TIDY_EVERY = 30
"""Sweeps between two looks for what has expired."""


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
        self._instruments = instruments
        self._live: dict[str, LiveJob] = {}
        self._closings: dict[str, asyncio.Task[None]] = {}
        self._again: dict[str, float] = {}
        # of their own, since a peer that does not answer keeps its thread, and must not keep everybody's
        senders = SENDERS_PER_PEER * len(configuration.peers)
        self._threads = ThreadPoolExecutor(senders + PULLS_AT_ONCE + ASKERS, thread_name_prefix="peers")
        self._completeness = Completeness(self.arrivals, configuration.node, counts=self._count)
        self._closing = Closing(
            self.arrivals, configuration, engine, completeness=self._completeness, describe=problem_of
        )
        self._outboxes = outboxes_of(
            configuration, self.arrivals.folder, clock=engine.clock, trail=trail, threads=self._threads
        )
        self._work = Work(
            self._live,
            self._outboxes,
            arrivals=self.arrivals,
            engine=engine,
            durable=durable,
            describe=problem_of,
            noted=lambda state: instruments.pacs_jobs.labels(state).inc(),
        )
        self._reports = Reports(self.arrivals.folder)
        self._commitments = Commitments(
            CommitmentRequests(self.arrivals.folder),
            configuration,
            lambda uids: whereabouts(self._live, uids, self.arrivals),
            threads=self._threads,
        )
        self.pulls = Pulls(
            self.arrivals,
            configuration,
            engine.settings,
            clock=engine.clock,
            trail=trail,
            told=self.count_arrival,
            threads=self._threads,
        )
        self._drop: Drop | None = None
        if configuration.node.drop is not None:
            self._drop = Drop(
                configuration.node.drop, self.arrivals, engine.settings, trail=trail, told=self.count_arrival
            )
        durable.add(PULL_QUEUE, Queue(self.pulls.run, PULLS_AT_ONCE))
        self.repair = Repair(self._live, self.arrivals)
        copies = 1 + sum(peer.deidentify or peer.compress != "none" for peer in configuration.peers.values())
        self._promises = Promises(self.arrivals, copies=copies)
        self._tidying = Tidying(self.arrivals, configuration.node)
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
        steps = (
            self._keep_promises,
            self._take_reports,
            self.repair.take_requests,
            self._close_complete,
            self._work.push_all,
            self._push_pulls,
            self._commitments.answer_due,
            *([] if self._drop is None else [self._drop.take]),
        )
        count = 0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            count += 1
            for step in steps:
                await self._safely(step)
            if count % TIDY_EVERY == 0:
                await self._safely(self._tidy)

    async def _safely(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - were this the end, nothing would go on any more
            log_defect(error)

    def begin_stop(self) -> None:
        """Has what is being sent or fetched end after the present instance; the next process goes on with it."""
        self.pulls.stop()
        for outbox in self._outboxes.values():
            outbox.stop()

    async def stop(self) -> None:
        """Waits for what was stopped, to its last thread; the durable engine has been stopped before."""
        for closing in self._closings.values():
            closing.cancel()
        tasks: list[asyncio.Task[Any]] = list(self._closings.values())
        tasks += [live.work for live in self._live.values() if live.work is not None]
        tasks += [task for live in self._live.values() for task in live.sending.values()]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._commitments.stop()
        self._threads.shutdown(wait=False)

    async def _close_complete(self) -> None:
        """Begins to close what is complete; a series that waits for its peer or its disk holds up no other."""
        for uid in [uid for uid, task in self._closings.items() if task.done()]:
            del self._closings[uid]
        if not self._engine.readiness()[0]:
            return
        # what comes late joins what was there before, which must be restored first
        busy = {each.job.series for each in self._live.values() if each.ended is None and each.restored is None}
        busy |= self.pulls.series_coming() | self._closings.keys()
        for uid in await asyncio.to_thread(self._completeness.quiet):
            if len(self._closings) >= CLOSINGS_AT_ONCE:
                return
            if uid not in busy and not self._completeness.waits(uid) and time.monotonic() >= self._again.get(uid, 0.0):
                self._again.pop(uid, None)
                self._closings[uid] = asyncio.create_task(self._close(uid))

    async def _close(self, uid: str) -> None:
        try:
            closed = await self._closing.close(uid)
        except (NotReady, TooBusy, DeadlinePassed, OutOfDeviceMemory) as error:
            self._again[uid] = time.monotonic() + WAIT_SECONDS
            structlog.get_logger("clearslice").warning("series_waits", series=uid, reason=str(error))
        except Exception as error:  # noqa: BLE001 - one series, and no other
            self._again[uid] = time.monotonic() + FAULT_SECONDS
            if isinstance(error, OSError):
                structlog.get_logger("clearslice").warning("series_waits", series=uid, reason=error.strerror)
            else:
                log_defect(error)
            await self._safely(functools.partial(self._read_again, uid))
        else:
            for job_id in closed.superseded:
                self._live.pop(job_id, None)
            for folder in closed.extended:
                self._work.extend(folder)
            if closed.made is not None:
                await self._work.register(closed.made)

    async def _read_again(self, uid: str) -> None:
        """What there is of a series whose closing broke off half way: its job may be there already."""
        found = {each.job.id: each for each in await asyncio.to_thread(jobs_of, self.arrivals.series(uid))}
        for live in list(self._live.values()):
            if live.job.series == uid and live.job.id not in found:
                self._live.pop(live.job.id)
        for job_id, folder in found.items():
            if job_id not in self._live:
                await self._work.register(folder)

    async def _count(self, peer: str, study: str, series: str) -> frozenset[str]:
        ask = asker_of(peer, self.configuration)
        assert ask is not None  # noqa: S101 - the configuration says so
        return await whole(asyncio.get_running_loop().run_in_executor(self._threads, ask, study, series))

    async def _take_reports(self) -> None:
        """What peers said later about keeping what they took."""
        for place, report in await asyncio.to_thread(self._reports.waiting):
            await self._safely(functools.partial(self._take_report, report))
            await asyncio.to_thread(place.unlink)

    async def _take_report(self, report: CommitmentReport) -> None:
        for live in list(self._live.values()):
            for peer, delivery in live.deliveries.items():
                if report.transaction_uid in delivery.transactions and peer in self._outboxes:
                    await self._outboxes[peer].committed(live, report)
                    await self._work.settle(live)

    async def _keep_promises(self) -> None:
        await asyncio.to_thread(self._promises.keep, list(self._live.values()))

    async def _push_pulls(self) -> None:
        for identity in self.pulls.due():
            await self._work.have_run(PULL_QUEUE, identity)

    async def _tidy(self) -> None:
        gone = await whole(asyncio.to_thread(self._tidying.run, list(self._live.values()), self._engine.clock()))
        for job_id in gone:
            self._live.pop(job_id, None)
        kept = timedelta(days=self.configuration.node.remember_days)
        await whole(asyncio.to_thread(self.pulls.tidy, self._engine.clock(), kept))

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
        error = SpoolFull(f"the spool's disk failed: {error.strerror}", retry_after=FULL_RETRY_SECONDS)
    kind = kind_of(error)
    return internal_document() if kind is None else document_of(error, kind)
