"""Keeping jobs going, from restored to delivered, whatever stopped them before.

LiveJob --push--> durable queue "pacs" --> Restoring --> durable queue "to-<peer>" --> Outbox --> settle: ended
                                             |  cannot join: the whole series anew, as another job
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime

import structlog

from service.engine import Engine
from service.jobs.durable import Durable, Queue
from service.pacs.arrivals import Arrivals
from service.pacs.closing import Describe
from service.pacs.errors import Incomplete
from service.pacs.job_folder import JobFolder, create_job, jobs_of, read_job
from service.pacs.joining import anew
from service.pacs.live import LiveJob
from service.pacs.outbox import Outbox, is_due, is_over, not_delivered
from service.pacs.record import Delivery, End, Ended
from service.pacs.restore import Restoring
from service.telemetry import log_defect
from service.wholly import whole

RESTORE_QUEUE = "pacs"

SENDERS_PER_PEER = 2
"""Series that are sent to one peer at once: one may wait for the disk while the other uses the network."""


FAULT_SECONDS = 60.0
"""Before a job is taken up again at which something failed that should not."""


def queue_of(peer: str) -> str:
    """The durable queue of what is sent to a peer."""
    return f"to-{peer}"


class Work:
    """On all jobs of a node.

    Args:
        live: them, by id.
        outboxes: peer -> its outbox.
        arrivals: the door behind which series lie.
        engine: restores.
        durable: runs the work; not started yet.
        describe: an error as a problem document.
        noted: called with the state of each job that ends.
    """

    def __init__(
        self,
        live: MutableMapping[str, LiveJob],
        outboxes: Mapping[str, Outbox],
        *,
        arrivals: Arrivals,
        engine: Engine,
        durable: Durable,
        describe: Describe,
        noted: Callable[[str], object],
    ) -> None:
        self._live = live
        self._outboxes = outboxes
        self._arrivals = arrivals
        self._clock = engine.clock
        self._durable = durable
        self._describe = describe
        self._noted = noted
        self._restoring = Restoring(engine, describe=describe)
        self._log = structlog.get_logger("clearslice")
        durable.add(RESTORE_QUEUE, Queue(self._restore, engine.settings.jobs_at_once))
        for name in outboxes:
            durable.add(queue_of(name), Queue(functools.partial(self._deliver, name), SENDERS_PER_PEER))

    async def register(self, folder: JobFolder) -> LiveJob:
        """A job that is new on the disk."""
        live = await asyncio.to_thread(LiveJob.read, folder)
        self._live[folder.job.id] = live
        job = live.job
        self._log.info("series_complete", job=job.id, rule=job.rule, model=job.model, instances=job.count)
        self._note_end(live)
        return live

    def extend(self, folder: JobFolder) -> None:
        """A job that is to be delivered to more peers."""
        live = self._live.get(folder.job.id)
        if live is not None:
            live.folder.job = folder.job
            live.deliveries |= {peer: Delivery(peer=peer) for peer in folder.job.peers if peer not in live.deliveries}
            live.ended = None

    async def push_all(self) -> None:
        """Takes up everything that nobody is at, and that is due."""
        now = self._clock()
        for live in list(self._live.values()):
            try:
                if live.ended is None and time.monotonic() >= live.not_before:
                    await self._push(live, now)
            except Exception as error:  # noqa: BLE001 - one job, and no other
                live.not_before = time.monotonic() + FAULT_SECONDS
                log_defect(error)

    async def _push(self, live: LiveJob, now: datetime) -> None:
        if live.restored is None:
            if live.work is None:
                await self.have_run(RESTORE_QUEUE, live.job.id)
            return
        for peer, delivery in live.deliveries.items():
            if peer not in self._outboxes:
                gone = {"state": "dead", "reason": "it is not configured any more"}
                live.deliveries[peer] = delivery.model_copy(update=gone)
            elif peer not in live.sending and is_due(delivery, now):
                await self.have_run(queue_of(peer), live.job.id)
        await self.settle(live)

    async def have_run(self, queue: str, ticket: str) -> None:
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
            if not await self._restoring.run(live):
                await whole(self._make_anew(live))
            self._note_end(live)
        except Exception as error:  # noqa: BLE001 - the disk refused even the outcome: the sweep tries again, later
            live.not_before = time.monotonic() + FAULT_SECONDS
            log_defect(error)
        finally:
            live.work = None
        await self._begin_deliveries(live)

    async def _begin_deliveries(self, live: LiveJob) -> None:
        """At once, if it is restored: the sweep would come a second later."""
        if live.restored is not None and live.ended is None:
            for peer in live.deliveries.keys() & self._outboxes.keys():
                await self.have_run(queue_of(peer), live.job.id)

    async def _make_anew(self, live: LiveJob) -> None:
        """The whole series as another job, and this one is none."""
        made = await asyncio.to_thread(self._replace, live)
        if made is None:
            error = Incomplete(
                "instances came late, and cannot join the derived series, which is encoded or computed otherwise; the"
                " others are not kept any more: send the whole series again"
            )
            await self._restoring.fail(live, error)
            return
        self._live.pop(live.job.id, None)
        self._log.info("series_anew", job=made.job.id, instead_of=live.job.id, revision=made.job.revision)
        await self.register(made)

    def _replace(self, live: LiveJob) -> JobFolder | None:
        """The new job's folder; None where sources are missing."""
        series, old = live.folder.series, live.job
        chain = [each for each in jobs_of(series) if each.job.kind() == old.kind()]
        uids = tuple(dict.fromkeys(uid for each in chain for uid in each.job.uids))
        if not all(series.source(uid).is_file() for uid in uids):
            return None
        job = anew(old, uids, created=self._clock())
        made = create_job(self._arrivals.incoming(), series, job, None) or read_job(series, job.id)
        live.folder.remove(self._arrivals.incoming())
        return made

    async def _deliver(self, peer: str, ticket: str) -> None:
        live = self._live.get(ticket)
        if live is None or live.restored is None or live.ended is not None or peer in live.sending:
            return
        if not is_due(live.deliveries[peer], self._clock()):
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs in one
        live.sending[peer] = task
        try:
            await self._outboxes[peer].run(live)
        finally:
            live.sending.pop(peer, None)
        await self.settle(live)

    async def settle(self, live: LiveJob) -> None:
        """Ends a job when all peers have it, or never will."""
        if live.ended is not None or not all(is_over(each) for each in live.deliveries.values()):
            return
        dead = any(each.state == "dead" for each in live.deliveries.values())
        state: End = "dead" if dead else "delivered"
        problem = self._describe(not_delivered(live)) if dead else None
        ended = Ended(state=state, finished=self._clock(), problem=problem)
        await whole(asyncio.to_thread(live.folder.write_ended, ended))
        if live.ended is None:
            live.ended = ended
            self._note_end(live)

    def _note_end(self, live: LiveJob) -> None:
        """Counts and logs it, if it has ended just now."""
        if live.ended is not None:
            self._noted(live.ended.state)
            self._log.info("series_ended", job=live.job.id, state=live.ended.state, instances=live.job.count)
