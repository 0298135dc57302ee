"""The statistics of every family, over a million pixels; tolerances are four standard errors and more."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from training.degradations.pixelwise import contaminated, gaussian, impulse, laplace, poisson, poisson_gaussian

SIDE = 1000
HU_COUNTS = {"black": -1000.0, "scale": 1000.0}
FAMILIES = {
    "gaussian": partial(gaussian, sigma=40.0),
    "laplace": partial(laplace, sigma=40.0),
    "contaminated": partial(contaminated, sigma=27.0, share=0.05, outlier_factor=5.0),
    "impulse": partial(impulse, share=0.05, low=-1024.0, high=3071.0),
    "poisson": partial(poisson, photons=625.0, **HU_COUNTS),
    "poisson-gaussian": partial(poisson_gaussian, photons=1250.0, sigma=28.3, **HU_COUNTS),
}
EVERY = pytest.mark.parametrize("degrade", FAMILIES.values(), ids=FAMILIES)


def _noise(degrade, value=0.0, seed=0, side=SIDE):
    flat = np.full((side, side), value, np.float32)
    return degrade(flat, np.random.default_rng(seed)).astype(np.float64) - value


@pytest.mark.parametrize(
    ("name", "deviation"),
    # contaminated: 27 sqrt(0.95 + 0.05 * 25); poisson in water: 1000 / sqrt(625); both: sqrt(1000^2 / 1250 + 28.3^2)
    [
        ("gaussian", 40.0),
        ("laplace", 40.0),
        ("contaminated", 40.047),
        ("poisson", 40.0),
        ("poisson-gaussian", 40.011),
    ],
)
def test_the_noise_has_mean_zero_and_the_stated_deviation(name, deviation):
    noise = _noise(FAMILIES[name])
    assert abs(noise.mean()) < 5 * deviation / SIDE
    assert noise.std() == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize(
    ("name", "excess", "tolerance"),
    # of the contaminated: three times its fourth over its squared second moment, less 3; of Poisson, one over its mean
    [
        ("gaussian", 0.0, 0.02),
        ("laplace", 3.0, 0.25),
        ("contaminated", 3 * 32.2 / 2.2**2 - 3, 0.8),
        ("poisson", 1 / 625, 0.02),
    ],
)
def test_the_tails_are_those_of_the_distribution(name, excess, tolerance):
    assert stats.kurtosis(_noise(FAMILIES[name]), axis=None) == pytest.approx(excess, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "distribution"), [("gaussian", stats.norm(0, 40)), ("laplace", stats.laplace(0, 40 / np.sqrt(2)))]
)
def test_continuous_noise_has_its_whole_distribution(name, distribution):
    noise = _noise(FAMILIES[name], side=200).ravel()
    assert stats.kstest(noise, distribution.cdf).pvalue > 0.01


def test_a_contaminated_gaussian_is_the_mixture_of_two():
    noise = _noise(FAMILIES["contaminated"], side=200).ravel()

    def cdf(x):
        return 0.95 * stats.norm.cdf(x, scale=27) + 0.05 * stats.norm.cdf(x, scale=135)

    assert stats.kstest(noise, cdf).pvalue > 0.01


def test_the_share_of_impulses_is_the_stated_one_half_at_either_end_and_the_rest_is_untouched():
    reference = np.random.default_rng(1).normal(0, 100, (SIDE, SIDE)).astype(np.float32)
    degraded = FAMILIES["impulse"](reference, np.random.default_rng(2))
    low, high = degraded == -1024, degraded == 3071
    assert low.mean() == pytest.approx(0.025, abs=0.0008)
    assert high.mean() == pytest.approx(0.025, abs=0.0008)
    np.testing.assert_array_equal(degraded[~(low | high)], reference[~(low | high)])


@pytest.mark.parametrize("hu", [-900.0, -500.0, 0.0, 60.0, 1000.0, 3000.0])
def test_the_variance_of_counts_is_proportional_to_the_signal_above_air(hu):
    noise = _noise(FAMILIES["poisson"], hu)
    assert noise.var() == pytest.approx(1000 / 625 * (hu + 1000), rel=0.02)
    assert abs(noise.mean()) < 5 * noise.std() / SIDE
    assert _noise(FAMILIES["poisson-gaussian"], hu).var() == pytest.approx(
        1000 / 1250 * (hu + 1000) + 28.3**2, rel=0.02
    )


def test_counts_are_whole_photons_and_there_are_none_below_air():
    degraded = FAMILIES["poisson"](np.full((100, 100), -700, np.float32), np.random.default_rng(0))
    counts = (degraded.astype(np.float64) + 1000) / 1000 * 625
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)
    np.testing.assert_array_equal(
        FAMILIES["poisson"](np.array([-1000, -1024, -3000], np.float32), np.random.default_rng(0)), -1000
    )


def test_relative_images_count_from_black_to_white():
    image = np.full((SIDE, SIDE), 0.5, np.float32)
    degraded = poisson(image, np.random.default_rng(0), photons=50.0, black=0.0, scale=1.0).astype(np.float64)
    assert degraded.std() == pytest.approx(0.1, rel=0.01)  # sqrt(0.5 / 50)
    assert degraded.mean() == pytest.approx(0.5, abs=5e-4)


@EVERY
def test_the_noise_is_white(degrade):
    """No correlation with any neighbour, and as much power in every quarter of the frequencies."""
    noise = _noise(degrade, 40.0)
    noise -= noise.mean()
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2)):
        correlation = np.mean(noise * np.roll(noise, (down, across), (0, 1))) / noise.var()
        assert abs(correlation) < 0.005
    power = np.abs(np.fft.rfft2(noise)) ** 2
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    rings = [power[(radius > low) & (radius <= low + 0.125)].mean() for low in (0, 0.125, 0.25, 0.375)]
    np.testing.assert_allclose(rings, np.mean(rings), rtol=0.03)


@EVERY
def test_the_noise_does_not_depend_on_the_place(degrade):
    noise = _noise(degrade, 40.0)
    tiles = noise.reshape(4, 250, 4, 250).std(axis=(1, 3))
    np.testing.assert_allclose(tiles, tiles.mean(), rtol=0.06)


@EVERY
def test_draws_are_independent_and_repeat_with_the_seed(degrade):
    one, two = _noise(degrade, 40.0, seed=1, side=400), _noise(degrade, 40.0, seed=2, side=400)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.015
    np.testing.assert_array_equal(one, _noise(degrade, 40.0, seed=1, side=400))
    rng = np.random.default_rng(1)  # and a generator goes on: the next draw is another one
    flat = np.full((400, 400), 40, np.float32)
    first, second = degrade(flat, rng) - flat, degrade(flat, rng) - flat
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.015


@EVERY
@given(
    reference=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
        elements=st.floats(-1024, 3071, width=32),
    ),
    seed=st.integers(0, 2**32),
)
def test_any_image_gives_a_new_finite_one_of_its_shape(degrade, reference, seed):
    before = reference.copy()
    reference.flags.writeable = False
    degraded = degrade(reference, np.random.default_rng(seed))
    assert (degraded.shape, degraded.dtype) == (reference.shape, np.float32)
    assert np.isfinite(degraded).all()
    np.testing.assert_array_equal(reference, before)
    assert not np.shares_memory(degraded, reference)


@pytest.mark.parametrize(
    "nothing",
    [
        partial(gaussian, sigma=0.0),
        partial(laplace, sigma=0.0),
        partial(contaminated, sigma=0.0, share=0.5, outlier_factor=9.0),
        partial(impulse, share=0.0, low=0.0, high=1.0),
    ],
)
def test_no_noise_leaves_the_image_as_it_is(nothing):
    image = np.random.default_rng(0).random((9, 7), np.float32)
    np.testing.assert_array_equal(nothing(image, np.random.default_rng(1)), image)


def test_all_pixels_can_be_lost():
    degraded = impulse(np.full((50, 50), 0.5, np.float32), np.random.default_rng(0), share=1.0, low=0.0, high=1.0)
    assert set(np.unique(degraded)) == {0.0, 1.0}
