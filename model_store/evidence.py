"""The evidence behind `auto`: how models scored under which noise, and which of them to take for another image.

    <store>/evidence.json --read_evidence--> Evidence --noise of an image--> choose --> Choice: a version, and why

It is written by `training`, on the tune patients, and read by whoever serves. A version that is gone, or was never
scored, is not chosen.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from imaging.noise.reading import NoiseReading
from model_store.labels import read_whole

EVIDENCE_FILE = "evidence.json"

AUTO = "auto"
"""What to write for a model ref to have it chosen by the noise."""

_CORRELATION_STEP, _IMPULSE_STEP = 0.15, 0.02
"""What counts as far as twice the level: about the distance between two kernels, and a share of impulses that shows."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Frozen):
    """Scores under one noise.

    Attributes:
        unit: of the images.
        degradation: what they were degraded by, in words.
        level, correlation, impulses: the noise as `imaging.noise.reading` reads it on the degraded images, so that it
            compares with other readings; `level` in the unit.
        scores: version (`ct-l2@3`) -> PSNR in dB, mean over patients.
    """

    unit: Literal["HU", "relative"]
    degradation: str
    level: Annotated[float, Field(gt=0)]
    correlation: float
    impulses: Annotated[float, Field(ge=0, le=1)]
    scores: dict[str, float]


class Evidence(_Frozen):
    """What `evidence.json` holds.

    Attributes:
        metric: of the scores, with its window and range.
        negligible: dB by which a model must be ahead of the default to be taken instead.
        defaults: unit -> version that is taken unless another is better by more.
        rows: at least one for each unit in `defaults`.
        images, patients: how many the scores of a row come from.
    """

    schema_version: Literal[1] = 1
    metric: str
    negligible: float
    defaults: dict[Literal["HU", "relative"], str]
    rows: tuple[Row, ...]
    images: int
    patients: int


@dataclass(frozen=True)
class Choice:
    """A version, as `ct-l2@3`, and why it was chosen, in a sentence."""

    ref: str
    reason: str


def read_evidence(store: Path) -> Evidence | None:
    """What a store knows, or None.

    Raises:
        RefusedVersion: the file is there and damaged.
    """
    return read_whole(store / EVIDENCE_FILE, Evidence)


def choose(
    evidence: Evidence,
    unit: Literal["HU", "relative"],
    noise: NoiseReading,
    *,
    usable: Collection[str],
) -> Choice | None:
    """The version to take for an image, or None where the evidence has no usable default for its unit.

    Args:
        evidence: of the store.
        unit: of the image.
        noise: of it; NaN where it is not known, which then does not count.
        usable: versions that exist and take the unit.
    """
    default = evidence.defaults.get(unit)
    if default is None or default not in usable:
        return None
    texture = f"correlation {_plain(noise.correlation)}, {100 * noise.impulses:.1f} % impulses"
    reading = f"noise of {_number(noise.level, unit)}, {texture}"
    rows = [row for row in evidence.rows if row.unit == unit and default in row.scores]
    if not rows or math.isnan(noise.level):
        return Choice(default, f"the default, because nothing is known for {reading}")
    nearest = min(rows, key=lambda row: _distance(row, noise))
    scores = {ref: score for ref, score in nearest.scores.items() if ref in usable}
    best = max(scores, key=lambda ref: scores[ref])
    gain = scores[best] - scores[default]
    like = f"{reading}, nearest to {nearest.degradation} in the evidence ({_number(nearest.level, unit)})"
    if gain > evidence.negligible:
        return Choice(best, f"{gain:.2f} dB ahead of {default} there: {like}")
    return Choice(
        default, f"the default, since no model is ahead of it by more than {evidence.negligible:g} dB: {like}"
    )


def _distance(row: Row, noise: NoiseReading) -> float:
    octaves = abs(math.log2(max(noise.level, 1e-9) / row.level))
    texture = 0.0 if math.isnan(noise.correlation) else abs(noise.correlation - row.correlation) / _CORRELATION_STEP
    return math.hypot(octaves, texture, abs(noise.impulses - row.impulses) / _IMPULSE_STEP)


def _number(level: float, unit: str) -> str:
    return f"{_plain(level)} HU" if unit == "HU" else _plain(level)


def _plain(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3g}"
