"""Noise of known parameters on phantoms and pictures, estimated without the clean images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from imaging.errors import UnsuitableImage
from imaging.low_dose import SOFT, simulate
from imaging.noise.blind import BLOCK, find_impulses, profile_from_noisy
from imaging.phantom import trunk

SIDE = 288


def gaussian(image, sigma, rng, blur=0.0):
    noise = rng.standard_normal(image.shape)
    noise = ndimage.gaussian_filter(noise, blur) if blur else noise
    return np.asarray(image + sigma * noise / noise.std(), np.float32)


@pytest.fixture(scope="module")
def phantoms():
    return [trunk((SIDE, SIDE), (1.3, 1.3), np.random.default_rng(seed)) for seed in (1, 2)]


@pytest.fixture(scope="module")
def pictures():
    """0.1 to 0.9, patches of one brightness, gradients, and texture in a third of the image."""
    rng = np.random.default_rng(3)
    made = []
    for _ in range(2):
        fields = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 20)
        patches = np.digitize(fields / fields.std(), [-0.8, 0, 0.8]) / 4
        texture = 0.04 * rng.standard_normal((SIDE, SIDE)) * (np.arange(SIDE) > 2 * SIDE / 3)
        ramp = np.linspace(0, 0.1, SIDE)[:, None]
        made.append((0.1 + patches + ramp + ndimage.gaussian_filter(texture, 1)).clip(0.05, 0.95).astype(np.float32))
    return made


@settings(max_examples=3)
@given(sigma=st.floats(10, 80), blur=st.sampled_from([0.0, 0.7]), seed=st.integers(0, 9))
def test_level_in_ct(phantoms, sigma, blur, seed):
    rng = np.random.default_rng(seed)
    found = profile_from_noisy([gaussian(image, sigma, rng, blur) for image in phantoms], "HU")
    assert found.level == pytest.approx(sigma, rel=0.1)
    assert found.correlation.white == (blur == 0)
    assert found.tails.kurtosis < 3  # noise that is blurred leaves some edges among it: under 0.1 % of the pixels
    assert found.tails.best != "laplace"
    assert found.impulse_share == 0
    assert np.isnan(found.bias)


@settings(max_examples=3)
@given(sigma=st.floats(0.07, 0.14), blur=st.sampled_from([0.0, 0.7]), seed=st.integers(0, 9))
def test_level_of_pictures(pictures, sigma, blur, seed):
    rng = np.random.default_rng(seed)
    found = profile_from_noisy([gaussian(image, sigma, rng, blur) for image in pictures], "relative")
    assert found.level == pytest.approx(sigma, rel=0.25 if blur else 0.15)
    assert found.correlation.white == (blur == 0)
    assert found.tails.kurtosis < 1


def test_correlated_noise_is_not_read_as_low_as_by_an_estimator_of_white_noise(phantoms):
    noisy = [gaussian(image, 25, np.random.default_rng(4), 1.0) for image in phantoms]
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])  # Immerkaer 1996
    white = np.sqrt(np.pi / 2) / 6 * np.abs(ndimage.convolve(noisy[0].astype(np.float64), mask)).mean()
    assert white < 0.55 * 25
    found = profile_from_noisy(noisy, "HU")
    assert found.level == pytest.approx(25, rel=0.15)
    assert found.correlation.columns == pytest.approx(np.exp(-0.25), abs=0.12)


def test_low_dose_noise():
    clean = trunk((320, 320), (1.2, 1.2), np.random.default_rng(8))
    rng = np.random.default_rng(9)
    noisy = simulate(clean, (1.2, 1.2), dose_fraction=0.25, noise_hu=15, kernel=SOFT, electronic_noise=0, rng=rng)
    found = profile_from_noisy([noisy], "HU")
    assert found.level == pytest.approx(np.sqrt(3) * 15, rel=0.15)
    assert found.tails.best == "gaussian"
    assert found.correlation.columns > 0.3


def test_heavy_tails(phantoms):
    rng = np.random.default_rng(5)
    laplace = [image + rng.laplace(0, 20, image.shape).astype(np.float32) for image in phantoms]
    assert profile_from_noisy(laplace, "HU").tails.best == "laplace"
    outliers = [gaussian(image, 20, rng) for image in phantoms]
    for image in outliers:
        lost = rng.random(image.shape) < 0.04
        image[lost] += rng.normal(0, 140, np.count_nonzero(lost))
    found = profile_from_noisy(outliers, "HU")
    assert found.tails.best == "contaminated"
    assert found.tails.share == pytest.approx(0.04, rel=0.3)


def test_counting_noise_follows_the_signal(pictures):
    rng = np.random.default_rng(6)
    found = profile_from_noisy([(rng.poisson(150 * image) / 150).astype(np.float32) for image in pictures], "relative")
    assert found.signal.significant
    assert found.signal.slope == pytest.approx(1 / 150, rel=0.35)


@settings(max_examples=3)
@given(share=st.floats(0.01, 0.08), sigma=st.sampled_from([0.0, 0.05]), seed=st.integers(0, 9))
def test_impulses(pictures, share, sigma, seed):
    rng = np.random.default_rng(seed)
    noisy = []
    for image in pictures:
        lost = rng.random(image.shape) < share
        noise = gaussian(image, sigma, rng).clip(0, 1)
        noisy.append(np.where(lost, rng.integers(0, 2, image.shape), noise).astype(np.float32))
    found = profile_from_noisy(noisy, "relative")
    assert found.impulse_share == pytest.approx(share, rel=0.3)
    if sigma:
        assert found.level == pytest.approx(sigma, rel=0.25)


def test_saturated_areas_are_no_impulses():
    image = np.full((60, 60), 0.4, np.float32)
    image[10:30, 10:30] = 1.0
    noisy = gaussian(image, 0.02, np.random.default_rng(0)).clip(0, 1)
    assert not find_impulses([noisy])[0].any()


def test_a_clean_phantom_shows_its_grain_only(phantoms):
    assert profile_from_noisy(phantoms, "HU").level < 4


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_image_has_no_level_or_none(value):
    found = profile_from_noisy([np.full((64, 64), value, np.float32)], "relative")
    assert not found.level > 0
    assert found.tails.best == "gaussian"


@pytest.mark.parametrize("shape", [(8, 8), (9, 40), (13, 13)])
def test_tiny_images_give_weak_figures(shape):
    noisy = np.random.default_rng(1).normal(0.5, 0.05, shape).astype(np.float32)
    found = profile_from_noisy([noisy], "relative")
    assert found.level == pytest.approx(0.05, rel=0.4) or np.isnan(found.level)
    assert any("weak" in sentence for sentence in found.limits)


def test_what_it_cannot_tell_is_said(phantoms):
    (sentence,) = profile_from_noisy([gaussian(phantoms[0], 20, np.random.default_rng(0))], "HU").limits
    assert f"more than {BLOCK} pixels" in sentence


def test_nonsense_is_refused():
    with pytest.raises(UnsuitableImage, match="no images"):
        profile_from_noisy([], "HU")
    with pytest.raises(UnsuitableImage, match="image 1: the image holds NaN"):
        profile_from_noisy([np.full((9, 9), np.nan, np.float32)], "HU")
    with pytest.raises(UnsuitableImage, match="image 2: an image of"):
        profile_from_noisy([np.zeros((9, 9), np.float32), np.zeros((7, 9), np.float32)], "HU")
