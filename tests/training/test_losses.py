"""The harness that every recipe passes. The values of each loss are in tests/training/losses."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.keras_loss import RecipeLoss
from training.networks.features import read_features
from training.networks.unet import AddSpread
from training.recipes import RECIPES

EVERY = pytest.mark.parametrize("recipe", RECIPES, indirect=True)
AS_KERAS_LOSS = pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "adversarial"], indirect=True)


@pytest.fixture
def recipe(request, tiny_encoder):
    return _bound(RECIPES[request.param], tiny_encoder)


def _bound(recipe, encoder):
    """With the network that it needs; everything fools the discriminator, so that only the supervised term is left."""
    if recipe.needs == "features":
        return recipe.with_network(read_features(encoder, "HU"))
    if recipe.needs == "discriminator":
        return recipe.with_network(lambda image: keras.ops.ones_like(image[:, :1, :1, :1]))
    return recipe


def _keras_loss(recipe, encoder):
    return RecipeLoss(recipe.name, features=str(encoder) if recipe.needs else "")


def _numpy(value):
    return np.asarray(keras.ops.convert_to_numpy(value))


def _images(shape=(3, 13, 17, 1), seed=0):
    """A reference around soft tissue and the same with 30 HU of noise, in units of 1000 HU."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(0.05, 0.05, shape).astype(np.float32)
    return reference, (reference + rng.normal(0, 0.03, shape)).astype(np.float32)


SPREAD = 0.02


def _answer(recipe, restored):
    """What a network of the recipe gives: the image, and 20 HU as its sigma or to both sides of it."""
    channels = {
        "restored": restored,
        "sigma": np.full_like(restored, SPREAD),
        "lower": restored - np.float32(SPREAD),
        "upper": restored + np.float32(SPREAD),
    }
    return np.concatenate([channels[name] for name in recipe.outputs], axis=-1)


def _least(recipe):
    """The cost of a perfect image; of an uncertain one that it need not have been."""
    if recipe.name == "psnr":
        return 10 * np.log10(recipe.settings["eps"])
    if recipe.name == "heteroscedastic":
        return SPREAD * np.log(SPREAD)  # the weight, and no error
    if recipe.name == "quantile":
        return 2 * 0.05 * SPREAD
    return 0


def _model(recipe, dtype="float32"):
    """One convolution for the image, and one for the spread where the recipe has one."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 1))
    restored = keras.layers.Conv2D(1, 3, padding="same", dtype=dtype)(image)
    if len(recipe.outputs) == 1:
        return keras.Model(image, restored)
    spread = keras.layers.Conv2D(len(recipe.outputs) - 1, 3, padding="same", dtype=dtype)(image)
    return keras.Model(image, AddSpread(recipe.outputs, 1.0)([keras.ops.cast(restored, "float32"), spread]))


# --- every recipe


@EVERY
def test_one_value_per_image_in_float32_whatever_the_precision(recipe):
    reference, restored = _images()
    value = recipe.loss(reference, keras.ops.cast(_answer(recipe, restored), "bfloat16"))
    assert value.shape == (3,)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"


@EVERY
def test_images_of_a_batch_do_not_mix(recipe):
    reference, restored = _images()
    restored = _answer(recipe, restored)
    alone = [_numpy(recipe.loss(reference[i : i + 1], restored[i : i + 1]))[0] for i in range(3)]
    np.testing.assert_allclose(_numpy(recipe.loss(reference, restored)), alone, rtol=1e-5)


@EVERY
def test_a_perfect_image_costs_least_and_more_noise_costs_more(recipe):
    reference, restored = _images()
    images = [reference + part * (restored - reference) for part in (0, 0.5, 1)]
    costs = [_numpy(recipe.loss(reference, _answer(recipe, image))) for image in images]
    np.testing.assert_allclose(costs[0], _least(recipe), atol=1e-6, rtol=1e-6)
    assert (costs[0] < costs[1]).all()
    assert (costs[1] < costs[2]).all()


@EVERY
@pytest.mark.parametrize("other", [(3, 5, 7), (3, 5, 1, 1), (1, 5, 7, 1), (3, 7, 5, 1)])
def test_other_shapes_are_refused_not_broadcast(recipe, other):
    with pytest.raises(ValueError, match=r"shape|compare"):
        recipe.loss(np.zeros((3, 5, 7, 1), np.float32), _answer(recipe, np.zeros(other, np.float32)))


@EVERY
def test_other_channels_are_refused_not_broadcast(recipe):
    answer = _answer(recipe, np.zeros((3, 5, 7, 1), np.float32))
    for channels in (answer[..., :0], np.concatenate([answer, answer[..., :1]], axis=-1)):
        with pytest.raises(ValueError, match=r"shape|compare"):
            recipe.loss(np.zeros((3, 5, 7, 1), np.float32), channels)


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
        variable = tf.Variable(_answer(recipe, restored))
        with tf.GradientTape() as tape:
            value = keras.ops.mean(recipe.loss(reference, tf.cast(variable, dtype)))
        assert np.isfinite(float(value)), kind
        assert np.isfinite(tape.gradient(value, variable).numpy()).all(), kind


def _error(model, image):
    return np.abs(model.predict_on_batch(image)[..., :1] - image).mean()


@AS_KERAS_LOSS
def test_it_trains_in_plain_keras_with_a_partial_last_batch_and_is_saved_with_the_model(recipe, tiny_encoder, tmp_path):
    model = _model(recipe)
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=_keras_loss(recipe, tiny_encoder))
    image, _ = _images((5, 16, 16, 1))
    before = model.evaluate(image, image, verbose=0), _error(model, image)
    losses = model.fit(image, image, batch_size=2, epochs=12, verbose=0).history["loss"]
    if len(recipe.outputs) == 1:
        assert losses[-1] < 0.5 * losses[0]
    else:  # where 0 means nothing: a spread has its own cost
        assert losses[-1] < before[0]
        assert _error(model, image) < 0.5 * before[1]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(image, image, verbose=0) == pytest.approx(model.evaluate(image, image, verbose=0), rel=1e-6)


@AS_KERAS_LOSS
def test_it_trains_in_mixed_precision(recipe, tiny_encoder):
    model = _model(recipe, "mixed_bfloat16")
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=_keras_loss(recipe, tiny_encoder))
    image, _ = _images((4, 16, 16, 1))
    losses = model.fit(image, image, batch_size=2, epochs=6, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_another_backend_gives_the_same_values(on_jax, tiny_encoder, tmp_path):
    reference, restored = _images()
    recipes = [recipe for recipe in RECIPES.values() if recipe.needs != "discriminator"]  # which needs TensorFlow
    answers = {recipe.name: _answer(recipe, restored) for recipe in recipes}
    np.savez(tmp_path / "images.npz", reference=reference, **answers)
    code = (
        "import numpy as np, keras; from pathlib import Path; from training.recipes import RECIPES;"
        "from training.networks.features import read_features; assert keras.backend.backend() == 'jax';"
        f"a = np.load({str(tmp_path / 'images.npz')!r}); f = read_features(Path({str(tiny_encoder)!r}), 'HU');"
        "recipes = [r.with_network(f) if r.needs else r for r in RECIPES.values() if r.needs != 'discriminator'];"
        "print(*(value for r in recipes for value in np.asarray(r.loss(a['reference'], a[r.name]))))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=on_jax, capture_output=True, text=True, check=True)
    ours = np.concatenate(
        [_numpy(_bound(recipe, tiny_encoder).loss(reference, answers[recipe.name])) for recipe in recipes]
    )
    np.testing.assert_allclose([float(value) for value in done.stdout.split()], ours, rtol=1e-5)
