"""Hard cases: drawn images of what a CT model was not made for, with the truth known and what the guard says.

    HARD_CASES --phantom, low dose--> (truth, degraded, where) --restore, guard--> HardCase: error before and after

They show what to look out for. A drawing is no patient: metal here starves rays of photons and hardens no beam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.anatomy import METAL_HU, Region
from imaging.guard import findings, measure_answer
from imaging.low_dose import RAMP, SOFT, STANDARD, Kernel, simulate
from imaging.phantom import head, trunk

Picture = NDArray[np.float32]

SHAPE = (512, 512)
_SPACING_MM = 0.75  # of a trunk
_BODY_HU, _BONE_HU = -500.0, 150.0
_NEAR_MM = 25.0
_SEED = 20261128


@dataclass(frozen=True)
class Drawing:
    """How a hard case is made.

    Attributes:
        name: for tables.
        where: in words, the pixels that are counted.
        draw: generator -> noise-free HU, of the shape `SHAPE`.
        counted: noise-free HU -> (H, W) bool.
        dose_fraction: of the full dose; None adds no noise.
        noise_hu: of the full dose in soft tissue under `kernel`.
        kernel: of the noise.
        spacing_mm: between rows and columns.
    """

    name: str
    where: str
    draw: Callable[[np.random.Generator], Picture]
    counted: Callable[[Picture], NDArray[np.bool_]]
    dose_fraction: float | None = 0.25
    noise_hu: float = 15.0
    kernel: Kernel = STANDARD
    spacing_mm: float = _SPACING_MM


@dataclass(frozen=True)
class HardCase:
    """What a model made of one.

    Attributes:
        name, where: as of the drawing.
        before, after: root mean square error against the truth, HU, of the degraded and the restored image.
        warned: measures by which the guard warns.
    """

    name: str
    where: str
    before: float
    after: float
    warned: tuple[str, ...]


def _trunk(region: Region = "abdomen", *, metal: bool = False) -> Callable[[np.random.Generator], Picture]:
    return lambda rng: trunk(SHAPE, (_SPACING_MM, _SPACING_MM), rng, region=region, metal=metal)


def _body(truth: Picture) -> NDArray[np.bool_]:
    return np.asarray(truth > _BODY_HU)


def _near_metal(truth: Picture) -> NDArray[np.bool_]:
    metal = truth >= METAL_HU
    distance = ndimage.distance_transform_edt(~metal) * _SPACING_MM
    return np.asarray((distance > 0) & (distance <= _NEAR_MM))


def _lung(truth: Picture) -> NDArray[np.bool_]:
    inside = ndimage.binary_fill_holes(truth > _BODY_HU)
    return np.asarray(inside & (truth < _BODY_HU))


def _brain(truth: Picture) -> NDArray[np.bool_]:
    inside = ndimage.binary_fill_holes(truth > _BONE_HU) & (truth <= _BONE_HU)
    return np.asarray(ndimage.binary_erosion(inside, iterations=2))  # without the skull's blurred edge


HARD_CASES = (
    Drawing("abdomen, no noise at all", "in the body", _trunk(), _body, dose_fraction=None),
    Drawing("abdomen, a quarter of the dose, for comparison", "in the body", _trunk(), _body),
    Drawing("two screws in a vertebra", "within 25 mm of them", _trunk(metal=True), _near_metal),
    Drawing("chest, sharpest kernel", "in the lungs", _trunk("chest"), _lung, noise_hu=40.0, kernel=RAMP),
    Drawing("abdomen, a fiftieth of the dose", "in the body", _trunk(), _body, dose_fraction=0.02),
    Drawing(
        "head",
        "in the brain",
        lambda rng: head(SHAPE, (0.45, 0.45), rng),
        _brain,
        noise_hu=4.0,
        kernel=SOFT,
        spacing_mm=0.45,
    ),
)


def measure_hard_case(
    drawing: Drawing, restore: Callable[[Picture], Picture], bounds: Mapping[str, tuple[float, float]]
) -> HardCase:
    """Draws it, always the same, and has it restored.

    Args:
        drawing: one of `HARD_CASES`.
        restore: (H, W) float32 HU -> the same.
        bounds: of the model's guard.
    """
    truth = drawing.draw(np.random.default_rng(_SEED))
    degraded = truth
    if drawing.dose_fraction is not None:
        degraded = simulate(
            truth,
            (drawing.spacing_mm, drawing.spacing_mm),
            dose_fraction=drawing.dose_fraction,
            noise_hu=drawing.noise_hu,
            kernel=drawing.kernel,
            electronic_noise=4.0,
            rng=np.random.default_rng(_SEED + 1),
        )
    restored, counted = restore(degraded), drawing.counted(truth)
    before, after = (float(np.sqrt(np.mean((image - truth)[counted] ** 2))) for image in (degraded, restored))
    found = findings(measure_answer(degraded, restored, "HU"), bounds)
    return HardCase(drawing.name, drawing.where, before, after, tuple(each.measure for each in found))


def render_hard_cases(cases: Sequence[HardCase]) -> str:
    """Markdown table."""
    lines = [
        "| drawn image | counted | error before, HU | after, HU | the guard warns of |",
        "|---|---|---|---|---|",
        *(
            f"| {case.name} | {case.where} | {case.before:.1f} | {case.after:.1f} |"
            f" {', '.join(case.warned) or 'nothing'} |"
            for case in cases
        ),
    ]
    return "\n".join(lines) + "\n"
