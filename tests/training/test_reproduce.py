from __future__ import annotations

import json
from dataclasses import replace

import pytest

from training.errors import IncompatibleRun
from training.fit import FitSettings, fit
from training.networks.unet import UNetConfig
from training.reproduce import reproduce, source_of

TINY = FitSettings(model="ct-l2", epochs=3, steps=2, batch=2, patch=32, network=UNetConfig((4, 6), 1))


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    fit(TINY, [prepared("a", 1)], [prepared("b", 2)], folder, source="scans")
    return folder


def _copy(run, folder):
    folder.mkdir()
    for file in run.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_the_same_run_comes_out_bit_for_bit(prepared, run, tmp_path):
    found = reproduce(run, [prepared("a", 1)], [prepared("b", 2)], tmp_path / "again")
    assert found.verdict == "bit-equal"
    assert found.reproduced
    assert (found.epochs, found.of, found.weights_differ) == (3, 3, 0.0)
    assert found.psnr[0] == found.psnr[1]
    assert not [line for line in found.differences if "series" in line or "numpy" in line]
    assert source_of(run).name == "scans"


def test_the_first_epochs_alone_keep_the_schedule(prepared, run, tmp_path):
    told = []
    found = reproduce(run, [prepared("a", 1)], [prepared("b", 2)], tmp_path / "again", epochs=1, progress=told.append)
    assert (found.verdict, found.epochs, found.weights_differ) == ("bit-equal", 1, None)
    assert {state.epoch for state in told} == {1}
    assert json.loads((tmp_path / "again" / "history.json").read_text()) == _history(run)[:1]
    more = reproduce(run, [prepared("a", 1)], [prepared("b", 2)], tmp_path / "again")  # and goes on
    assert (more.verdict, more.epochs) == ("bit-equal", 3)
    less = reproduce(run, [prepared("a", 1)], [prepared("b", 2)], tmp_path / "again", epochs=2)
    assert (less.verdict, less.epochs, less.weights_differ) == ("bit-equal", 2, None)


def _history(run):
    return json.loads((run / "history.json").read_text())


@pytest.mark.parametrize(("shift", "verdict"), [(0.019, "close"), (0.021, "different"), (-0.021, "different")])
def test_scores_within_two_hundredths_of_a_decibel_are_the_same(prepared, run, tmp_path, shift, verdict):
    copy = _copy(run, tmp_path / "run")
    history = _history(copy)
    history[0]["psnr"] += shift
    (copy / "history.json").write_text(json.dumps(history))
    found = reproduce(copy, [prepared("a", 1)], [prepared("b", 2)], tmp_path / "again", epochs=1)
    assert found.verdict == verdict
    assert found.reproduced is (verdict == "close")


def test_other_pixels_are_found_and_named(prepared, run, tmp_path):
    series = prepared("a", 1)
    other = replace(series, images=series.images + 100)
    found = reproduce(run, [other], [prepared("b", 2)], tmp_path / "again", epochs=1)
    assert found.verdict != "bit-equal"
    assert f"fit series {series.name}: other pixels" in found.differences


def test_a_run_older_than_provenance_is_reproduced_too(prepared, run, tmp_path):
    copy = _copy(run, tmp_path / "run")
    (copy / "provenance.json").unlink()
    assert source_of(copy) is None
    found = reproduce(copy, [prepared("a", 1)], [prepared("b", 2)], tmp_path / "again", epochs=1)
    assert found.verdict == "bit-equal"
    assert "older than provenance.json" in found.differences[0]


def test_no_run_is_refused(prepared, tmp_path):
    with pytest.raises(IncompatibleRun, match="no training run"):
        reproduce(tmp_path, [prepared("a", 1)], [], tmp_path / "again")
