from __future__ import annotations

import keras
import numpy as np

from training.losses.edges import gradient_l1


def test_gradients_by_hand():
    reference = np.zeros((1, 2, 3, 1), np.float32)
    restored = np.array([[[1.0], [2.0], [4.0]], [[1.0], [0.0], [0.0]]], np.float32)[None]
    # along columns: 0, -2, -4 (three pairs of rows); along rows: 1, 2, -1, 0
    expected = (0 + 2 + 4) / 3 + (1 + 2 + 1 + 0) / 4
    np.testing.assert_allclose(keras.ops.convert_to_numpy(gradient_l1(reference, restored)), [expected])


def test_a_shift_of_the_whole_image_has_no_gradient_and_a_single_pixel_neither():
    image = np.random.default_rng(0).normal(size=(2, 5, 7, 1)).astype(np.float32)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(gradient_l1(image, image + 3)), 0, atol=1e-5)
    single = np.zeros((2, 1, 1, 1), np.float32)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(gradient_l1(single, single + 3)), [0, 0])
