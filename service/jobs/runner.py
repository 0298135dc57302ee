"""Running one job after the other: tried again where something temporary stopped it, ended in any case.

ticket --(known? not ended?)--> SeriesWork --> Outcome: done
                              |  NotReady, OutOfDeviceMemory, OSError: again, a little later
                              +--> any other error --> Outcome: failed, with a problem document
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from imaging.errors import ImagingError
from model_store.errors import ModelStoreError, OutOfDeviceMemory
from service.api.problems import document_of, internal_document, kind_of
from service.engine import Engine
from service.errors import GivenUp, NotReady, ServiceError, SpoolFull
from service.jobs.live import Live
from service.jobs.pack import pack
from service.jobs.record import Outcome
from service.jobs.work import SeriesWork
from service.telemetry import Instruments, log_defect
from service.wholly import whole

RETRY_SECONDS = (2.0, 10.0, 60.0, 300.0)
"""Before a job that something temporary stopped is tried again; after the last it has failed."""

MAX_ATTEMPTS = 5
"""Of a job that ends the process each time: it must not do so for ever, nor take its neighbours along."""

FULL_RETRY_SECONDS = 60
"""After which a job may have ended or expired, and there is room on the disk."""


class Runner:
    """Runs jobs.

    Args:
        live: all jobs, by id.
        engine: restores.
        instruments: where the ends are counted.
    """

    def __init__(self, live: Mapping[str, Live], engine: Engine, instruments: Instruments) -> None:
        self._live = live
        self._engine = engine
        self._instruments = instruments

    async def run(self, ticket: str) -> None:
        """What the durable engine calls; it raises nothing, and ends early only when the process does."""
        live = next((each for each in self._live.values() if each.job.ticket == ticket), None)
        if live is None or live.outcome is not None or live.removed or live.work is not None:
            return
        live.work = own = asyncio.current_task()
        live.tell()
        try:
            await self._run(live)
        except asyncio.CancelledError:
            if not live.removed:
                await whole(asyncio.to_thread(live.entry.take_back))
                raise
        except Exception as error:  # noqa: BLE001 - the disk refused even the outcome: the sweep tries again
            log_defect(error)
        finally:
            if live.work is own:
                live.work = None

    async def _run(self, live: Live) -> None:
        job = live.job
        if await whole(asyncio.to_thread(live.entry.attempt)) > MAX_ATTEMPTS:
            error = GivenUp(
                f"the server ended {MAX_ATTEMPTS} times while it restored this series; it is not tried once more"
            )
            await self.end(live, self.failed(error))
            return
        with self._engine.traces.job(job.id, job.model, job.instances):
            outcome = await self._outcome_of(live)
        await self.end(live, outcome)

    async def _outcome_of(self, live: Live) -> Outcome:
        def progress(done: int) -> None:
            live.done = done
            live.tell()

        for pause in (*RETRY_SECONDS, None):
            work = SeriesWork(live.entry, live.job, engine=self._engine, progress=progress)
            try:
                facts = await work.run()
                return await whole(asyncio.to_thread(pack, live.entry, work.job, facts, self._engine.clock()))
            except (NotReady, OutOfDeviceMemory, OSError) as error:
                if pause is None:
                    return self.failed(error)
                reason = error.strerror if isinstance(error, OSError) else str(error)
                structlog.get_logger("clearslice").warning("job_waits", job=live.job.id, reason=reason, seconds=pause)
                await asyncio.sleep(pause)
            except (ImagingError, ModelStoreError, ServiceError) as error:
                return self.failed(error)
            except Exception as error:  # noqa: BLE001 - a defect fails its job, and no other
                log_defect(error)
                return self.failed(error)
            finally:
                live.job = work.job
        raise AssertionError("the last pause ends it")

    def failed(self, error: Exception) -> Outcome:
        if isinstance(error, OSError):
            error = SpoolFull(f"the spool's disk failed: {error.strerror}", retry_after=FULL_RETRY_SECONDS)
        kind = kind_of(error)
        problem = internal_document() if kind is None else document_of(error, kind)
        return Outcome(state="failed", finished=self._engine.clock(), problem=problem)

    async def end(self, live: Live, outcome: Outcome) -> None:
        await whole(asyncio.to_thread(live.entry.end, outcome))
        live.outcome = outcome
        live.tell()
        self._instruments.jobs.labels(outcome.state).inc()
        log = structlog.get_logger("clearslice").bind(job=live.job.id, instances=live.job.instances)
        if outcome.problem is None:
            log.info("job_done", warned=outcome.warned)
        else:
            log.warning("job_failed", problem=outcome.problem["type"])
