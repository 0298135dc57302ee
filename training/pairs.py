"""Series -> slices with cached unit noise, from which degraded / reference pairs are drawn at no cost.

    folder or zips --read_series--> series --average neighbours--> targets --project, back-project--> cache/*/*.npy
                                      |                                      (several processes)
                                      '-- too noisy to be a target: left out, and said so

The projections and the back-projected unit noise of a slice take seconds and never change; a training step only weighs
and adds cached images (`NoisyPair`). Arrays are memory-mapped, so a run's memory does not grow with the data.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.dicom_file import looks_like_dicom
from imaging.low_dose import KERNELS, line_integrals, noise_basis, noise_region
from imaging.noise import global_noise_level
from imaging.series import CtSeries, read_series
from training.errors import NoTrainingData
from training.progress import Advance, Notice, silent

CACHE_VERSION = 1
"""Raise when the physics or the layout below changes: old caches are then made anew."""

DRAWS = 2
"""Independent noise draws per kernel. A training step mixes them with random weights on the unit circle, which gives
Gaussian noise of the same covariance, so two draws already make a continuum of noise images."""

MAX_TARGET_NOISE_HU = 40.0
"""A series noisier than this is an input, not a target: an L2 network would learn to keep its noise."""

THIN_SLICE_MM = 2.0
"""Up to this thickness neighbouring slices show the same anatomy, and their mean is a cleaner target."""

_AVERAGED_SLICES = 3
_DICOM_PREFIX = 132  # bytes that tell a DICOM file: preamble and magic
_CONTIGUOUS = 1.3  # neighbours are averaged only where their distance is at most this many slice thicknesses


@dataclass(frozen=True, eq=False)
class PreparedSeries:
    """Targets of one series with their cached unit noise; N slices, K = len(KERNELS) * DRAWS noise images.

    Attributes:
        name, patient: of the series; `patient` is a hash, and the key by which roles are split.
        spacing: mm.
        noise_hu: the scan's own noise level in soft tissue, HU; median over slices, NaN where there is no soft tissue.
        hu: (N, H, W) float32.
        quantum, electronic: (N, K, H, W) float16, soft-tissue standard deviation 1; kernel k // DRAWS.
        quantum_sd, electronic_sd: (N, K) float32, the deviations divided out: HU at I0 = 1 and s = 1.
    """

    name: str
    patient: str
    spacing: tuple[float, float]
    noise_hu: float
    hu: NDArray[np.float32]
    quantum: NDArray[np.float16]
    electronic: NDArray[np.float16]
    quantum_sd: NDArray[np.float32]
    electronic_sd: NDArray[np.float32]


def average_neighbours(series: CtSeries) -> NDArray[np.float32]:
    """Targets of a series, (N, H, W) float32 HU: means of three neighbours where slices are thin and contiguous.

    Slices thicker than `THIN_SLICE_MM` are returned as they are. Of a run of n contiguous thin slices n - 2 means come,
    a run of fewer than three is left out.
    """
    thickness = series.slice_thickness or np.inf
    if thickness > THIN_SLICE_MM:
        return series.volume
    means = []
    for first in range(len(series.volume) - _AVERAGED_SLICES + 1):
        gaps = np.diff(series.positions[first : first + _AVERAGED_SLICES])
        if np.all(np.abs(gaps) <= _CONTIGUOUS * thickness):
            means.append(series.volume[first : first + _AVERAGED_SLICES].mean(axis=0, dtype=np.float64))
    return np.asarray(means, np.float32).reshape((-1, *series.volume.shape[1:]))


def prepare(
    paths: Iterable[Path],
    cache: Path,
    *,
    seed: int = 0,
    average: bool = True,
    processes: int | None = None,
    progress: Advance = silent,
    notice: Notice = silent,
) -> list[PreparedSeries]:
    """Reads series and makes (or finds) their cached noise.

    Args:
        paths: folders and zip files of DICOM; a folder's zip files and folders are read one by one.
        cache: a folder of ours; made when missing. A series is found again by its pixels and the settings here.
        seed: of the cached noise.
        average: False takes every slice as it is (evaluation), True averages thin ones and leaves noisy series out.
        processes: at most this many (default: the machine's cores).
        progress: told (series, slices done, slices in all).
        notice: told what was left out, and why.

    Raises:
        NoTrainingData: no usable series, or DICOM files beside zip files.
    """
    prepared = []
    for series in _all_series(paths):
        targets = average_neighbours(series) if average else series.volume
        noise = _median_noise(targets)
        if len(targets) == 0:
            notice(f"{series.name}: left out, no three contiguous thin slices to average")
            continue
        if average and noise > MAX_TARGET_NOISE_HU:
            notice(
                f"{series.name}: left out as a target, {noise:.0f} HU of noise is above {MAX_TARGET_NOISE_HU:.0f} HU"
            )
            continue
        folder = _cache_folder(series, targets, cache, seed)
        if not folder.exists():
            _make(folder, series, targets, seed=seed, processes=processes, progress=progress)
        progress(series.name, len(targets), len(targets))
        prepared.append(_open(folder, series, noise))
    if not prepared:
        raise NoTrainingData(f"no usable CT series in {', '.join(str(path) for path in paths)}")
    return prepared


def _all_series(paths: Iterable[Path]) -> Iterator[CtSeries]:
    for path in paths:
        for source in _sources(path):
            yield from read_series(source)


def _sources(path: Path) -> list[Path]:
    """What is read on its own below `path`: its zip files and folders with DICOM, or `path` itself if it has neither.

    Raises:
        NoTrainingData: loose DICOM files lie beside zip files; reading only one kind would lose the other silently.
    """
    if not path.is_dir():
        return [path]
    entries = sorted(path.iterdir())
    zips = [entry for entry in entries if entry.suffix == ".zip"]
    if any(_is_dicom(entry) for entry in entries):
        if zips:
            raise NoTrainingData(f"{path} holds DICOM files beside zip files; move them into a folder of their own")
        return [path]
    folders = [entry for entry in entries if entry.is_dir() and any(_is_dicom(file) for file in entry.rglob("*"))]
    return sorted(zips + folders) or [path]


def _is_dicom(file: Path) -> bool:
    if not file.is_file() or file.name == "DICOMDIR":  # which only lists the others
        return False
    with file.open("rb") as stream:
        return looks_like_dicom(stream.read(_DICOM_PREFIX))


def _median_noise(volume: NDArray[np.float32]) -> float:
    levels = [global_noise_level(image) for image in volume[:: max(1, len(volume) // 12)]]
    known = [level for level in levels if np.isfinite(level)]
    return float(np.median(known)) if known else float("nan")


def _cache_folder(series: CtSeries, targets: NDArray[np.float32], cache: Path, seed: int) -> Path:
    settings = json.dumps([CACHE_VERSION, [k.cutoff for k in KERNELS], DRAWS, seed, series.spacing, targets.shape])
    digest = hashlib.sha256(settings.encode() + np.ascontiguousarray(targets).tobytes()).hexdigest()[:16]
    return cache / f"{series.name}-{digest}"


def _open(folder: Path, series: CtSeries, noise_hu: float) -> PreparedSeries:
    names = ("hu", "quantum", "electronic", "quantum_sd", "electronic_sd")
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
    return PreparedSeries(series.name, series.patient, series.spacing, noise_hu, **arrays)


def _make(
    final: Path,
    series: CtSeries,
    targets: NDArray[np.float32],
    *,
    seed: int,
    processes: int | None,
    progress: Advance,
) -> None:
    """Fills a folder aside and renames it: a killed preparation leaves nothing that looks finished."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=final.parent) as aside:
        folder = Path(aside) / final.name
        folder.mkdir()
        _fill(folder, series, targets, seed=seed, processes=processes, progress=progress)
        if not final.exists():  # another process may have made it meanwhile
            folder.rename(final)


def _fill(
    folder: Path,
    series: CtSeries,
    targets: NDArray[np.float32],
    *,
    seed: int,
    processes: int | None,
    progress: Advance,
) -> None:
    count, images = len(targets), len(KERNELS) * DRAWS
    noise_shape = (count, images, *targets.shape[1:])
    stores = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float16, shape=noise_shape)
        for name in ("quantum", "electronic")
    }
    deviations = np.zeros((2, count, images), np.float32)
    np.save(folder / "hu.npy", targets)
    # spawn: a forked child would inherit the threads of whatever numerical library the parent has running
    with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        work = [(targets[index], series.spacing, (seed, index)) for index in range(count)]
        for index, (quantum, electronic, sds) in enumerate(pool.map(_unit_noise, work)):
            stores["quantum"][index], stores["electronic"][index] = quantum, electronic
            deviations[:, index] = sds
            progress(series.name, index + 1, count)
    for store in stores.values():
        store.flush()
    np.save(folder / "quantum_sd.npy", deviations[0])
    np.save(folder / "electronic_sd.npy", deviations[1])


def _unit_noise(
    work: tuple[NDArray[np.float32], tuple[float, float], tuple[int, int]],
) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float32]]:
    """Both kinds of noise of one slice, each divided by its soft-tissue deviation, and the deviations (2, K)."""
    hu, spacing, seed = work
    kernels = [kernel for kernel in KERNELS for _ in range(DRAWS)]
    basis = noise_basis(
        line_integrals(hu, spacing), (hu.shape[0], hu.shape[1]), spacing, kernels, np.random.default_rng(seed)
    )
    region = noise_region(hu)
    sds = np.stack([noise[:, region].std(axis=1) for noise in (basis.quantum, basis.electronic)])
    scaled = [noise / sd[:, None, None] for noise, sd in zip((basis.quantum, basis.electronic), sds, strict=True)]
    return scaled[0].astype(np.float16), scaled[1].astype(np.float16), sds
