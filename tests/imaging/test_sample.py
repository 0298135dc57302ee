from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

from imaging import sample
from imaging.low_dose import RAMP, SOFT, soft_tissue
from imaging.metrics import SOFT_TISSUE, measure
from imaging.sample import SampleSettings, make_sample


@pytest.fixture(scope="module")
def made():
    return make_sample(SampleSettings(seed=3, slices=2))


def test_the_full_dose_has_the_noise_asked_for_and_a_quarter_adds_the_rest(made):
    """Variance 1 / dose: a quarter has four times that of the full dose, three times of it are added."""
    for index, tolerance in ((1, 0.03), (0, 0.05)):  # calibrated on the middle slice, number 1 of two
        inside = soft_tissue(made.truth[index])
        own = (made.full_dose[index] - made.truth[index])[inside]
        added = (made.low_dose[index] - made.full_dose[index])[inside]
        assert own.std() == pytest.approx(15, rel=tolerance)
        assert added.std() == pytest.approx(np.sqrt(3) * 15, rel=tolerance)
        assert abs(np.corrcoef(own, added)[0, 1]) < 0.05  # drawn apart
        assert abs(own.mean()) < 0.5
        assert abs(added.mean()) < 0.5


def test_the_kernel_passes_what_its_window_says():
    """A point comes out as the inverse transform of the window, and a wave loses half at half the cut-off."""
    wave = np.cos(2 * np.pi * 0.25 * np.arange(64))[None, :] * np.ones((48, 1))
    np.testing.assert_allclose(sample._through(SOFT, wave.astype(np.float32)), 0.5 * wave, atol=1e-5)
    point = np.zeros((48, 64), np.float32)
    point[20, 30] = 1
    assert sample._through(SOFT, point).sum() == pytest.approx(1, abs=1e-5)
    diagonal = np.cos(np.pi * np.add.outer(np.arange(48), np.arange(64))).astype(np.float32)  # beyond Nyquist's circle
    assert np.abs(sample._through(RAMP, diagonal)).max() < 1e-5


def test_the_files_hold_the_scans_and_are_two_series_of_one_study(made):
    sets = {}
    for name, files in (("low_dose", made.low_dose_files), ("full_dose", made.full_dose_files)):
        sets[name] = [pydicom.dcmread(io.BytesIO(file)) for file in files]
        for plane, ds in zip(getattr(made, name), sets[name], strict=True):
            np.testing.assert_array_equal(ds.pixel_array.astype(np.float32) - 1024, plane)
    low, full = sets["low_dose"][0], sets["full_dose"][0]
    assert low.StudyInstanceUID == full.StudyInstanceUID
    assert low.FrameOfReferenceUID == full.FrameOfReferenceUID
    assert low.SeriesInstanceUID != full.SeriesInstanceUID
    assert (full.XRayTubeCurrent, low.XRayTubeCurrent) == (200, 50)
    assert (full.SeriesDescription, low.SeriesDescription) == (
        "Phantom, full dose, soft kernel",
        "Phantom, 0.25 of the full dose, soft kernel",
    )
    assert [ds.SliceLocation for ds in sets["low_dose"]] == [-3, 0]


def test_scores_are_those_of_the_low_dose_against_the_full_dose(made):
    for index, score in enumerate(made.scores):
        assert score == measure(made.low_dose[index], made.full_dose[index], SOFT_TISSUE)
    assert 26 < made.scores[1].psnr < 29


def test_a_slice_does_not_depend_on_how_many_there_are(made):
    calls = []
    (alone,) = make_sample(SampleSettings(seed=3), progress=lambda *call: calls.append(call)).low_dose
    np.testing.assert_array_equal(alone, made.low_dose[1])
    assert calls == [(1, 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dose_fraction": 0.0},
        {"dose_fraction": 1.0},
        {"dose_fraction": float("nan")},
        {"noise_hu": 0.0},
        {"noise_hu": float("inf")},
        {"noise_hu": float("nan")},
        {"seed": -1},
        {"slices": 0},
    ],
)
def test_impossible_settings_are_refused_by_value(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=name.split("_")[0]) as refused:
        SampleSettings(**wrong)
    assert str(value) in str(refused.value)
