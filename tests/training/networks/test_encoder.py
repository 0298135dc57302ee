from __future__ import annotations

import hashlib
import json

import keras
import numpy as np
import pytest

from training.data.pairs import PreparedSeries
from training.errors import UnusableFeatures
from training.networks.encoder import STAGE, EncoderSettings, encoder_of, features_of, train_encoder
from training.networks.features import parse_features

SHORT = EncoderSettings(widths=(4, 6), steps=30, batch=2, patch=32)


def _picture():
    image = np.random.default_rng(3).uniform(0, 1, (1, 40, 36)).astype(np.float32)
    return PreparedSeries("picture", "picture", (1.0, 1.0), "relative", float("nan"), image)


def test_it_is_made_once_and_found_again(prepared, tmp_path):
    told = []
    arguments = {"settings": SHORT, "progress": lambda *state: told.append(state)}
    network, sha256 = encoder_of([prepared("a", 1)], "HU", tmp_path / "cache", **arguments)
    assert told == [(STAGE, step, 30) for step in range(1, 31)]
    again, same = encoder_of([prepared("a", 1)], "HU", tmp_path / "cache", **arguments)
    assert len(told) == 30  # found, not made
    assert same == sha256
    image = prepared("a", 1).images[:1, :, :, None] / 1000
    for one, two in zip(network(image), again(image), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    (file,), (record,) = (list((tmp_path / "cache").glob(f"features-*.{kind}")) for kind in ("npz", "json"))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256
    said = json.loads(record.read_text())
    assert said["unit"] == "HU"
    assert said["settings"]["steps"] == 30
    images = np.ascontiguousarray(prepared("a", 1).images)
    assert said["series"] == [{"series": "a1", "sha256": hashlib.sha256(images.tobytes()).hexdigest()}]
    assert said["mean squared error"]["end"] < said["mean squared error"]["start"]


def test_other_series_have_another_encoder(prepared, tmp_path):
    for series in ("a", 1), ("b", 2):
        encoder_of([prepared(*series)], "HU", tmp_path, settings=EncoderSettings((4,), steps=1, batch=1, patch=16))
    assert len(list(tmp_path.glob("features-*.npz"))) == 2


def test_the_same_settings_give_the_same_weights_whatever_keras_drew_before(prepared):
    made = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        arrays, _ = train_encoder([prepared("a", 1)], "HU", EncoderSettings((4, 6), steps=4, batch=2, patch=32))
        made.append(arrays)
    for name, array in made[0].items():
        np.testing.assert_array_equal(array, made[1][name])
    other, _ = train_encoder([prepared("a", 1)], "HU", EncoderSettings((4, 6), steps=4, batch=2, patch=32, seed=1))
    assert not np.array_equal(other["stage0/kernel"], made[0]["stage0/kernel"])


def test_ct_is_seen_twice_and_pictures_once(prepared):
    settings = EncoderSettings((4,), steps=1, batch=1, patch=16)
    ct, _ = train_encoder([prepared("a", 1)], "HU", settings)
    assert ct["stage0/kernel"].shape == (3, 3, 2, 4)
    picture, _ = train_encoder([_picture()], "relative", settings)
    assert picture["stage0/kernel"].shape == (3, 3, 1, 4)


def test_a_file_that_changed_since_it_was_chosen_is_refused(tiny_encoder, tmp_path):
    file = tmp_path / "features.npz"
    file.write_bytes(tiny_encoder.read_bytes())
    source = parse_features(str(file))
    network, sha256 = features_of(source, [], "HU", tmp_path)
    assert len(network.layers) == 2
    assert sha256 == source.sha256
    file.write_bytes(b"other")
    with pytest.raises(UnusableFeatures, match="has changed since it was chosen"):
        features_of(source, [], "HU", tmp_path)
