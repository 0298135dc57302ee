"""How many jobs, and how much of the disk: asked before an upload, and again when it is known what it holds.

upload --(max_jobs?)--(room beside what was promised?)--> a folder in incoming/ --> a job, or removed
         TooBusy       SpoolFull
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from service.errors import SpoolFull, TooBusy
from service.jobs.live import Live
from service.jobs.runner import FULL_RETRY_SECONDS
from service.jobs.spool import Entry, Spool
from service.settings import Settings, environment_name
from service.telemetry import Instruments
from service.wholly import whole

BUSY_RETRY_SECONDS = 10

UNPACKED = 3
"""Bytes on the disk for each of an upload: itself, and what it unpacks to, which for CT is about twice as much."""


class Places:
    """What may still come in.

    Args:
        spool: of the jobs.
        live: all jobs, by id.
        settings: of the app.
        instruments: where refusals are counted.
    """

    def __init__(self, spool: Spool, live: Mapping[str, Live], settings: Settings, instruments: Instruments) -> None:
        self._spool = spool
        self._live = live
        self._settings = settings
        self._instruments = instruments
        self._accepting = 0
        self._promised = 0

    def open(self) -> int:
        """How many jobs wait or run."""
        return sum(live.outcome is None for live in self._live.values())

    @contextlib.asynccontextmanager
    async def take(self, *, upload_bytes: int, repeats: bool) -> AsyncIterator[Entry]:
        """A folder for an upload, which `accept` makes a job of.

        Args:
            upload_bytes: how large the upload says it is.
            repeats: whether its Idempotency-Key is one of a job that is there: then nothing is asked of it.

        Raises:
            TooBusy: `max_jobs` wait, run or come in.
            SpoolFull: the disk would have less than `spool_reserve` left, or refused something.
        """
        if not repeats and self.open() + self._accepting >= self._settings.max_jobs:
            self._instruments.shed.labels("jobs").inc()
            raise TooBusy(
                f"{self.open()} jobs wait or run, and no more may ({environment_name('max_jobs')}); try again later",
                retry_after=BUSY_RETRY_SECONDS,
            )
        promised = 0 if repeats else UNPACKED * min(upload_bytes, self._settings.max_job_bytes)
        if not repeats:
            self.check_disk(promised)
        self._accepting += 1
        self._promised += promised
        entry = None
        try:
            entry = await asyncio.to_thread(self._spool.incoming)
            yield entry
        except TimeoutError:
            raise  # it is an OSError, too
        except OSError as error:
            raise SpoolFull(
                f"the spool could not be written to: {error.strerror}", retry_after=FULL_RETRY_SECONDS
            ) from None
        finally:
            self._accepting -= 1
            self._promised -= promised
            if entry is not None:
                await whole(asyncio.to_thread(self._spool.discard, entry))

    def check_disk(self, needed: int) -> None:
        """Raises SpoolFull when there is no room for so many bytes beside what was promised to others."""
        others = sum(_still_needed(live) for live in self._live.values() if live.outcome is None)
        if self._spool.free_bytes() - self._promised - others - needed < self._settings.spool_reserve:
            self._instruments.shed.labels("disk").inc()
            raise SpoolFull(
                "the disk of the spool has no room for another job beside those that were accepted, and the"
                f" {self._settings.spool_reserve} bytes that are to stay free ({environment_name('spool_reserve')});"
                " fetch and delete finished jobs, or try again later",
                retry_after=FULL_RETRY_SECONDS,
            )


def _still_needed(live: Live) -> int:
    """Bytes that an open job will yet write: its derived instances, and the archive of them."""
    job = live.job
    return int(job.result_bytes * (2 - live.done / job.instances))
