"""Series -> slices that can be degraded at no cost, for training and evaluation.

    folder or zips --read_series--> series --average neighbours--> targets --unit noise, cached--> PreparedSeries
                                      |                                     (training.data.unit_noise)        |
                                      '-- too noisy to be a target: left out, and said so                |
                                                                                 Degrade, generator, Window
                                                                                                         v
                                                                                 (h, w) degraded image or patch

A prepared series is the same thing for every domain: images in a unit, and what their degradations need. Arrays are
memory-mapped, so a run's memory does not grow with the data.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imaging.dicom_file import looks_like_dicom
from imaging.image import Unit
from imaging.noise.level import global_noise_level, neighbour_correlation
from imaging.series import CtSeries, read_series
from training.data.unit_noise import UnitNoise, cache_folder, make_folder, open_folder
from training.errors import NoTrainingData
from training.progress import Advance, Notice, silent

MAX_TARGET_NOISE_HU = 40.0
"""A series noisier than this is an input, not a target: an L2 network would learn to keep its noise."""

THIN_SLICE_MM = 2.0
"""Up to this thickness neighbouring slices show the same anatomy, and their mean is a cleaner target."""

_AVERAGED_SLICES = 3
_MEASURED = 12  # slices of a series, at least, tell its noise
_DICOM_PREFIX = 132  # bytes that tell a DICOM file: preamble and magic
_CONTIGUOUS = 1.3  # neighbours are averaged only where their distance is at most this many slice thicknesses

Window: TypeAlias = tuple[int, slice, slice]
"""Slice number, rows, columns: the part of a series' images that is looked at."""


@dataclass(frozen=True, eq=False)
class PreparedSeries:
    """Reference images of one series, N of (H, W), and what their degradations need.

    Attributes:
        name: of the series.
        patient: a hash, or for pictures the source's name: the key by which roles are split.
        spacing: (between rows, between columns) in mm; (1, 1) for pictures, whose pixels have no size.
        unit: of the images.
        noise_level: the images' own noise, in `unit`: for CT that in soft tissue, median over slices. NaN if unknown.
        images: (N, H, W) float32.
        unit_noise: of the CT physics; None where there is none.
        folder: the series' own folder in the cache, where degradations may keep what takes long to make; or None.
        noise_correlation: of the images' own noise between neighbouring pixels of soft tissue; NaN if unknown.
    """

    name: str
    patient: str
    spacing: tuple[float, float]
    unit: Unit
    noise_level: float
    images: NDArray[np.float32]
    unit_noise: UnitNoise | None = None
    folder: Path | None = None
    noise_correlation: float = math.nan


class Degrade(Protocol):
    """What makes a degraded image of a reference: (series, window, generator) -> (h, w) float32 in the series' unit."""

    def __call__(self, series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]: ...


class StatedDegrade(Degrade, Protocol):
    """A `Degrade` that says what it does, as tables and manifests need."""

    @property
    def label(self) -> str: ...


@runtime_checkable
class Repeats(Protocol):
    """A `Degrade` whose evaluation draws are its own (cached noise), rather than a generator's."""

    def repeat(self, series: PreparedSeries, window: Window, draw: int) -> NDArray[np.float32]:
        """(h, w) float32, always the same for the same draw 0, 1, ..."""
        ...


def evaluation_rng(series: PreparedSeries, number: int, draw: int) -> np.random.Generator:
    """The generator of an evaluation's draw 0, 1, ... of a slice: the same wherever and whenever it is asked for."""
    name = int.from_bytes(hashlib.sha256(series.name.encode()).digest()[:8])
    return np.random.default_rng((name, number, draw))


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
    paths = list(paths)
    prepared = []
    for series in _all_series(paths):
        try:
            prepared.append(
                prepare_series(series, cache, seed=seed, average=average, processes=processes, progress=progress)
            )
        except NoTrainingData as reason:
            notice(str(reason))
    if not prepared:
        raise NoTrainingData(f"no usable CT series in {', '.join(str(path) for path in paths)}")
    return prepared


def prepare_series(
    series: CtSeries,
    cache: Path,
    *,
    seed: int = 0,
    average: bool = True,
    processes: int | None = None,
    progress: Advance = silent,
) -> PreparedSeries:
    """One series that is in memory already (a phantom, say); arguments as for `prepare`.

    Raises:
        NoTrainingData: it cannot be a target; the message says why.
    """
    targets = average_neighbours(series) if average else series.volume
    some = targets[:: max(1, len(targets) // _MEASURED)]
    noise = _median_noise(some)
    if len(targets) == 0:
        raise NoTrainingData(f"{series.name}: left out, no three contiguous thin slices to average")
    if average and noise > MAX_TARGET_NOISE_HU:
        raise NoTrainingData(
            f"{series.name}: left out as a target, {noise:.0f} HU of noise is above {MAX_TARGET_NOISE_HU:.0f} HU"
        )
    folder = cache_folder(series.name, targets, series.spacing, cache, seed)
    if not folder.exists():
        make_folder(folder, series.name, targets, series.spacing, seed=seed, processes=processes, progress=progress)
    progress(series.name, len(targets), len(targets))
    hu, unit_noise = open_folder(folder)
    return PreparedSeries(
        series.name, series.patient, series.spacing, "HU", noise, hu, unit_noise, folder, neighbour_correlation(some)
    )


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


def _median_noise(images: NDArray[np.float32]) -> float:
    levels = [global_noise_level(image) for image in images]
    known = [level for level in levels if np.isfinite(level)]
    return float(np.median(known)) if known else float("nan")
