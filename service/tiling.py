"""Tiles of an image too large to be restored at once; pure.

    (H, W) --split--> tiles: what the model sees, and which part of its answer counts
    tile by tile: image --restore--> answer --inner part--> its place in the whole

A pixel of the answer depends on no more than the receptive field around it. So each tile is seen with half of that on
every side, and begins where the network's own grid does: what counts of it is what the whole image would have given,
and there is no seam to be blended.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import ModelFailed

Batch = NDArray[np.float32]
"""(1, H, W, C)."""

Area = tuple[slice, slice]
"""Rows and columns."""

LEAST_CORE = 64
"""Pixels, the side of what counts of a tile at least; rounded up to the network's grid."""


@dataclass(frozen=True)
class Tile:
    """One of the parts.

    Attributes:
        source: of the image: what the model is to see.
        inner: of its answer to that: what counts.
        target: of the image: where that belongs.
    """

    source: Area
    inner: Area
    target: Area


def split(shape: tuple[int, int], *, tile_pixels: int, receptive_field: int, size_multiple: int) -> list[Tile]:
    """The tiles of an image, row by row; one, the whole, where it has no more than `tile_pixels`.

    Args:
        shape: (H, W).
        tile_pixels: about what the model may see at once; more, where it must see more around a tile than that.
        receptive_field: side of the square of pixels that can change one pixel of the answer.
        size_multiple: of pixels, the grid at which the network begins.
    """
    height, width = shape
    if height * width <= tile_pixels:
        whole = (slice(0, height), slice(0, width))
        return [Tile(whole, whole, whole)]
    halo = -(-(receptive_field // 2) // size_multiple) * size_multiple
    side = max(
        math.isqrt(tile_pixels) // size_multiple * size_multiple,
        2 * halo + -(-LEAST_CORE // size_multiple) * size_multiple,
    )
    rows, columns = (_spans(size, side, halo, size_multiple) for size in shape)
    return [_tile(row, column) for row in rows for column in columns]


class Mosaic:
    """The answer to a whole image, put together from those to its tiles.

    Args:
        shape: (H, W) of the image.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._whole: Batch | None = None

    def fill(self, restore: Callable[[Batch], Batch], tile: Tile, batch: Batch) -> Batch:
        """Restores one tile of an image, (1, H, W, 1), and puts it into its place.

        Returns:
            The answer to that tile.

        Raises:
            ModelFailed: it has another size than what was seen.
        """
        answer = restore(np.ascontiguousarray(batch[:, *tile.source]))
        height, width = (part.stop - part.start for part in tile.source)
        if answer.ndim != 4 or answer.shape[:3] != (1, height, width):  # noqa: PLR2004 - N, H, W, C
            raise ModelFailed(f"the model answered {height} x {width} pixels with {answer.shape}; nothing is delivered")
        if self._whole is None:
            self._whole = np.empty((1, *self._shape, answer.shape[3]), answer.dtype)
        self._whole[:, *tile.target] = answer[:, *tile.inner]
        return answer

    def whole(self) -> Batch:
        """(1, H, W, C), after all tiles were put in."""
        assert self._whole is not None  # noqa: S101 - an image has a tile
        return self._whole


def restore_tiles(restore: Callable[[Batch], Batch], batch: Batch, tiles: Sequence[Tile]) -> Batch:
    """(1, H, W, 1) -> (1, H, W, C), tile by tile; where there is one, the restorer gets the batch itself.

    Raises:
        ModelFailed: as `Mosaic.fill`.
    """
    if len(tiles) == 1:
        return restore(batch)
    mosaic = Mosaic((batch.shape[1], batch.shape[2]))
    for tile in tiles:
        mosaic.fill(restore, tile, batch)
    return mosaic.whole()


@dataclass(frozen=True)
class _Span:
    """Along one axis: [begin, end) counts, [low, high) is seen."""

    begin: int
    end: int
    low: int
    high: int


def _spans(size: int, side: int, halo: int, multiple: int) -> list[_Span]:
    if size <= side:
        return [_Span(0, size, 0, size)]
    count = -(-size // (side - 2 * halo))
    core = -(-size // (count * multiple)) * multiple  # all about alike, and each begins on the grid
    return [
        _Span(begin, min(begin + core, size), max(0, begin - halo), min(size, begin + core + halo))
        for begin in range(0, size, core)
    ]


def _tile(row: _Span, column: _Span) -> Tile:
    spans = (row, column)
    return Tile(
        source=_area(*(slice(span.low, span.high) for span in spans)),
        inner=_area(*(slice(span.begin - span.low, span.end - span.low) for span in spans)),
        target=_area(*(slice(span.begin, span.end) for span in spans)),
    )


def _area(rows: slice, columns: slice) -> Area:
    return rows, columns
