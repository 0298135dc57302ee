from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from model_store.restorer import load_restorer
from model_store.store import ModelStore
from training.errors import NoTrainingData, UnusableStart
from training.fit import FitSettings, fit, load_run
from training.networks.unet import UNetConfig, build_unet
from training.reproduce import reproduce
from training.settings_file import read_settings, render_settings, settings_from
from training.start import START, begin_with, find_start, seen_series, start_weights

TINY = FitSettings(model="ct-l2", epochs=1, steps=2, batch=2, patch=32, network=UNetConfig((4, 6), 1))


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    fit(TINY, [prepared("a", 1)], [], folder)
    return folder


def started(run, model="ct-l1", **changes):
    start, network = find_start(str(run), "ct")
    return replace(TINY, model=model, network=network, start=start, **changes)


def same(one, two):
    return all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))


def test_a_run_begins_with_the_weights_of_another(prepared, run, tmp_path):
    first = load_run(run)[0].get_weights()
    # a rate too small to move a float32
    still = fit(started(run, learning_rate=1e-30), [prepared("a", 1)], [], tmp_path / "still").get_weights()
    assert same(first, still)
    moved = fit(started(run), [prepared("a", 1)], [], tmp_path / "moved").get_weights()
    assert not same(first, moved)
    fresh = fit(replace(TINY, model="ct-l1"), [prepared("a", 1)], [], tmp_path / "fresh").get_weights()
    assert not same(fresh, moved)


def test_it_needs_the_other_run_no_more(prepared, run, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(run, gone)
    settings = started(gone, epochs=2)
    fit(settings, [prepared("a", 1)], [], tmp_path / "run", until=1)
    shutil.rmtree(gone)
    resumed = fit(settings, [prepared("a", 1)], [], tmp_path / "run").get_weights()
    unbroken = fit(started(run, epochs=2), [prepared("a", 1)], [], tmp_path / "unbroken").get_weights()
    assert same(resumed, unbroken)
    found = reproduce(tmp_path / "run", [prepared("a", 1)], [], tmp_path / "again")
    assert (found.verdict, found.weights_differ) == ("bit-equal", 0.0)


def test_a_second_head_starts_afresh(prepared, run, tmp_path):
    settings = started(run, "ct-heteroscedastic", learning_rate=1e-30)
    model = fit(settings, [prepared("a", 1)], [], tmp_path / "run")
    image = np.random.default_rng(0).normal(0, 300, (1, 37, 53, 1)).astype(np.float32)
    first = load_run(run)[0].predict_on_batch(image)
    np.testing.assert_allclose(model.predict_on_batch(image)[..., :1], first, atol=1e-3)
    # and a model with one head may start from one with two
    back = fit(started(tmp_path / "run", learning_rate=1e-30), [prepared("a", 1)], [], tmp_path / "back")
    assert same(back.get_weights(), load_run(run)[0].get_weights())


def test_a_published_version_is_read_weight_by_weight(tmp_path):
    store = ModelStore()
    version = store.resolve("ct-l2@stable")
    start, network = find_start("ct-l2@stable", "ct")
    assert find_start(str(version.path), "ct") == (replace(start, of=str(version.path)), network)
    model = build_unet(network, "HU")
    begin_with(model, start_weights(start, "ct", tmp_path))
    image = np.random.default_rng(0).normal(0, 300, (1, 70, 90, 1)).astype(np.float32)
    expected = load_restorer(version, precision="float32")(image)
    assert np.abs(expected - image).max() > 1
    np.testing.assert_allclose(model.predict_on_batch(image), expected, atol=0.01)


def test_whose_patients_were_seen_is_passed_on(prepared, run, tmp_path):
    fit(started(run), [prepared("b", 2)], [], tmp_path / "run")
    assert [each["series"] for each in seen_series(tmp_path / "run")] == ["b2", "a1"]
    fit(started(tmp_path / "run"), [prepared("b", 2)], [], tmp_path / "third")
    assert {each["series"] for each in seen_series(tmp_path / "third")} == {"b2", "a1"}
    start, _ = find_start("ct-l2@stable", "ct")
    start_weights(start, "ct", tmp_path)
    shipped = ModelStore().resolve("ct-l2@stable").manifest.training_data
    assert [each["patient"] for each in seen_series(tmp_path)] == [each.patient for each in shipped]
    with pytest.raises(NoTrainingData, match="was fitted on the patient of series 'a1'"):
        fit(started(run), [prepared("b", 2)], [prepared("a", 1)], tmp_path / "tuned on what was seen")


def test_settings_files_name_it(run, tmp_path):
    settings = settings_from("ct-l1", {"start": str(run), "epochs": 2})
    assert settings == started(run, epochs=2, steps=300, batch=32, patch=96)
    file = tmp_path / "my.toml"
    file.write_text(render_settings(settings))
    assert settings_from("ct-l1", read_settings(file, "ct-l1")) == settings
    assert FitSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_what_cannot_be_a_start_is_refused(prepared, run, tmp_path):
    with pytest.raises(UnusableStart, match="no folder of a run or version, and there is no model 'ct-l3'"):
        find_start("ct-l3", "ct")
    with pytest.raises(UnusableStart, match="ct images, and a run on relative images cannot"):
        find_start("ct-l2@stable", "relative")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(run / "settings.json", unfinished)
    half = tmp_path / "half"
    fit(replace(TINY, epochs=2), [prepared("a", 1)], [], half, until=1)
    with pytest.raises(UnusableStart, match="has finished 1 of 2 epochs"):
        find_start(str(half), "ct")
    with pytest.raises(UnusableStart, match="without a finished epoch"):
        find_start(str(unfinished), "ct")
    with pytest.raises(UnusableStart, match="leave out \\[network\\]"):
        fit(replace(started(run), network=UNetConfig((4, 8), 1)), [prepared("a", 1)], [], tmp_path / "wider")
    changed = tmp_path / "changed"
    shutil.copytree(run, changed)
    settings = started(changed)
    fit(replace(TINY, seed=1), [prepared("a", 1)], [], tmp_path / "other")
    shutil.copy(tmp_path / "other" / "checkpoint.weights.h5", changed)
    with pytest.raises(UnusableStart, match="holds other weights"):
        fit(settings, [prepared("a", 1)], [], tmp_path / "late")
    assert not (tmp_path / "late" / START).exists()
