"""Values by hand, by Keras' own losses, and by the formulas in float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.metrics import SOFT_TISSUE
from imaging.metrics import psnr as psnr_metric
from training.losses.pixelwise import barron, charbonnier, huber, l1, l1_inside, l2, log_cosh, psnr

REFERENCE = np.array([[[[1.0], [2.0]]], [[[0.0], [0.0]]]], np.float32)
RESTORED = np.array([[[[1.5], [0.0]]], [[[0.0], [3.0]]]], np.float32)
ERROR = (RESTORED - REFERENCE).astype(np.float64)  # 0.5, -2 and 0, 3


def _numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


def _mean(per_pixel):
    return per_pixel.mean(axis=(1, 2, 3))


def test_l2_and_l1_by_hand():
    np.testing.assert_allclose(_numpy(l2(REFERENCE, RESTORED)), [(0.25 + 4) / 2, 9 / 2])
    np.testing.assert_allclose(_numpy(l1(REFERENCE, RESTORED)), [(0.5 + 2) / 2, 3 / 2])


def test_huber_by_hand_and_by_keras():
    np.testing.assert_allclose(_numpy(huber(REFERENCE, RESTORED, delta=1.0)), [(0.125 + 1.5) / 2, 2.5 / 2])
    for delta in (0.1, 0.7, 2.5):
        theirs = [keras.losses.Huber(delta)(a, b) for a, b in zip(REFERENCE, RESTORED, strict=True)]
        np.testing.assert_allclose(_numpy(huber(REFERENCE, RESTORED, delta=delta)), np.array(theirs), rtol=1e-6)


def test_the_classic_threshold_is_half_of_l2_on_images_from_0_to_1():
    """So a threshold of 0.5 does nothing there, whatever the loss is called."""
    rng = np.random.default_rng(0)
    reference = rng.uniform(0.25, 0.75, (3, 8, 8, 1)).astype(np.float32)
    restored = (reference + rng.uniform(-0.25, 0.25, reference.shape)).astype(np.float32)
    half = _numpy(l2(reference, restored)) / 2
    np.testing.assert_allclose(_numpy(huber(reference, restored, delta=0.5)), half, rtol=1e-5)
    assert (_numpy(huber(reference, restored, delta=0.05)) < 0.8 * half).all()


def test_charbonnier_by_hand():
    expected = _mean(np.sqrt(ERROR**2 + 0.01) - 0.1)
    np.testing.assert_allclose(_numpy(charbonnier(REFERENCE, RESTORED, eps=0.1)), expected, rtol=1e-6)


def test_log_cosh_by_the_formula_by_keras_and_where_cosh_overflows():
    np.testing.assert_allclose(
        _numpy(log_cosh(REFERENCE, RESTORED, scale=0.5)), _mean(np.log(np.cosh(ERROR / 0.5))), rtol=1e-5
    )
    theirs = [float(np.mean(keras.losses.log_cosh(a, b))) for a, b in zip(REFERENCE, RESTORED, strict=True)]
    np.testing.assert_allclose(_numpy(log_cosh(REFERENCE, RESTORED, scale=1.0)), theirs, rtol=1e-5)
    far = _numpy(log_cosh(REFERENCE, REFERENCE + 1, scale=0.001))
    np.testing.assert_allclose(far, 1000 - np.log(2), rtol=1e-6)


@settings(max_examples=30)
@given(shape=st.floats(-8, 4), scale=st.floats(0.05, 5))
def test_barron_by_the_formula(shape, scale):
    x = ERROR / scale
    if abs(shape) < 1e-3 or abs(shape - 2) < 1e-3:  # next to its limits the formula itself loses all digits
        shape = float(round(shape))
    if shape == 2:
        per_pixel = x**2 / 2
    elif shape == 0:
        per_pixel = np.log(x**2 / 2 + 1)
    else:
        bend = abs(shape - 2)
        per_pixel = bend / shape * ((x**2 / bend + 1) ** (shape / 2) - 1)
    ours = _numpy(barron(REFERENCE, RESTORED, shape=shape, scale=scale))
    np.testing.assert_allclose(ours, _mean(per_pixel), rtol=2e-3)


def test_barron_has_the_losses_it_is_named_a_generalisation_of():
    x = ERROR / 0.5
    for shape, known in (
        (2, x**2 / 2),
        (1, np.sqrt(x**2 + 1) - 1),
        (0, np.log(x**2 / 2 + 1)),
        (-2, 2 * x**2 / (x**2 + 4)),
    ):
        ours = _numpy(barron(REFERENCE, RESTORED, shape=shape, scale=0.5))
        np.testing.assert_allclose(ours, _mean(known), rtol=1e-5)


def test_psnr_is_the_metrics_but_for_its_range():
    rng = np.random.default_rng(0)
    reference = rng.uniform(-0.1, 0.2, (3, 16, 16, 1)).astype(np.float32)
    restored = (reference + rng.normal(0, 0.005, reference.shape)).astype(np.float32)
    decibels = psnr_metric(1000.0 * restored[..., 0], 1000.0 * reference[..., 0], SOFT_TISSUE)
    expected = -decibels + 20 * np.log10(SOFT_TISSUE.data_range / 1000)
    np.testing.assert_allclose(_numpy(psnr(reference, restored, eps=1e-12)), expected, rtol=1e-4)


def test_psnr_counts_a_noisy_image_like_a_clean_one():
    error = np.random.default_rng(0).normal(size=(1, 16, 16, 1)).astype(np.float32)
    zero = np.zeros_like(error)
    gains = [
        float(psnr(zero, size * error, eps=1e-12)[0] - psnr(zero, 0.9 * size * error, eps=1e-12)[0])
        for size in (0.01, 1.0)
    ]
    assert gains[0] == pytest.approx(gains[1], abs=1e-3)
    assert gains[0] == pytest.approx(-20 * np.log10(0.9), abs=1e-3)


def test_l1_inside_sees_what_the_window_shows():
    reference = np.array([[[[-1.0], [0.1], [0.2], [2.0]]]], np.float32)
    restored = np.array([[[[-0.5], [0.0], [0.3], [3.0]]]], np.float32)
    # below and above the window on both sides: nothing; 0.1 within; 0.04 up to the window's end
    expected = (0 + 0.1 + 0.04 + 0) / 4
    np.testing.assert_allclose(_numpy(l1_inside(reference, restored, low=-0.16, high=0.24)), [expected], rtol=1e-5)
