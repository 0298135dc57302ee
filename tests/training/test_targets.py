from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from training.data.datasets import patches
from training.degradations import DoseProtocol, DoseRange, parse_degradation
from training.targets import DrawsLevel, MakesPairs, training_pair

WHOLE = (0, slice(0, 96), slice(0, 96))
NOISY = DoseRange(clean_share=0, smooth_share=0, resampled_share=0)

ADDITIVE = [
    "low-dose",
    "low-dose-sharp",
    "low-dose-matched",
    "low-dose-thin",
    "gaussian",
    "poisson",
    "poisson-gaussian",
    "laplace",
    "contaminated",
]
"""Noise of mean 0, to which noise2noise and noise2inverse apply. Impulses and the streaks of few views are not."""


def _correlation(one, two):
    return float(np.corrcoef(one.ravel(), two.ravel())[0, 1])


def test_the_reference_is_the_target_of_most(prepared):
    series, noise = prepared("a", 1), parse_degradation("gaussian", "ct")
    degraded, target = training_pair(noise, series, WHOLE, "reference", np.random.default_rng(0))
    np.testing.assert_array_equal(target, series.images[0])
    np.testing.assert_array_equal(degraded, noise(series, WHOLE, np.random.default_rng(0)))


def test_a_range_of_doses_says_itself_what_the_full_dose_would_be(prepared):
    series, noise = prepared("a", 1), replace(NOISY, own_share=0, low_hu=60)
    assert isinstance(noise, MakesPairs)
    degraded, target = training_pair(noise, series, WHOLE, "reference", np.random.default_rng(0))
    np.testing.assert_array_equal(degraded, noise.pair(series, WHOLE, np.random.default_rng(0))[0])
    assert 0 < np.abs(target - series.images[0]).mean() < 0.5 * np.abs(degraded - series.images[0]).mean()


def test_a_range_of_doses_can_draw_one_for_several_scans(prepared):
    assert isinstance(NOISY, DrawsLevel)
    assert not isinstance(DoseProtocol(), DrawsLevel)
    series = prepared("a", 1)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        first, second = training_pair(NOISY, series, WHOLE, "second", rng)
        noises = [image - series.images[0] for image in (first, second)]
        assert noises[0].std() == pytest.approx(noises[1].std(), rel=0.25)  # the doses of a range differ by 20 times
        # one kernel: the same correlation of neighbours, which lies between 0.08 and 0.77
        neighbours = [_correlation(noise[:, 1:], noise[:, :-1]) for noise in noises]
        assert neighbours[0] == pytest.approx(neighbours[1], abs=0.12)
        assert not np.array_equal(first, second)


def test_a_clean_scan_is_clean_in_both(prepared):
    series = prepared("a", 1)
    for target in ("second", "halves"):
        for image in training_pair(DoseRange(clean_share=1), series, WHOLE, target, np.random.default_rng(0)):
            np.testing.assert_array_equal(image, series.images[0])


@pytest.mark.parametrize("name", ADDITIVE)
def test_the_two_draws_have_mean_0_and_are_independent(prepared, name):
    """Over many pairs: neither the noise nor its product with the other's has a mean, as L2 needs it."""
    series, degrade = prepared("a", 1), parse_degradation(name, "ct")
    window = (0, slice(40, 56), slice(40, 56))
    rng = np.random.default_rng(0)
    pairs = [training_pair(degrade, series, window, "second", rng) for _ in range(400)]
    one, two = (np.stack(each).astype(np.float64) - series.images[window] for each in zip(*pairs, strict=True))
    spread = one.std()
    assert spread == pytest.approx(two.std(), rel=0.1)
    standard_error = 1 / np.sqrt(len(pairs))  # of a mean over draws, which are correlated over the window
    assert abs(two.mean()) < 4 * spread * standard_error
    assert abs(np.mean(one * two)) < 4 * spread**2 * standard_error


def test_impulses_have_a_mean_which_is_why_they_do_not_qualify(prepared):
    series, degrade = prepared("a", 1), parse_degradation("impulse", "ct")
    window = (0, slice(40, 56), slice(40, 56))
    rng = np.random.default_rng(0)
    noise = [degrade(series, window, rng) - series.images[window] for _ in range(400)]
    assert np.mean(noise) == pytest.approx(0.05 * (3071 - 1024) / 2 - 0.05 * series.images[window].mean(), rel=0.1)


@pytest.mark.parametrize("degrade", [NOISY, parse_degradation("poisson", "ct"), parse_degradation("low-dose", "ct")])
def test_half_of_the_views_has_twice_the_variance(prepared, degrade):
    series = prepared("a", 1)
    scans = training_pair(degrade, series, WHOLE, "second", np.random.default_rng(3))
    halves = training_pair(degrade, series, WHOLE, "halves", np.random.default_rng(3))
    for scan, half in zip(scans, halves, strict=True):
        expected = series.images[0] + np.sqrt(2) * (scan.astype(np.float64) - series.images[0])
        np.testing.assert_allclose(half, expected, atol=1e-3)
        assert half.dtype == np.float32


@pytest.mark.parametrize("target", ["reference", "second", "halves"])
def test_patches_turn_both_images_alike(prepared, target):
    """A patch and its target show the same anatomy: without noise they are equal, whatever the orientation."""
    series = [prepared("a", 1)]
    batches = patches(
        series,
        size=32,
        batch=6,
        steps=2,
        degrade=DoseRange(clean_share=1),
        target=target,
        rng=np.random.default_rng(0),
    )
    for degraded, wanted in batches:
        assert degraded.shape == wanted.shape == (6, 32, 32, 1)
        np.testing.assert_array_equal(degraded, wanted)


def test_the_noise_of_patches_and_targets_is_not_shared(prepared):
    (noisy,) = patches(
        [prepared("a", 1)],
        size=32,
        batch=4,
        steps=1,
        degrade=parse_degradation("gaussian", "ct"),
        target="second",
        rng=np.random.default_rng(0),
    )
    for degraded, wanted in zip(*noisy, strict=True):
        difference = degraded - wanted  # sqrt(2) * 40 HU, where the same draw would leave 0
        assert difference.std() == pytest.approx(40 * np.sqrt(2), rel=0.1)
    assert all(not np.array_equal(one, two) for one, two in pairwise(noisy[0]))
