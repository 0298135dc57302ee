"""The harness that every recipe passes, and the values of each loss by hand or by an independent implementation."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from training.losses.pixelwise import l1, l2
from training.losses.structural import ssim
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
def test_a_perfect_image_costs_nothing_and_more_noise_costs_more(recipe):
    reference, restored = _images()
    costs = [_numpy(recipe.loss(reference, reference + part * (restored - reference))) for part in (0, 0.5, 1)]
    np.testing.assert_allclose(costs[0], 0, atol=1e-6)
    assert (costs[0] < costs[1]).all()
    assert (costs[1] < costs[2]).all()


@EVERY
@pytest.mark.parametrize("other", [(3, 5, 7), (3, 5, 1, 1), (1, 5, 7, 1), (3, 7, 5, 1)])
def test_other_shapes_are_refused_not_broadcast(recipe, other):
    with pytest.raises(ValueError, match=r"shape|compare"):
        recipe.loss(np.zeros((3, 5, 7, 1), np.float32), np.zeros(other, np.float32))


@EVERY
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 40, 1), (2, 3, 17, 1), (1, 12, 31, 1)])
@pytest.mark.parametrize("kind", ["perfect", "constant", "air", "inverted", "uncorrelated"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_are_finite(recipe, shape, kind, dtype):
    reference = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    restored = {
        "perfect": reference,
        "constant": np.zeros(shape, np.float32),
        "air": np.full(shape, -1.024, np.float32),  # where the luminance term of SSIM counts from
        "inverted": -reference,
        "uncorrelated": reference[:, ::-1, ::-1] * 1e3,
    }
    variable = tf.Variable(restored[kind])
    with tf.GradientTape() as tape:
        value = keras.ops.mean(recipe.loss(reference, tf.cast(variable, dtype)))
    assert np.isfinite(float(value))
    assert np.isfinite(tape.gradient(value, variable).numpy()).all()


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


# --- pixel by pixel


def test_l2_and_l1_by_hand():
    reference = np.array([[[[1.0], [2.0]]], [[[0.0], [0.0]]]], np.float32)
    restored = np.array([[[[1.5], [0.0]]], [[[0.0], [3.0]]]], np.float32)
    np.testing.assert_allclose(_numpy(l2(reference, restored)), [(0.25 + 4) / 2, 9 / 2])
    np.testing.assert_allclose(_numpy(l1(reference, restored)), [(0.5 + 2) / 2, 3 / 2])


# --- SSIM


@settings(max_examples=20, deadline=None)
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
