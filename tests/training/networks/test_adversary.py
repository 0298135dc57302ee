from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from training import fit as fitting
from training.errors import IncompatibleRun, MissingNetwork
from training.fit import FitSettings, fit, in_network_unit
from training.keras_loss import RecipeLoss
from training.losses.adversarial import realness, telling_apart
from training.networks.adversary import TEXTURE_LIMIT, TEXTURE_SCALE, Adversary, build_discriminator, texture
from training.networks.unet import UNetConfig, build_unet
from training.recipes import RECIPES

TINY = FitSettings(model="ct-adversarial", epochs=2, steps=3, batch=2, patch=32, network=UNetConfig((4, 6), 1))


def _restorer(optimizer):
    keras.utils.set_random_seed(3)
    model = build_unet(UNetConfig((4, 6), 1), "HU")
    model.compile(optimizer=optimizer, loss=in_network_unit(RECIPES["l2"].loss, "HU"))
    model.optimizer.build(model.trainable_variables)
    return model


def _batch(seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.normal(40, 30, (2, 32, 32, 1)).astype(np.float32)
    return (reference + rng.normal(0, 30, reference.shape)).astype(np.float32), reference


# --- what the discriminator sees


def test_texture_is_blind_to_what_varies_slowly_and_bounded():
    image = np.full((1, 24, 24, 1), 0.04, np.float32)
    np.testing.assert_allclose(np.asarray(texture(image)), 0, atol=1e-5)
    assert np.asarray(texture(image + 0.3 * np.linspace(0, 1, 24, dtype=np.float32)[:, None]))[
        0, 4:-4, 4:-4
    ] == pytest.approx(0, abs=1e-4)  # a ramp has the same mean around it, away from the border
    image[0, 12, 12] += 0.05
    seen = np.asarray(texture(image))[0, ..., 0]
    assert seen[12, 12] == pytest.approx(0.05 * (1 - 1 / 81) / TEXTURE_SCALE, rel=1e-4)
    assert seen[12, 16] == pytest.approx(-0.05 / 81 / TEXTURE_SCALE, rel=1e-3)
    assert seen[12, 17] == pytest.approx(0, abs=1e-5)
    image[0, 12, 12] = 2.0
    assert np.asarray(texture(image)).max() == TEXTURE_LIMIT


def test_each_score_sees_34_pixels():
    keras.utils.set_random_seed(0)
    network = build_discriminator()
    image = np.random.default_rng(0).normal(size=(1, 96, 96, 1)).astype(np.float32)
    before = network.predict_on_batch(image)
    assert before.shape == (1, 24, 24, 1)
    image[0, 48, 48] += 100
    rows = np.flatnonzero((network.predict_on_batch(image) != before)[0].any(axis=(1, 2)))
    assert 7 <= len(rows) <= 9  # of 4 pixels each
    assert network.predict_on_batch(np.zeros((1, 1, 1, 1), np.float32)).shape == (1, 1, 1, 1)


# --- the step


def test_the_step_is_that_of_l2_where_the_weight_is_zero():
    """The same path as `train_on_batch`, to the last digits: with weight 0 only the discriminator is more."""
    batch = _batch()
    plain = _restorer(keras.optimizers.Adam(1e-3, global_clipnorm=1.0))
    losses = [float(plain.train_on_batch(*batch)) for _ in range(3)]
    other = _restorer(keras.optimizers.Adam(1e-3, global_clipnorm=1.0))
    recipe = RECIPES["adversarial"].with_settings({"adversarial_weight": 0.0})
    adversary = Adversary(other, recipe, "HU")
    assert [adversary.step(*batch) for _ in range(3)] == pytest.approx(losses, rel=1e-5)
    for one, two in zip(plain.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_losses_of_a_step_by_hand():
    """The discriminator is taught first, and the restorer is then judged by what it has learnt."""
    degraded, reference = _batch()
    model = _restorer(keras.optimizers.SGD(0.0))
    recipe = RECIPES["adversarial"].with_settings({"adversarial_weight": 0.5, "discriminator_rate": 0.0})
    adversary = Adversary(model, recipe, "HU")
    before = [np.array(weight) for weight in adversary.network.get_weights()]
    loss = adversary.step(degraded, reference)
    apart = adversary.scores()["discriminator loss"]
    restored = degraded  # what an untrained network gives
    real, made = (adversary.judge(image / np.float32(1000)) for image in (reference, restored))
    assert apart == pytest.approx(float(np.mean(telling_apart(real, made))), rel=1e-4)
    l2 = np.mean(((restored - reference) / 1000) ** 2)
    assert loss == pytest.approx(l2 + 0.5 * float(np.mean(realness(made))), rel=1e-4)
    assert any((one != two).any() for one, two in zip(before, adversary.network.get_weights(), strict=True))
    for layer in adversary.network.layers:  # a step of rate 0 leaves the spectral norm alone
        if isinstance(layer, keras.layers.SpectralNormalization):
            matrix = np.asarray(layer.kernel).reshape(-1, layer.kernel.shape[-1])
            assert 0.99 < np.linalg.norm(matrix, 2) < 3  # one power iteration a step approaches it from above


def test_it_learns_to_tell_noise_from_smooth_and_judging_changes_nothing():
    model = _restorer(keras.optimizers.SGD(0.0))
    adversary = Adversary(model, RECIPES["adversarial"].with_settings({"discriminator_rate": 3e-3}), "HU")
    rng = np.random.default_rng(0)
    for number in range(60):
        if number == 50:
            adversary.scores()
        smooth = np.full((4, 32, 32, 1), 40, np.float32)
        adversary.step(smooth, smooth + rng.normal(0, 20, smooth.shape).astype(np.float32))
    scores = adversary.scores()
    assert scores["discriminator accuracy"] > 0.9
    assert scores["discriminator loss"] < 0.1
    state = [np.array(variable) for variable in adversary.network.variables]
    adversary.judge(smooth / 1000)
    for one, two in zip(state, adversary.network.variables, strict=True):
        np.testing.assert_array_equal(one, np.asarray(two))


# --- a run


def _history(run):
    return json.loads((run / "history.json").read_text())


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, fit(TINY, [prepared("a", 1)], [], run).get_weights()


def test_a_run_logs_both_networks(whole):
    run, _ = whole
    for epoch in _history(run):
        assert 0 <= epoch["discriminator accuracy"] <= 1
        assert epoch["discriminator loss"] > 0
        shares = [epoch[f"gradient share of {term}"] for term in ("l2", "adversarial")]
        assert sum(shares) == pytest.approx(1)
        assert min(shares) > 0
    assert sorted(file.name for file in run.glob("discriminator*")) == [
        "discriminator-0001.weights.h5",
        "discriminator-0002.weights.h5",
    ]


class Killed(Exception):
    pass


@pytest.mark.parametrize("where", ["in the second epoch", "between discriminator and restorer"])
def test_a_killed_run_resumes_as_if_nothing_had_happened(prepared, whole, tmp_path, monkeypatch, where):
    def kill(state):
        if where == "in the second epoch" and (state.epoch, state.step) == (2, 2):
            raise Killed

    saved = []

    def kill_between(*arguments):
        saved.append(arguments)
        if where != "in the second epoch" and len(saved) == 2:
            raise Killed
        save(*arguments)

    save = fitting._save
    arguments = (TINY, [prepared("a", 1)], [], tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "_save", kill_between)
        with pytest.raises(Killed):
            fit(*arguments, progress=kill)
    assert (tmp_path / "discriminator-0002.weights.h5").exists() == (where != "in the second epoch")
    weights = fit(*arguments).get_weights()
    run, expected = whole
    for one, two in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, two)
    assert _history(tmp_path) == _history(run)


def test_a_run_without_its_discriminator_is_not_resumed(prepared, tmp_path):
    settings = replace(TINY, steps=1)
    fit(settings, [prepared("a", 1)], [], tmp_path)
    (tmp_path / "discriminator-0002.weights.h5").unlink()
    with pytest.raises(IncompatibleRun, match=r"lacks discriminator-0002\.weights\.h5"):
        fit(settings, [prepared("a", 1)], [], tmp_path)


def test_other_backends_are_refused(on_jax):
    code = """
from training.networks.adversary import Adversary
from training.errors import UnsupportedBackend
from training.recipes import RECIPES
try:
    Adversary(None, RECIPES["adversarial"], "HU")
except UnsupportedBackend as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], env=on_jax, capture_output=True, text=True, check=True)
    assert "needs KERAS_BACKEND=tensorflow, not jax" in done.stdout


def test_a_plain_keras_loss_names_what_can_train_it():
    image = np.zeros((1, 8, 8, 1), np.float32)
    with pytest.raises(MissingNetwork, match="use `clearslice train`; its other term is recipe l2"):
        RecipeLoss("adversarial")(image, image)
