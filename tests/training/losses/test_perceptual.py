from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.losses.perceptual import feature_distance

RNG = np.random.default_rng(0)
REFERENCE, RESTORED = (RNG.normal(0, 0.1, (2, 8, 6, 1)).astype(np.float32) for _ in range(2))


def _two_depths(image):
    """3 times the image, and its mean over 2 x 2 pixels."""
    return [3 * image, keras.ops.average_pool(image, 2, strides=2, data_format="channels_last")]


def test_it_is_the_mean_over_depths_of_the_mean_squares():
    difference = (RESTORED - REFERENCE)[..., 0]
    coarse = difference.reshape(2, 4, 2, 3, 2).mean(axis=(2, 4))
    expected = ((9 * difference**2).mean(axis=(1, 2)) + (coarse**2).mean(axis=(1, 2))) / 2
    np.testing.assert_allclose(
        np.asarray(feature_distance(REFERENCE, RESTORED, features=_two_depths)), expected, rtol=1e-5
    )


def test_by_hand():
    """A constant error of 0.2: (3 * 0.2)^2 = 0.36 at the first depth, 0.04 at the second, 0.2 on average."""
    reference = np.zeros((1, 4, 4, 1), np.float32)
    assert float(feature_distance(reference, reference + 0.2, features=_two_depths)[0]) == pytest.approx(0.2)


def test_no_gradient_reaches_the_reference():
    reference, restored = tf.Variable(REFERENCE), tf.Variable(RESTORED)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(feature_distance(reference, restored, features=_two_depths))
    of_reference, of_restored = tape.gradient(value, [reference, restored])
    assert of_reference is None
    assert np.abs(of_restored.numpy()).min() > 0
