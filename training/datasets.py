"""Pairs and patches: what a training step and an evaluation see.

    PreparedSeries --NoiseRange, generator--> (degraded, reference) patches, (N, S, S, 1) HU   `patches`
                   --DoseProtocol-----------> (degraded, reference) slices, (H, W) HU          `evaluation_pairs`

The three roles are three sets of patients: fit (the weights), tune (settings, baselines, defaults) and report (looked
at, never chosen by). `check_roles` refuses a patient in two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imaging.low_dose import KERNELS, RAMP, SOFT, Kernel, photons_for_noise
from training.errors import NoTrainingData
from training.pairs import DRAWS, PreparedSeries

Role = Literal["fit", "tune", "report"]
ROLE_FOLDERS: dict[Role, str] = {"fit": "train", "tune": "tune", "report": "validation"}

_BODY_HU = -800.0  # above it a pixel is patient or table rather than air
_MINIMUM_BODY = 0.25  # share of a patch; patches of air teach little
_KEEP_AIR = 0.1  # yet some are kept: air must stay air


@dataclass(frozen=True)
class NoiseRange:
    """Distribution of the added noise in training patches.

    Attributes:
        low_hu, high_hu: ends of the log-uniform noise level in soft tissue.
        electronic_share: up to this share of the variance is electronic noise (streaks along thick paths).
        clean_share: of the patches is left untouched, so that a clean input stays clean.
    """

    low_hu: float = 8.0
    high_hu: float = 80.0
    electronic_share: float = 0.4
    clean_share: float = 0.04


@dataclass(frozen=True)
class DoseProtocol:
    """How evaluation degrades a slice.

    Attributes:
        dose_fraction: of the full dose.
        full_dose_noise_hu: noise in soft tissue of the full-dose scan under this kernel; it fixes the tube output.
        kernel: one of `imaging.low_dose.KERNELS`.
        electronic_noise: photons per ray.
    """

    dose_fraction: float = 0.25
    full_dose_noise_hu: float = 15.0
    kernel: Kernel = SOFT
    electronic_noise: float = 4.0

    @property
    def label(self) -> str:
        """For tables and manifests."""
        return (
            f"{self.dose_fraction:g} of a dose with {self.full_dose_noise_hu:g} HU noise, {self.kernel.name} kernel,"
            f" electronic noise {self.electronic_noise:g} photons"
        )


def standard_protocols(dose_fraction: float) -> tuple[DoseProtocol, ...]:
    """What reports use: a soft kernel with 15 HU of noise at full dose, and the plain ramp with 25 HU, as sharp."""
    return (
        DoseProtocol(dose_fraction, full_dose_noise_hu=15.0, kernel=SOFT),
        DoseProtocol(dose_fraction, full_dose_noise_hu=25.0, kernel=RAMP),
    )


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


def patches(
    series: Sequence[PreparedSeries], *, size: int, batch: int, steps: int, noise: NoiseRange, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """`steps` batches of (degraded, reference), each (batch, size, size, 1) float32 in HU.

    Slices are drawn with equal chance, wherever they come from; each patch has its own place, orientation (the eight of
    a square), kernel, noise draw and level.
    """
    index = [(each, number) for each in series for number in range(len(each.hu))]
    for _ in range(steps):
        degraded = np.empty((batch, size, size, 1), np.float32)
        reference = np.empty_like(degraded)
        for row in range(batch):
            degraded[row, ..., 0], reference[row, ..., 0] = _patch(index, size, noise, rng)
        yield degraded, reference


def _patch(
    index: list[tuple[PreparedSeries, int]], size: int, noise: NoiseRange, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    while True:
        series, number = index[rng.integers(len(index))]
        height, width = series.hu.shape[1:]
        top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
        window = np.s_[number, top : top + size, left : left + size]
        reference = np.asarray(series.hu[window])
        if np.mean(reference > _BODY_HU) >= _MINIMUM_BODY or rng.random() < _KEEP_AIR:
            break
    degraded = reference
    if rng.random() >= noise.clean_share:
        degraded = reference + _draw_noise(series, window, noise, rng)
    turns, step = int(rng.integers(4)), rng.choice((1, -1))  # the eight orientations of a square
    return np.rot90(degraded, turns)[:, ::step], np.rot90(reference, turns)[:, ::step]


def _draw_noise(
    series: PreparedSeries, window: tuple[int, slice, slice], noise: NoiseRange, rng: np.random.Generator
) -> NDArray[np.float32]:
    number, rows, columns = window
    first = int(rng.integers(len(KERNELS))) * DRAWS
    level = np.exp(rng.uniform(np.log(noise.low_hu), np.log(noise.high_hu)))
    share = rng.uniform(0, noise.electronic_share)
    total = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    for images, variance in ((series.quantum, 1 - share), (series.electronic, share)):
        weights = rng.standard_normal(DRAWS)
        weights *= level * np.sqrt(variance) / np.linalg.norm(weights)
        for draw, weight in enumerate(weights):
            total += np.float32(weight) * images[number, first + draw, rows, columns].astype(np.float32)
    return total


def evaluation_pairs(
    series: PreparedSeries, protocol: DoseProtocol
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """(degraded, reference) of every slice, (H, W) float32 HU; always the same, of the first cached draw."""
    k = next(i for i, kernel in enumerate(KERNELS) if kernel == protocol.kernel) * DRAWS
    a = protocol.dose_fraction
    for number in range(len(series.hu)):
        quantum = float(series.quantum_sd[number, k])
        electronic = float(series.electronic_sd[number, k]) * protocol.electronic_noise
        photons = photons_for_noise(quantum**2, electronic**2, protocol.full_dose_noise_hu)
        # cached noise has deviation 1: these weights are those of imaging.low_dose.added_noise times the deviations
        quantum *= np.sqrt((1 - a) / a / photons)
        electronic *= np.sqrt(1 - a * a) / a / photons
        reference = np.asarray(series.hu[number])
        noise = np.float32(quantum) * series.quantum[number, k].astype(np.float32)
        noise += np.float32(electronic) * series.electronic[number, k].astype(np.float32)
        yield reference + noise, reference
