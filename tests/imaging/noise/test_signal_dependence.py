from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.noise.signal_dependence import measure_dependence

REGIONS, EACH = 400, 100


def drawn(variance_of, rng, spread=0.3):
    """Noise, signal and region of 400 regions, whose signals vary within and between them."""
    region = np.repeat(np.arange(REGIONS), EACH)
    signal = np.clip(np.repeat(rng.uniform(0.2, 0.8, REGIONS), EACH) + rng.uniform(-spread, spread, len(region)), 0, 1)
    return rng.standard_normal(len(region)) * np.sqrt(variance_of(signal, region)), signal, region


@settings(max_examples=15)
@given(st.floats(0.001, 0.05), st.floats(0, 0.01), st.integers(0, 99))
def test_the_line_of_a_camera_is_found(slope, offset, seed):
    noise, signal, region = drawn(lambda s, _: offset + slope * s, np.random.default_rng(seed))
    found = measure_dependence(noise, signal, region, floor=0.0)
    assert found.slope == pytest.approx(slope, abs=5 * found.slope_error)
    assert found.slope_error < 0.1 * (slope + offset)
    assert found.offset == pytest.approx(offset, abs=0.1 * (slope + offset))


def test_poisson_noise_has_no_offset_and_matters():
    noise, signal, region = drawn(lambda s, _: 0.02 * s, np.random.default_rng(1))
    found = measure_dependence(noise, signal, region, floor=0.0)
    assert found.significant
    assert found.offset_share < 0.1
    assert found.ratio > 2


def test_noise_that_does_not_follow_the_signal_is_not_said_to():
    noise, signal, region = drawn(lambda s, _: 0.01 + 0 * s, np.random.default_rng(2))
    found = measure_dependence(noise, signal, region, floor=0.0)
    assert not found.significant
    assert found.ratio == pytest.approx(1, abs=0.05)
    assert found.offset_share > 0.9


def test_noise_that_follows_the_place_is_not_said_to_follow_the_signal():
    """Bright regions are noisy, but within a region all pixels are alike: as in the middle of a patient."""
    rng = np.random.default_rng(3)
    level = rng.uniform(0.2, 0.8, REGIONS)

    def by_place(_, region):
        return level[region] ** 2

    region = np.repeat(np.arange(REGIONS), EACH)
    signal = level[region] + rng.uniform(-0.2, 0.2, len(region))
    noise = rng.standard_normal(len(region)) * np.sqrt(by_place(signal, region))
    assert not measure_dependence(noise, signal, region, floor=0.0).significant
    assert measure_dependence(noise, signal, region, floor=0.0, across=True).significant


def test_the_floor_moves_the_offset_and_nothing_else():
    """Variance 50 + 0.4 (HU + 1000)."""
    noise, signal, region = drawn(lambda s, _: 50 + 0.4 * (1000 * s), np.random.default_rng(4))
    hu = 1000 * signal - 1000
    found = measure_dependence(noise, hu, region, floor=-1000.0)
    assert found.slope == pytest.approx(0.4, rel=0.1)
    assert found.offset == pytest.approx(50, abs=15)
    assert found.variance(np.array([0.0]))[0] == pytest.approx(450, rel=0.05)


@pytest.mark.parametrize("count", [0, 50])
def test_a_constant_signal_tells_nothing(count):
    noise = np.random.default_rng(5).normal(size=count)
    found = measure_dependence(noise, np.full(count, 0.5), np.zeros(count, np.int64), floor=0.0)
    assert not found.significant
    assert not found.telling
    assert found.ratio == 1
