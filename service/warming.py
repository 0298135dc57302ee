"""Before a version serves: all of its usual runs once, so that no request meets a cold one; and which of them pay.

restorer, (N, H, W) ... --run, with a clock--> pixels that pay to be restored together

One image alone is answered earlier than one that shares a run, so sharing has to be faster. A GPU restores several
images in little more than the time for one. A CPU that has enough to do with one image of 512 x 512 restores four
together up to a quarter slower than one after the other, because they leave its caches.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import structlog

from imaging.image import AIR_HU
from model_store.errors import OutOfDeviceMemory
from model_store.restorer import Batch, Restorer
from model_store.timing import fastest
from model_store.version import ModelVersion
from service.batching import stack, unstack

GAIN: Final = 0.95
"""Sharing pays when an image then takes no more than this of the time that it takes among half as many."""

_RUNS: Final = 10
"""At most, of each shape; the fastest counts."""

_BUDGET_S: Final = 0.5
"""No further run of a shape once they had so long: the 20 ms that a CPU's first takes longer decide nothing then."""


def warm(
    restorer: Restorer,
    version: ModelVersion,
    shapes: Sequence[tuple[int, int, int]],
    clock: Callable[[], float] = time.perf_counter,
) -> int | None:
    """Runs each of the shapes, a few times, until they do not pay.

    Args:
        restorer, version: one on the device, and what it is.
        shapes: (N, H, W), of each size with N = 1, 2, 4 ...
        clock: seconds.

    Returns:
        How many pixels pay to be restored in one run; None when all did that were tried.

    Raises:
        OutOfDeviceMemory: there is not the memory for one image.
    """
    pay: int | None = None
    before = 0.0
    for count, height, width in shapes:
        if not _pays(count, height, width, pay):
            continue
        try:
            run = functools.partial(_run, restorer, _images(version, count, height, width))
            seconds = fastest(run, restorer.device, runs=_RUNS, budget_s=_BUDGET_S, clock=clock) / count
        except OutOfDeviceMemory:
            if count == 1:
                raise
            _tell_not_warm(version, count, height, width)
            seconds = float("inf")
        if count > 1 and seconds > GAIN * before:
            pay = count // 2 * height * width
        before = seconds
    return pay


def warm_again(
    restorer: Restorer, version: ModelVersion, shapes: Sequence[tuple[int, int, int]], pay: int | None
) -> None:
    """As `warm`, where it is known what pays: each of those shapes runs once, which costs requests beside it less."""
    for count, height, width in shapes:
        if not _pays(count, height, width, pay):
            continue
        try:
            _run(restorer, _images(version, count, height, width))
        except OutOfDeviceMemory:
            if count == 1:
                raise
            _tell_not_warm(version, count, height, width)


def _pays(count: int, height: int, width: int, pay: int | None) -> bool:
    return count == 1 or pay is None or count * height * width <= pay


def _images(version: ModelVersion, count: int, height: int, width: int) -> list[Batch]:
    empty = AIR_HU if version.manifest.unit == "HU" else 0.0
    return [np.full((1, height, width, 1), empty, np.float32)] * count


def _tell_not_warm(version: ModelVersion, count: int, height: int, width: int) -> None:
    log = structlog.get_logger("clearslice")
    log.warning("not_warm", model=version.ref, images=count, height=height, width=width)


def _run(restorer: Restorer, images: Sequence[Batch]) -> None:
    """As the executor does, putting the images together and taking them apart included."""
    if len(images) == 1:
        restorer(images[0])
    else:
        bucket = (images[0].shape[1], images[0].shape[2])
        unstack(restorer(stack(images, bucket)), images, bucket)
