"""How long runs take on the device at least, learned from those it had: to say who would wait too long before he waits.

    a run: its first work, seconds --ran--> the least of the last ones of its kind
    a line of works --expected--> the runs that it will make --> seconds

The least, since to send somebody away wrongly costs more than to let him wait: a first run is slow, and one of four
images need not take longer than one of one. A kind is a version and a size, within a factor of two.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from service.device_work import Alike, Work

_RUNS = 8
"""Of which the least is taken."""

_Kind = tuple[str, int]
"""Ref of a version, and bits of the number of pixels of one image."""


class Pace:
    """One executor's; used by its threads and by the event loop."""

    def __init__(self) -> None:
        self._seconds: dict[_Kind, tuple[float, ...]] = {}  # never changed in place, since others read meanwhile

    def ran(self, work: Work, seconds: float) -> None:
        """Learns from a run, of this and of however many like it."""
        kind = _kind(work)
        self._seconds[kind] = (*self._seconds.get(kind, ()), seconds)[-_RUNS:]

    def expected(self, works: Sequence[Work], images_per_run: Callable[[Alike], int], *, unknown: float) -> float:
        """Seconds for all of these, one run after the other.

        Args:
            works: what waits.
            images_per_run: how many of a kind share a run at most.
            unknown: seconds of a run of a kind that there was none of.
        """
        kinds = {work.alike: _kind(work) for work in works}
        runs = Counter(_kind(work) for work in works if work.alike is None)
        for alike, images in Counter(work.alike for work in works).items():
            if alike is not None:
                runs[kinds[alike]] += math.ceil(images / images_per_run(alike))
        return sum(count * self._least(kind, unknown) for kind, count in runs.items())

    def _least(self, kind: _Kind, unknown: float) -> float:
        return min(self._seconds.get(kind, (unknown,)))


def _kind(work: Work) -> _Kind:
    return work.ref, work.pixels().bit_length()
