from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imaging.low_dose import (
    KERNELS,
)
from training.data.datasets import check_roles, patches, role_folder
from training.data.pairs import PreparedSeries
from training.data.unit_noise import UnitNoise
from training.degradations import DoseRange
from training.degradations.low_dose import own_noise
from training.errors import NoTrainingData

AS_IT_IS = DoseRange(own_share=1, smooth_share=0, resampled_share=0)
"""Patches of the scan's own pixels and dose: their targets are the series' own pixels."""


def _batches(series, noise, seed=0, **options):
    settings = {"size": 48, "batch": 8, "steps": 3, **options}
    return list(patches([series], **settings, degrade=noise, rng=np.random.default_rng(seed)))


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
    _, reference = _batches(series, AS_IT_IS, steps=1, batch=4)[0]
    flat = np.asarray(series.images).reshape(-1)
    assert np.isin(reference, flat).all()


def test_degraded_and_reference_are_turned_alike(prepared):
    noise = DoseRange(low=0.998, high=0.999, own_share=1, smooth_share=0)
    for degraded, reference in _batches(prepared(), noise):
        assert np.abs(degraded - reference).max() < 5  # anatomy that was turned apart would differ by hundreds


def test_the_noise_is_that_of_the_dose_and_some_patches_stay_clean(prepared):
    series = prepared()
    noise = replace(AS_IT_IS, low=0.02, high=0.05, clean_share=0.25)
    levels = []
    for degraded, reference in _batches(series, noise, steps=40, size=64):
        for before, after in zip(reference[..., 0], degraded[..., 0], strict=True):
            mask = (before > -20) & (before < 120)
            if mask.sum() > 800:
                levels.append((after - before)[mask].std())
    levels = np.array(levels)
    noisy = levels[levels > 0] / own_noise(series)
    assert 0.15 < np.mean(levels == 0) < 0.35
    # sqrt((1 - a) / a) runs from 4.4 to 7; a patch's level scatters about the slice's
    assert 4.5 < np.median(noisy) < 6.5
    assert np.percentile(noisy, 5) > 2
    assert np.percentile(noisy, 95) < 11


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


def _series(hu, noise_hu=10.0):
    """Noise images of +1 and -1, orthogonal over every 2 x 2 pixels: a patch's RMS is then its level exactly."""
    count, height, width = hu.shape
    rows, columns = 1 - 2 * (np.arange(height) % 2)[:, None], 1 - 2 * (np.arange(width) % 2)[None, :]
    quantum = np.stack([np.ones((height, width)), rows * np.ones((1, width))] * len(KERNELS)).astype(np.float16)
    electronic = np.stack([columns * np.ones((height, 1)), rows * columns] * len(KERNELS)).astype(np.float16)
    ones = np.ones((count, len(quantum)), np.float32)
    noises = (np.broadcast_to(noise, (count, *noise.shape)) for noise in (quantum, electronic))
    return PreparedSeries("s", "p", (1.0, 1.0), "HU", noise_hu, hu, UnitNoise(*noises, ones, ones))


def test_doses_of_the_scans_own_are_uniform_and_shares_are_kept():
    series = _series(np.zeros((1, 8, 8), np.float32))
    noise = replace(AS_IT_IS, low=0.05, high=0.9, electronic_share=0.4, clean_share=0)
    pairs = _batches(series, noise, size=8, batch=50, steps=40)
    assert all((reference == 0).all() for _, reference in pairs)  # the scan has the noise of its full dose already
    added = np.concatenate([degraded - reference for degraded, reference in pairs])[..., 0].astype(np.float64)
    variance = np.mean(added**2, axis=(1, 2))
    place = (1 / (1 + variance / series.noise_level**2) - 0.05) / 0.85  # from variance = n^2 (1 - a) / a
    assert place.min() > -1e-3
    assert place.max() < 1 + 1e-3
    np.testing.assert_allclose(np.quantile(place, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05)
    # turning a patch swaps `rows` and `columns`, of which one is quantum and one electronic noise
    mean, rows, columns, both = (
        np.mean(added * sign, axis=(1, 2)) ** 2
        for sign in (1, 1 - 2 * (np.arange(8) % 2)[:, None], 1 - 2 * (np.arange(8) % 2)[None, :], _checks(8))
    )
    np.testing.assert_allclose(mean + rows + columns + both, variance, rtol=1e-3)  # nothing else was added
    # `both` is electronic whatever the turn: uniform shares up to 0.4 average 0.2, half of it in either image
    assert np.mean(both / variance) == pytest.approx(0.1, abs=0.015)
    assert (both / variance).max() < 0.4 + 1e-3


def _checks(size):
    return (1 - 2 * (np.arange(size) % 2))[:, None] * (1 - 2 * (np.arange(size) % 2))[None, :]


def test_scans_that_are_not_there_have_any_level_and_their_target_what_a_full_dose_would():
    own, low, high = 10.0, 20.0, 80.0
    series = _series(np.zeros((1, 8, 8), np.float32), own)
    noise = replace(AS_IT_IS, low=0.25, high=0.25, own_share=0, low_hu=low, high_hu=high, own_texture=1, clean_share=0)
    pairs = _batches(series, noise, size=8, batch=50, steps=20)
    degraded, target = (np.concatenate(each)[..., 0].astype(np.float64) for each in zip(*pairs, strict=True))
    total = np.sqrt(np.mean(degraded**2, axis=(1, 2)) + own**2)  # with the scan's own, which these zeros do not show
    place = np.log(total / low) / np.log(high / low)
    assert place.min() > -1e-3
    assert place.max() < 1 + 1e-3
    np.testing.assert_allclose(np.quantile(place, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.06)
    kept = np.sum(target * degraded, axis=(1, 2)) / np.sum(degraded**2, axis=(1, 2))
    np.testing.assert_allclose(target, kept[:, None, None] * degraded, atol=1e-3)
    np.testing.assert_allclose(own**2 + kept * (total**2 - own**2), 0.25 * total**2, rtol=1e-3)


def test_some_patches_have_no_noise_and_are_to_stay_so():
    hu = np.random.default_rng(0).normal(0, 20, (1, 64, 64)).astype(np.float32)
    for degraded, target in _batches(_series(hu), replace(AS_IT_IS, smooth_share=1, clean_share=0), size=48):
        np.testing.assert_array_equal(degraded, target)
        assert degraded.std() < 8


def test_a_level_that_the_scan_has_already_is_not_reached_by_adding():
    series = _series(np.zeros((1, 8, 8), np.float32), 30.0)
    noise = replace(AS_IT_IS, own_share=0, own_texture=1, low_hu=10, high_hu=20, clean_share=0)
    for degraded, target in _batches(series, noise, size=8, batch=50, steps=4):
        np.testing.assert_allclose(np.sqrt(np.mean(degraded.astype(np.float64) ** 2, axis=(1, 2, 3))), 10, rtol=1e-3)
        assert not target.any()  # more than a full dose's noise is in the scan


def test_all_eight_orientations_come_and_all_slices_too():
    hu = np.arange(3 * 16, dtype=np.float32).reshape(3, 4, 4)
    seen = set()
    for _, reference in _batches(_series(hu), AS_IT_IS, size=4, batch=50, steps=10):
        seen |= {patch.tobytes() for patch in reference}
    turned = [np.rot90(image, turns) for image in hu for turns in range(4)]
    assert seen == {patch.tobytes() for image in turned for patch in (image, image[:, ::-1])}


def test_patches_of_air_are_few_but_there():
    hu = np.full((1, 64, 64), -1000, np.float32)
    hu[:, :, :16] = 0  # three of four places hold air only
    patches = np.concatenate([r for _, r in _batches(_series(hu), DoseRange(), size=8, batch=50, steps=20)])
    body = np.mean(patches > -800, axis=(1, 2, 3))
    air = np.mean(body < 0.25)
    # without the rule 0.73 would be air; of the draws that are, one in ten is kept
    assert air == pytest.approx(0.73 * 0.1 / (0.27 + 0.73 * 0.1), abs=0.06)
