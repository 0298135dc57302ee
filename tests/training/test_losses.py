"""The harness that every recipe passes. The values of each loss are in tests/training/losses."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.recipes import RECIPES, RecipeLoss

EVERY = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


def _numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


def _images(shape=(3, 13, 17, 1), seed=0):
    """A reference around soft tissue and the same with 30 HU of noise, in units of 1000 HU."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(0.05, 0.05, shape).astype(np.float32)
    return reference, (reference + rng.normal(0, 0.03, shape)).astype(np.float32)


# --- every recipe


@EVERY
def test_one_value_per_image_in_float32_whatever_the_precision(recipe):
    reference, restored = _images()
    value = recipe.loss(reference, keras.ops.cast(restored, "bfloat16"))
    assert value.shape == (3,)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"


@EVERY
def test_images_of_a_batch_do_not_mix(recipe):
    reference, restored = _images()
    alone = [_numpy(recipe.loss(reference[i : i + 1], restored[i : i + 1]))[0] for i in range(3)]
    np.testing.assert_allclose(_numpy(recipe.loss(reference, restored)), alone, rtol=1e-5)


@EVERY
def test_a_perfect_image_costs_least_and_more_noise_costs_more(recipe):
    reference, restored = _images()
    costs = [_numpy(recipe.loss(reference, reference + part * (restored - reference))) for part in (0, 0.5, 1)]
    least = 10 * np.log10(recipe.settings["eps"]) if recipe.name == "psnr" else 0
    np.testing.assert_allclose(costs[0], least, atol=1e-6, rtol=1e-6)
    assert (costs[0] < costs[1]).all()
    assert (costs[1] < costs[2]).all()


@EVERY
@pytest.mark.parametrize("other", [(3, 5, 7), (3, 5, 1, 1), (1, 5, 7, 1), (3, 7, 5, 1)])
def test_other_shapes_are_refused_not_broadcast(recipe, other):
    with pytest.raises(ValueError, match=r"shape|compare"):
        recipe.loss(np.zeros((3, 5, 7, 1), np.float32), np.zeros(other, np.float32))


@EVERY
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 40, 1), (2, 3, 17, 1), (1, 12, 31, 1), (1, 64, 64, 1)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_are_finite(recipe, shape, dtype):
    reference = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for kind, restored in {
        "perfect": reference,
        "constant": np.zeros(shape, np.float32),
        "air": np.full(shape, -1.024, np.float32),  # where the luminance term of SSIM counts from
        "inverted": -reference,
        "uncorrelated": reference[:, ::-1, ::-1] * 1e3,
    }.items():
        variable = tf.Variable(restored)
        with tf.GradientTape() as tape:
            value = keras.ops.mean(recipe.loss(reference, tf.cast(variable, dtype)))
        assert np.isfinite(float(value)), kind
        assert np.isfinite(tape.gradient(value, variable).numpy()).all(), kind


@EVERY
def test_it_trains_in_plain_keras_with_a_partial_last_batch_and_is_saved_with_the_model(recipe, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=RecipeLoss(recipe.name))
    image, _ = _images((5, 16, 16, 1))
    losses = model.fit(image, image, batch_size=2, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(image, image, verbose=0) == pytest.approx(model.evaluate(image, image, verbose=0), rel=1e-6)


@EVERY
def test_it_trains_in_mixed_precision(recipe):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Conv2D(1, 3, padding="same", dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((None, None, 1)), layer])
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=RecipeLoss(recipe.name))
    image, _ = _images((4, 16, 16, 1))
    losses = model.fit(image, image, batch_size=2, epochs=6, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_another_backend_gives_the_same_values(on_jax, tmp_path):
    reference, restored = _images()
    np.savez(tmp_path / "images.npz", reference=reference, restored=restored)
    code = (
        "import numpy as np, keras; from training.recipes import RECIPES; assert keras.backend.backend() == 'jax';"
        f"a = np.load({str(tmp_path / 'images.npz')!r}); a, b = a['reference'], a['restored'];"
        "print(*(value for r in RECIPES.values() for value in np.asarray(r.loss(a, b))))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=on_jax, capture_output=True, text=True, check=True)
    ours = np.concatenate([_numpy(recipe.loss(reference, restored)) for recipe in RECIPES.values()])
    np.testing.assert_allclose([float(value) for value in done.stdout.split()], ours, rtol=1e-5)
