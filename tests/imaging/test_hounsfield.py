"""What HU can be."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.errors import UnsuitableImage
from imaging.hounsfield import check_reach, undeclared_padding
from imaging.image import Rescale


@pytest.mark.parametrize(
    ("slope", "intercept", "low", "high", "allowed"),
    [
        (1, -1024, 0, 65535, True),
        (-1, 0, -32768, 32767, True),
        (10, 0, 0, 100_000, True),  # exactly a million
        (10, 1, 0, 100_000, False),
        (1, -1_000_001, 0, 1, False),
        (1e-9, 0, 0, 1, True),
        (1e-10, 0, 0, 1, False),
        (1e308, 1e308, 0, 10, False),  # infinite
        (1e308, -1e308, -1e308, 1e308, False),
    ],
)
def test_reach(slope, intercept, low, high, allowed):
    if allowed:
        check_reach(Rescale(slope, intercept), low, high)
    else:
        with pytest.raises(UnsuitableImage, match="HU are -1000 for air"):
            check_reach(Rescale(slope, intercept), low, high)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([[-2000, -2000, 5], [-1600, 0, 1]], [[True, True, False], [False, False, False]]),
        ([[-1500, 0]], [[True, False]]),
        ([[-3024, -3024]], [[True, True]]),
    ],
)
def test_undeclared_padding(pixels, expected):
    assert undeclared_padding(np.array(pixels, np.float32)).tolist() == expected


def test_what_noise_of_air_can_be_is_no_padding():
    assert undeclared_padding(np.array([[-1499, 0]], np.float32)) is None
