"""What the device is given, and what comes back.

Work (Alike others?) --executor--> Restored        those of a request, together --> Ran
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.replicas import Restore


@dataclass(frozen=True)
class Alike:
    """What images must have in common to share a run.

    Attributes:
        of: the loaded version and the outputs, compared as they are.
        bucket: (H, W) on the network's grid.
        pixels: how many pay to be restored in one run; None where as many as may.
    """

    of: tuple[object, ...]
    bucket: tuple[int, int]
    pixels: int | None = None


@dataclass(frozen=True, eq=False)
class Work:
    """One image, or part of one.

    Attributes:
        restore: by device; loaded, and kept loaded by the caller until the answer is there.
        batch: (1, H, W, 1) float32.
        ref: of the version, for the figures.
        alike: with what it may share a run; None for nothing.
        part: (rows, columns) of the batch that the device is given; None for all.
    """

    restore: Mapping[str, Restore]
    batch: NDArray[np.float32]
    ref: str = ""
    alike: Alike | None = None
    part: tuple[int, int] | None = None

    def pixels(self) -> int:
        """How many the device is given."""
        return math.prod(self.part or self.batch.shape[1:3])


@dataclass(frozen=True, eq=False)
class Restored:
    """What came back from the device, unchecked.

    Attributes:
        batch: (1, H, W, C).
        infer_seconds: the run, whoever shared it.
        device: which ran; comma-separated of several runs, of tiles.
        run: which one it was; None for several.
    """

    batch: NDArray[np.float32]
    infer_seconds: float
    device: str
    run: object | None = None


@dataclass(frozen=True, eq=False)
class Ran:
    """What came back for all images of a request, unchecked.

    Attributes:
        batches: of each image, (1, H, W, C) with a channel for each output.
        infer_seconds: all runs together.
        precision: of the runs.
        device: of the runs; comma-separated where they were on several.
    """

    batches: list[NDArray[np.float32]]
    infer_seconds: float
    precision: str
    device: str
