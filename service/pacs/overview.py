"""Where every instance is that was ever taken and is not forgotten yet, each counted once.

jobs, arriving/, quarantine/ --overview--> state -> instances, state -> series
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

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
            instances[why if why in ("failed", "kept") else "left_out"] += uid not in seen
        seen |= {*live.job.uids, *live.job.left_out}
    arriving = [path.name for path in arrivals.arriving()]
    for uid in arriving:
        instances["arriving"] += len(set(arrivals.series(uid).sources()) - known.get(uid, set()))
    instances["quarantined"] = arrivals.quarantine.count()
    found = {state: count for state, count in instances.items() if count}
    return {"instances": found, "series": {**series, "arriving": len(arriving)}}


def whereabouts(live: Mapping[str, LiveJob], uid: str) -> tuple[str, str] | None:
    """Study and series of a source instance; None where it is not known."""
    for each in list(live.values()):  # it may be asked on a thread
        if uid in each.job.uids or uid in each.job.left_out:
            return each.job.study, each.job.series
    return None
