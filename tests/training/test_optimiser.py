"""The optimiser: what a step does, and that the scale of a loss decides nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from training.optimiser import NormalisedAdam, build_optimiser


def _trained(scale):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Conv2D(1, 3)])
    model.compile(
        optimizer=build_optimiser(learning_rate=1e-2, epochs=2, steps=10),
        loss=lambda reference, restored: scale * keras.ops.mean(keras.ops.square(reference - restored)),
    )
    image = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
    for _ in range(20):
        model.train_on_batch(image, image[:, 2:-2, 2:-2])
    return [np.asarray(weight) for weight in model.get_weights()]


@pytest.mark.parametrize("scale", [0.5, 2.0**-20, 2.0**20])
def test_the_scale_of_a_loss_changes_no_bit(scale):
    for ours, theirs in zip(_trained(scale), _trained(1.0), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_first_step_is_adams_on_gradients_of_norm_one():
    variable, other = keras.Variable([1.0, 1.0]), keras.Variable(1.0)
    optimiser = NormalisedAdam(0.1, epsilon=0.5)
    optimiser.apply([keras.ops.convert_to_tensor([3e-5, 0.0]), keras.ops.convert_to_tensor(-4e-5)], [variable, other])
    # norm 5e-5, so gradients (0.6, 0) and -0.8; the first step is rate * g / (|g| + epsilon / sqrt(1 - beta_2))
    small = 0.5 / np.sqrt(1 - 0.999)
    np.testing.assert_allclose(np.asarray(variable.value), [1 - 0.1 * 0.6 / (0.6 + small), 1], rtol=1e-5)
    np.testing.assert_allclose(float(other.value), 1 + 0.1 * 0.8 / (0.8 + small), rtol=1e-5)


def test_gradients_of_zeros_move_nothing():
    variable = keras.Variable([1.0, 2.0])
    NormalisedAdam(0.1).apply([keras.ops.zeros(2)], [variable])
    np.testing.assert_array_equal(np.asarray(variable.value), [1, 2])


def test_the_learning_rate_rises_and_falls_to_zero():
    rate = build_optimiser(learning_rate=1e-2, epochs=20, steps=10)._learning_rate
    assert float(rate(0)) == pytest.approx(1e-4)
    assert float(rate(10)) == pytest.approx(1e-2)
    assert float(rate(200)) == pytest.approx(0, abs=1e-9)
