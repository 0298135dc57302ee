from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from imaging.quality.noise_power import NoisePower, RadialPower, deviations, noise_power, radial, shape_distance


def white(sigma=10.0, shape=(32, 64, 64), seed=0):
    return np.random.default_rng(seed).normal(0, sigma, shape)


def test_white_noise_is_flat_at_variance_times_pixel_area():
    power = noise_power(white(), (0.5, 0.5))
    curve = radial(power)
    # sigma^2 dx dy = 100 * 0.25 mm^2
    assert curve.values.mean() == pytest.approx(25, rel=0.02)
    assert np.all(np.abs(curve.values - 25) < 5)
    assert curve.nyquist == 1.0
    assert curve.relative(curve.mean_frequency) == pytest.approx(0.5, abs=0.02)


@given(
    st.integers(8, 20),
    st.integers(8, 20),
    st.floats(0.3, 2.0),
    st.floats(0.3, 2.0),
    st.floats(0.1, 100),
)
def test_the_spectrum_integrates_to_the_mean_square(height, width, dy, dx, sigma):
    noise = white(sigma, (3, height, width), seed=height * width)
    assert noise_power(noise, (dy, dx)).variance == pytest.approx(float(np.mean(noise**2)), rel=1e-9)


def test_one_wave_by_hand():
    """A cosine of amplitude 2 along the rows, four waves in 16 pixels of 0.5 mm: half its variance 2 in each of +-f."""
    wave = 2 * np.cos(2 * np.pi * 4 * np.arange(16) / 16)
    noise = np.broadcast_to(wave, (1, 16, 16))
    power = noise_power(noise, (0.5, 0.5))
    cell = 1 / (16 * 0.5) ** 2  # df^2 in 1/mm^2
    assert power.values[0, 4] == pytest.approx(1 / cell)
    assert power.values[0, 12] == pytest.approx(1 / cell)
    assert power.values.sum() == pytest.approx(2 / cell)
    curve = radial(power)
    assert curve.peak_frequency == pytest.approx(4 / 8, abs=0.03)  # four waves in 8 mm; rings are 1/8 wide
    assert curve.mean_frequency == pytest.approx(0.5, abs=0.03)


def test_filtered_noise_has_the_filters_shape():
    sigma = 1.0
    noise = ndimage.gaussian_filter(white(10, (64, 96, 96)), (0, sigma, sigma), mode="wrap")
    curve = radial(noise_power(noise, (0.7, 0.7)))
    # |Gaussian|^2 = exp(-4 pi^2 sigma^2 f^2), sigma in mm, times the white level 100 * 0.49
    expected = 49 * np.exp(-4 * np.pi**2 * (sigma * 0.7) ** 2 * curve.frequency**2)
    shown = expected > 0.5
    np.testing.assert_allclose(curve.values[shown], expected[shown], rtol=0.12)
    assert curve.mean_frequency < 0.5 * curve.nyquist


def test_spacings_that_differ_are_measured_in_mm():
    noise = ndimage.gaussian_filter(white(10, (24, 64, 128)), (0, 2, 4), mode="wrap")  # both 2 mm
    curve = radial(noise_power(noise, (1.0, 0.5)))
    expected = 50 * np.exp(-4 * np.pi**2 * 4 * curve.frequency**2)
    assert curve.nyquist == 0.5
    np.testing.assert_allclose(curve.values[1:6], expected[1:6], rtol=0.2)


def test_deviations_take_out_what_repetitions_share():
    structure = 1000 * np.indices((32, 32)).sum(0)
    repetitions = structure + white(5, (4, 32, 32))
    noise = deviations(repetitions)
    assert noise.std() == pytest.approx(5, rel=0.03)  # and not 5 sqrt(3/4)
    np.testing.assert_allclose(noise.sum(axis=0), 0, atol=1e-9)


def test_the_distance_is_of_shapes():
    one = radial(noise_power(white(10), (1, 1)))
    louder = RadialPower(one.frequency, 7 * one.values, one.nyquist)
    assert shape_distance(one, louder) == pytest.approx(0)
    first, last = np.zeros_like(one.values), np.zeros_like(one.values)
    first[0], last[-1] = 3, 1
    apart = (RadialPower(one.frequency, values, one.nyquist) for values in (first, last))
    assert shape_distance(*apart) == pytest.approx(1)
    smooth = radial(noise_power(ndimage.gaussian_filter(white(10), (0, 1, 1)), (1, 1)))
    assert 0.3 < shape_distance(one, smooth) < 1


def test_no_noise_has_no_frequency():
    curve = radial(NoisePower(np.zeros((8, 8)), (1, 1)))
    assert math.isnan(curve.mean_frequency)
    assert math.isnan(curve.peak_frequency)
    with pytest.raises(ValueError, match="no shape"):
        shape_distance(curve, curve)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: deviations(np.zeros((1, 8, 8))), "at least two"),
        (lambda: deviations(np.zeros((8, 8))), r"\(N, H, W\)"),
        (lambda: noise_power(np.zeros((2, 7, 9)), (1, 1)), "too small"),
        (lambda: noise_power(np.full((2, 8, 8), np.nan), (1, 1)), "NaN"),
        (lambda: noise_power(np.zeros((2, 8, 8)), (1, 0)), "spacing"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_curves_of_other_frequencies_are_not_compared():
    one, two = (radial(noise_power(white(shape=(2, side, side)), (1, 1))) for side in (16, 32))
    with pytest.raises(ValueError, match="different frequencies"):
        shape_distance(one, two)
