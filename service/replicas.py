"""A model version in memory: once on each device that it runs on, everywhere in the same precision.

Restorers --by_device(outputs)--> device -> (N, H, W, 1) -> (N, H, W, C)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_store.restorer import Batch, Precision, Restorer
from model_store.store import ModelVersion

Restore = Callable[[Batch], Batch]
"""(N, H, W, 1) -> (N, H, W, C) with a channel for each output that was asked for."""


@dataclass(frozen=True, eq=False)
class Replicas:
    """One version; equal only to itself.

    Attributes:
        restorers: at least one, each on another device.
        shared_pixels: how many pixels pay to be restored in one run (`service.warming`); None where as many as may.
    """

    restorers: tuple[Restorer, ...]
    shared_pixels: int | None = None

    @property
    def version(self) -> ModelVersion:
        """What was loaded."""
        return self.restorers[0].version

    @property
    def precision(self) -> Precision:
        """In which all of them compute."""
        return self.restorers[0].precision

    @property
    def devices(self) -> tuple[str, ...]:
        """Where they are, as in `GPU:0`."""
        return tuple(restorer.device for restorer in self.restorers)

    @property
    def timings(self) -> dict[str, float]:
        """As of `Restorer`, on the first device."""
        return self.restorers[0].timings

    def by_device(self, outputs: Sequence[str]) -> Mapping[str, Restore]:
        """What restores, on each device.

        Whatever the precision, more than `restored` is computed in float32.

        Args:
            outputs: which the version must give.
        """
        return {restorer.device: _restores(restorer, outputs) for restorer in self.restorers}


def _restores(restorer: Restorer, outputs: Sequence[str]) -> Restore:
    if len(outputs) == 1:
        return restorer
    answer = restorer.with_uncertainty
    assert answer is not None  # noqa: S101 - the caller looked into the manifest, which the loader holds it to

    def restore(batch: Batch) -> Batch:
        answers = answer(batch)
        return np.concatenate([answers[name] for name in outputs], axis=-1)

    return restore
