from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy import ndimage

from training.networks.noise_bands import NoiseBands
from training.networks.unet import AddResidual, AddSpread, Normalise, UNetConfig, build_unet, restored_only

SMALL = UNetConfig(widths=(4, 6), blocks=1)


def _hu(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 400, (2, *shape, 1)).astype(np.float32)


SIGMA, INTERVAL = ("restored", "sigma"), ("restored", "lower", "upper")
UNCERTAIN = pytest.mark.parametrize("outputs", [SIGMA, INTERVAL])


def _wake(model, seed=1, size=0.3):
    """Gives the heads weights, which start at zero."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name in {"head", "spread"}:
            for weight in layer.weights:
                weight.assign(rng.normal(0, size, weight.shape))
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
    image = _hu((160, 160))
    whole, part = model.predict_on_batch(image), model.predict_on_batch(image[:, 64:, 64:])
    np.testing.assert_allclose(part[:, 64:, 64:], whole[:, 128:, 128:], atol=0.01)


def test_the_noise_bands_tell_level_and_texture_apart():
    rng = np.random.default_rng(0)
    white = rng.normal(0, 1, (4, 128, 128, 1)).astype(np.float32)
    smooth = ndimage.gaussian_filter(white, (0, 1, 1, 0))
    smooth /= smooth.std()
    layer = NoiseBands(3)
    found = {
        name: np.asarray(layer(0.03 * scale * noise)).mean(axis=(0, 1, 2))
        for name, noise, scale in (("white", white, 1), ("smooth", smooth, 1), ("strong", white, 2))
    }
    assert (found["strong"] > found["white"] + 0.2).all()  # level: all bands
    fine, _, coarse = found["smooth"] - found["white"]  # texture: fine against coarse
    assert fine < -0.3
    assert coarse > 0.1
    maps = np.asarray(layer(0.03 * white))
    assert maps.shape == (4, 64, 64, 3)
    assert np.ptp(maps[:, 8:16, 8:16], axis=(1, 2)).max() == 0  # one value for each square of 16 pixels
    assert maps.std(axis=(0, 1, 2)).max() < 0.15


def test_the_noise_bands_hardly_see_an_edge():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.03, (1, 128, 128, 1)).astype(np.float32)
    edge = np.where(np.arange(128) < 70, 0.0, 0.5).astype(np.float32)[None, None, :, None]
    layer = NoiseBands(3)
    assert np.abs(np.asarray(layer(noise + edge)) - np.asarray(layer(noise))).max() < 0.6  # of which 0.7 is twice


def test_without_noise_bands_and_fine_channels_the_network_is_that_of_earlier_runs():
    plain = build_unet(UNetConfig(widths=(4, 6), blocks=1, noise_bands=0, fine=0), "HU")
    assert {"noise_bands", "fine", "decode_fine"}.isdisjoint(layer.name for layer in plain.layers)
    assert plain.get_layer("encode0_0").kernel.shape[2] == 4
    assert plain.get_layer("down0").kernel.shape[2] == 1
    assert plain.get_layer("head").kernel.shape == (4, 4, 1, 4)
    assert UNetConfig(noise_bands=0, widths=(4, 6)).size_multiple == 4


@pytest.mark.parametrize(
    "config", [SMALL, replace(SMALL, fine=0), UNetConfig(widths=(4, 4, 4), blocks=2), UNetConfig()]
)
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


@pytest.mark.parametrize(
    "layer",
    [
        Normalise(-1024.0, 3071.0, 1000.0, 8, name="n"),
        AddResidual(1000.0, name="r"),
        AddSpread(INTERVAL, 1000.0, name="s"),
    ],
)
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


# --- networks that say how sure they are


@UNCERTAIN
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_untrained_the_restored_channel_is_the_identity_and_the_spread_35_hu(outputs, dtype):
    image = _hu((17, 31))
    answer = build_unet(SMALL, "HU", outputs=outputs, dtype=dtype).predict_on_batch(image)
    assert (answer.shape, answer.dtype) == ((2, 17, 31, len(outputs)), np.float32)
    np.testing.assert_array_equal(answer[..., :1], image)
    spreads = answer[..., 1:] if outputs == SIGMA else np.abs(answer[..., 1:] - image)
    np.testing.assert_allclose(spreads, 35, atol=1e-3)


@UNCERTAIN
def test_the_restored_channel_does_not_depend_on_the_others(outputs):
    """The same layers under the same names, from the same start; so weights of a network without them fit."""
    models = []
    for each in (("restored",), outputs):
        keras.utils.set_random_seed(4)
        models.append(build_unet(SMALL, "HU", outputs=each))
    plain, uncertain = models
    names = [layer.name for layer in plain.layers]
    assert [layer.name for layer in uncertain.layers if layer.name in names] == names
    for name in names:
        for one, two in zip(plain.get_layer(name).weights, uncertain.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(one, two)
    _wake(plain), _wake(uncertain)
    image = _hu((21, 34))
    expected = plain.predict_on_batch(image)
    np.testing.assert_array_equal(uncertain.predict_on_batch(image)[..., :1], expected)
    np.testing.assert_array_equal(restored_only(uncertain).predict_on_batch(image), expected)
    assert restored_only(uncertain).count_params() == plain.count_params()


@pytest.mark.parametrize("unit", ["HU", "relative"])
def test_sigma_is_positive_and_bounds_never_cross_whatever_the_weights(unit):
    scale = {"HU": 1000, "relative": 1}[unit]
    image = _hu((16, 24)) / 1000 * scale
    for size in (0.3, 3, 30):
        sigma = _wake(build_unet(SMALL, unit, outputs=SIGMA), size=size).predict_on_batch(image)[..., 1]
        assert sigma.min() >= np.float32(0.001 * scale)
        assert np.ptp(sigma) > 1e-5 * scale  # it does something
        restored, lower, upper = np.moveaxis(
            _wake(build_unet(SMALL, unit, outputs=INTERVAL), size=size).predict_on_batch(image), -1, 0
        )
        assert (lower < restored).all()
        assert (restored < upper).all()
        assert np.abs((upper - restored) - (restored - lower)).max() > 1e-4 * scale  # each has a channel of its own


def test_the_spread_by_hand():
    """softplus(x + start) + 0.001 with softplus(start) = 0.034; far above 0 softplus is the straight line."""
    restored, raw = np.zeros((1, 1, 3, 1), np.float32), np.array([-100.0, 0.0, 50.0], np.float32).reshape(1, 1, 3, 1)
    sigma = np.asarray(AddSpread(SIGMA, 1000.0)([restored, raw]))[0, 0, :, 1]
    np.testing.assert_allclose(sigma, [1.0, 35.0, 1000 * (50 + np.log(np.expm1(0.034)) + 0.001)], rtol=1e-5)


@pytest.mark.parametrize("outputs", [(), ("sigma",), ("restored", "upper", "lower"), ("restored", "variance")])
def test_other_outputs_are_refused(outputs):
    with pytest.raises(ValueError, match="outputs must be one of"):
        build_unet(SMALL, "HU", outputs=outputs)


@UNCERTAIN
def test_an_uncertain_network_is_saved_and_loaded_by_keras(outputs, tmp_path):
    model = _wake(build_unet(SMALL, "HU", outputs=outputs))
    model.save(tmp_path / "model.keras")
    image = _hu((20, 21))
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(image), model.predict_on_batch(image))


def test_another_backend_gives_the_same_answer(on_jax, tmp_path):
    model, image = _wake(build_unet(SMALL, "HU", outputs=INTERVAL)), _hu((21, 34))
    model.save_weights(tmp_path / "w.weights.h5")
    np.save(tmp_path / "image.npy", image)
    code = f"""
import keras, numpy as np
from training.networks.unet import UNetConfig, build_unet
assert keras.backend.backend() == "jax"
model = build_unet(UNetConfig(widths=(4, 6), blocks=1), "HU", outputs=("restored", "lower", "upper"))
model.load_weights(r"{tmp_path / "w.weights.h5"}")
np.save(r"{tmp_path / "restored.npy"}", model.predict_on_batch(np.load(r"{tmp_path / "image.npy"}")))
"""
    subprocess.run([sys.executable, "-c", code], env=on_jax, check=True, timeout=120)
    ours, theirs = model.predict_on_batch(image), np.load(tmp_path / "restored.npy")
    assert np.abs(ours[..., :1] - image).max() > 10  # it does something
    np.testing.assert_allclose(theirs, ours, atol=0.01)
