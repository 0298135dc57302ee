"""From a series of which something came to a job, once it is complete.

    arriving/<UID> --look--> rule --(a peer has no more of it?)--settle--> joined --> jobs/<id>/job.json
                   problem          later                        later                more peers for those before

A job is there when its folder has been renamed into the series'; only then the series does not count as arriving any
more. What comes later makes another job, whose instances join the derived series of the one before.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from imaging.errors import ImagingError
from model_store.errors import ModelStoreError, OutOfDeviceMemory
from service.codecs import NO_DEADLINE
from service.engine import Engine
from service.errors import DeadlinePassed, NotReady, ServiceError, TooBusy
from service.files import flush_folder
from service.jobs.accept import settle
from service.jobs.work import task_of
from service.pacs.arrivals import Arrivals
from service.pacs.completeness import Completeness
from service.pacs.configuration import Configuration, Rule
from service.pacs.errors import NotWanted
from service.pacs.job_folder import JobFolder, create_job, jobs_of
from service.pacs.joining import Joined, identified, is_usable, joined, last_under
from service.pacs.looking import Looked, look, mixes
from service.pacs.record import Ended, PacsJob
from service.pacs.routing import decide
from service.pacs.secrets import node_secret
from service.pacs.series_folder import SeriesFolder
from service.wholly import whole

Describe = Callable[[Exception], dict[str, Any]]
"""An error as a problem document."""

_FOR_NOW = (NotReady, OutOfDeviceMemory, DeadlinePassed, TooBusy)


@dataclass(frozen=True)
class Closed:
    """What became of a series that was complete.

    Attributes:
        made: the job that was made of it; None: nothing new.
        extended: jobs before that got more peers.
        superseded: ids of failed ones that are none any more, since `made` has their instances.
    """

    made: JobFolder | None = None
    extended: tuple[JobFolder, ...] = ()
    superseded: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """What is known before a model is settled."""

    looked: Looked
    before: list[JobFolder]
    everything: frozenset[str]
    rule: Rule | None
    problem: Exception | None

    @property
    def model(self) -> str | None:
        """Which is to be settled: late slices take the one that the others had."""
        assert self.rule is not None  # noqa: S101 - asked when there is one
        last = last_under(self.rule.name, self.before)
        late = set(self.looked.uids) - self.looked.series.known().keys()
        return last.job.model if last is not None and late else self.rule.model


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
        self._secret = node_secret(arrivals.folder)

    async def close(self, uid: str) -> Closed:
        """Makes a job of a complete series, if there is something new to be made, and it can be made now.

        Raises:
            NotReady, OutOfDeviceMemory, DeadlinePassed, TooBusy: not for now.
            OSError: the disk fails.
        """
        plan = await whole(asyncio.to_thread(self._plan, self._arrivals.series(uid)))
        if plan is None:
            return Closed()
        rule, looked = plan.rule, plan.looked
        if plan.problem is not None:
            return await self._commit_end(plan, "failed", plan.problem)
        if rule is None or not looked.uids or rule.action == "keep":
            return await self._commit_end(plan, "kept", None)
        if not await self._completeness.counted(rule, looked):
            return Closed()
        decision = await self._decide(rule, plan)
        if decision.problem is not None:
            return await self._commit_end(plan, "failed", decision.problem)
        return Closed() if decision.later else await whole(asyncio.to_thread(self._commit, plan, decision, None))

    async def _decide(self, rule: Rule, plan: _Plan) -> Joined:
        try:
            settled = await self._settle(rule, plan)
        except _FOR_NOW:
            raise
        except (ImagingError, ModelStoreError, ServiceError) as error:
            return Joined(problem=error)
        here = plan.looked.digests.keys()
        return await asyncio.to_thread(joined, settled, plan.before, everything=plan.everything, here=here)

    def _plan(self, series: SeriesFolder) -> _Plan | None:
        """None: there is nothing of it."""
        uids = series.sources()
        if not uids and not series.refused():
            with series.closed() as alone:
                if alone and not series.sources() and not series.refused():
                    self._forget_arrival(series)
            return None
        looked = look(series, uids, self._engine.settings, self._secret)
        before = jobs_of(series)
        decision = decide(self._configuration.rules, looked.facts)
        problem = looked.problem or mixes(looked, [each.job for each in before])
        if problem is None and looked.uids and decision.refused:
            problem = NotWanted(f"the rules have changed since the series came: {decision}")
        everything = frozenset({*looked.digests, *series.known()})
        return _Plan(looked, before, everything, decision.rule, problem)

    async def _settle(self, rule: Rule, plan: _Plan) -> PacsJob:
        """A job with all that is settled for the whole series, but its id."""
        engine, looked = self._engine, plan.looked
        task = task_of(b"", await asyncio.to_thread(lambda: plan.model), rule.strength)
        standing = engine.meanings.standing()
        work = functools.partial(settle, store=engine.store, settings=engine.settings, standing=standing)
        prepared = await whole(engine.codecs.run(NO_DEADLINE, work, looked, len(looked.uids), task))
        prepared = await engine.settled(task, prepared, deadline=NO_DEADLINE)
        version, now = prepared.version, engine.clock()
        async with engine.versions.lease(version, deadline=NO_DEADLINE) as replicas:
            precision = replicas.precision
        return PacsJob(
            id="",
            study=looked.study,
            series=looked.series.uid,
            patient=looked.patient,
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

    async def _commit_end(self, plan: _Plan, state: Literal["kept", "failed"], problem: Exception | None) -> Closed:
        """A job of which nothing is made."""
        now, looked = self._engine.clock(), plan.looked
        document = None if problem is None else self._describe(problem)
        job = PacsJob(
            id="",
            study=looked.study,
            series=looked.series.uid,
            patient=looked.patient,
            created=now,
            begun=now,
            rule="" if plan.rule is None else plan.rule.name,
            sender=looked.sender,
            left_out={uid: looked.left_out.get(uid, state) for uid in looked.digests},
        )
        job = identified(job, plan.everything, problem=json.dumps(document))
        ended = Ended(state=state, finished=now, problem=document, closing=True)
        return await whole(asyncio.to_thread(self._commit, plan, Joined(job), ended))

    def _commit(self, plan: _Plan, decision: Joined, ended: Ended | None) -> Closed:
        """One at a time: nothing comes into the series meanwhile. What came since it was looked at, comes late."""
        looked, series = plan.looked, plan.looked.series
        with series.closed() as alone:
            unchanged = set(series.sources()) == set(looked.digests) and set(series.refused()) == looked.refused
            if not alone or not (unchanged or self._completeness.capped(series.uid)):
                return Closed()
            made, superseded = self._make(plan, decision, ended)
            extended = tuple(self._extend(each, decision.peers) for each in decision.extended)
            series.write_known({**series.known(), **looked.digests})
            if unchanged:
                self._forget_arrival(series)
            else:
                self._arrivals.mark_anew(series)
        return Closed(made, extended, superseded)

    def _make(self, plan: _Plan, decision: Joined, ended: Ended | None) -> tuple[JobFolder | None, tuple[str, ...]]:
        """The new job, and the failed ones that it does away with."""
        if decision.job is None:
            return None, ()
        series, job = plan.looked.series, decision.job
        there = next((each for each in jobs_of(series) if each.job.id == job.id), None)
        if there is not None and is_usable(there):
            return None, ()
        if there is not None:  # it had failed, or was discarded, and all of it has come once more
            there.remove(self._arrivals.incoming())
        made = create_job(self._arrivals.incoming(), series, job, ended)
        superseded = [] if ended is not None else [each for each in plan.before if _has_failed(each)]
        for each in superseded:
            each.remove(self._arrivals.incoming())
        return made, tuple(each.job.id for each in superseded if each.job.id != job.id)

    @staticmethod
    def _extend(folder: JobFolder, peers: tuple[str, ...]) -> JobFolder:
        """A job that is delivered to more peers than it was."""
        merged = tuple(dict.fromkeys((*folder.job.peers, *peers)))
        folder.write_job(folder.job.model_copy(update={"peers": merged}))
        folder.reopen()
        return folder

    def _forget_arrival(self, series: SeriesFolder) -> None:
        marker = self._arrivals.arriving_marker(series.uid)
        marker.unlink(missing_ok=True)
        flush_folder(marker.parent)


def _has_failed(folder: JobFolder) -> bool:
    ended = folder.ended()
    return ended is not None and ended.state == "failed"
