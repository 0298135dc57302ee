"""How long a device takes, found out in as little time as tells it: a server is not ready before.

functions on a batch --a few runs each, of 512 x 512--> seconds, of the fastest
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 512
"""Pixels; the size of nearly every CT slice."""

RUNS: Final = 3
"""The fastest of these counts: other work on the machine can only add time."""

BUDGET_S: Final = 0.25
"""No further run once they had this long: the longer a run, the less does another tell."""

_Name = TypeVar("_Name", bound=str)


def fastest(
    run: Callable[[], object],
    device: str,
    *,
    runs: int = RUNS,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of the fastest of a few runs.

    Args:
        run: on the device; returns when the result is there.
        device: `CPU:0` or `GPU:0`. A GPU's first run of a shape, in which it chooses its kernels, does not count. A
            CPU's does: it takes 20 ms longer, which is little of the budget, or made good by the next.
        runs: how many at most, one or more.
        budget_s: no further run once they had so many seconds.
        clock: seconds.
    """
    if not device.startswith("CPU"):
        run()
    found: list[float] = []
    while len(found) < runs and sum(found) < budget_s:
        begin = clock()
        run()
        found.append(clock() - begin)
    return min(found)


def time_each(
    candidates: Mapping[_Name, Callable[[NDArray[np.float32]], object]],
    device: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[_Name, float]:
    """Seconds for one 512 x 512 image, by each candidate.

    Args:
        candidates: functions of (1, 512, 512, 1) float32, by name.
        device: where they run.
        clock: seconds.
    """
    image = np.zeros((1, SIDE, SIDE, 1), np.float32)
    return {name: fastest(functools.partial(run, image), device, clock=clock) for name, run in candidates.items()}
