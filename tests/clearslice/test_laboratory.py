"""`clearslice train`, `evaluate` and `export` as a researcher runs them, on series of phantoms."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from clearslice.main import app
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
    for method in ("degraded", "ct-l2", "Gaussian", "total variation", "non-local means"):
        assert f"| {method}" in table
    assert "soft kernel" in table
    assert "ramp kernel" in table
    assert "1 patients, 3 slices" in table
    assert "ct-l2 minus" in table
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert len(evaluation["scores"]) == 3 * SLICES * 5

    credits_file = tmp_path / "credits.toml"
    credits_file.write_text('[train]\ncollection = "Phantoms"\nlicence = "none needed"\n')
    store = tmp_path / "store"
    arguments = ("export", run, "--store", store, "--credits", credits_file, "--label", "stable")
    assert "ct-l2@" in run_command(*arguments)

    version = ModelStore(store).resolve("ct-l2@stable")
    assert version.path.is_relative_to(store)
    (source,) = version.manifest.training_data
    assert (source.series, source.slices, source.collection) == ("train", SLICES, "Phantoms")
    assert {score.metric for score in version.manifest.scores} == {"psnr", "ssim", "rmse"}
    assert "Phantoms" in (version.path / "README.md").read_text()
    again = run_command("evaluate", version.ref, "--store", store, "--data", data, "--cache", run.parent / "cache")
    assert "| ct-l2" in again
    output = run_command("evaluate", version.ref, run, "--store", store, "--data", data, status=2)
    assert "two of the targets are called ct-l2" in " ".join(output.replace("│", "").split())


def test_recipes_are_listed_with_their_settings(run_command):
    table = run_command("recipes")
    assert "posterior mean" in " ".join(table.split())
    assert "delta=0.01345" in table


def test_settings_of_a_recipe_are_replaced_and_recorded(data, run, run_command, tmp_path):
    common = ("train", "ct-huber", "--data", data, "--run", tmp_path / "r", "--cache", run.parent / "cache")
    run_command(*common, "--set", "delta=0.05", "--epochs", "1", "--steps", "1", "--batch", "1", "--patch", "32")
    assert json.loads((tmp_path / "r" / "settings.json").read_text())["loss"] == {"delta": 0.05}
    assert "its settings: delta" in run_command(*common, "--set", "weight=1", status=1)
    assert "NAME=NUMBER" in run_command(*common, "--set", "delta", status=2)


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
        (("train", "ct-nonsense", "--data", "."), "there is: ct-l2"),
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
