from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from training.calibration.intervals import (
    CLASSES,
    EVERY,
    Sampled,
    calibrated,
    fit_intervals,
    measure_coverage,
    sample,
)
from training.errors import UnsuitableSeries

LEVELS = {"air": -1000.0, "lung": -700.0, "fat": -100.0, "soft tissue": 50.0, "bone": 600.0}


def sampled(rng, *, shift=0.0, count=20_000, halfway=10.0):
    """Every class alike: a reference with 20 HU of noise around `restored` + shift, and an interval that is blind."""
    restored = np.repeat(np.float32(list(LEVELS.values())), count)
    reference = (restored + shift + rng.normal(0, 20, restored.shape)).astype(np.float32)
    return Sampled(restored, restored - np.float32(halfway), restored + np.float32(halfway), reference)


def answer_of(each: Sampled):
    return np.stack([each.restored, each.lower, each.upper], axis=-1)


def after(each: Sampled, calibration):
    channels = np.asarray(calibrated(answer_of(each), calibration))
    return Sampled(channels[:, 0], channels[:, 1], channels[:, 2], each.reference)


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_the_factors_are_the_quantiles_of_the_noise(coverage):
    found = fit_intervals(
        [[sampled(np.random.default_rng(0))]], "HU", coverage=coverage, degradations=["d"], patients=1
    )
    expected = 20 * stats.norm.ppf((1 + coverage) / 2) / 10
    assert [each.tissue for each in found.classes] == list(CLASSES["HU"])
    for each in found.classes:
        assert each.lower == pytest.approx(expected, rel=0.05)
        assert each.upper == pytest.approx(expected, rel=0.05)
        assert each.pixels == 20_000


def test_what_was_calibrated_on_some_holds_on_others_in_every_class_and_on_both_sides():
    calibration = fit_intervals(
        [[sampled(np.random.default_rng(0), shift=8)]], "HU", coverage=0.9, degradations=["d"], patients=1
    )
    others = sampled(np.random.default_rng(1), shift=8)
    moved = after(others, calibration)
    assert measure_coverage([others], "HU")[EVERY].share < 0.4
    for each in measure_coverage([moved], "HU").values():
        assert each.share == pytest.approx(0.9, abs=0.01)
    assert np.mean(moved.reference < moved.lower) == pytest.approx(0.05, abs=0.005)
    assert np.mean(moved.reference > moved.upper) == pytest.approx(0.05, abs=0.005)
    np.testing.assert_array_equal(moved.restored, others.restored)


def test_each_pixel_gets_the_factors_of_its_own_class():
    rng = np.random.default_rng(0)
    quiet = sampled(rng)
    noisy = quiet.restored == LEVELS["bone"]
    reference = np.where(noisy, quiet.restored + 5 * (quiet.reference - quiet.restored), quiet.reference)
    calibration = fit_intervals(
        [[Sampled(quiet.restored, quiet.lower, quiet.upper, reference)]],
        "HU",
        coverage=0.9,
        degradations=["d"],
        patients=1,
    )
    *soft, bone = calibration.classes
    assert bone.upper == pytest.approx(5 * soft[-1].upper, rel=0.1)
    edge = np.float32([[149.9, 139.9, 159.9], [150.0, 140.0, 160.0]])  # the class begins at its edge
    moved = np.asarray(calibrated(edge, calibration))
    assert moved[0, 2] - moved[0, 0] == pytest.approx(10 * soft[-1].upper, rel=1e-4)
    assert moved[1, 2] - moved[1, 0] == pytest.approx(10 * bone.upper, rel=1e-4)


def test_a_class_with_hardly_a_pixel_takes_the_factors_of_all():
    few = sampled(np.random.default_rng(0))
    kept = np.flatnonzero((few.restored != LEVELS["lung"]) | (np.arange(len(few.restored)) % 1000 == 0))
    thinned = Sampled(few.restored[kept], few.lower[kept], few.upper[kept], few.reference[kept])
    found = fit_intervals([[thinned]], "HU", coverage=0.9, degradations=["d"], patients=1)
    lung = found.classes[1]
    assert lung.pixels == 20
    assert lung.lower == pytest.approx(20 * stats.norm.ppf(0.95) / 10, rel=0.05)


def test_the_group_that_needs_the_widest_decides_end_by_end():
    usual = sampled(np.random.default_rng(0))
    high = sampled(np.random.default_rng(1), shift=8)
    found = fit_intervals([[usual], [high]], "HU", coverage=0.9, degradations=["d"], patients=2)
    alone = [
        fit_intervals([[each]], "HU", coverage=0.9, degradations=["d"], patients=1).classes for each in (usual, high)
    ]
    for both, first, second in zip(found.classes, *alone, strict=True):
        assert both.lower == first.lower > second.lower
        assert both.upper == second.upper > first.upper
        assert both.pixels == 40_000
    for group in (usual, high):
        assert measure_coverage([after(group, found)], "HU")[EVERY].share > 0.895


def test_intervals_never_turn_inside_out():
    each = sampled(np.random.default_rng(0), shift=1000)  # the reference lies above everywhere: nothing is below
    found = fit_intervals([[each]], "HU", coverage=0.9, degradations=["d"], patients=1)
    moved = after(each, found)
    assert (moved.lower < moved.restored).all()
    assert (moved.restored < moved.upper).all()


def test_relative_images_have_one_class():
    rng = np.random.default_rng(0)
    restored = rng.random(10_000, np.float32)
    reference = restored + rng.normal(0, 0.1, restored.shape).astype(np.float32)
    each = Sampled(restored, restored - np.float32(0.1), restored + np.float32(0.1), reference)
    found = fit_intervals([[each]], "relative", coverage=0.9, degradations=["d"], patients=1)
    (only,) = found.classes
    assert only.below is None
    assert measure_coverage([after(each, found)], "relative")[EVERY].share == pytest.approx(0.9, abs=1e-3)


def test_only_the_inscribed_circle_is_sampled_and_every_third_pixel():
    reference = np.arange(60 * 60, dtype=np.float32).reshape(60, 60)
    answer = np.stack([reference, reference - 1, reference + 1], axis=-1)
    found = sample(answer, reference)
    np.testing.assert_array_equal(found.restored, found.reference)
    rows, columns = found.reference.astype(int) // 60, found.reference.astype(int) % 60
    assert set(rows % 3) == set(columns % 3) == {0}
    assert np.hypot(rows - 29.5, columns - 29.5).max() < 30
    assert len(rows) == pytest.approx(np.pi * 10**2, rel=0.05)


def test_what_cannot_be_calibrated_is_refused():
    with pytest.raises(UnsuitableSeries, match="none"):
        fit_intervals([], "HU", coverage=0.9, degradations=["d"], patients=0)
    with pytest.raises(ValueError, match="restored, lower and upper"):
        sample(np.zeros((8, 8, 2), np.float32), np.zeros((8, 8), np.float32))
