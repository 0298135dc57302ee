from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training import fit as module
from training.data.datasets import patches
from training.data.dead_leaves import dead_leaves
from training.data.pictures import picture_series
from training.degradations import DoseRange, parse_degradation
from training.errors import IncompatibleRun, NoTrainingData, UnknownDegradation, UnknownSetting
from training.fit import FitSettings, fit, load_run
from training.losses.pixelwise import l2
from training.networks.encoder import EncoderSettings
from training.networks.features import FeatureSource, parse_features
from training.networks.unet import UNetConfig
from training.recipes import RECIPES

TINY = FitSettings(
    model="ct-l2", epochs=3, steps=3, batch=2, patch=32, network=UNetConfig((4, 6), 1), noise=DoseRange()
)


def _history(run):
    return json.loads((run / "history.json").read_text())


@pytest.fixture(scope="module")
def whole(prepared, tmp_path_factory):
    """A run that was never interrupted, and its weights."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    model = fit(TINY, [prepared("a", 1)], [prepared("b", 2)], run)
    return run, model.get_weights()


def test_the_same_seed_gives_the_same_scores(prepared, whole, tmp_path):
    run, weights = whole
    again = fit(TINY, [prepared("a", 1)], [prepared("b", 2)], tmp_path).get_weights()
    for one, two in zip(weights, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert _history(tmp_path) == _history(run)
    other = fit(replace(TINY, seed=1), [prepared("a", 1)], [], tmp_path / "other").get_weights()
    assert not np.array_equal(weights[0], other[0])


class Killed(Exception):
    pass


@pytest.mark.parametrize("where", ["in an epoch", "between history and weights"])
def test_a_killed_run_resumes_as_if_nothing_had_happened(prepared, whole, tmp_path, monkeypatch, where):
    def kill(state):
        if where == "in an epoch" and (state.epoch, state.step) == (2, 2):
            raise Killed

    replaced = []

    def kill_between(aside, final):
        aside.replace(final)
        replaced.append(final.name)
        if where != "in an epoch" and replaced.count("history.json") == 2:
            raise Killed

    arguments = (TINY, [prepared("a", 1)], [prepared("b", 2)], tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_replace", kill_between)
        with pytest.raises(Killed):
            fit(*arguments, progress=kill)
    assert len(_history(tmp_path)) == (1 if where == "in an epoch" else 2)
    weights = fit(*arguments).get_weights()
    run, expected = whole
    for one, two in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(one, two)
    assert _history(tmp_path) == _history(run)


def test_training_helps(prepared, tmp_path):
    noise = DoseRange(
        low=0.004, high=0.006, own_share=1, clean_share=0, smooth_share=0
    )  # of a phantom with 3 HU of noise
    network = UNetConfig((12, 16), 1)
    settings = replace(TINY, steps=60, batch=8, learning_rate=5e-3, noise=noise, network=network)
    states = []
    fit(settings, [prepared("a", 1)], [prepared("b", 2)], tmp_path, progress=states.append)
    history = _history(tmp_path)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert states[-1].scores is not None
    assert [state.epoch for state in states if state.scores] == [1, 2, 3]


def test_tensorboard_has_scalars_and_pictures_of_every_epoch(whole):
    run, _ = whole
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    assert {"loss", "psnr", "ssim", "rmse"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("psnr")] == [1, 2, 3]
    picture = events.Images(events.Tags()["images"][0])[-1]
    assert (picture.width, picture.height) == (3 * 96, 96)
    assert picture.encoded_image_string.startswith(b"\x89PNG")


@pytest.mark.parametrize("change", [{"seed": 3}, {"epochs": 9}, {"network": UNetConfig((4, 8), 1)}])
def test_a_run_of_other_settings_is_not_continued(prepared, whole, change):
    run, _ = whole
    with pytest.raises(IncompatibleRun, match="other settings"):
        fit(replace(TINY, **change), [prepared("a", 1)], [], run)


def test_a_run_of_other_data_is_not_continued(prepared, whole):
    run, _ = whole
    with pytest.raises(IncompatibleRun, match="other training series"):
        fit(TINY, [prepared("c", 5)], [], run)


def test_a_run_is_loaded_with_its_weights(whole, tmp_path):
    run, weights = whole
    model, settings = load_run(run)
    assert settings == TINY
    for one, two in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(IncompatibleRun, match="no training run"):
        load_run(tmp_path)


def _fit_elsewhere(settings, fit_series, tune_series, run, environment):
    """The same call in a fresh process, perhaps on another backend; series are expressions of `series_file`."""
    code = f"""
import keras, numpy as np
from pathlib import Path
from training.fit import FitSettings, fit
from training.data.pairs import PreparedSeries
from training.data.unit_noise import UnitNoise
assert keras.backend.backend() == {environment.get("KERAS_BACKEND", "tensorflow")!r}
fit(FitSettings.from_json({settings.to_json()!r}), [{fit_series}], [{tune_series}], Path({str(run)!r}))
"""
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


def test_another_process_gives_the_same_scores(prepared, series_file, whole, tmp_path):
    run, weights = whole
    series = series_file(prepared("a", 1)), series_file(prepared("b", 2))
    _fit_elsewhere(TINY, *series, tmp_path / "run", dict(os.environ))
    assert _history(tmp_path / "run") == _history(run)
    model, _ = load_run(tmp_path / "run")
    for one, two in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_it_trains_on_jax_too(prepared, series_file, on_jax, whole, tmp_path):
    """The loop, the network and the loss are Keras only. The backends draw other weights, the task is the same."""
    settings = replace(TINY, epochs=2)
    series = series_file(prepared("a", 1)), series_file(prepared("b", 2))
    _fit_elsewhere(settings, *series, tmp_path / "run", on_jax)
    history = _history(tmp_path / "run")
    assert len(history) == 2
    assert history[0]["loss"] == pytest.approx(
        _history(whole[0])[0]["loss"], rel=0.1
    )  # the same patches, hardly trained
    assert np.isfinite(history[-1]["psnr"])
    model, _ = load_run(tmp_path / "run")  # and TensorFlow reads what JAX trained
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_losses_see_the_networks_unit():
    reference, restored = np.full((2, 3, 3, 1), 1200, np.float32), np.full((2, 3, 3, 1), 700, np.float32)
    values = np.asarray(module.in_network_unit(l2, "HU")(reference, restored))
    np.testing.assert_allclose(values, [0.25, 0.25], rtol=1e-6)  # 500 HU are half of 1000 HU


def test_a_run_records_its_loss_and_is_not_resumed_under_another(prepared, tmp_path):
    settings = replace(TINY, model="ct-l1-ssim", epochs=1, loss={"ssim_weight": 0.5})
    assert settings.loss == {**RECIPES["l1-ssim"].settings, "ssim_weight": 0.5}
    assert FitSettings.from_json(settings.to_json()) == settings
    fit(settings, [prepared("a", 1)], [], tmp_path / "run")
    with pytest.raises(IncompatibleRun, match="other settings"):
        fit(replace(settings, loss={}), [prepared("a", 1)], [], tmp_path / "run")
    with pytest.raises(UnknownSetting, match="'delta'"):
        replace(settings, loss={"delta": 1.0})


def test_runs_of_an_earlier_range_of_doses_are_refused_with_what_to_do():
    old = {**TINY.to_json(), "noise": {"low": 0.1, "high": 0.5, "spread": 2, "electronic_share": 0, "clean_share": 0}}
    with pytest.raises(IncompatibleRun, match=r"spread.*--start"):
        FitSettings.from_json(old)
    network = {"widths": [4, 6], "blocks": 1}  # of before there were noise bands and channels at full resolution
    assert FitSettings.from_json({**TINY.to_json(), "network": network}).network == UNetConfig((4, 6), 1, 0, 0)


def test_a_run_has_one_degradation_of_its_domain(prepared, tmp_path):
    settings = replace(TINY, epochs=1, noise=parse_degradation("laplace", "ct", {"sigma": 30}))
    assert FitSettings.from_json(settings.to_json()) == settings
    fit(settings, [prepared("a", 1)], [], tmp_path / "run")
    with pytest.raises(IncompatibleRun, match="other settings"):
        fit(replace(settings, noise=parse_degradation("laplace", "ct")), [prepared("a", 1)], [], tmp_path / "run")
    with pytest.raises(UnknownDegradation, match=r"gaussian, sigma 0\.1 degrades relative images, and ct-l2 is for ct"):
        replace(TINY, noise=parse_degradation("gaussian", "relative"))
    with pytest.raises(UnknownDegradation, match="relative-l2 is for relative ones"):
        replace(TINY, model="relative-l2", noise=DoseRange(low=0.1))


def test_relative_images_are_fitted_under_white_noise_and_scored_in_their_range(tmp_path):
    rng = np.random.default_rng(0)
    series = [picture_series(f"p{number}", dead_leaves((64, 64), rng)[None]) for number in range(3)]
    network = UNetConfig((12, 16), 1)
    settings = replace(TINY, model="relative-l1-ssim", steps=40, batch=8, learning_rate=5e-3, network=network)
    assert settings.noise == parse_degradation("gaussian", "relative")
    fit(settings, series[:2], series[2:], tmp_path / "run")
    history = _history(tmp_path / "run")
    assert history[-1]["loss"] < history[0]["loss"]
    assert 0.01 < history[-1]["rmse"] < 0.1  # less than the noise of 0.1, in parts of 1
    assert history[-1]["psnr"] == pytest.approx(-20 * np.log10(history[-1]["rmse"]), abs=0.5)  # range 1


def test_a_recipe_of_several_terms_logs_how_much_of_the_gradient_each_has(prepared, whole, tmp_path):
    fit(replace(TINY, model="ct-l1-ssim", epochs=2), [prepared("a", 1)], [], tmp_path / "run")
    for epoch in _history(tmp_path / "run"):
        shares = [epoch[f"gradient share of {term}"] for term in ("l1", "ssim")]
        assert sum(shares) == pytest.approx(1)
        assert min(shares) > 0
    assert not any(name.startswith("gradient share") for name in _history(whole[0])[0])  # of one term there is no share


def test_every_epoch_has_patches_of_its_own(prepared, tmp_path, monkeypatch):
    first = []

    def recorded(*arguments, **options):
        for batch in patches(*arguments, **options):
            first.append(batch[0].tobytes())
            yield batch

    monkeypatch.setattr(module, "patches", recorded)
    fit(replace(TINY, steps=1), [prepared("a", 1)], [], tmp_path / "run")
    assert len(set(first)) == len(first) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [({"patch": 97}, "slices of 96 x 96 pixels, smaller than a patch of 97"), ({}, "no series to fit")],
)
def test_what_cannot_be_fitted_is_refused_before_the_run_exists(prepared, tmp_path, change, says):
    series = [prepared("a", 1)] if change else []
    with pytest.raises(NoTrainingData, match=says):
        fit(replace(TINY, **change), series, [], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_perceptual_run_takes_the_features_of_a_file(prepared, tiny_encoder, tmp_path):
    source = parse_features(str(tiny_encoder))
    settings = replace(TINY, model="ct-perceptual", epochs=1, features=source)
    assert FitSettings.from_json(settings.to_json()) == settings
    fit(settings, [prepared("a", 1)], [], tmp_path / "run")
    (epoch,) = _history(tmp_path / "run")
    assert epoch["gradient share of l2"] + epoch["gradient share of features"] == pytest.approx(1)
    assert 0 < epoch["gradient share of features"] < 0.5
    assert json.loads((tmp_path / "run" / "features.json").read_text()) == {"sha256": source.sha256}
    other = replace(settings, features=replace(source, sha256="0" * 64))
    with pytest.raises(IncompatibleRun, match="other settings"):
        fit(other, [prepared("a", 1)], [], tmp_path / "run")


def test_a_perceptual_run_makes_an_encoder_of_its_own_series_and_keeps_it(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "training.networks.encoder.EncoderSettings", lambda: EncoderSettings((4,), steps=2, batch=1, patch=16)
    )
    settings = replace(TINY, model="ct-perceptual", epochs=1)
    assert settings.features == FeatureSource()
    told = []
    arguments = (settings, [prepared("a", 1)], [])
    first = fit(*arguments, tmp_path / "one", cache=tmp_path / "cache", advance=lambda *state: told.append(state))
    second = fit(*arguments, tmp_path / "two", cache=tmp_path / "cache", advance=lambda *state: told.append(state))
    assert told == [("train the feature encoder", 1, 2), ("train the feature encoder", 2, 2)]
    for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)  # made or found: the network starts alike
    (file,) = (tmp_path / "cache").glob("features-*.npz")
    file.unlink()
    file.with_suffix(".json").unlink()
    (tmp_path / "two" / "features.json").write_text('{"sha256": "another machine made others"}')
    with pytest.raises(IncompatibleRun, match="other features"):
        fit(*arguments, tmp_path / "two", cache=tmp_path / "cache")


def test_only_recipes_that_compare_by_features_take_them():
    assert replace(TINY).features is None
    assert "features" not in TINY.to_json()
    with pytest.raises(UnknownSetting, match="recipe l2 compares by no features; leave out --features"):
        replace(TINY, features=FeatureSource())
