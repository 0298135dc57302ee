"""Bounds for the guard: between what its measures lie on patients that the model was made for.

tune slices --network--> GuardMeasures --lowest, highest, a margin--> Guard, for the manifest
report slices --network--> GuardMeasures --findings--> AlarmRow: how often it would warn of nothing
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from imaging.guard import MEASURES, GuardMeasures, findings
from imaging.image import Unit
from model_store.manifest import Guard
from training.errors import UnsuitableSeries

MARGIN = 1.0
"""Of the distance between the lowest and the highest value, added at both ends: two tune patients are not all of them,
and a false alarm on every tenth scan would teach people to look away. With half of it, bounds from one of our two tune
patients call up to 24 % of the other's answers unusual; with all of it, none."""


HARMLESS_SHIFT: dict[Unit, float] = {"HU": 1.0, "relative": 0.002}
"""By which values may move on average whatever the tune patients showed: nobody sees it, and a model that hardly moves
them would else warn of nothing."""


@dataclass(frozen=True)
class AlarmRow:
    """How many images of one degradation the guard would have warned of, and by which measures."""

    degradation: str
    alarms: int
    images: int
    measures: tuple[str, ...]


def fit_guard(measures: Iterable[GuardMeasures], unit: Unit, *, degradations: Sequence[str], patients: int) -> Guard:
    """The bounds.

    Args:
        measures: of answers to the tune patients.
        unit: theirs.
        degradations, patients: what they are of, for the manifest.

    Raises:
        UnsuitableSeries: no answer could be measured.
    """
    table = np.array([[getattr(each, name) for name in MEASURES] for each in measures]).reshape(-1, len(MEASURES))
    bounds = {}
    for name, column in zip(MEASURES, table.T, strict=True):
        known = column[np.isfinite(column)]
        if len(known):
            low, high = float(known.min()), float(known.max())
            bounds[name] = (low - MARGIN * (high - low), high + MARGIN * (high - low))
    if not bounds:
        raise UnsuitableSeries("the guard is calibrated on slices of tune/, and there are none that it can measure")
    if "shift" in bounds:
        low, high = bounds["shift"]
        bounds["shift"] = (min(low, -HARMLESS_SHIFT[unit]), max(high, HARMLESS_SHIFT[unit]))
    return Guard(bounds=bounds, degradations=tuple(degradations), images=len(table), patients=patients)


def count_alarms(measures: Iterable[GuardMeasures], guard: Guard, degradation: str) -> AlarmRow:
    """What the guard would have warned of."""
    found = [findings(each, guard.bounds) for each in measures]
    names = {finding.measure for each in found for finding in each}
    return AlarmRow(
        degradation=degradation,
        alarms=sum(bool(each) for each in found),
        images=len(found),
        measures=tuple(name for name in MEASURES if name in names),
    )
