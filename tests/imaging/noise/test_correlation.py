from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from imaging.noise.correlation import REACH, autocorrelation, measure_correlation

SIDE = 160


def everywhere(noise):
    return [(noise, np.ones(noise.shape, np.bool_))]


def test_white_noise_is_white():
    found = measure_correlation(everywhere(np.random.default_rng(0).normal(0, 4, (SIDE, SIDE))))
    assert found.white
    assert found.length == pytest.approx(1, abs=0.02)
    assert found.effective == pytest.approx(SIDE**2, rel=0.05)
    assert found.error == pytest.approx(1 / SIDE, rel=0.05)


@settings(max_examples=10)
@given(st.floats(0.9, 1.4), st.floats(0.01, 1000), st.integers(0, 99))
def test_smoothed_noise_has_the_correlation_of_its_kernel(sigma, level, seed):
    """Autocorrelation of a Gaussian kernel: exp(-d^2 / 4 sigma^2); the sum of its squares: 2 pi sigma^2."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, level, (SIDE, SIDE)), sigma, mode="wrap")
    found = measure_correlation(everywhere(noise))
    assert found.rows == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.06)
    assert found.columns == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.06)
    assert found.diagonal == pytest.approx(np.exp(-2 / (4 * sigma**2)), abs=0.06)
    assert found.length == pytest.approx(np.sqrt(2 * np.pi) * sigma, rel=0.1)
    assert not found.white


def test_rows_and_columns_are_told_apart():
    noise = ndimage.uniform_filter1d(np.random.default_rng(1).normal(size=(SIDE, SIDE)), 2, axis=1)
    found = measure_correlation(everywhere(noise))
    assert found.columns == pytest.approx(0.5, abs=0.03)
    assert found.rows == pytest.approx(0, abs=0.03)


def test_differences_have_no_low_frequencies():
    noise = np.diff(np.random.default_rng(2).normal(size=(SIDE, SIDE + 1)), axis=1)
    found = measure_correlation(everywhere(noise))
    assert found.columns == pytest.approx(-0.5, abs=0.03)
    assert found.area == pytest.approx(0, abs=0.1)  # 1 - 0.5 - 0.5


def test_unknown_pixels_are_not_looked_at():
    rng = np.random.default_rng(3)
    noise = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1)
    known = rng.random(noise.shape) < 0.5
    spoilt = np.where(known, noise, 1e6)
    found = measure_correlation([(spoilt, known)])
    assert found.rows == pytest.approx(np.exp(-0.25), abs=0.06)
    assert found.pixels == np.count_nonzero(known)


def test_the_lags_are_those_of_a_sum_by_hand():
    noise = np.random.default_rng(4).normal(size=(30, 37))
    rho = autocorrelation(everywhere(noise))
    variance = np.mean(noise**2)
    assert rho[REACH, 0] == pytest.approx(1)
    assert rho[REACH + 2, 3] == pytest.approx(np.mean(noise[2:, 3:] * noise[:-2, :-3]) / variance)
    assert rho[REACH - 2, 3] == pytest.approx(np.mean(noise[:-2, 3:] * noise[2:, :-3]) / variance)


@pytest.mark.parametrize("noise", [np.zeros((40, 40)), np.ones((5, 5))])
def test_nothing_known_is_white_of_unknown_error(noise):
    found = measure_correlation(everywhere(noise))
    assert found.white
    assert found.error == np.inf
    assert measure_correlation([]).white
