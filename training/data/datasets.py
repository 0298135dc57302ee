"""Pairs and patches: what a training step and an evaluation see.

    PreparedSeries --Degrade, generator--> (degraded, target) patches, (N, S, S, 1)     `patches`
                   --Degrade, draw 0...--> (degraded, reference) slices, (H, W)         `evaluation_pairs`

The three roles are three sets of patients: fit (the weights), tune (settings, baselines, defaults) and report (looked
at, never chosen by). `check_roles` refuses a patient in two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.data.pairs import Degrade, PreparedSeries, Repeats, evaluation_rng
from training.errors import NoTrainingData
from training.targets import Target, training_pair

Role = Literal["fit", "tune", "report"]
ROLE_FOLDERS: dict[Role, str] = {"fit": "train", "tune": "tune", "report": "validation"}

_BODY_HU = -800.0  # above it a pixel is patient or table rather than air
_MINIMUM_BODY = 0.25  # share of a patch; patches of air teach little
_KEEP_AIR = 0.1  # yet some are kept: air must stay air


def role_folder(data: Path, role: Role) -> Path | None:
    """Where the series of a role lie below `data`: its folder of that name, `data` itself for `fit` if it has none.

    Roles are folders: `train` (fit), `tune` and `validation` (report). None when there is no such folder.

    Raises:
        NoTrainingData: `data` does not exist.
    """
    if not data.exists():
        raise NoTrainingData(f"{data} does not exist; give a folder with train/, tune/ and validation/, or one series")
    folder = data / ROLE_FOLDERS[role]
    if folder.is_dir():
        return folder
    return data if role == "fit" and not any((data / name).is_dir() for name in ROLE_FOLDERS.values()) else None


def check_roles(roles: Mapping[str, Sequence[PreparedSeries]]) -> None:
    """Raises `NoTrainingData` when a patient is in two roles: scores of that model would be worthless."""
    seen: dict[str, str] = {}
    for role, series in roles.items():
        for each in series:
            other = seen.setdefault(each.patient, role)
            if other != role:
                raise NoTrainingData(f"the patient of series {each.name!r} is in both roles, {other} and {role}")


def check_unseen(series: Sequence[PreparedSeries], seen: Iterable[Mapping[str, Any]], model: str) -> None:
    """Raises `NoTrainingData` when a model was fitted on a patient of `series`: its scores there would be worthless.

    Args:
        series: to score on.
        seen: what the model was fitted on, with a key `patient` each.
        model: its name.
    """
    patients = {each["patient"] for each in seen}
    for each in series:
        if each.patient in patients:
            raise NoTrainingData(
                f"{model} was fitted on the patient of series {each.name!r}, and cannot be scored there"
            )


def check_fit_series(series: Sequence[PreparedSeries], size: int) -> None:
    """Raises `NoTrainingData` when there is no series, or one with slices smaller than a patch of `size` x `size`."""
    if not series:
        raise NoTrainingData(f"there is no series to fit: the data has no folder {ROLE_FOLDERS['fit']}/")
    for each in series:
        height, width = each.images.shape[1:]
        if min(height, width) < size:
            raise NoTrainingData(
                f"series {each.name!r} has slices of {height} x {width} pixels, smaller than a patch of {size};"
                " choose a smaller --patch"
            )


def patches(
    series: Sequence[PreparedSeries],
    *,
    size: int,
    batch: int,
    steps: int,
    degrade: Degrade,
    rng: np.random.Generator,
    target: Target = "reference",
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """`steps` batches of (degraded, target), each (batch, size, size, 1) float32 in the series' unit.

    Slices are drawn with equal chance, wherever they come from; each patch has its own place, orientation (the eight of
    a square) and draw of the degradation. The target is the reference, or an image as noisy as the degraded one
    (`training.targets`).
    """
    index = [(each, number) for each in series for number in range(len(each.images))]
    for _ in range(steps):
        degraded = np.empty((batch, size, size, 1), np.float32)
        wanted = np.empty_like(degraded)
        for row in range(batch):
            degraded[row, ..., 0], wanted[row, ..., 0] = _patch(index, size, degrade, target, rng)
        yield degraded, wanted


def _patch(
    index: list[tuple[PreparedSeries, int]], size: int, degrade: Degrade, target: Target, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    while True:
        series, number = index[rng.integers(len(index))]
        height, width = series.images.shape[1:]
        top, left = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
        window = (number, slice(top, top + size), slice(left, left + size))
        body = np.mean(series.images[window] > _BODY_HU) if series.unit == "HU" else 1.0
        if body >= _MINIMUM_BODY or rng.random() < _KEEP_AIR:
            break
    degraded, wanted = training_pair(degrade, series, window, target, rng)
    turns, step = int(rng.integers(4)), rng.choice((1, -1))  # the eight orientations of a square
    return np.rot90(degraded, turns)[:, ::step], np.rot90(wanted, turns)[:, ::step]


def evaluation_pairs(
    series: PreparedSeries, degrade: Degrade, *, draw: int = 0
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """(degraded, reference) of every slice, (H, W) float32 in the series' unit; always the same for the same `draw`.

    Draws 0, 1, 2, ... are independent repetitions of one degradation, as far as it has them: a low dose has two cached
    draws, and later ones are mixes of these.
    """
    _, height, width = series.images.shape
    for number in range(len(series.images)):
        window = (number, slice(0, height), slice(0, width))
        if isinstance(degrade, Repeats):
            degraded = degrade.repeat(series, window, draw)
        else:
            degraded = degrade(series, window, evaluation_rng(series, number, draw))
        yield degraded, np.asarray(series.images[number])
