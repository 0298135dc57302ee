from __future__ import annotations

import numpy as np
import pytest

from imaging.low_dose import RAMP, SOFT, noise_region
from training.datasets import (
    DoseProtocol,
    DoseRange,
    check_roles,
    evaluation_pairs,
    own_noise,
    patches,
    role_folder,
    standard_protocols,
)
from training.errors import NoTrainingData


def _batches(series, noise, seed=0, **options):
    settings = {"size": 48, "batch": 8, "steps": 3, **options}
    return list(patches([series], **settings, noise=noise, rng=np.random.default_rng(seed)))


def test_patches_have_their_shape_and_repeat_with_the_seed(prepared):
    one, two, other = (_batches(prepared(), DoseRange(), seed) for seed in (1, 1, 2))
    assert len(one) == 3
    for degraded, reference in one:
        assert degraded.shape == reference.shape == (8, 48, 48, 1)
        assert degraded.dtype == reference.dtype == np.float32
    np.testing.assert_array_equal(one[2][0], two[2][0])
    assert not np.array_equal(one[0][0], other[0][0])


def test_the_reference_is_a_patch_of_the_series_in_some_orientation(prepared):
    series = prepared()
    _, reference = _batches(series, DoseRange(), steps=1, batch=4)[0]
    flat = np.asarray(series.hu).reshape(-1)
    assert np.isin(reference, flat).all()


def test_degraded_and_reference_are_turned_alike(prepared):
    noise = DoseRange(low=0.998, high=0.999)
    for degraded, reference in _batches(prepared(), noise):
        assert np.abs(degraded - reference).max() < 5  # anatomy that was turned apart would differ by hundreds


def test_the_noise_is_that_of_the_dose_and_some_patches_stay_clean(prepared):
    series = prepared()
    noise = DoseRange(low=0.02, high=0.05, spread=1.2, clean_share=0.25)
    levels = []
    for degraded, reference in _batches(series, noise, steps=40, size=64):
        for before, after in zip(reference[..., 0], degraded[..., 0], strict=True):
            mask = (before > -20) & (before < 120)
            if mask.sum() > 800:
                levels.append((after - before)[mask].std())
    levels = np.array(levels)
    noisy = levels[levels > 0] / own_noise(series)
    assert 0.15 < np.mean(levels == 0) < 0.35
    # sqrt((1 - a) / a) runs from 4.4 to 7, times up to 1.2 either way; a patch's level scatters about the slice's
    assert 4.5 < np.median(noisy) < 6.5
    assert np.percentile(noisy, 5) > 2
    assert np.percentile(noisy, 95) < 11


def test_a_quarter_of_the_own_dose_triples_the_variance(prepared):
    series = prepared()
    degraded, reference = next(iter(evaluation_pairs(series, DoseProtocol(0.25, electronic_noise=0.0))))
    level = (degraded - reference)[noise_region(reference)].std()
    assert level == pytest.approx(np.sqrt(3) * series.noise_hu, rel=0.02)


@pytest.mark.parametrize("kernel", [SOFT, RAMP])
def test_an_evaluation_has_the_noise_its_protocol_says(prepared, kernel):
    series = prepared()
    protocol = DoseProtocol(0.25, full_dose_noise_hu=12.0, kernel=kernel, electronic_noise=0.0)
    for number, (degraded, reference) in enumerate(evaluation_pairs(series, protocol)):
        np.testing.assert_array_equal(reference, series.hu[number])
        level = (degraded - reference)[noise_region(reference)].std()
        assert level == pytest.approx(np.sqrt(3) * 12, rel=0.02)
    again = next(iter(evaluation_pairs(series, protocol)))[0]
    np.testing.assert_array_equal(again, next(iter(evaluation_pairs(series, protocol)))[0])


def test_electronic_noise_makes_low_doses_worse(prepared):
    series = prepared()

    def level(electronic_noise):
        protocol = DoseProtocol(0.25, 12.0, SOFT, electronic_noise)
        degraded, reference = next(iter(evaluation_pairs(series, protocol)))
        return (degraded - reference)[noise_region(reference)].std()

    assert level(20.0) > level(0.0) * 1.02


def test_standard_protocols_say_what_they_are():
    labels = [protocol.label for protocol in standard_protocols(0.25)]
    assert labels == [
        "0.25 of the scan's own dose, soft kernel, electronic noise 4 photons",
        "0.25 of the scan's own dose, ramp kernel, electronic noise 4 photons",
        "0.25 of a dose with 15 HU noise, soft kernel, electronic noise 4 photons",
    ]


def test_a_patient_in_two_roles_is_refused(prepared):
    check_roles({"fit": [prepared("a", 1)], "tune": [prepared("b", 2)]})
    with pytest.raises(NoTrainingData, match="both roles, fit and report"):
        check_roles({"fit": [prepared("a", 1)], "report": [prepared("a", 2)]})


def test_roles_are_folders(tmp_path):
    assert role_folder(tmp_path, "fit") == tmp_path  # a plain folder of series is there to be fitted
    assert role_folder(tmp_path, "tune") is None
    (tmp_path / "validation").mkdir()
    assert role_folder(tmp_path, "report") == tmp_path / "validation"
    assert role_folder(tmp_path, "fit") is None
    with pytest.raises(NoTrainingData, match="does not exist"):
        role_folder(tmp_path / "nowhere", "fit")
