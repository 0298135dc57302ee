from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imaging.guard import MEASURES
from model_store.restorer import load_restorer
from model_store.store import ModelStore
from training.calibration.calibrate import (
    INTERVAL,
    calibrate,
    calibration_degradations,
    read_calibration,
    render_calibration,
    write_calibration,
)
from training.calibration.intervals import CLASSES, EVERY
from training.degradations import DoseProtocol, DoseRange, parse_degradation
from training.errors import UnsuitableSeries
from training.export import export, golden_image
from training.fit import FitSettings, fit, load_run
from training.networks.unet import UNetConfig, build_unet

SETTINGS = FitSettings(
    model="ct-quantile", epochs=1, steps=6, batch=2, patch=32, learning_rate=3e-3, network=UNetConfig((4, 6), 1)
)


@pytest.fixture(scope="module")
def calibrated_run(prepared, tmp_path_factory):
    """(run, calibration): a network that was hardly trained, whose intervals are therefore wrong."""
    run = tmp_path_factory.mktemp("run")
    model = fit(SETTINGS, [prepared("a", 1)], [], run)
    calibration = calibrate(
        model,
        INTERVAL,
        [prepared("b", 2), prepared("c", 3)],
        [prepared("d", 4), prepared("e", 5)],
        calibration_degradations(SETTINGS.noise),
    )
    write_calibration(run, calibration)
    return run, calibration


def test_full_to_a_tenth_of_the_dose_or_the_runs_own_noise():
    doses = calibration_degradations(DoseRange())
    assert [each.label.split()[0] for each in doses] == ["1", "0.5", "0.25", "0.1"]
    assert all("the scan's own texture" in each.label for each in doses)
    own = parse_degradation("laplace", "ct")
    assert calibration_degradations(own) == (own,)


def test_intervals_hold_on_others_what_they_did_not_before(calibrated_run):
    _, calibration = calibrated_run
    intervals = calibration.intervals
    assert intervals.patients == 2
    assert [each.split()[0] for each in intervals.degradations] == ["0.5", "0.25", "0.1"]  # a full dose has no error
    over_all = [row for row in calibration.coverage if row.tissue == EVERY]
    assert len(over_all) == 3
    assert all(row.patients == 2 for row in over_all)
    before, after = (np.mean([row.share[index] for row in over_all]) for index in (0, 1))
    assert after == pytest.approx(0.9, abs=0.03)
    assert abs(after - 0.9) < abs(before - 0.9)
    assert {row.tissue for row in calibration.coverage} <= {EVERY, *CLASSES["HU"]}


def test_the_guard_knows_every_dose_and_says_how_often_it_would_be_wrong(calibrated_run):
    _, calibration = calibrated_run
    assert set(calibration.guard.bounds) == set(MEASURES)
    assert (calibration.guard.images, calibration.guard.patients) == (16, 2)  # 2 series of 2 slices at 4 doses
    assert [row.images for row in calibration.alarms] == [4] * 4
    assert sum(row.alarms for row in calibration.alarms) <= 4


def test_it_is_kept_with_the_run(calibrated_run, tmp_path):
    run, calibration = calibrated_run
    assert read_calibration(run) == calibration
    assert read_calibration(tmp_path) is None


def test_the_exported_model_gives_the_calibrated_interval_and_says_so(calibrated_run, tmp_path):
    run, calibration = calibrated_run
    intervals = calibration.intervals
    version = export(run, ModelStore(tmp_path, published=None))
    assert version.manifest.intervals == intervals
    assert version.manifest.guard == calibration.guard
    model, settings = load_run(run)
    full = build_unet(settings.network, "HU", outputs=INTERVAL, dtype="float32")
    full.set_weights(model.get_weights())
    restored, lower, upper = np.moveaxis(full.predict_on_batch(golden_image()), -1, 0)
    answers = load_restorer(version, precision="float32").with_uncertainty(golden_image())
    np.testing.assert_allclose(answers["restored"][..., 0], restored, atol=0.05)
    number = np.digitize(answers["restored"][..., 0], [each.below for each in intervals.classes[:-1]])
    assert set(np.unique(number)) == set(range(5))  # air to metal
    for end, raw in (("lower", lower), ("upper", upper)):
        factors = np.array([getattr(each, end) for each in intervals.classes])[number]
        np.testing.assert_allclose(answers[end][..., 0], restored + factors * (raw - restored), atol=0.1, rtol=1e-3)
    card = (version.path / "README.md").read_text()
    assert "## Guard and intervals" in card
    assert "Meant are 90 %" in card


def test_the_tables_have_a_line_for_every_class_of_every_degradation(calibrated_run):
    _, calibration = calibrated_run
    table = render_calibration(calibration)
    assert table.count("| every pixel |") == 3
    assert "2 patients" in table
    assert "images the guard would warn of" in table
    assert render_calibration(replace(calibration, alarms=(), coverage=())) == ""


def test_a_model_without_intervals_has_a_guard_all_the_same(prepared):
    model = build_unet(UNetConfig((4, 6), 1), "HU")
    found = calibrate(model, ("restored",), [prepared("b", 2)], [], [DoseProtocol(0.25, kernel=None)])
    assert found.intervals is None
    assert found.guard.bounds["drift"] == (0, 0)  # an untrained network is the identity
    assert found.guard.bounds["shift"] == (-1, 1)  # what nobody sees is no alarm
    assert found.alarms == found.coverage == ()


def test_without_patients_nothing_is_calibrated(calibrated_run):
    run, _ = calibrated_run
    model, settings = load_run(run)
    with pytest.raises(UnsuitableSeries, match="tune/"):
        calibrate(model, INTERVAL, [], [], calibration_degradations(settings.noise))
