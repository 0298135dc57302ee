from __future__ import annotations

import keras
import numpy as np
import pytest

from training.unet import UNetConfig, build_unet

SMALL = UNetConfig(widths=(4, 6), blocks=1)


def _hu(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 400, (2, *shape, 1)).astype(np.float32)


def _wake(model, seed=1):
    """Gives the head weights, which start at zero."""
    rng = np.random.default_rng(seed)
    for weight in model.get_layer("head").weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
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
