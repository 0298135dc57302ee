"""SSIM and MS-SSIM against TensorFlow's and scikit-image's; the rest by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from training.losses.structural import (
    MS_SSIM_EPS,
    MS_SSIM_SIGMAS,
    MS_SSIM_WEIGHTS,
    ms_ssim,
    multi_sigma_ssim,
    ssim,
    windowed_l1,
)


def _numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


@settings(max_examples=20)
@given(
    side=st.integers(11, 40),
    seed=st.integers(0, 2**32 - 1),
    data_range=st.sampled_from([0.4, 1.0, 4.095]),
    low=st.sampled_from([-1.024, -0.16, 0.0]),
    noise=st.floats(0.001, 1),
)
def test_ssim_is_tensorflows_and_scikit_images(side, seed, data_range, low, noise):
    rng = np.random.default_rng(seed)
    reference = rng.normal(0.05, 0.1, (2, side, side + 3, 1)).astype(np.float32)
    restored = (reference + rng.normal(0, noise, reference.shape)).astype(np.float32)
    ours = _numpy(ssim(reference, restored, data_range=data_range, low=low))
    # tf.image.ssim returns (N,): one value per image, to be averaged before anything per pixel is added
    theirs = 1 - tf.image.ssim(tf.constant(reference - low), tf.constant(restored - low), max_val=data_range).numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    for number in range(2):
        a, b = (image[number, :, :, 0].astype(np.float64) - low for image in (reference, restored))
        _, full = structural_similarity(
            a, b, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        assert ours[number] == pytest.approx(1 - full[5:-5, 5:-5].mean(), abs=2e-4)


def test_ssim_of_a_single_pixel_by_hand():
    reference, restored = np.zeros((1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1), 0.3, np.float32)
    c1 = (0.01 * 0.4) ** 2
    luminance = (2 * 1.024 * 1.324 + c1) / (1.024**2 + 1.324**2 + c1)  # no structure is left
    assert _numpy(ssim(reference, restored, data_range=0.4, low=-1.024))[0] == pytest.approx(1 - luminance, rel=1e-5)


def test_an_inverted_image_costs_more_than_an_empty_one_only_if_counted_from_below():
    """Where local means are negative, the luminance term turns the sign of the structure term around."""
    pattern = np.random.default_rng(0).normal(0, 0.1, (1, 21, 21, 1)).astype(np.float32)
    counted = {low: _numpy(ssim(pattern, -pattern, data_range=0.4, low=low))[0] for low in (-1.024, 0.0)}
    assert counted[-1.024] > 1.5
    assert counted[0.0] < 1


def test_bias_costs_as_much_in_water_as_in_bone():
    """Counted from 0 HU, the luminance term would punish water a hundred times more."""
    shape = (1, 16, 16, 1)
    costs = {}
    for low in (-1.024, 0.0):
        costs[low] = [
            _numpy(
                ssim(np.full(shape, hu, np.float32), np.full(shape, hu + 0.01, np.float32), data_range=0.4, low=low)
            )[0]
            for hu in (0.0, 1.0)
        ]
    assert costs[-1.024][0] < 5 * costs[-1.024][1] < 1e-3
    assert costs[0.0][0] > 100 * costs[0.0][1]


@settings(max_examples=10)
@given(
    side=st.integers(11, 24),
    scales=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    noise=st.floats(0.001, 0.5),
)
def test_ms_ssim_is_tensorflows(side, scales, seed, noise):
    rng = np.random.default_rng(seed)
    shape = (2, side * 2 ** (scales - 1), (side + 2) * 2 ** (scales - 1), 1)
    reference = rng.normal(0.05, 0.1, shape).astype(np.float32)
    restored = (reference + rng.normal(0, noise, shape)).astype(np.float32)
    factors = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    low = -1.024
    theirs = tf.image.ssim_multiscale(
        tf.constant(reference - low), tf.constant(restored - low), max_val=0.4, power_factors=factors.tolist()
    )
    ours = _numpy(ms_ssim(reference, restored, data_range=0.4, low=low, scales=scales))
    # theirs is 0 where a term is negative; ours keeps 1e-4 to the power of its weight, which is 0.5 at the least here
    np.testing.assert_allclose(ours, 1 - theirs.numpy(), atol=0.015 if theirs.numpy().min() == 0 else 5e-4)


def test_small_images_get_fewer_scales():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(0, 0.1, (2, 3, 40, 1)).astype(np.float32) for _ in range(2))
    numbers = {"data_range": 0.4, "low": -1.024}
    np.testing.assert_array_equal(
        _numpy(ms_ssim(x, y, **numbers, scales=5)), _numpy(ms_ssim(x, y, **numbers, scales=2))
    )


@settings(max_examples=10)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), noise=st.floats(0.01, 0.5))
def test_several_windows_are_scipys(height, width, seed, noise):
    """The same product with scipy's Gaussian filter, cut off at the border."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.05, 0.1, (2, height, width))
    y = x + rng.normal(0, noise, x.shape)
    low, data_range = -1.024, 0.4
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def means(image, sigma):
        def blur(values):
            return gaussian_filter(values, (0, sigma, sigma), mode="constant", truncate=2.0)

        return blur(image) / blur(np.ones_like(image))

    product = 1.0
    for sigma in MS_SSIM_SIGMAS:
        mean_x, mean_y = means(x, sigma), means(y, sigma)
        covariance = means(x * y, sigma) - mean_x * mean_y
        variances = means(x * x, sigma) - mean_x**2 + means(y * y, sigma) - mean_y**2
        product = product * np.maximum((2 * covariance + c2) / (variances + c2), MS_SSIM_EPS)
    x_above, y_above = mean_x - low, mean_y - low
    luminance = (2 * x_above * y_above + c1) / (x_above**2 + y_above**2 + c1)
    batch = (each[..., None].astype(np.float32) for each in (x, y))
    ours = _numpy(multi_sigma_ssim(*batch, data_range=data_range, low=low))
    np.testing.assert_allclose(ours, 1 - (luminance * product).mean(axis=(1, 2)), atol=2e-3)


def test_fine_noise_costs_more_under_several_windows_than_under_several_scales():
    """Wang's exponents leave the finest scale 7 % of three: a network then leaves white noise in."""
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(0, 0.02, (1, 64, 64, 1)), axis=1).astype(np.float32)
    y = x + rng.normal(0, 0.02, x.shape).astype(np.float32)
    numbers = {"data_range": 0.4, "low": -1.024}
    assert _numpy(multi_sigma_ssim(x, y, **numbers)) > 2 * _numpy(ms_ssim(x, y, **numbers, scales=3))


def test_windowed_l1_by_hand():
    reference = np.zeros((2, 31, 31, 1), np.float32)
    restored = reference.copy()
    restored[0] = 0.25  # the same everywhere: its own value
    restored[1, 15, 15] = 441  # every window lies inside 441 times; the one pixel is seen by 121 of them, with sum 1
    np.testing.assert_allclose(_numpy(windowed_l1(reference, restored)), [0.25, 1.0], rtol=1e-5)
    restored[1] = 0
    restored[1, 0, 0] = 441  # in a corner by a single window, with its smallest weight
    assert 0 < _numpy(windowed_l1(reference, restored))[1] < 1e-3
