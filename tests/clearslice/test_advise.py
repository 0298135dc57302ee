"""`clearslice advise` as a researcher runs it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from clearslice.main import app
from imaging.formats import encode_npy
from training.networks.encoder import EncoderSettings

SIDE = 48


@pytest.fixture
def run_command():
    def run(*arguments, status=0):
        result = CliRunner().invoke(app, ["advise", *(str(argument) for argument in arguments)])
        assert result.exit_code == status, result.output + repr(result.exception)
        return result

    return run


@pytest.fixture
def data(tmp_path):
    """Four pictures with noise of few and far outliers."""
    rng = np.random.default_rng(0)
    for folder in ("noisy", "clean"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(4):
        clean = 0.4 + 0.01 * number + 0.2 * np.linspace(0, 1, SIDE, dtype=np.float32) * np.ones((SIDE, 1), np.float32)
        noise = 0.02 * rng.standard_normal(clean.shape) * np.where(rng.random(clean.shape) < 0.06, 8, 1)
        noisy = (clean + noise).clip(0, 1).astype(np.float32)
        (tmp_path / "data" / "clean" / f"{number}.npy").write_bytes(encode_npy([clean]))
        (tmp_path / "data" / "noisy" / f"{number}.npy").write_bytes(encode_npy([noisy]))
    return tmp_path / "data"


@pytest.fixture
def brief_encoder(monkeypatch):
    """Features of a perceptual run after two steps instead of hundreds."""
    brief = EncoderSettings((4,), steps=2, batch=1, patch=16)
    monkeypatch.setattr("training.networks.encoder.EncoderSettings", lambda: brief)


def test_it_prints_what_was_measured_and_what_follows(data, run_command, tmp_path):
    plot = tmp_path / "noise.png"
    output = " ".join(run_command("--data", data, "--plot", plot).stdout.split())
    assert "measured on pairs" in output
    assert "advice: relative-l2" in output
    assert "Next best: perceptual, huber." in output
    assert "8" in output
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_noisy_images_alone_are_told_from_pairs(data, run_command):
    output = " ".join(run_command("--data", data / "noisy").stdout.split())
    assert "measured on noisy images" in output
    assert "measured without clean images" in output


def test_json_is_whole_and_evidence_overrides_theory(data, run_command, tmp_path):
    winner = {"name": "l1", "kind": "recipe", "standing": {"psnr": {"rank": 1, "tied": True}}}
    report = {
        "format": 1,
        "study": {"domain": "relative"},
        "degradations": [{"label": "contaminated", "methods": [winner]}],
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    answer = json.loads(run_command("--data", data, "--json", "--evidence", tmp_path / "report.json").stdout)
    assert answer["advice"]["recipe"] == "l1"
    assert answer["advice"]["measured"] is True
    assert answer["noise"]["unit"] == "relative"
    assert answer["noise"]["best_fit"] == "contaminated"
    assert answer["noise"]["tails"]["share"] == pytest.approx(0.06, rel=0.3)
    assert answer["verification"] is None


@pytest.mark.usefixtures("brief_encoder")
def test_verification_says_who_was_better(data, run_command, tmp_path):
    tiny = ("--epochs", 1, "--steps", 2, "--batch", 2, "--patch", 16, "--runs", tmp_path / "runs")
    output = " ".join(run_command("--data", data, "--verify", *tiny).stdout.split())
    for recipe in ("huber", "perceptual", "l2", "untreated"):
        assert recipe in output
    assert "The advice" in output
    assert "after 2 steps of 2 patches of 16 x 16 pixels" in output


@pytest.mark.usefixtures("brief_encoder")
def test_verification_without_clean_images_imitates_the_noise(data, run_command, tmp_path):
    tiny = ("--epochs", 1, "--steps", 1, "--batch", 1, "--patch", 16, "--runs", tmp_path / "runs", "--json")
    references = ("--references", data / "clean")
    result = run_command("--data", data / "noisy", "--verify", *tiny, *references)
    assert "trained on others with contaminated, sigma" in " ".join(result.stderr.split())
    verification = json.loads(result.stdout)["verification"]
    assert verification["verdict"] in {"right", "within the interval", "wrong"}
    assert verification["sources"] == 1


def test_expected_errors_are_one_line(data, run_command, tmp_path):
    (data / "noisy" / "9.npy").write_bytes(encode_npy([np.zeros((SIDE, SIDE), np.float32)]))
    (tmp_path / "empty").mkdir()
    for arguments, says in (
        (("--data", tmp_path / "nowhere"), "does not exist"),
        (("--data", tmp_path / "empty"), "holds no images"),
        (("--data", data), "the first is noisy/9"),
    ):
        output = run_command(*arguments, status=1).output
        assert "Traceback" not in output
        assert says in " ".join(output.split())
    assert "belong together" in " ".join(run_command("--data", data, "--rescale-slope", 1, status=2).output.split())
