"""Restoring a job's series: tried again where something temporary stopped it, ended in any case.

job --SeriesWork--> derived/ --> Restored
  |  NotReady, OutOfDeviceMemory, OSError: again, a little later
  |  the derived series that it joins has another encoding or precision: the whole series anew, as another job
  +--> any other error --> Ended: failed, with a problem document; the sources stay
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import structlog
from pydicom import dcmread

from imaging.errors import ImagingError
from model_store.errors import ModelStoreError, OutOfDeviceMemory
from service.engine import Engine
from service.errors import GivenUp, NotReady, ServiceError
from service.files import flush_folder
from service.jobs.record import Slice
from service.jobs.runner import MAX_ATTEMPTS, RETRY_SECONDS
from service.jobs.work import SeriesWork
from service.pacs.job_folder import JobFolder
from service.pacs.live import LiveJob
from service.pacs.record import Ended, PacsJob, Restored
from service.telemetry import log_defect
from service.wholly import whole


class _Otherwise(Exception):
    """The instances cannot join the derived series that they should: it is encoded, or computed, otherwise."""


class Restoring:
    """Restores jobs.

    Args:
        engine: restores.
        describe: an error as a problem document.
    """

    def __init__(self, engine: Engine, *, describe: Callable[[Exception], dict[str, Any]]) -> None:
        self._engine = engine
        self._describe = describe

    async def run(self, live: LiveJob) -> bool:
        """Brings a job to `restored`, or ends it.

        Returns:
            False where it has to be made anew, as another job.
        """
        if await whole(asyncio.to_thread(live.folder.attempt)) > MAX_ATTEMPTS:
            error = GivenUp(
                f"the server ended {MAX_ATTEMPTS} times while it restored this series; it is not tried once more"
            )
            await self.fail(live, error)
            return True
        try:
            with self._engine.traces.job(live.job.id, live.job.model, live.job.count):
                await self._try(live)
        except _Otherwise:
            await whole(asyncio.to_thread(live.folder.take_back))
            return False
        except BaseException:  # it did not end the process
            await whole(asyncio.to_thread(live.folder.take_back))
            raise
        return True

    async def _try(self, live: LiveJob) -> None:
        for pause in (*RETRY_SECONDS, None):
            try:
                facts = await self._work(live)
                restored = await whole(asyncio.to_thread(self._write, live.folder, facts))
            except (NotReady, OutOfDeviceMemory, OSError) as error:
                if pause is None:
                    await self.fail(live, error)
                    return
                reason = error.strerror if isinstance(error, OSError) else str(error)
                structlog.get_logger("clearslice").warning("job_waits", job=live.job.id, reason=reason, seconds=pause)
                await asyncio.sleep(pause)
            except (ImagingError, ModelStoreError, ServiceError) as error:
                await self.fail(live, error)
                return
            except _Otherwise:
                raise
            except Exception as error:  # noqa: BLE001 - a defect fails its job, and no other
                log_defect(error)
                await self.fail(live, error)
                return
            else:
                live.restored = restored
                return

    async def _work(self, live: LiveJob) -> dict[int, Slice]:
        def progress(done: int) -> None:
            live.done = done

        job = live.job
        work = SeriesWork[PacsJob](
            live.folder, job, engine=self._engine, progress=progress, as_hounsfield=job.as_hounsfield
        )
        facts = await work.run()
        otherwise = work.job.precision != job.joined_precision or _reencoded(facts) != job.as_hounsfield
        if job.joins and otherwise:
            raise _Otherwise
        return facts

    def _write(self, folder: JobFolder, facts: dict[int, Slice]) -> Restored:
        """What was derived, read from the files themselves, which are on the disk for good by then."""
        series, sop_class, instances = "", "", {}
        for number in facts:
            with folder.derived(number).open("rb") as file:
                os.fsync(file.fileno())
                dataset = dcmread(file, stop_before_pixels=True)
            series, sop_class = str(dataset.SeriesInstanceUID), str(dataset.SOPClassUID)
            instances[number] = str(dataset.SOPInstanceUID)
        restored = Restored(
            finished=self._engine.clock(),
            series=series,
            instances=instances,
            sop_class=sop_class,
            precision=folder.job.precision,
            reencoded=_reencoded(facts),
            clipped=sum(each.clipped for each in facts.values()),
            warned=sum(bool(each.warnings) for each in facts.values()),
        )
        flush_folder(folder.derived(1).parent)
        folder.write_restored(restored)
        return restored

    async def fail(self, live: LiveJob, error: Exception) -> None:
        """Ends a job that cannot be restored."""
        ended = Ended(state="failed", finished=self._engine.clock(), problem=self._describe(error))
        await whole(asyncio.to_thread(live.folder.write_ended, ended))
        live.ended = ended
        structlog.get_logger("clearslice").warning("series_failed", job=live.job.id, problem=ended.problem)


def _reencoded(facts: dict[int, Slice]) -> bool:
    return any(each.reencoded for each in facts.values())
