from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from training.losses.pixelwise import l1, l2
from training.losses.uncertainty import gaussian_nll, pinball

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(0.05, 0.05, (3, 7, 9, 1)).astype(np.float32)
IMAGE = (REFERENCE + RNG.normal(0, 0.03, REFERENCE.shape)).astype(np.float32)
SIGMA = RNG.uniform(0.005, 0.1, REFERENCE.shape).astype(np.float32)
BOTH = np.concatenate([IMAGE, SIGMA], axis=-1)
THREE = np.concatenate([IMAGE, IMAGE - SIGMA, IMAGE + SIGMA], axis=-1)


def _numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


def _gradient(loss, restored):
    variable = tf.Variable(restored)
    with tf.GradientTape() as tape:
        value = keras.ops.sum(loss(variable))
    return tape.gradient(value, variable).numpy()


def _pixel(*values):
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


# --- the normal density


def test_nll_by_hand():
    """e = 0.2, s = 0.1: 0.5 * 4 + log 0.1 = 2 - 2.302585; beta 0.5 weighs it by s, beta 1 by s^2."""
    for beta, expected in ((0, -0.302585), (0.5, -0.0302585), (1, -0.00302585)):
        value = _numpy(gaussian_nll(_pixel(0.3), _pixel(0.5, 0.1), beta=beta))
        np.testing.assert_allclose(value, [expected], rtol=1e-5)


def test_without_weight_it_is_the_density_of_scipy_but_for_a_constant():
    log_density = stats.norm.logpdf(REFERENCE.astype(np.float64), IMAGE, SIGMA)
    expected = -log_density.mean(axis=(1, 2, 3)) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(_numpy(gaussian_nll(REFERENCE, BOTH, beta=0)), expected, rtol=1e-5)


@pytest.mark.parametrize("beta", [0, 0.5, 1])
def test_the_gradient_is_that_of_the_density_times_the_weight(beta):
    """The weight s^(2 beta) passes no gradient: d/de = s^(2 beta) e / s^2, d/ds = s^(2 beta) (1 / s - e^2 / s^3)."""
    e, s = (IMAGE - REFERENCE).astype(np.float64), SIGMA.astype(np.float64)
    expected = s ** (2 * beta) * np.concatenate([e / s**2, 1 / s - e**2 / s**3], axis=-1) / e[0].size
    found = _gradient(lambda restored: gaussian_nll(REFERENCE, restored, beta=beta), BOTH)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-9)


def test_with_beta_1_the_image_is_pulled_as_by_half_of_l2():
    found = _gradient(lambda restored: gaussian_nll(REFERENCE, restored, beta=1), BOTH)
    np.testing.assert_allclose(found[..., :1], _gradient(lambda x: l2(REFERENCE, x), IMAGE) / 2, rtol=1e-4)


@pytest.mark.parametrize("beta", [0, 0.5, 1])
def test_the_standard_deviation_of_the_errors_is_where_sigma_comes_to_rest(beta):
    errors = RNG.laplace(0, 0.02, (1, 64, 64, 1)).astype(np.float32)
    truth = np.sqrt(np.mean(errors**2, dtype=np.float64))

    def pull(sigma):
        both = np.concatenate([errors, np.full_like(errors, sigma)], axis=-1)
        return _gradient(lambda x: gaussian_nll(np.zeros_like(errors), x, beta=beta), both)[..., 1].sum()

    assert pull(0.97 * truth) < 0 < pull(1.03 * truth)


@pytest.mark.parametrize("sigma", [0.0, 1e-30, 1e-4, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("beta", [0, 0.5, 1])
def test_it_is_finite_at_any_sigma(sigma, beta):
    both = np.concatenate([REFERENCE + 1e3, np.full_like(REFERENCE, sigma)], axis=-1)
    assert np.isfinite(_numpy(gaussian_nll(REFERENCE, both, beta=beta))).all()
    assert np.isfinite(_gradient(lambda x: gaussian_nll(REFERENCE, x, beta=beta), both)).all()


# --- quantiles


def test_pinball_by_hand():
    """At level 0.9 a value that is 1 too low costs 0.9, one that is 1 too high 0.1."""
    restored = _pixel(0, 4, 2)
    assert _numpy(pinball(_pixel(3), restored, channel=1, level=0.9)) == pytest.approx([0.1], rel=1e-6)
    assert _numpy(pinball(_pixel(3), restored, channel=2, level=0.9)) == pytest.approx([0.9], rel=1e-6)


def test_pinball_by_numpy_and_half_of_l1_at_the_median():
    for channel, level in ((0, 0.5), (1, 0.05), (2, 0.95)):
        rest = REFERENCE[..., 0].astype(np.float64) - THREE[..., channel]
        expected = np.where(rest >= 0, level * rest, (level - 1) * rest).mean(axis=(1, 2))
        found = _numpy(pinball(REFERENCE, THREE, channel=channel, level=level))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    median = _numpy(pinball(REFERENCE, THREE, channel=0, level=0.5))
    np.testing.assert_allclose(median, _numpy(l1(REFERENCE, IMAGE)) / 2, rtol=1e-5)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.95])
def test_the_quantile_costs_least(level):
    values = RNG.gamma(2, 1, (1, 50, 40, 1)).astype(np.float32)
    candidates = np.linspace(0, 8, 801)
    costs = [
        float(pinball(values, np.full((1, 50, 40, 3), each, np.float32), channel=1, level=level)[0])
        for each in candidates[::10]
    ]
    assert candidates[::10][np.argmin(costs)] == pytest.approx(np.quantile(values, level), abs=0.1)


# --- shapes


@pytest.mark.parametrize("channels", [1, 3])
def test_two_channels_are_needed_for_sigma(channels):
    with pytest.raises(ValueError, match=rf"\(N, H, W, 2\).*\(3, 7, 9, {channels}\)"):
        gaussian_nll(REFERENCE, np.zeros((3, 7, 9, channels), np.float32), beta=0.5)


def test_three_channels_are_needed_for_an_interval():
    with pytest.raises(ValueError, match=r"\(N, H, W, 3\).*\(3, 7, 9, 2\)"):
        pinball(REFERENCE, BOTH, channel=0, level=0.5)
