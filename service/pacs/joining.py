"""What a complete series is to the jobs that there are of it: another one, the same, or a part of one. Decides only.

settled job, jobs before --joined--> Joined: a job to be made            none of its kind before
                                      '       late slices, which join the derived series of the last one
                                      '       the same with more peers, or nothing new
                                      '       later: the last one is not restored yet
                                      '       a problem: what would be needed is not here any more
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.pacs.errors import Incomplete
from service.pacs.job_folder import JobFolder
from service.pacs.record import PacsJob

NAMESPACE = uuid.UUID("6a3c4a56-0a1e-5d1b-9a63-5d0f0d1c7c11")
"""Of the ids of jobs."""


@dataclass(frozen=True)
class Joined:
    """What is to be done.

    Attributes:
        job: to be made; None: none.
        extended: jobs that are there, which get more peers.
        peers: all that they are to have.
        later: the job before is not restored yet.
        problem: why the series cannot be restored.
    """

    job: PacsJob | None = None
    extended: tuple[JobFolder, ...] = ()
    peers: tuple[str, ...] = ()
    later: bool = False
    problem: Exception | None = None


def is_usable(folder: JobFolder) -> bool:
    """Whether a job stands: it has not failed, and nobody has discarded it."""
    ended = folder.ended()
    if not folder.job.uids or ended is None:
        return bool(folder.job.uids)
    return ended.state != "failed" and not (ended.state == "dead" and ended.tidied)


def last_under(rule: str, before: Sequence[JobFolder]) -> JobFolder | None:
    """The job that late slices of a series belong to, whatever model the rule means by now."""
    found = [each for each in before if each.job.rule == rule and is_usable(each) and each.restored() is not None]
    return found[-1] if found else None


def joined(job: PacsJob, before: Sequence[JobFolder], *, everything: Collection[str], here: Collection[str]) -> Joined:
    """What a series is to the jobs before.

    Args:
        job: with all instances that are here, and no id yet.
        before: all jobs of the series, the oldest first.
        everything: SOPInstanceUIDs that ever came.
        here: those whose sources are here.
    """
    kind = [each for each in before if each.job.kind() == job.kind()]
    same = [each for each in kind if is_usable(each)]
    if not same:
        # what was delivered of a discarded one keeps its UIDs to itself
        made = [each.job.revision for each in kind if each.restored() is not None]
        return _whole(job, everything, here, revision=max(made) + 1 if made else 0)
    last = same[-1]
    restored = last.restored()
    if restored is None:
        return Joined(later=True)
    chain = [each for each in same if each.job.revision == last.job.revision]
    lacking = tuple(each for each in chain if set(job.peers) - set(each.job.peers))
    if any(_is_tidied(each) for each in lacking):
        return _whole(job, everything, here, revision=last.job.revision + 1)
    covered = {uid for each in chain for uid in each.job.uids}
    new = tuple(uid for uid in job.uids if uid not in covered)
    if not new:
        return Joined(extended=lacking, peers=job.peers)
    part = {
        "uids": new,
        "joins": last.job.id,
        "begun": last.job.begun,
        "precision": restored.precision,
        "joined_precision": restored.precision,
        "as_hounsfield": restored.reencoded,
        "revision": last.job.revision,
    }
    return Joined(identified(job.model_copy(update=part), everything), extended=lacking, peers=job.peers)


def _whole(job: PacsJob, everything: Collection[str], here: Collection[str], *, revision: int) -> Joined:
    gone = len(set(everything) - set(here))
    if gone:
        return Joined(
            problem=Incomplete(
                f"{gone} of the series' instances came before and are not kept any more, and its model or peers are"
                " others now: send the whole series again"
            )
        )
    return Joined(identified(job.model_copy(update={"revision": revision}), everything))


def anew(job: PacsJob, uids: tuple[str, ...], *, created: datetime) -> PacsJob:
    """The same for a whole series that must be made once more, since its encoding or precision changed.

    Args:
        job: that could not join.
        uids: all instances of the series that are restored.
        created: now.
    """
    whole = {
        "uids": uids,
        "joins": "",
        "joined_precision": "",
        "created": created,
        "begun": created,
        "as_hounsfield": False,
        "revision": job.revision + 1,
    }
    return identified(job.model_copy(update=whole), uids)


def identified(job: PacsJob, everything: Collection[str], *, problem: str = "") -> PacsJob:
    """With the id that follows from what it is."""
    parts: list[object] = [job.series, sorted(everything), *job.kind(), job.revision, problem]
    return job.model_copy(update={"id": uuid.uuid5(NAMESPACE, json.dumps(parts)).hex})


def _is_tidied(folder: JobFolder) -> bool:
    ended = folder.ended()
    return ended is not None and ended.tidied
