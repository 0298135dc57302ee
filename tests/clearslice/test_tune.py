"""`clearslice tune`, `reproduce` and settings files as a researcher runs them, on pictures that packages ship."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from clearslice.main import app

SMALL = """
epochs = 2
steps = 1
batch = 2
patch = 32

[network]
widths = [4, 6]
blocks = 1
"""


@pytest.fixture(scope="module")
def run_command():
    def run(*arguments, status=0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == status, result.output + repr(result.exception)
        return result

    return run


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / "small.toml"
    file.write_text(SMALL)
    return file


def test_a_search_ends_with_the_line_that_trains_and_goes_on(run_command, small, tmp_path):
    common = ("tune", "relative-huber", "--settings", small, "--search", tmp_path / "s", "--cache", tmp_path / "c")
    result = run_command(
        *common,
        "--trials",
        "2",
        "--repeats",
        "1",
        "--learning-rate",
        "0.002",
        "--degrade",
        "sigma=0.2",
        "--degradation",
        "gaussian",
    )
    line = result.stdout.strip().splitlines()[-1]
    assert line.startswith("clearslice train relative-huber ")
    assert line.endswith("--learning-rate 0.002 --degradation gaussian --degrade sigma=0.2")
    report = json.loads((tmp_path / "s" / "report.json").read_text())
    assert list(report["ranges"]) == ["delta"]
    assert [each["starting_point"] for each in report["trials"]] == ["the recipe's own", "classic delta 0.5"]
    assert report["fit"]["network"] == {"widths": [4, 6], "blocks": 1, "noise_bands": 3, "fine": 8}
    assert [len(arm["psnr"]) for arm in report["repeats"]["arms"]] == [1, 1]
    assert "too few seeds" in " ".join(result.stderr.split())
    refused = run_command(*common, "--trials", "3", status=1)  # without what the first was asked for
    assert "other settings or data" in " ".join(refused.output.split())


def test_what_a_file_says_is_held(run_command, tmp_path):
    file = tmp_path / "held.toml"
    file.write_text(f"learning_rate = 0.002\n{SMALL}\n[loss]\ndelta = 0.3\n")
    said = run_command("tune", "relative-huber", "--settings", file, "--search", tmp_path / "s", status=1).output
    assert "nothing of relative-huber is left to search: delta, learning_rate are held" in " ".join(said.split())


def test_a_run_of_a_file_is_reproduced(run_command, small, tmp_path):
    run, cache = tmp_path / "run", tmp_path / "cache"
    common = ("train", "relative-huber", "--settings", small, "--cache", cache)
    run_command(*common, "--run", run, "--set", "delta=0.2", "--seed", "5")
    settings = json.loads((run / "settings.json").read_text())
    assert (settings["steps"], settings["seed"], settings["loss"]) == (1, 5, {"delta": 0.2})

    printed = run_command("train", "relative-huber", "--settings", run / "settings.json", "--print-settings").stdout
    (tmp_path / "again.toml").write_text(printed)
    again = run_command("train", "relative-huber", "--settings", tmp_path / "again.toml", "--print-settings").stdout
    assert again == printed
    assert "delta = 0.2" in printed

    result = run_command("reproduce", run, "--epochs", "1", "--cache", cache)
    assert "bit-equal: 1 of 2 epochs trained again" in result.stdout
    assert (tmp_path / "run-again" / "history.json").is_file()
    history = json.loads((run / "history.json").read_text())
    history[1]["psnr"] += 1
    (run / "history.json").write_text(json.dumps(history))
    failed = run_command("reproduce", run, "--cache", cache, status=1)
    assert "different: 2 of 2 epochs" in failed.stdout


def test_mistakes_are_one_line(run_command, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text("setps = 3\n")
    said = run_command("train", "ct-l2", "--settings", file, status=1).output
    assert "did you mean 'steps'?" in said
    assert "Traceback" not in said
    assert "no training run" in run_command("reproduce", tmp_path, status=1).output.replace("\n", " ")
    assert "which is missing" in " ".join(
        run_command("train", "ct-l2", "--degrade", "sigma=1", status=2).output.replace("│", "").split()
    )
