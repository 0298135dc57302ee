"""An anatomical phantom: a slice through a chest or an abdomen, drawn from a generator, with its truth known exactly.

    generator --varies size, position, contrast--> ellipses, painted back to front --texture--> HU

For tests, the golden sample of a published model, and the sample that newcomers send first. Attenuation values are
typical ones of the tissues at 120 kVp; the anatomy is a sketch that has the edges, low-contrast lesions, fine vessels,
bone, air and (on demand) metal that a reconstruction can get wrong. It trains no shipped model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.image import AIR_HU

AXIS_LENGTHS_MM = (330.0, 230.0)
"""Width and depth of a slender adult's trunk."""

METAL_HU = 3071.0
"""The end of the 12-bit scale, where metal saturates."""

_VESSELS_IN_LUNG = 60


@dataclass(frozen=True)
class Ellipse:
    """One painted shape, in fractions of the trunk: centre and half axes relative to the trunk's half axes.

    Attributes:
        x, y: centre; the trunk spans -1..1 in both, y points down (posterior).
        a, b: half axes.
        hu: attenuation.
        texture: standard deviation of the tissue's own texture, HU.
        turn: rotation in degrees.
    """

    x: float
    y: float
    a: float
    b: float
    hu: float
    texture: float = 0.0
    turn: float = 0.0


def trunk(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    rng: np.random.Generator,
    *,
    region: Literal["chest", "abdomen"] = "abdomen",
    metal: bool = False,
) -> NDArray[np.float32]:
    """A noise-free slice, (H, W) float32 in HU, -1000 (air) to about 1000 (cortical bone), 3071 with metal.

    Args:
        shape: (H, W), any size.
        spacing: (between rows, between columns) in mm.
        rng: varies size, position and contrast by a few percent, and draws lesions, vessels and texture.
        region: `chest` has lungs, `abdomen` a liver with lesions.
        metal: adds two screws in the vertebra.
    """
    grow = rng.uniform(0.92, 1.05)
    half = (AXIS_LENGTHS_MM[0] / 2 * grow, AXIS_LENGTHS_MM[1] / 2 * grow)
    rows, columns = np.arange(shape[0], dtype=np.float64), np.arange(shape[1], dtype=np.float64)
    y: NDArray[np.float64] = (rows - (shape[0] - 1) / 2)[:, None] * spacing[0] / half[1]
    x: NDArray[np.float64] = (columns - (shape[1] - 1) / 2)[None, :] * spacing[1] / half[0]
    pixel = spacing[1] / half[0]
    hu = np.full(shape, AIR_HU)
    # fine grain that follows the pixels, as organs show it after reconstruction
    grain = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5 / np.mean(spacing))
    grain /= max(float(grain.std()), 1e-9)
    for part in _parts(rng, region, metal=metal):
        cover = _coverage(part, x, y, pixel)
        hu += cover * (part.hu + part.texture * grain - hu)
    return np.asarray(np.clip(hu, AIR_HU, METAL_HU), np.float32)


def _parts(rng: np.random.Generator, region: str, *, metal: bool) -> list[Ellipse]:
    """Back to front."""
    parts = [
        Ellipse(0, 0, 1, 1, -100, 4),  # skin and fat
        Ellipse(0, 0, 0.93, 0.9, 55, 5),  # muscle
    ]
    parts += _chest(rng) if region == "chest" else _abdomen(rng)
    parts += [
        Ellipse(0, 0.62, 0.17, 0.22, 900, 30),  # vertebra: cortex, then marrow
        Ellipse(0, 0.62, 0.145, 0.19, 220, 45),
        Ellipse(0, 0.79, 0.06, 0.08, 25, 2),  # spinal canal
        Ellipse(-0.03, 0.31, 0.075, 0.1, 160 + rng.uniform(-20, 60), 3),  # aorta, with contrast agent
    ]
    for angle in np.linspace(20, 340, 9):  # ribs
        side, down = 0.89 * np.cos(np.radians(angle - 90)), 0.86 * np.sin(np.radians(angle - 90))
        parts.append(Ellipse(side, down, 0.065, 0.03, 700, 60, float(angle)))
    if metal:
        parts += [Ellipse(side, 0.66, 0.02, 0.11, METAL_HU, 0, 20 * np.sign(side)) for side in (-0.09, 0.09)]
    return parts


def _abdomen(rng: np.random.Generator) -> list[Ellipse]:
    liver = 95 + rng.uniform(-10, 20)
    parts = [
        Ellipse(0.05, 0.05, 0.85, 0.72, -95, 5),  # fat between the organs
        Ellipse(-0.4, -0.05, 0.44, 0.56, liver, 6, -15),
        Ellipse(0.55, 0.05, 0.22, 0.34, 110, 5, 20),  # spleen
        Ellipse(0.2, -0.3, 0.26, 0.22, 30, 4),  # stomach, with a gas bubble
        Ellipse(0.22, -0.42, 0.12, 0.07, -980),
        Ellipse(-0.33, 0.45, 0.14, 0.17, 170, 6),  # kidneys
        Ellipse(0.33, 0.45, 0.14, 0.17, 170, 6),
    ]
    for _ in range(5):  # low-contrast lesions and vessels of the liver
        where = rng.uniform(-0.22, 0.22), rng.uniform(-0.3, 0.3)
        size = rng.uniform(0.025, 0.06)
        parts.append(Ellipse(-0.4 + where[0], -0.05 + where[1], size, size * 1.4, liver - rng.uniform(15, 45), 4))
    for _ in range(8):
        where = rng.uniform(-0.25, 0.25), rng.uniform(-0.35, 0.35)
        parts.append(Ellipse(-0.4 + where[0], -0.05 + where[1], 0.012, 0.03, liver + 60, 0, rng.uniform(0, 180)))
    return parts


def _chest(rng: np.random.Generator) -> list[Ellipse]:
    parts = [
        Ellipse(-0.46, -0.02, 0.36, 0.66, -860, 25, 6),  # lungs
        Ellipse(0.46, -0.02, 0.36, 0.66, -860, 25, -6),
        Ellipse(0.08, -0.22, 0.27, 0.36, 60 + rng.uniform(0, 60), 4),  # heart
    ]
    for _ in range(_VESSELS_IN_LUNG):
        side = rng.choice([-1.0, 1.0])
        radius, angle = np.sqrt(rng.uniform(0, 0.8)), rng.uniform(0, 2 * np.pi)
        where = 0.46 * side + 0.3 * radius * np.cos(angle), -0.02 + 0.55 * radius * np.sin(angle)
        size = rng.uniform(0.005, 0.018)
        parts.append(Ellipse(*where, size, size * rng.uniform(1, 4), 30, 0, rng.uniform(0, 180)))
    return parts


def _coverage(part: Ellipse, x: NDArray[np.float64], y: NDArray[np.float64], pixel: float) -> NDArray[np.float64]:
    """(H, W) share of each pixel inside the ellipse, 0..1: the distance to its edge over one pixel, linearly."""
    turn = np.radians(part.turn)
    across = (x - part.x) * np.cos(turn) + (y - part.y) * np.sin(turn)
    along = (y - part.y) * np.cos(turn) - (x - part.x) * np.sin(turn)
    radius = np.hypot(across / part.a, along / part.b)
    # radius - 1 over the gradient's length is the distance to the edge to first order
    gradient = np.hypot(across / part.a**2, along / part.b**2) / np.maximum(radius, 1e-9)
    distance = (1 - radius) / np.maximum(gradient, 1e-9)
    cover: NDArray[np.float64] = np.clip(distance / pixel + 0.5, 0, 1)
    return cover
