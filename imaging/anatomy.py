"""The tables from which the phantoms are painted: organs of a trunk or a head as ellipsoids, in mm, back to front.

    generator --contrast, jitter, lesions, vessels--> [Ellipsoid, ...] --imaging/phantom.py--> HU

Axes as in DICOM: x to the patient's left, y to the back, z to the head, 0 in the middle of the trunk. Attenuation
values are typical ones at 120 kVp in the portal phase of a contrast agent, lengths those of a slender adult. It is a
sketch and no anatomy: what a reconstruction can get wrong is there, where a reader expects it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Region = Literal["chest", "abdomen"]

HALF_WIDTH_MM, HALF_DEPTH_MM = 165.0, 115.0
"""Of the trunk, skin included."""

FAT_HU, MUSCLE_HU, GAS_HU, CORTEX_HU, MARROW_HU = -100.0, 58.0, -980.0, 700.0, 190.0
METAL_HU = 3071.0
"""The end of the 12-bit scale, where metal saturates."""

LESION_CONTRAST_HU = (-40.0, -15.0)
"""Of a lesion against its liver: the range in which noise decides whether it is seen."""

_TRUNK_POWER = 2.35  # fuller than an ellipse, as trunks are


@dataclass(frozen=True)
class Ellipsoid:
    """One painted shape.

    Attributes:
        x, y, z: centre in mm.
        a, b, c: half axes in mm; the shape goes on along z for ever when c is infinite.
        hu: attenuation.
        texture: standard deviation of the tissue's own texture, HU.
        turn: rotation about z in degrees, from x towards y.
        power: of the superellipse |x/a|^p + |y/b|^p = 1; above 2 it fills its box better.
        wobble: how far the outline leaves the superellipse, as a share of the radius; below 0.1.
        phase: where it does, in radians.
    """

    x: float
    y: float
    a: float
    b: float
    hu: float
    texture: float = 0.0
    turn: float = 0.0
    z: float = 0.0
    c: float = math.inf
    power: float = 2.0
    wobble: float = 0.0
    phase: float = 0.0

    def section(self, z: float) -> Ellipsoid | None:
        """The shape that the plane at `z` mm cuts out, or None where it passes by."""
        scale = 1 - ((z - self.z) / self.c) ** 2
        if scale <= 0:
            return None
        return replace(self, a=self.a * math.sqrt(scale), b=self.b * math.sqrt(scale))


def parts(rng: np.random.Generator, region: Region, *, metal: bool) -> list[Ellipsoid]:
    """Back to front; about 100 shapes."""
    whole = {"power": _TRUNK_POWER, "wobble": 0.008, "phase": rng.uniform(0, 2 * math.pi)}
    painted = [
        Ellipsoid(0, 0, HALF_WIDTH_MM, HALF_DEPTH_MM, 20, **whole),  # skin, 2 mm
        Ellipsoid(0, 0, HALF_WIDTH_MM - 2, HALF_DEPTH_MM - 2, FAT_HU, 3, **whole),
        Ellipsoid(0, 3, 149, 98, MUSCLE_HU, 4, **whole),
        Ellipsoid(0, 0, 137, 86, FAT_HU, 4, **whole),  # between the organs
    ]
    painted += _back_muscles()
    painted += _chest(rng) if region == "chest" else _abdomen(rng)
    painted += _ribs(rng) + _vertebra()
    if metal:
        painted += [Ellipsoid(16 * side, 62, 3, 13, METAL_HU, turn=12 * side, c=8) for side in (-1, 1)]
    return painted


def head_parts(rng: np.random.Generator) -> list[Ellipsoid]:
    """Back to front: a skull with grey and white matter, ventricles, an early infarct and a small haemorrhage."""
    side = rng.choice([-1.0, 1.0])
    folded = {"wobble": 0.05, "phase": rng.uniform(0, 2 * math.pi)}
    painted = [
        Ellipsoid(0, 0, 80, 97, 25, 3),  # scalp
        Ellipsoid(0, 0, 77, 94, FAT_HU, 3),
        Ellipsoid(0, 0, 75, 92, 1100, 40),  # skull: outer table, diploe, inner table
        Ellipsoid(0, 0, 73, 90, 500, 60),
        Ellipsoid(0, 0, 70.5, 87.5, 1100, 40),
        Ellipsoid(0, 0, 68.5, 85.5, 10, 1),  # cerebrospinal fluid
        Ellipsoid(0, 0, 67, 84, 38, 1.5, wobble=0.01),  # grey matter, and the white within it
        Ellipsoid(0, 0, 0.8, 83, 45),  # falx
    ]
    painted += [Ellipsoid(31 * each, 0, 26, 70, 29, 1.5, **folded) for each in (-1, 1)]
    for each in (-1, 1):
        painted += [
            Ellipsoid(18 * each, -8, 9, 17, 39, 1.5, 12 * each, wobble=0.04),  # lentiform nucleus, thalamus
            Ellipsoid(9 * each, 10, 8, 11, 38, 1.5),
            Ellipsoid(6 * each, -24, 3, 12, 8, 1, 15 * each),  # lateral ventricle
            Ellipsoid(24 * each, 42, 4, 16, 8, 1, -20 * each),
        ]
    return [
        *painted,
        Ellipsoid(52 * side, -12, 14, 24, 32, 1.5, wobble=0.05),  # infarct: 6 HU under the cortex
        Ellipsoid(-20 * side, 26, 5, 4, 65, 1.5, wobble=0.06),  # haemorrhage
    ]


def _back_muscles() -> list[Ellipsoid]:
    return [
        muscle
        for side in (-1, 1)
        for muscle in (
            Ellipsoid(36 * side, 80, 31, 19, MUSCLE_HU, 5, 8 * side, wobble=0.04, phase=side),
            Ellipsoid(30 * side, 58, 13, 17, MUSCLE_HU, 4, -15 * side, wobble=0.04),  # psoas, crus
            Ellipsoid(52 * side, 79, 1.2, 16, FAT_HU, turn=-25 * side),  # fat between their bundles
            Ellipsoid(25 * side, 84, 1.0, 13, FAT_HU, turn=10 * side),
        )
    ]


def _vertebra() -> list[Ellipsoid]:
    bone: list[Ellipsoid] = []
    for side in (-1, 1):
        bone += [
            Ellipsoid(30 * side, 76, 17, 3.5, 450, 40, 12 * side, c=25),  # transverse process
            Ellipsoid(12 * side, 68, 4.5, 11, CORTEX_HU, 40),  # pedicle
            Ellipsoid(9 * side, 87, 12, 4, CORTEX_HU, 40, -35 * side),  # lamina
        ]
    return [
        *bone,
        Ellipsoid(0, 96, 3, 12, CORTEX_HU, 40),  # spinous process
        Ellipsoid(0, 96, 1.5, 10, MARROW_HU, 25),
        Ellipsoid(0, 48, 24, 18.5, CORTEX_HU, 40, power=2.3, wobble=0.03),
        Ellipsoid(0, 48, 22, 16.5, MARROW_HU, 25, power=2.3, wobble=0.03),
        Ellipsoid(0, 75, 11.5, 9.5, 5, 2),  # canal, with the cord in it
        Ellipsoid(0, 75, 6, 5, 40, 2),
    ]


def _ribs(rng: np.random.Generator) -> list[Ellipsoid]:
    """Seven on each side, cut at a slant as ribs are."""
    bone = []
    for side in (-1, 1):
        for degrees in np.linspace(-62, 58, 7) + rng.uniform(-6, 6, 7):
            angle = math.radians(degrees)
            x, y = 142 * math.cos(angle) * side, 3 + 91 * math.sin(angle)
            tangent = math.degrees(math.atan2(91 * math.cos(angle), -142 * math.sin(angle) * side))
            length = rng.uniform(6, 14)
            bone += [
                Ellipsoid(x, y, length, 4, CORTEX_HU, 40, tangent),
                Ellipsoid(x, y, length - 2, 2.2, 260, 40, tangent),
            ]
    return bone


def _abdomen(rng: np.random.Generator) -> list[Ellipsoid]:
    liver, vessel = 100 + rng.uniform(-8, 12), 165 + rng.uniform(-10, 20)
    organ = {"wobble": 0.035, "phase": rng.uniform(0, 2 * math.pi)}
    painted = [
        Ellipsoid(98, 14, 29, 44, 118, 3, -18, c=60, **organ),  # spleen
        Ellipsoid(52, -34, 46, 34, 55, 3, -12, c=60, **organ),  # stomach: wall, content, gas
        Ellipsoid(52, -34, 42, 30, 25, 5, -12, c=56, **organ),
        Ellipsoid(48, -48, 28, 12, GAS_HU, 0, -8, c=40, power=2.6),
        Ellipsoid(108, -36, 17, 22, 60, 3, 20, c=40, wobble=0.05),  # left flexure of the colon
        Ellipsoid(108, -38, 14, 17, GAS_HU, 0, 20, c=36, wobble=0.05),
        Ellipsoid(26, 4, 38, 9, 85, 8, -14, c=20, wobble=0.08),  # pancreas and the splenic vein behind it
        Ellipsoid(34, 9, 36, 3, vessel, 0, -14, c=10),
    ]
    for near_x, near_y in ((46, 24), (66, 14), (70, 34), (48, 42)):  # small bowel
        x, y, radius = near_x + rng.uniform(-3, 3), near_y + rng.uniform(-3, 3), rng.uniform(9, 12)
        painted += [
            Ellipsoid(x, y, radius, radius * 0.9, 85, 3, c=30, wobble=0.08, phase=x),
            Ellipsoid(x, y, radius - 3, radius * 0.9 - 3, 20, 3, c=27, wobble=0.08, phase=x),
        ]
    painted += [
        Ellipsoid(-62, -12, 68, 62, liver, 4, -20, c=90, power=2.2, **organ),  # right lobe
        Ellipsoid(-18, -48, 52, 26, liver, 4, 12, c=60, power=2.1, **organ),  # left lobe
        Ellipsoid(-25, -48, 2.2, 17, FAT_HU, 0, 25, c=40),  # fissure
        Ellipsoid(-36, 8, 12, 19, 8, 2, 25, c=25, wobble=0.04),  # gall bladder
    ]
    painted += _tree(rng, _Vessel(-34, -4, heading=200, length=26, radius=5.0, hu=vessel), 4, spread=8)  # portal vein
    painted += _tree(rng, _Vessel(-70, -50, heading=130, length=17, radius=2.6, hu=vessel - 15), 3, spread=8)
    for _ in range(6):
        angle, radius = rng.uniform(0, 2 * math.pi), math.sqrt(rng.uniform())
        size, contrast = rng.uniform(3, 9), rng.uniform(*LESION_CONTRAST_HU)
        where = -78 + 40 * radius * math.cos(angle), -14 + 38 * radius * math.sin(angle)
        z = rng.uniform(-size, size) / 2
        painted.append(Ellipsoid(*where, size, size, liver + contrast, 4, z=z, c=size, wobble=0.05, phase=angle))
    for side in (-1, 1):
        x = 66 * side + rng.uniform(-3, 3)
        kidney = {"turn": 20.0 * side, "wobble": 0.04, "phase": float(side)}
        painted += [
            Ellipsoid(x, 46, 28, 31, FAT_HU, 4, c=70),
            Ellipsoid(x, 46, 21, 27, 185, 4, c=55, **kidney),
            Ellipsoid(x - 3 * side, 46, 14, 19, 150, 4, c=40, **kidney),
            Ellipsoid(x - 11 * side, 44, 10, 11, -60, 6, c=20, **kidney),  # fat of the sinus, and its vein
            Ellipsoid(x - 22 * side, 41, 16, 3, vessel, 0, -10 * side, c=6),
        ]
    return [*painted, *_great_vessels(vessel, aorta=(9, 18))]


def _great_vessels(vessel: float, *, aorta: tuple[float, float]) -> list[Ellipsoid]:
    x, y = aorta
    return [
        Ellipsoid(-20, 19, 12, 9, vessel - 25, 3),  # inferior vena cava
        Ellipsoid(x, y, 11, 11, MUSCLE_HU),  # aorta: wall, blood, a calcified plaque
        Ellipsoid(x, y, 9.5, 9.5, vessel + 10, 3),
        Ellipsoid(x + 8, y + 5, 3, 1.2, 650, turn=-60, c=8),
    ]


def _chest(rng: np.random.Generator) -> list[Ellipsoid]:
    vessel = 165 + rng.uniform(-10, 20)
    painted = []
    for side in (-1, 1):
        lung = {"turn": 10.0 * side, "power": 2.25, "wobble": 0.03, "phase": rng.uniform(0, 6)}
        painted.append(Ellipsoid(72 * side, 3, 60, 80, -860, 25, **lung))
        for heading in (-50, 0, 50):  # vessels of its lobes
            direction = (heading if side > 0 else 180 - heading) + rng.uniform(-10, 10)
            lobe = _Vessel(28 * side, 6, heading=direction, length=30, radius=3.4, hu=45)
            painted += _tree(rng, lobe, 5, spread=14)
    painted += [
        Ellipsoid(0, -10, 34, 62, FAT_HU, 5, power=2.4, wobble=0.04),  # mediastinum
        Ellipsoid(20, -28, 52, 42, 60, 4, 25, c=70, wobble=0.03),  # heart: muscle, then its chambers
        Ellipsoid(34, -20, 26, 22, vessel - 20, 4, 25, c=45, wobble=0.05),
        Ellipsoid(-2, -40, 24, 20, vessel - 20, 4, 30, c=45, wobble=0.05),
        Ellipsoid(-6, -2, 22, 13, vessel - 10, 4, 5, c=40, wobble=0.05),
        Ellipsoid(0, -90, 20, 6, CORTEX_HU, 40, c=90),  # sternum
        Ellipsoid(0, -90, 18, 4, 220, 40, c=88),
        Ellipsoid(2, 20, 7, 5, 45, 3),  # oesophagus
        Ellipsoid(2, 19.5, 2, 1.2, GAS_HU),
    ]
    for side in (-1, 1):  # main bronchi
        painted += [Ellipsoid(30 * side, 8, 6, 5, 50, c=25), Ellipsoid(30 * side, 8, 4.5, 3.5, GAS_HU, c=24)]
    nodule = rng.choice([-1.0, 1.0])
    painted.append(Ellipsoid(88 * nodule, rng.uniform(-30, 40), 4, 4, 30, c=5, wobble=0.08))
    return [*painted, *_great_vessels(vessel, aorta=(24, 32))[1:]]


@dataclass(frozen=True)
class _Vessel:
    """A straight piece from (x, y) on, in mm; heading in degrees, from x towards y."""

    x: float
    y: float
    heading: float
    length: float
    radius: float
    hu: float

    def end(self, share: float = 1.0) -> tuple[float, float]:
        """Where this share of it ends."""
        angle, reach = math.radians(self.heading), share * self.length
        return self.x + math.cos(angle) * reach, self.y + math.sin(angle) * reach


def _tree(rng: np.random.Generator, vessel: _Vessel, generations: int, *, spread: float) -> list[Ellipsoid]:
    """A vessel and its branches, each thinner and shorter; up to `spread` mm above or below the plane z = 0."""
    reach = vessel.length / 2 + vessel.radius  # so that it overlaps the next one
    z = rng.uniform(-1, 1) * spread
    painted = [
        Ellipsoid(*vessel.end(0.5), reach, vessel.radius, vessel.hu, 0, vessel.heading, z=z, c=spread, power=2.6)
    ]
    for side in (-1, 1) if generations > 1 else ():
        branch = _Vessel(
            *vessel.end(),
            heading=vessel.heading + side * rng.uniform(18, 42),
            length=vessel.length * rng.uniform(0.6, 0.8),
            radius=vessel.radius * rng.uniform(0.6, 0.75),
            hu=vessel.hu,
        )
        painted += _tree(rng, branch, generations - 1, spread=spread)
    return painted
