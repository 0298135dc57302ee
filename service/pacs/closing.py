"""From a series of which something came to a job, once it is complete.

    arriving/<UID> --(quiet? nobody present? counted?)--look--> rule --settle--> which are new? --> jobs/<id>/job.json
                     later                              problem   model          none: the job was there before

A job is there when its folder has been renamed into the series'; only then the series does not count as arriving any
more. What comes later makes another job, whose instances join the derived series of the one before.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imaging.errors import ImagingError
from model_store.errors import ModelStoreError
from service.engine import Engine
from service.errors import NotReady, ServiceError
from service.files import flush_folder
from service.jobs.accept import settle
from service.jobs.work import task_of
from service.pacs.arrivals import Arrivals
from service.pacs.completeness import Completeness
from service.pacs.configuration import Configuration, Rule
from service.pacs.errors import Incomplete, NotWanted
from service.pacs.job_folder import JobFolder, create_job, jobs_of
from service.pacs.looking import Looked, look
from service.pacs.record import Ended, PacsJob
from service.pacs.routing import decide
from service.pacs.series_folder import SeriesFolder
from service.task import Prepared
from service.wholly import whole

NAMESPACE = uuid.UUID("6a3c4a56-0a1e-5d1b-9a63-5d0f0d1c7c11")
"""Of the ids of jobs."""

Describe = Callable[[Exception], dict[str, Any]]
"""An error as a problem document."""


@dataclass(frozen=True)
class _Plan:
    """What a job is to be, before its model is settled."""

    looked: Looked
    everything: frozenset[str]
    rule: Rule | None
    problem: Exception | None


class Closing:
    """Makes jobs of series.

    Args:
        arrivals: the door behind which they lie.
        configuration: of the node.
        engine: settles models.
        completeness: knows whether a series is whole.
        describe: makes problem documents.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        configuration: Configuration,
        engine: Engine,
        *,
        completeness: Completeness,
        describe: Describe,
    ) -> None:
        self._arrivals = arrivals
        self._configuration = configuration
        self._engine = engine
        self._completeness = completeness
        self._describe = describe

    async def close(self, uid: str) -> JobFolder | None:
        """Makes a job of a complete series.

        Returns:
            The job; None where there is nothing new to be made, or not yet.

        Raises:
            OSError: the disk fails.
        """
        series = self._arrivals.series(uid)
        looked = await whole(asyncio.to_thread(self._look, series))
        if looked is None:
            return None
        plan = self._plan(looked)
        if plan.problem is None and plan.rule is not None and not await self._completeness.counted(plan.rule, looked):
            return None
        try:
            job, ended = await self._job(plan)
        except NotReady:
            return None
        if job is None:
            return None
        return await whole(asyncio.to_thread(self._commit, looked, job, ended))

    def _look(self, series: SeriesFolder) -> Looked | None:
        uids = series.sources()
        if not uids and not series.refused():
            self._forget_arrival(series)
            return None
        return look(series, uids, self._engine.settings)

    def _plan(self, looked: Looked) -> _Plan:
        everything = frozenset({*looked.digests, *looked.series.known()})
        decision = decide(self._configuration.rules, looked.facts)
        problem = looked.problem
        if problem is None and looked.uids and decision.refused:
            problem = NotWanted(f"the rules have changed since the series came: {decision}")
        return _Plan(looked, everything, decision.rule, problem)

    async def _job(self, plan: _Plan) -> tuple[PacsJob | None, Ended | None]:
        """What is to be done, and how it ended if it did at once; none where the job before is not done yet."""
        looked, rule = plan.looked, plan.rule
        if plan.problem is None and (rule is None or not looked.uids or rule.action == "keep"):
            return self._ended_at_once(plan, "kept", None)
        if plan.problem is not None or rule is None:
            return self._ended_at_once(plan, "failed", plan.problem)
        try:
            prepared, precision = await self._settle(rule, looked)
        except (ImagingError, ModelStoreError, ServiceError) as error:
            if isinstance(error, NotReady):
                raise
            return self._ended_at_once(plan, "failed", error)
        now = self._engine.clock()
        version = prepared.version
        job = PacsJob(
            id="",
            study=looked.study,
            series=looked.series.uid,
            created=now,
            begun=now,
            rule=rule.name,
            sender=looked.sender,
            model=version.ref,
            weights_sha256=version.weights_sha256,
            precision=precision,
            chosen=prepared.chosen,
            strength=rule.strength,
            uids=looked.uids,
            left_out=dict(looked.left_out),
            peers=rule.to,
        )
        before = await asyncio.to_thread(jobs_of, looked.series)
        return self._joined(job, before, plan)

    async def _settle(self, rule: Rule, looked: Looked) -> tuple[Prepared, str]:
        engine = self._engine
        ready, reason = engine.readiness()
        if not ready:
            raise NotReady(reason, retry_after=1)
        task, standing = task_of(b"", rule.model, rule.strength), engine.meanings.standing()
        deadline = time.monotonic() + engine.settings.request_timeout
        work = functools.partial(settle, store=engine.store, settings=engine.settings, standing=standing)
        prepared = await whole(engine.codecs.run(deadline, work, looked, len(looked.uids), task))
        prepared = await engine.settled(task, prepared, deadline=deadline)
        async with engine.versions.lease(prepared.version, deadline=deadline) as restorer:
            return prepared, restorer.precision

    def _joined(self, job: PacsJob, before: list[JobFolder], plan: _Plan) -> tuple[PacsJob | None, Ended | None]:
        """The job with those instances only that none before it has, and in their series if there is one."""
        same = [each for each in before if each.job.kind() == job.kind() and not _failed(each)]
        if not same:
            if set(plan.everything) - plan.looked.digests.keys():
                gone = len(plan.everything) - len(plan.looked.digests)
                return self._ended_at_once(
                    plan,
                    "failed",
                    Incomplete(
                        f"{gone} instances of the series came before and are not kept any more, and the model or the"
                        " rule is another one now: send the whole series again"
                    ),
                )
            return _identified(job, plan.everything), None
        last = same[-1]
        restored = last.restored()
        if restored is None:
            return None, None  # the job before is still at it, and its series is what this one joins
        covered = {uid for each in same if each.job.revision == last.job.revision for uid in each.job.uids}
        new = tuple(uid for uid in job.uids if uid not in covered)
        if not new:
            return last.job, None
        joined = job.model_copy(
            update={
                "uids": new,
                "joins": last.job.id,
                "begun": last.job.begun,
                "precision": restored.precision,
                "as_hounsfield": restored.reencoded,
                "revision": last.job.revision,
            }
        )
        return _identified(joined, plan.everything), None

    def _ended_at_once(self, plan: _Plan, state: Any, problem: Exception | None) -> tuple[PacsJob, Ended]:
        now = self._engine.clock()
        looked = plan.looked
        job = PacsJob(
            id="",
            study=looked.study,
            series=looked.series.uid,
            created=now,
            begun=now,
            rule="" if plan.rule is None else plan.rule.name,
            sender=looked.sender,
            left_out={uid: looked.left_out.get(uid, state) for uid in looked.digests},
        )
        document = None if problem is None else self._describe(problem)
        ended = Ended(state=state, finished=now, problem=document, closing=True)
        return _identified(job, plan.everything, extra=json.dumps(document)), ended

    def _commit(self, looked: Looked, job: PacsJob, ended: Ended | None) -> JobFolder | None:
        """One at a time: nothing comes into the series meanwhile, nor came since it was looked at."""
        series = looked.series
        with series.closed() as alone:
            if not alone or set(series.sources()) != set(looked.digests) or set(series.refused()) != looked.refused:
                return None
            made = create_job(self._arrivals.incoming(), series, job, ended)
            series.write_known({**series.known(), **looked.digests})
            self._forget_arrival(series)
        return made

    def _forget_arrival(self, series: SeriesFolder) -> None:
        marker = self._arrivals.arriving_marker(series.uid)
        marker.unlink(missing_ok=True)
        flush_folder(marker.parent)


def _failed(job: JobFolder) -> bool:
    ended = job.ended()
    return not job.job.uids or (ended is not None and ended.state == "failed")


def _identified(job: PacsJob, everything: frozenset[str], *, extra: str = "") -> PacsJob:
    parts: list[object] = [job.series, sorted(everything), *job.kind(), job.revision, extra]
    return job.model_copy(update={"id": uuid.uuid5(NAMESPACE, json.dumps(parts)).hex})


def anew(job: PacsJob, uids: tuple[str, ...], *, created: Any, precision: str) -> PacsJob:
    """The same for a whole series that must be made once more, since its encoding or precision changed."""
    made = job.model_copy(
        update={
            "uids": uids,
            "joins": "",
            "created": created,
            "begun": created,
            "as_hounsfield": False,
            "precision": precision,
            "revision": job.revision + 1,
        }
    )
    return _identified(made, frozenset(uids))
