from __future__ import annotations

import keras
import numpy as np
import pytest

from training.errors import UnknownSetting, UnusableFeatures
from training.keras_loss import RecipeLoss
from training.losses.perceptual import feature_distance
from training.losses.pixelwise import l2
from training.networks.features import read_features

RNG = np.random.default_rng(0)
REFERENCE, RESTORED = (RNG.normal(0, 0.1, (2, 16, 16, 1)).astype(np.float32) for _ in range(2))


def test_features_come_from_a_file_and_survive_saving(tiny_encoder):
    loss = RecipeLoss("perceptual", features=str(tiny_encoder), feature_weight=0.5)
    distance = feature_distance(REFERENCE, RESTORED, features=read_features(tiny_encoder, "HU"))
    expected = np.mean(np.asarray(l2(REFERENCE, RESTORED)) + 0.5 * np.asarray(distance))
    assert float(loss(REFERENCE, RESTORED)) == pytest.approx(float(expected), rel=1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(REFERENCE, RESTORED)) == float(loss(REFERENCE, RESTORED))


def test_features_that_cannot_be_used_are_refused(tiny_encoder):
    with pytest.raises(UnknownSetting, match="recipe l2 compares by no features"):
        RecipeLoss("l2", features=str(tiny_encoder))
    with pytest.raises(UnusableFeatures, match="is no file"):
        RecipeLoss("perceptual", features="missing.npz")
    with pytest.raises(UnusableFeatures, match="another unit"):
        RecipeLoss("perceptual", features=str(tiny_encoder), unit="relative")
    with pytest.raises(UnusableFeatures, match="'encoder' has to be trained first"):
        RecipeLoss("perceptual", features="encoder")
