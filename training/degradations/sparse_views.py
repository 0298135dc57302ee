"""Sparse views from cached artefact images: seconds a slice once, then nothing.

series --sparse_view_artefacts, several processes--> aside --rename--> its cache folder/sparse-views-60.npy
                                                                       memory-mapped: HU + artefact of one offset
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.sparse_views import OFFSETS, sparse_view_artefacts
from training.data.pairs import PreparedSeries, Window
from training.errors import UnsuitableSeries
from training.progress import Advance, silent

_SLICES_AT_ONCE = 8  # they share the look-ups of the projector, at 50 MB of memory each for 512 x 512 pixels


@dataclass(frozen=True)
class SparseViews:
    """The streaks of a scan with too few views; see `imaging.sparse_views`.

    The artefacts depend on the slice and the place of the first view only, of which there are `OFFSETS`: they are no
    noise, and the offsets are not independent of each other.

    Attributes:
        views: over half a turn.
    """

    views: float

    def __call__(self, series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
        """The window with the streaks of a random offset; raises `UnsuitableSeries`."""
        return self.repeat(series, window, int(rng.integers(OFFSETS)))

    def repeat(self, series: PreparedSeries, window: Window, draw: int) -> NDArray[np.float32]:
        """The window with the streaks of offset `draw` modulo `OFFSETS`; raises `UnsuitableSeries`."""
        number, rows, columns = window
        artefacts = self._artefacts(series)[number, draw % OFFSETS, rows, columns]
        return np.asarray(series.images[window]) + artefacts.astype(np.float32)

    def prepare(self, series: PreparedSeries, *, processes: int | None = None, progress: Advance = silent) -> None:
        """Makes the artefacts of a series where they are missing; a draw does so, too, but shows no progress.

        Args:
            series: with a folder in the cache.
            processes: at most this many (default: the machine's cores).
            progress: told (stage, slices done, slices in all).

        Raises:
            UnsuitableSeries: no CT series, or not in the cache.
        """
        file = self._file(series)
        if not file.exists():
            images, stage = np.asarray(series.images), f"streaks of {series.name}"
            _make(file, images, int(self.views), processes=processes, progress=partial(progress, stage))

    def _artefacts(self, series: PreparedSeries) -> NDArray[np.float16]:
        self.prepare(series)
        return _open(self._file(series))

    def _file(self, series: PreparedSeries) -> Path:
        if series.folder is None or series.unit != "HU":
            raise UnsuitableSeries(f"series {series.name!r} has no cached projections: it is no prepared CT scan")
        return series.folder / f"sparse-views-{self.views:g}.npy"


@lru_cache(maxsize=256)
def _open(file: Path) -> NDArray[np.float16]:
    """(N, OFFSETS, H, W) HU, memory-mapped; kept open, because patches are drawn thousands of times a minute."""
    artefacts: NDArray[np.float16] = np.load(file, mmap_mode="r")
    return artefacts


def _make(
    final: Path,
    images: NDArray[np.float32],
    views: int,
    *,
    processes: int | None,
    progress: Callable[[int, int], None],
) -> None:
    """Writes the file aside and renames it: a killed preparation leaves nothing that looks finished."""
    shape = (len(images), OFFSETS, *images.shape[1:])
    blocks = [images[first : first + _SLICES_AT_ONCE] for first in range(0, len(images), _SLICES_AT_ONCE)]
    with tempfile.TemporaryDirectory(prefix=".making-", dir=final.parent) as aside:
        file = Path(aside) / final.name
        store = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
        done = 0
        for artefacts in _artefacts_of(blocks, views, min(processes or os.cpu_count() or 1, len(blocks))):
            store[done : done + len(artefacts)] = artefacts
            done += len(artefacts)
            progress(done, len(images))
        store.flush()
        file.replace(final)


def _artefacts_of(blocks: list[NDArray[np.float32]], views: int, processes: int) -> Iterator[NDArray[np.float32]]:
    if processes == 1:  # a process of its own would take longer to start than a small series takes
        yield from (sparse_view_artefacts(block, views) for block in blocks)
        return
    # spawn: as for the unit noise
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(sparse_view_artefacts, blocks, [views] * len(blocks))
