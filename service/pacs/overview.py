"""Where every instance is that was ever taken and is not forgotten yet, each counted once.

jobs, arriving/, quarantine/ --overview--> state -> instances, state -> series
UIDs --whereabouts: jobs, arriving/--> UID -> Place
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread

from imaging.dicom_attributes import text
from imaging.dicom_file import pydicom_guard
from imaging.errors import ImagingError
from service.pacs.arrivals import Arrivals
from service.pacs.live import LiveJob


def overview(jobs: Sequence[LiveJob], arrivals: Arrivals) -> dict[str, Any]:
    """Counts.

    Args:
        jobs: all, the newest first: an instance that was restored anew counts by its newest job.
        arrivals: what else there is.
    """
    instances: Counter[str] = Counter()
    series: Counter[str] = Counter()
    known: dict[str, set[str]] = {}
    for live in jobs:
        series[live.state] += 1
        seen = known.setdefault(live.job.series, set())
        for uid in live.job.uids:
            instances[live.state] += uid not in seen
        for uid, why in live.job.left_out.items():
            instances[_state_of(why, live)] += uid not in seen
        seen |= {*live.job.uids, *live.job.left_out}
    arriving = [path.name for path in arrivals.arriving()]
    for uid in arriving:
        instances["arriving"] += len(set(arrivals.series(uid).sources()) - known.get(uid, set()))
    instances["quarantined"] = arrivals.quarantine.count()
    found = {state: count for state, count in instances.items() if count}
    return {"instances": found, "series": {**series, "arriving": len(arriving)}}


def _state_of(why: str, live: LiveJob) -> str:
    """Of an instance of which nothing was to be made, for that reason."""
    if why == "failed":  # the whole series did, before anything was settled
        return live.state
    return why if why == "kept" else "left_out"


@dataclass(frozen=True)
class Place:
    """Where an instance belongs.

    Attributes:
        study, series: UIDs.
        arriving: whether something of the series has come that no job knows of, so that more may come.
    """

    study: str
    series: str
    arriving: bool


def whereabouts(live: Mapping[str, LiveJob], uids: Collection[str], arrivals: Arrivals) -> dict[str, Place]:
    """Where source instances belong; blocking.

    Args:
        live: all jobs, by id; it may change meanwhile.
        uids: SOPInstanceUIDs that are asked for.
        arrivals: the door behind which series lie that are no jobs yet.

    Returns:
        UID -> its place, of those that are known.
    """
    wanted = set(uids)
    arriving = {path.name: arrivals.series(path.name) for path in arrivals.arriving()}
    found: dict[str, Place] = {}
    for each in list(live.values()):
        job = each.job
        for uid in wanted.intersection(job.uids) | wanted.intersection(job.left_out):
            found.setdefault(uid, Place(job.study, job.series, job.series in arriving))
    for series, folder in arriving.items():
        here = wanted.difference(found).intersection(folder.sources())
        study = _study_of(folder.source(min(here))) if here else ""
        if study:
            found |= dict.fromkeys(here, Place(study, series, arriving=True))
    return found


def _study_of(source: Path) -> str:
    """Empty where it has gone meanwhile, or the disk has damaged it."""
    try:
        with pydicom_guard("an instance that came is malformed"):
            return text(
                dcmread(source, stop_before_pixels=True, specific_tags=["StudyInstanceUID"]), "StudyInstanceUID"
            )
    except ImagingError:
        return ""
