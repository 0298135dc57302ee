from __future__ import annotations

import math

import numpy as np
import pytest

from imaging.anatomy import (
    HALF_DEPTH_MM,
    HALF_WIDTH_MM,
    LESION_CONTRAST_HU,
    METAL_HU,
    Ellipsoid,
    parts,
)

LIVER = (-62, -12, 68)  # x and y of the right lobe, and its longer half axis


def test_a_plane_cuts_a_ball_into_circles():
    ball = Ellipsoid(1, 2, 5, 5, 40, z=10, c=5)
    middle, above = ball.section(10), ball.section(13)
    assert middle == ball
    assert above is not None
    assert (above.a, above.b) == pytest.approx((4, 4))  # 3-4-5 triangle
    assert (above.x, above.y, above.hu) == (1, 2, 40)
    assert ball.section(15) is None
    assert ball.section(4.9) is None


def test_a_shape_without_ends_is_the_same_everywhere():
    column = Ellipsoid(0, 0, 3, 2, 40)
    assert column.section(1e6) == column


def _lesions(shapes):
    """Balls inside the right lobe."""
    liver = next(shape for shape in shapes if (shape.x, shape.y, shape.a) == LIVER)
    found = [shape for shape in shapes if shape.a == shape.b == shape.c]
    assert len(found) == 6
    return liver, found


@pytest.mark.parametrize("seed", range(20))
def test_lesions_lie_in_the_liver_with_their_contrast_and_cross_the_middle_plane(seed):
    liver, lesions = _lesions(parts(np.random.default_rng(seed), "abdomen", metal=False))
    for lesion in lesions:
        assert LESION_CONTRAST_HU[0] <= lesion.hu - liver.hu <= LESION_CONTRAST_HU[1]
        assert math.hypot(lesion.x - liver.x, lesion.y - liver.y) + lesion.a < 62  # its shorter half axis
        section = lesion.section(0)
        assert section is not None
        assert section.a > 0.8 * lesion.a


@pytest.mark.parametrize("region", ["abdomen", "chest"])
@pytest.mark.parametrize("seed", range(10))
def test_everything_lies_inside_the_skin(region, seed):
    shapes = parts(np.random.default_rng(seed), region, metal=True)
    assert (shapes[0].a, shapes[0].b) == (HALF_WIDTH_MM, HALF_DEPTH_MM)
    for shape in shapes[1:]:
        turn = math.radians(shape.turn)
        across = math.hypot(shape.a * math.cos(turn), shape.b * math.sin(turn))
        along = math.hypot(shape.a * math.sin(turn), shape.b * math.cos(turn))
        assert abs(shape.x) + across < HALF_WIDTH_MM, shape
        assert abs(shape.y) + along < HALF_DEPTH_MM, shape


def test_metal_is_painted_last():
    shapes = parts(np.random.default_rng(0), "abdomen", metal=True)
    assert [shape.hu for shape in shapes[-2:]] == [METAL_HU] * 2
    without = parts(np.random.default_rng(0), "abdomen", metal=False)
    assert shapes[:-2] == without  # and changes nothing else
