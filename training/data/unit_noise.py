"""The cached unit noise of a series: what projecting and back-projecting costs seconds a slice, done once.

    targets (N, H, W) HU --project, back-project, several processes--> aside --rename--> cache/NAME-DIGEST/*.npy
                                                                                        memory-mapped: UnitNoise

A training step only weighs and adds these images (`training.degradations.low_dose`). The folder is named by the pixels
and everything that decides the noise, so it is found again, or made again when any of that changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.low_dose import KERNELS, line_integrals, noise_basis, noise_region
from training.progress import Advance

CACHE_VERSION = 1
"""Raise when the physics or the layout below changes: old caches are then made anew."""

DRAWS = 2
"""Independent noise draws per kernel. A training step mixes them with random weights on the unit circle, which gives
Gaussian noise of the same covariance, so two draws already make a continuum of noise images."""


@dataclass(frozen=True, eq=False)
class UnitNoise:
    """Back-projected noise of N slices under every kernel; K = len(KERNELS) * DRAWS noise images a slice.

    Attributes:
        quantum, electronic: (N, K, H, W) float16, soft-tissue standard deviation 1; of kernel k // DRAWS.
        quantum_sd, electronic_sd: (N, K) float32, the deviations divided out: HU at I0 = 1 and s = 1.
    """

    quantum: NDArray[np.float16]
    electronic: NDArray[np.float16]
    quantum_sd: NDArray[np.float32]
    electronic_sd: NDArray[np.float32]


def cache_folder(name: str, targets: NDArray[np.float32], spacing: tuple[float, float], cache: Path, seed: int) -> Path:
    """Where the noise of these targets lies, or is to be made."""
    settings = json.dumps([CACHE_VERSION, [k.cutoff for k in KERNELS], DRAWS, seed, spacing, targets.shape])
    digest = hashlib.sha256(settings.encode() + np.ascontiguousarray(targets).tobytes()).hexdigest()[:16]
    return cache / f"{name}-{digest}"


def open_folder(folder: Path) -> tuple[NDArray[np.float32], UnitNoise]:
    """The targets, (N, H, W) float32 HU, and their unit noise, memory-mapped."""
    names = ("hu", "quantum", "electronic", "quantum_sd", "electronic_sd")
    hu, *noise = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in names)
    return hu, UnitNoise(*noise)


def make_folder(
    final: Path,
    name: str,
    targets: NDArray[np.float32],
    spacing: tuple[float, float],
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
        _fill(folder, name, targets, spacing, seed=seed, processes=processes, progress=progress)
        if not final.exists():  # another process may have made it meanwhile
            folder.rename(final)


def _fill(
    folder: Path,
    name: str,
    targets: NDArray[np.float32],
    spacing: tuple[float, float],
    *,
    seed: int,
    processes: int | None,
    progress: Advance,
) -> None:
    count, images = len(targets), len(KERNELS) * DRAWS
    noise_shape = (count, images, *targets.shape[1:])
    stores = {
        kind: np.lib.format.open_memmap(folder / f"{kind}.npy", mode="w+", dtype=np.float16, shape=noise_shape)
        for kind in ("quantum", "electronic")
    }
    deviations = np.zeros((2, count, images), np.float32)
    np.save(folder / "hu.npy", targets)
    # spawn: a forked child would inherit the threads of whatever numerical library the parent has running
    with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        work = [(targets[index], spacing, (seed, index)) for index in range(count)]
        for index, (quantum, electronic, sds) in enumerate(pool.map(_unit_noise, work)):
            stores["quantum"][index], stores["electronic"][index] = quantum, electronic
            deviations[:, index] = sds
            progress(name, index + 1, count)
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
