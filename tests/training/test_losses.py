from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

from training.losses.pixelwise import l2

RNG = np.random.default_rng(0)


def _images(shape=(3, 5, 7, 1)):
    return RNG.normal(size=shape).astype(np.float32), RNG.normal(size=shape).astype(np.float32)


def test_l2_by_hand():
    reference = np.array([[[[1.0], [2.0]]], [[[0.0], [0.0]]]], np.float32)
    restored = np.array([[[[1.5], [0.0]]], [[[0.0], [3.0]]]], np.float32)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(l2(reference, restored)), [(0.25 + 4) / 2, 9 / 2])


def test_one_value_per_image_in_float32_whatever_the_precision():
    reference, restored = _images()
    value = l2(reference, keras.ops.cast(restored, "bfloat16"))
    assert value.shape == (3,)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"


def test_a_perfect_image_costs_less_than_a_noisy_one():
    reference, noise = _images()
    perfect, noisy = l2(reference, reference), l2(reference, reference + noise)
    assert keras.ops.convert_to_numpy(perfect).max() == 0
    assert keras.ops.convert_to_numpy(noisy).min() > 0


@pytest.mark.parametrize("other", [(3, 5, 7), (3, 5, 1, 1), (1, 5, 7, 1), (3, 7, 5, 1)])
def test_other_shapes_are_refused_not_broadcast(other):
    with pytest.raises(ValueError, match=r"shape|compare"):
        l2(np.zeros((3, 5, 7, 1), np.float32), np.zeros(other, np.float32))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 17, 1)])
@pytest.mark.parametrize("kind", ["constant", "inverted", "uncorrelated"])
def test_gradients_are_finite(shape, kind):
    import tensorflow as tf  # noqa: PLC0415 - the other tests here need no backend of their own

    reference = RNG.normal(size=shape).astype(np.float32)
    restored = {"constant": np.zeros(shape, np.float32), "inverted": -reference, "uncorrelated": reference[::-1] * 1e3}
    variable = tf.Variable(restored[kind])
    with tf.GradientTape() as tape:
        value = keras.ops.mean(l2(reference, variable))
    assert np.isfinite(tape.gradient(value, variable).numpy()).all()


def test_it_works_in_plain_keras_with_a_partial_last_batch():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=l2)
    image = RNG.normal(size=(5, 12, 12, 1)).astype(np.float32)
    losses = model.fit(image, image, batch_size=2, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_another_backend_gives_the_same_value(on_jax):
    reference, restored = _images((2, 6, 6, 1))
    code = (
        "import sys, numpy as np, keras; from training.losses.pixelwise import l2;"
        "assert keras.backend.backend() == 'jax';"
        f"a = np.frombuffer(bytes.fromhex('{reference.tobytes().hex()}'), 'f4').reshape(2, 6, 6, 1);"
        f"b = np.frombuffer(bytes.fromhex('{restored.tobytes().hex()}'), 'f4').reshape(2, 6, 6, 1);"
        "print(*np.asarray(l2(a, b)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=on_jax, capture_output=True, text=True, check=True)
    ours = keras.ops.convert_to_numpy(l2(reference, restored))
    np.testing.assert_allclose([float(value) for value in done.stdout.split()], ours, rtol=1e-6)
