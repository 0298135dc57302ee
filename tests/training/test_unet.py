from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

from training.unet import AddResidual, Normalise, UNetConfig, build_unet

SMALL = UNetConfig(widths=(4, 6), blocks=1)


def _hu(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 400, (2, *shape, 1)).astype(np.float32)


def _wake(model, seed=1):
    """Gives the head weights, which start at zero."""
    rng = np.random.default_rng(seed)
    for weight in model.get_layer("head").weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 31), (17, 16), (64, 64)])
def test_untrained_it_is_the_identity_bit_for_bit_at_any_size(shape, dtype):
    image = _hu(shape)
    restored = build_unet(SMALL, "HU", dtype=dtype).predict_on_batch(image)
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(restored, image)


def test_beyond_the_scale_the_input_still_comes_through():
    image = np.full((1, 16, 16, 1), 9000, np.float32)  # metal on an extended scale
    np.testing.assert_array_equal(build_unet(SMALL, "HU").predict_on_batch(image), image)


def test_a_crop_away_from_the_border_gives_the_same_answer():
    model = _wake(build_unet(SMALL, "HU"))
    image = _hu((96, 96))
    whole, part = model.predict_on_batch(image), model.predict_on_batch(image[:, 32:, 32:])
    np.testing.assert_allclose(part[:, 32:, 32:], whole[:, 64:, 64:], atol=0.01)


@pytest.mark.parametrize("config", [SMALL, UNetConfig(widths=(4, 4, 4), blocks=2), UNetConfig()])
def test_the_declared_receptive_field_holds_and_is_not_far_off(config):
    keras.utils.set_random_seed(2)
    model = _wake(build_unet(config, "HU"))
    middle, reach = 160, 0
    rng = np.random.default_rng(3)
    image = rng.normal(0, 100, (1, 320, 320, 1)).astype(np.float32)
    before = model.predict_on_batch(image)
    for offset in range(config.size_multiple):  # the reach depends on where in a cell the pixel lies
        changed = image.copy()
        changed[0, middle + offset, middle + offset, 0] += 2500
        moved = model.predict_on_batch(changed)[0, ..., 0] != before[0, ..., 0]
        rows = np.flatnonzero(moved.any(axis=1))
        reach = max(reach, middle + offset - rows[0], rows[-1] - middle - offset)
    assert 0.75 * config.receptive_field <= 2 * reach + 1 <= config.receptive_field


def test_the_default_network_is_small():
    assert build_unet(UNetConfig(), "HU").count_params() < 900_000


def test_it_is_saved_and_loaded_by_keras(tmp_path):
    model = _wake(build_unet(SMALL, "HU"))
    model.save(tmp_path / "model.keras")
    image = _hu((20, 21))
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(image), model.predict_on_batch(image))


@pytest.mark.parametrize("layer", [Normalise(-1024.0, 3071.0, 1000.0, 8, name="n"), AddResidual(1000.0, name="r")])
def test_layers_come_back_from_their_configuration(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


def test_normalising_clips_scales_and_pads_with_the_last_row_and_column():
    image = np.array([[[-2000.0], [500.0], [4000.0]]], np.float32)[None]
    normal = np.asarray(Normalise(-1024.0, 3071.0, 1000.0, 2)(image))[0, ..., 0]
    expected = [-1.024, 0.5, 3.071, 3.071]
    np.testing.assert_allclose(normal, [expected, expected], rtol=1e-6)


def test_the_residual_sum_is_float32_whatever_the_residual_is():
    image = np.random.default_rng(0).normal(0, 1000, (1, 5, 7, 1)).astype(np.float32)
    residual = keras.ops.cast(np.random.default_rng(1).normal(0, 0.1, (1, 8, 8, 1)), "bfloat16")
    expected = image + np.float32(1000) * np.asarray(keras.ops.cast(residual, "float32"))[:, :5, :7]
    np.testing.assert_array_equal(np.asarray(AddResidual(1000.0)([image, residual])), expected)


def test_relative_images_have_their_own_unit():
    image = np.random.default_rng(0).uniform(0, 1, (1, 9, 20, 1)).astype(np.float32)
    model = build_unet(SMALL, "relative")
    np.testing.assert_array_equal(model.predict_on_batch(image), image)
    change = _wake(model).predict_on_batch(image) - image
    assert 1e-4 < np.abs(change).max() < 100  # not the hundreds that a scale of 1000 would give


def test_another_backend_gives_the_same_answer(on_jax, tmp_path):
    model, image = _wake(build_unet(SMALL, "HU")), _hu((21, 34))
    model.save_weights(tmp_path / "w.weights.h5")
    np.save(tmp_path / "image.npy", image)
    code = f"""
import keras, numpy as np
from training.unet import UNetConfig, build_unet
assert keras.backend.backend() == "jax"
model = build_unet(UNetConfig(widths=(4, 6), blocks=1), "HU")
model.load_weights(r"{tmp_path / "w.weights.h5"}")
np.save(r"{tmp_path / "restored.npy"}", model.predict_on_batch(np.load(r"{tmp_path / "image.npy"}")))
"""
    subprocess.run([sys.executable, "-c", code], env=on_jax, check=True, timeout=120)
    ours, theirs = model.predict_on_batch(image), np.load(tmp_path / "restored.npy")
    assert np.abs(ours - image).max() > 10  # it does something
    np.testing.assert_allclose(theirs, ours, atol=0.01)
