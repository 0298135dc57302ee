"""Anatomical phantoms: a slice through a trunk or a head, drawn from a generator, with its truth known exactly.

    generator --anatomy--> ellipsoids --cut at z--> outlines, painted back to front --texture--> HU

For tests, the golden sample of a published model, and the sample that newcomers send first. It has the edges,
low-contrast lesions, fine vessels, bone, gas and (on demand) metal that a reconstruction can get wrong, and no noise.
It is no anatomy: it proves nothing about patients, and it trains no shipped model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.anatomy import METAL_HU, Ellipsoid, Region, head_parts, parts
from imaging.image import AIR_HU

SMALLEST_GROWTH, LARGEST_GROWTH = 0.92, 1.05
"""Of all lengths, from one patient to another; the largest is 346 mm wide."""

_GRAIN_MM = 1.5  # standard deviation of the blur that makes texture of white noise: fine enough to be no structure


def trunk(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    rng: np.random.Generator,
    *,
    region: Region = "abdomen",
    metal: bool = False,
    z: float = 0.0,
) -> NDArray[np.float32]:
    """A noise-free slice, (H, W) float32 in HU, -1000 (air) to about 900 (cortical bone), 3071 with metal.

    Args:
        shape: (H, W), any size.
        spacing: (between rows, between columns) in mm.
        rng: varies size and contrast by a few percent, and draws lesions, vessels and texture. Generators in the same
            state draw the same patient.
        region: `chest` has lungs, `abdomen` a liver with lesions.
        metal: adds two screws in the vertebra.
        z: of the plane in mm; 0 cuts through all lesions, and organs end within 100 mm.
    """
    grow = rng.uniform(SMALLEST_GROWTH, LARGEST_GROWTH)
    return _draw(parts(rng, region, metal=metal), shape, spacing, rng, grow=grow, z=z)


def head(shape: tuple[int, int], spacing: tuple[float, float], rng: np.random.Generator) -> NDArray[np.float32]:
    """A noise-free slice, (H, W) float32 in HU, of a head; 194 mm long before growth. Arguments as of `trunk`."""
    grow = rng.uniform(SMALLEST_GROWTH, LARGEST_GROWTH)
    return _draw(head_parts(rng), shape, spacing, rng, grow=grow, z=0.0)


def _draw(
    shapes: list[Ellipsoid],
    shape: tuple[int, int],
    spacing: tuple[float, float],
    rng: np.random.Generator,
    *,
    grow: float,
    z: float,
) -> NDArray[np.float32]:
    # fine grain that follows the pixels, as organs show it after reconstruction
    grain = ndimage.gaussian_filter(rng.standard_normal(shape), (_GRAIN_MM / spacing[0], _GRAIN_MM / spacing[1]))
    grain /= max(float(grain.std()), 1e-9)
    rows, columns = np.arange(shape[0], dtype=np.float64), np.arange(shape[1], dtype=np.float64)
    y = (rows - (shape[0] - 1) / 2) * spacing[0] / grow
    x = (columns - (shape[1] - 1) / 2) * spacing[1] / grow
    pixel = float(np.sqrt(spacing[0] * spacing[1])) / grow
    hu = np.full(shape, AIR_HU)
    for whole in shapes:
        part = whole.section(z / grow)
        if part is not None:
            _paint(part, hu, grain, x=x, y=y, pixel=pixel)
    return np.asarray(np.clip(hu, AIR_HU, METAL_HU), np.float32)


def _paint(
    part: Ellipsoid,
    hu: NDArray[np.float64],
    grain: NDArray[np.float64],
    *,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    pixel: float,
) -> None:
    """Paints over `hu`, in place, within the box around the shape only: most are small."""
    reach = np.hypot(part.a, part.b) * (1 + 2 * part.wobble) + pixel
    rows, columns = (
        slice(*np.searchsorted(axis, (centre - reach, centre + reach))) for axis, centre in ((y, part.y), (x, part.x))
    )
    box = hu[rows, columns]
    cover = _coverage(part, x[None, columns] - part.x, y[rows, None] - part.y, pixel)
    box += cover * (part.hu + part.texture * grain[rows, columns] - box)


def _coverage(part: Ellipsoid, x: NDArray[np.float64], y: NDArray[np.float64], pixel: float) -> NDArray[np.float64]:
    """(H, W) share of each pixel inside the shape, 0..1: the distance to its edge over one pixel, linearly."""
    turn = np.radians(part.turn)
    across = (x * np.cos(turn) + y * np.sin(turn)) / part.a
    along = (y * np.cos(turn) - x * np.sin(turn)) / part.b
    p = part.power
    radius = np.maximum((np.abs(across) ** p + np.abs(along) ** p) ** (1 / p), 1e-9)
    # 1 - radius over the gradient's length is the distance to the edge to first order
    gradient = np.hypot(np.abs(across) ** (p - 1) / part.a, np.abs(along) ** (p - 1) / part.b) * radius ** (1 - p)
    edge = 1.0
    if part.wobble:
        angle = np.arctan2(along, across)
        waves = ((2, 1.0), (3, 0.7), (5, 0.3))  # shares that add up to 2
        edge = 1 + part.wobble * sum(share * np.sin(n * angle + n * n * part.phase) for n, share in waves)
    distance = (edge - radius) / np.maximum(gradient, 1e-9)
    cover: NDArray[np.float64] = np.clip(distance / pixel + 0.5, 0, 1)
    return cover
