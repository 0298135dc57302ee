"""`clearslice train`, `evaluate` and `export` as a researcher runs them, on series of phantoms."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from clearslice.main import app
from imaging.guard import MEASURES
from model_store.store import ModelStore

SLICES = 3
TINY = ["--epochs", "2", "--steps", "2", "--batch", "2", "--patch", "32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_dicom):
    folder = tmp_path_factory.mktemp("data")
    for seed, role in enumerate(("train", "tune", "validation"), start=1):
        write_dicom(folder / role, patient=f"P{seed}", seed=seed, slices=SLICES)
    return folder


@pytest.fixture(scope="module")
def run_command():
    def run(*arguments, status=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == status, result.output + repr(result.exception)
        return result.output

    return run


@pytest.fixture(scope="module")
def run(data, run_command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    cache = folder / "cache"
    output = run_command("train", "ct-l2", "--data", data, "--run", folder / "r", "--cache", cache, *TINY)
    assert "psnr" in output
    return folder / "r"


def test_train_evaluate_export_serve(data, run, run_command, tmp_path):
    table = run_command("evaluate", run, "--data", data, "--cache", run.parent / "cache")
    for method in ("degraded", "ct-l2", "Gaussian", "median", "bilateral", "total variation", "non-local means"):
        assert table.count(f"\n| {method}") == 2 * 3  # two tables, three protocols
    assert "the scan's own texture" in table
    assert "ramp kernel" in table
    assert "1 patients, 3 slices" in table
    assert "ct-l2 minus" in table
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert len(evaluation["scores"]) == 3 * SLICES * 7

    credits_file = tmp_path / "credits.toml"
    credits_file.write_text('[train]\ncollection = "Phantoms"\nlicence = "none needed"\n')
    store = tmp_path / "store"
    arguments = ("export", run, "--store", store, "--credits", credits_file, "--label", "stable")
    assert "ct-l2@" in run_command(*arguments)

    version = ModelStore(store).resolve("ct-l2@stable")
    assert version.path.is_relative_to(store)
    assert version.manifest.guard is None  # it was not calibrated
    (source,) = version.manifest.training_data
    assert (source.series, source.slices, source.collection) == ("train", SLICES, "Phantoms")
    assert {score.metric for score in version.manifest.scores} == {"psnr", "ssim", "rmse"}
    assert "Phantoms" in (version.path / "README.md").read_text()
    again = run_command("evaluate", version.ref, "--store", store, "--data", data, "--cache", run.parent / "cache")
    assert "| ct-l2" in again
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "validation").symlink_to(data / "train")
    for target in (version.ref, run):
        common = ("--store", store, "--data", tmp_path / "seen", "--cache", run.parent / "cache")
        output = run_command("evaluate", target, *common, status=1)
        assert "ct-l2 was fitted on the patient of series" in " ".join(output.split())
    output = run_command("evaluate", version.ref, run, "--store", store, "--data", data, status=2)
    assert "two of the targets are called ct-l2" in " ".join(output.replace("│", "").split())


def test_a_calibrated_run_carries_its_guard_and_evidence_lets_auto_choose(data, run, run_command, tmp_path):
    copy = tmp_path / "r"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("evaluation.*"))
    common = ("--data", data, "--cache", run.parent / "cache")
    told = run_command("calibrate", copy, *common)
    assert "images the guard would warn of" in told
    store = tmp_path / "store"
    assert "has not been evaluated" in run_command("export", copy, "--store", store, "--label", "stable")
    version = ModelStore(store).resolve("ct-l2@stable")
    assert set(version.manifest.guard.bounds) == set(MEASURES)
    assert (version.manifest.guard.images, version.manifest.guard.patients) == (4 * SLICES, 1)
    assert "## Guard" in (version.path / "README.md").read_text()
    table = run_command("evidence", "ct-l2", "--store", store, *common)
    assert f"| {version.ref} |" in table
    evidence = ModelStore(store).evidence()
    assert evidence.defaults == {"HU": version.ref}
    assert len(evidence.rows) > 6
    sample = tmp_path / "sample.npy"
    np.save(sample, np.random.default_rng(0).normal(40, 20, (64, 64)).astype(np.float32))
    options = ("--model", "auto", "--store", store, "--rescale-slope", "1", "--rescale-intercept", "0")
    told = run_command("reconstruct", sample, tmp_path / "out.npy", *options)
    assert f"auto chose {version.ref}" in " ".join(told.split())
    assert (tmp_path / "out.npy").is_file()


def test_a_run_starts_from_another(data, run, run_command, tmp_path):
    common = ("--data", data, "--cache", run.parent / "cache", *TINY)
    run_command("train", "ct-l1", "--start", run, "--run", tmp_path / "r", *common)
    assert json.loads((tmp_path / "r" / "settings.json").read_text())["start"]["of"] == str(run)
    output = run_command("train", "ct-l1", "--start", "ct-l3", "--run", tmp_path / "none", *common, status=1)
    assert "nothing to start from" in output


def test_any_degradation_is_evaluated(data, run, run_command, tmp_path):
    common = ("evaluate", run, "--data", data, "--cache", run.parent / "cache", "--out", tmp_path)
    table = run_command(*common, "--degradation", "gaussian:sigma=30")
    assert table.count("**gaussian, sigma 30 HU**") == 2
    assert "soft kernel" not in table
    assert "edge slope" in table
    scores = json.loads((tmp_path / "evaluation.json").read_text())["scores"]
    assert len(scores) == SLICES * 7
    assert "there is: low-dose" in run_command(*common, "--degradation", "rain", status=1)
    assert "NAME:SETTING=NUMBER" in run_command(*common, "--degradation", "gaussian:sigma", status=1)


def test_relative_models_are_evaluated_on_relative_images(run_command, tmp_path, run):
    run_command("train", "relative-l2", "--run", tmp_path / "r", *TINY)
    for role, seed in (("tune", 1), ("validation", 2)):
        (tmp_path / "pictures" / role).mkdir(parents=True)
        picture = np.random.default_rng(seed).uniform(0.3, 0.7, (48, 64)).astype(np.float32)
        np.save(tmp_path / "pictures" / role / f"{role}.npy", picture)
    common = ("evaluate", tmp_path / "r", "--data", tmp_path / "pictures")
    table = run_command(*common)
    assert "**gaussian, sigma 0.1**: 1 patients, 1 slices" in table
    assert "| relative-l2 |" in table
    assert "HU" not in table
    output = run_command(*common, "--dose", "0.25", status=2)
    assert "--dose is of CT" in " ".join(output.replace("│", "").split())
    output = run_command("evaluate", tmp_path / "r", run, "--data", tmp_path / "pictures", status=2)
    assert "different domains: ct, relative" in " ".join(output.replace("│", "").split())


def test_recipes_are_listed_with_their_settings(run_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # no line is broken
    table = run_command("recipes")
    assert "posterior mean" in " ".join(table.split())
    assert "delta=0.01345" in table
    assert "also gives lower and upper" in table
    assert "trained against a second noisy scan" in table


def test_settings_of_a_recipe_are_replaced_and_recorded(data, run, run_command, tmp_path):
    common = ("train", "ct-huber", "--data", data, "--run", tmp_path / "r", "--cache", run.parent / "cache")
    run_command(*common, "--set", "delta=0.05", "--epochs", "1", "--steps", "1", "--batch", "1", "--patch", "32")
    assert json.loads((tmp_path / "r" / "settings.json").read_text())["loss"] == {"delta": 0.05}
    assert "its settings: delta" in run_command(*common, "--set", "weight=1", status=1)
    assert "NAME=NUMBER" in run_command(*common, "--set", "delta", status=2)


def test_degradations_are_listed_with_their_settings(run_command):
    table = " ".join(run_command("degradations").split())
    assert "ct gaussian" in table
    assert "sigma=40" in table
    assert "relative gaussian" in table
    assert "sigma=0.1" in table


@pytest.mark.parametrize("asked", [("gaussian", "sigma=30"), ("sparse-views", "views=20")])
def test_a_run_is_trained_on_the_degradation_that_was_asked_for(data, run, run_command, tmp_path, asked):
    name, number = asked
    common = ("train", "ct-l2", "--data", data, "--run", tmp_path / "r", "--cache", run.parent / "cache")
    output = run_command(*common, *TINY, "--degradation", name, "--degrade", number)
    assert "psnr" in output
    assert ("streaks of train" in output) == (name == "sparse-views")
    key, _, value = number.partition("=")
    noise = json.loads((tmp_path / "r" / "settings.json").read_text())["noise"]
    assert noise == {"name": name, "domain": "ct", "settings": {key: float(value)}}
    assert "other settings" in run_command(*common, *TINY, "--degradation", name, status=1)  # under other numbers
    message = run_command(*common, "--degrade", number, status=2)
    assert "--degradation, which is missing" in " ".join(message.replace("│", "").split())


def test_relative_images_need_no_data(run_command, tmp_path):
    output = run_command("train", "relative-huber", "--run", tmp_path / "r", *TINY)
    assert "psnr" in output
    settings = json.loads((tmp_path / "r" / "settings.json").read_text())
    assert settings["noise"] == {"name": "gaussian", "domain": "relative", "settings": {"sigma": 0.1}}
    assert settings["loss"] == {"delta": pytest.approx(1.345 * 0.03)}
    series = [each["series"] for each in json.loads((tmp_path / "r" / "data.json").read_text())]
    assert {"brick", "dead-leaves-00"} <= set(series)
    assert "astronaut" not in series  # is reported on


def test_a_finished_run_is_not_trained_again_and_other_settings_are_refused(data, run, run_command):
    weights = (run / "checkpoint.weights.h5").read_bytes()
    common = ("train", "ct-l2", "--data", data, "--run", run, "--cache", run.parent / "cache")
    run_command(*common, *TINY)
    assert (run / "checkpoint.weights.h5").read_bytes() == weights
    message = run_command(*common, *TINY, "--seed", "1", status=1)
    assert "other settings" in message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train", "ct-nonsense", "--data", "."), "domains: ct, relative; recipes: l2, l1"),
        (("train", "ct-l2"), "give a folder of DICOM series with --data DIR"),
        (("train", "relative-window-l1"), "recipe window-l1 is for CT only"),
        (("train", "ct-l2", "--degradation", "rain"), "no degradation 'rain' for ct images; there is: low-dose"),
        (("train", "relative-l2", "--degradation", "low-dose"), "no degradation 'low-dose' for relative images"),
        (("train", "ct-l2", "--degradation", "impulse", "--degrade", "share=2"), "must lie from 0 to 1, not 2"),
        (("train", "ct-l2", "--data", "/nonexistent"), "does not exist"),
        (("evaluate", "ct-l2@99", "--data", "."), "ct-l2"),
        (("export", "/nonexistent", "--store", "unused"), "no training run"),
    ],
)
def test_expected_errors_are_one_line(run_command, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    output = run_command(*arguments, status=1)
    assert "Traceback" not in output
    assert says in output.replace("\n", " ")


def test_a_patient_in_two_roles_is_refused(run_command, write_dicom, tmp_path):
    for seed, role in enumerate(("train", "tune"), start=7):
        write_dicom(tmp_path / role, patient="same", seed=seed)
    output = run_command("train", "ct-l2", "--data", tmp_path, "--cache", tmp_path / "cache", *TINY, status=1)
    assert "both roles" in output
