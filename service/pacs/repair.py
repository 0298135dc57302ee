"""What an administrator does about series that failed, or that a peer did not take.

failed, dead --requeue--> tried once more            --discard--> images removed, the record expires as usual
                          or looked at anew
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from pathlib import Path

import structlog

from service.errors import ServiceError, SpoolFull
from service.pacs.arrivals import Arrivals
from service.pacs.errors import NoSuchPacsJob
from service.pacs.live import LiveJob
from service.pacs.record import Delivery
from service.pacs.requests import AdminRequest, AdminRequests
from service.telemetry import log_defect
from service.wholly import whole

FULL_RETRY_SECONDS = 60

LOCK_SECONDS, LOCK_PAUSE = 10.0, 0.02
"""How long it is waited until nobody writes into a series, and between two looks."""


class Repair:
    """Of one node.

    Args:
        live: all jobs, by id.
        arrivals: the door behind which series lie.
    """

    def __init__(self, live: MutableMapping[str, LiveJob], arrivals: Arrivals) -> None:
        self._live = live
        self._arrivals = arrivals
        self._requests = AdminRequests(arrivals.folder)
        self._lock = asyncio.Lock()
        self._log = structlog.get_logger("clearslice")

    async def take_requests(self) -> None:
        """Does what was asked on the command line."""
        for place, asked in await asyncio.to_thread(self._requests.waiting):
            try:
                await self._do(asked)
            except Exception as error:  # noqa: BLE001 - one that cannot be done keeps no other waiting
                await self._refuse(place, asked, error)
            else:
                await asyncio.to_thread(place.unlink, missing_ok=True)

    async def _refuse(self, place: Path, asked: AdminRequest, error: Exception) -> None:
        reason = str(error)
        if isinstance(error, OSError):
            reason = f"the spool's disk failed: {error.strerror}"
        elif not isinstance(error, ServiceError):
            log_defect(error)
            reason = "the node failed; its log says more"
        self._log.warning("request_refused", what=asked.what, job=asked.job, reason=reason)
        try:
            await asyncio.to_thread(self._requests.refuse, place, reason)
        except OSError as unwritten:  # it stays asked, and the next sweep tries it again
            log_defect(unwritten)

    async def _do(self, asked: AdminRequest) -> None:
        if asked.what == "requeue":
            await self.requeue(asked.job)
        else:
            await self.discard(asked.job)

    def find(self, job_id: str) -> LiveJob:
        """A job.

        Raises:
            NoSuchPacsJob: there is none.
        """
        live = self._live.get(job_id)
        if live is None:
            raise NoSuchPacsJob("there is no series with this id; it may have been forgotten since")
        return live

    async def requeue(self, job_id: str) -> LiveJob | None:
        """Tries once more what has failed or is a dead letter.

        Returns:
            The job; None where its series is looked at anew, so that it becomes another one.

        Raises:
            NoSuchPacsJob: there is none, or nothing of it is left to be tried.
            SpoolFull: the disk refuses it.
        """
        live = self.find(job_id)
        if live.ended is None or live.ended.state not in ("failed", "dead") or live.ended.tidied:
            raise NoSuchPacsJob(f"the series is {live.state}: only what has failed or is dead can be requeued")
        try:
            async with self._lock:
                return await whole(self._requeue(live))
        except OSError as error:
            raise SpoolFull(
                f"the series could not be requeued: {error.strerror}", retry_after=FULL_RETRY_SECONDS
            ) from None

    async def _requeue(self, live: LiveJob) -> LiveJob | None:
        assert live.ended is not None  # noqa: S101 - asked before
        if live.ended.closing:
            self._live.pop(live.job.id, None)
            try:
                await asyncio.to_thread(self._look_again, live)
            except BaseException:
                self._live[live.job.id] = live
                raise
            return None
        for peer, delivery in live.deliveries.items():
            if delivery.state == "dead":
                fresh = Delivery(peer=peer)
                await asyncio.to_thread(live.folder.write_delivery, fresh)
                live.deliveries[peer] = fresh
        await asyncio.to_thread(live.folder.reopen)
        live.ended = None
        self._log.info("series_requeued", job=live.job.id)
        return live

    def _look_again(self, live: LiveJob) -> None:
        """The series is closed anew; while nobody else closes it, or writes into it."""
        series, end = live.folder.series, time.monotonic() + LOCK_SECONDS
        while time.monotonic() < end:
            with series.closed() as alone:
                if alone:
                    series.forgive()
                    self._arrivals.mark_complete(series)
                    live.folder.remove(self._arrivals.incoming())
                    return
            time.sleep(LOCK_PAUSE)
        raise OSError(None, "somebody is writing into it; try again")

    async def discard(self, job_id: str) -> None:
        """Removes the images of a job that has failed or is a dead letter; what is known of it expires as usual.

        Raises:
            NoSuchPacsJob: there is none, or it has not failed.
        """
        live = self.find(job_id)
        if live.ended is None or live.ended.state not in ("failed", "dead"):
            raise NoSuchPacsJob(f"the series is {live.state}: only what has failed or is dead can be discarded")
        async with self._lock:
            ended = live.ended.model_copy(update={"tidied": True})
            await whole(asyncio.to_thread(live.folder.write_ended, ended))
            live.ended = ended
            await whole(asyncio.to_thread(live.folder.tidy))
