from __future__ import annotations

import numpy as np
import pytest

from model_store.restorer import load_restorer
from model_store.store import ModelStore
from training.calibration.calibrate import (
    INTERVAL,
    calibrate_intervals,
    calibration_degradations,
    check_has_interval,
    read_calibration,
    render_coverage,
    report_coverage,
    write_calibration,
)
from training.calibration.intervals import CLASSES, EVERY
from training.degradations import DoseRange, parse_degradation
from training.errors import UncalibratedOutput, UnsuitableSeries
from training.export import export, golden_image
from training.fit import FitSettings, fit, load_run
from training.networks.unet import UNetConfig, build_unet
from training.recipes import RECIPES

SETTINGS = FitSettings(
    model="ct-quantile", epochs=1, steps=6, batch=2, patch=32, learning_rate=3e-3, network=UNetConfig((4, 6), 1)
)


@pytest.fixture(scope="module")
def calibrated_run(prepared, tmp_path_factory):
    """(run, intervals, rows): a network that was hardly trained, whose intervals are therefore wrong."""
    run = tmp_path_factory.mktemp("run")
    model = fit(SETTINGS, [prepared("a", 1)], [], run)
    degradations = calibration_degradations(SETTINGS.noise)
    intervals = calibrate_intervals(model, [prepared("b", 2), prepared("c", 3)], degradations, coverage=0.9)
    rows = report_coverage(model, intervals, [prepared("d", 4), prepared("e", 5)], degradations)
    write_calibration(run, intervals, rows)
    return run, intervals, rows


def test_half_a_quarter_and_a_tenth_of_the_dose_or_the_runs_own_noise():
    doses = calibration_degradations(DoseRange())
    assert [each.label.split()[0] for each in doses] == ["0.5", "0.25", "0.1"]
    assert all("the scan's own texture" in each.label for each in doses)
    own = parse_degradation("laplace", "ct")
    assert calibration_degradations(own) == (own,)


def test_intervals_hold_on_others_what_they_did_not_before(calibrated_run):
    _, intervals, rows = calibrated_run
    assert intervals.patients == 2
    assert len(intervals.degradations) == 3
    over_all = [row for row in rows if row.tissue == EVERY]
    assert len(over_all) == 3
    assert all(row.patients == 2 for row in over_all)
    before, after = (np.mean([row.share[index] for row in over_all]) for index in (0, 1))
    assert after == pytest.approx(0.9, abs=0.03)
    assert abs(after - 0.9) < abs(before - 0.9)
    assert {row.tissue for row in rows} <= {EVERY, *CLASSES["HU"]}


def test_they_are_kept_with_the_run(calibrated_run, tmp_path):
    run, intervals, rows = calibrated_run
    assert read_calibration(run) == (intervals, rows)
    assert read_calibration(tmp_path) == (None, [])


def test_the_exported_model_gives_the_calibrated_interval_and_says_so(calibrated_run, tmp_path):
    run, intervals, _ = calibrated_run
    version = export(run, ModelStore(tmp_path, published=None))
    assert version.manifest.intervals == intervals
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
    assert "## Intervals" in card
    assert "Meant are 90 %" in card


def test_the_table_has_a_line_for_every_class_of_every_degradation(calibrated_run):
    _, _, rows = calibrated_run
    table = render_coverage(rows, 0.9)
    assert table.count("| every pixel |") == 3
    assert "2 patients" in table


def test_what_has_no_interval_and_no_patients_is_refused(calibrated_run):
    run, _, _ = calibrated_run
    check_has_interval(RECIPES["quantile"])
    for recipe in ("l2", "heteroscedastic"):
        with pytest.raises(UncalibratedOutput, match="recipes that have one: quantile"):
            check_has_interval(RECIPES[recipe])
    model, settings = load_run(run)
    with pytest.raises(UnsuitableSeries, match="tune/"):
        calibrate_intervals(model, [], calibration_degradations(settings.noise), coverage=0.9)
