"""Pairs and patches: what a training step and an evaluation see.

    PreparedSeries --DoseRange, generator----> (degraded, reference) patches, (N, S, S, 1) HU   `patches`
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


TYPICAL_NOISE_HU = 12.0
"""For series without soft tissue to measure: a usual noise level of a full-dose body scan."""


@dataclass(frozen=True)
class DoseRange:
    """Distribution of the added noise in training patches.

    A patch of a scan with noise level n (HU, in soft tissue) gets n * sqrt((1 - a) / a) * f: what a scan at dose
    fraction a adds, times a factor that stands for scans with other noise levels.

    Attributes:
        low, high: ends of the log-uniform dose fraction a.
        spread: the factor f is log-uniform from 1 / spread to spread.
        electronic_share: up to this share of the variance is electronic noise (streaks along thick paths).
        clean_share: of the patches is left untouched, so that a clean input stays clean.
    """

    low: float = 0.05
    high: float = 0.9
    spread: float = 1.7
    electronic_share: float = 0.4
    clean_share: float = 0.04


@dataclass(frozen=True)
class DoseProtocol:
    """How evaluation degrades a slice.

    Attributes:
        dose_fraction: of the full dose.
        full_dose_noise_hu: noise in soft tissue that the full-dose scan counts as having under this kernel; it fixes
            the tube output. None takes the noise level that the scan has: then the result is what this scanner would
            have given at that fraction of the dose it used.
        kernel: one of `imaging.low_dose.KERNELS`.
        electronic_noise: photons per ray.

    Raises:
        ValueError: `dose_fraction` lies outside (0, 1].
    """

    dose_fraction: float = 0.25
    full_dose_noise_hu: float | None = None
    kernel: Kernel = SOFT
    electronic_noise: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.dose_fraction <= 1:
            raise ValueError(f"dose_fraction must lie in (0, 1], not {self.dose_fraction}")

    @property
    def label(self) -> str:
        """For tables and manifests."""
        dose = (
            f"{self.dose_fraction:g} of the scan's own dose"
            if self.full_dose_noise_hu is None
            else f"{self.dose_fraction:g} of a dose with {self.full_dose_noise_hu:g} HU noise"
        )
        return f"{dose}, {self.kernel.name} kernel, electronic noise {self.electronic_noise:g} photons"


def standard_protocols(dose_fraction: float) -> tuple[DoseProtocol, ...]:
    """What reports use: the scan's own dose under a soft and a sharp kernel, and a stated dose that fits no scan."""
    return (
        DoseProtocol(dose_fraction, kernel=SOFT),
        DoseProtocol(dose_fraction, kernel=RAMP),
        DoseProtocol(dose_fraction, full_dose_noise_hu=15.0, kernel=SOFT),
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


def own_noise(series: PreparedSeries) -> float:
    """Noise level in soft tissue of the scan itself, in HU."""
    return series.noise_hu if np.isfinite(series.noise_hu) else TYPICAL_NOISE_HU


def check_roles(roles: Mapping[str, Sequence[PreparedSeries]]) -> None:
    """Raises `NoTrainingData` when a patient is in two roles: scores of that model would be worthless."""
    seen: dict[str, str] = {}
    for role, series in roles.items():
        for each in series:
            other = seen.setdefault(each.patient, role)
            if other != role:
                raise NoTrainingData(f"the patient of series {each.name!r} is in both roles, {other} and {role}")


def check_fit_series(series: Sequence[PreparedSeries], size: int) -> None:
    """Raises `NoTrainingData` when there is no series, or one with slices smaller than a patch of `size` x `size`."""
    if not series:
        raise NoTrainingData(f"there is no series to fit: the data has no folder {ROLE_FOLDERS['fit']}/")
    for each in series:
        height, width = each.hu.shape[1:]
        if min(height, width) < size:
            raise NoTrainingData(
                f"series {each.name!r} has slices of {height} x {width} pixels, smaller than a patch of {size};"
                " choose a smaller --patch"
            )


def patches(
    series: Sequence[PreparedSeries], *, size: int, batch: int, steps: int, noise: DoseRange, rng: np.random.Generator
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
    index: list[tuple[PreparedSeries, int]], size: int, noise: DoseRange, rng: np.random.Generator
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
    series: PreparedSeries, window: tuple[int, slice, slice], noise: DoseRange, rng: np.random.Generator
) -> NDArray[np.float32]:
    number, rows, columns = window
    first = int(rng.integers(len(KERNELS))) * DRAWS
    dose = np.exp(rng.uniform(np.log(noise.low), np.log(noise.high)))
    factor = np.exp(rng.uniform(-1, 1) * np.log(noise.spread))
    level = own_noise(series) * np.sqrt((1 - dose) / dose) * factor
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
    full_dose_noise = own_noise(series) if protocol.full_dose_noise_hu is None else protocol.full_dose_noise_hu
    for number in range(len(series.hu)):
        quantum = float(series.quantum_sd[number, k])
        electronic = float(series.electronic_sd[number, k]) * protocol.electronic_noise
        photons = photons_for_noise(quantum**2, electronic**2, full_dose_noise)
        # cached noise has deviation 1: these weights are those of imaging.low_dose.added_noise times the deviations
        quantum *= np.sqrt((1 - a) / a / photons)
        electronic *= np.sqrt(1 - a * a) / a / photons
        reference = np.asarray(series.hu[number])
        noise = np.float32(quantum) * series.quantum[number, k].astype(np.float32)
        noise += np.float32(electronic) * series.electronic[number, k].astype(np.float32)
        yield reference + noise, reference
