"""Noise of known parameters on phantoms and on textured pictures, measured from pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from imaging.errors import UnsuitableImage
from imaging.low_dose import SOFT, simulate
from imaging.noise.pairs import profile_from_pairs
from imaging.phantom import trunk

SIDE = 192
MM = (2.0, 2.0)


@pytest.fixture(scope="module")
def phantoms():
    return [trunk((SIDE, SIDE), MM, np.random.default_rng(seed), region="chest") for seed in (1, 2)]


@pytest.fixture(scope="module")
def pictures():
    """0 to 1 with edges, gradients and fine texture everywhere."""
    rng = np.random.default_rng(3)
    made = []
    for _ in range(2):
        smooth = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 12)
        steps = 0.2 * (ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 6) > 0)
        texture = 0.03 * ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 0.7)
        made.append((0.4 + 0.15 * smooth / smooth.std() + steps + texture).clip(0.02, 0.98).astype(np.float32))
    return made


def with_noise(images, draw):
    return [np.asarray(draw(image), np.float32) for image in images]


@settings(max_examples=8)
@given(st.floats(2, 200), st.sampled_from([0.0, 1.0, 1.4]), st.integers(0, 9))
def test_level_and_correlation_of_gaussian_noise(phantoms, sigma, blur, seed):
    rng = np.random.default_rng(seed)

    def draw(image):
        noise = rng.standard_normal(image.shape)
        noise = ndimage.gaussian_filter(noise, blur) if blur else noise
        return image + sigma * noise / noise.std()

    found = profile_from_pairs(with_noise(phantoms, draw), phantoms, "HU")
    assert found.level == pytest.approx(sigma, rel=0.1)
    assert found.core == pytest.approx(sigma, rel=0.1)
    assert found.tails.best == "gaussian"
    assert found.correlation.white == (blur == 0)
    assert found.correlation.length == pytest.approx(max(np.sqrt(2 * np.pi) * blur, 1), rel=0.12)
    assert found.impulse_share == 0
    assert not found.signal.significant
    assert found.variation < 0.1


def test_a_mean_of_the_noise_is_found_with_its_error(pictures):
    rng = np.random.default_rng(0)
    found = profile_from_pairs(
        with_noise(pictures, lambda x: x + rng.normal(0.01, 0.05, x.shape)), pictures, "relative"
    )
    assert found.bias_error == pytest.approx(0.05 / np.sqrt(2) / SIDE, rel=0.2)
    assert found.bias == pytest.approx(0.01, abs=4 * found.bias_error)


@pytest.mark.parametrize("unit", ["HU", "relative"])
def test_laplace_noise(unit, phantoms, pictures):
    clean, sigma = (phantoms, 30.0) if unit == "HU" else (pictures, 0.05)
    rng = np.random.default_rng(1)
    noisy = with_noise(clean, lambda x: x + rng.laplace(0, sigma / np.sqrt(2), x.shape))
    found = profile_from_pairs(noisy, clean, unit)
    assert found.tails.best == "laplace"
    assert found.level == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("unit", ["HU", "relative"])
def test_contaminated_noise(unit, phantoms, pictures):
    clean, sigma = (phantoms, 20.0) if unit == "HU" else (pictures, 0.03)
    rng = np.random.default_rng(2)
    noisy = with_noise(
        clean, lambda x: x + sigma * rng.standard_normal(x.shape) * (1 + 5 * (rng.random(x.shape) < 0.05))
    )
    found = profile_from_pairs(noisy, clean, unit)
    assert found.tails.best == "contaminated"
    assert found.tails.core * found.level == pytest.approx(sigma, rel=0.1)
    assert found.tails.ratio == pytest.approx(6, rel=0.15)
    assert found.tails.share == pytest.approx(0.05, rel=0.2)


@settings(max_examples=6)
@given(share=st.floats(0.01, 0.3), sigma=st.sampled_from([0.0, 0.03]), seed=st.integers(0, 9))
def test_impulses_are_counted_and_taken_out(pictures, share, sigma, seed):
    rng = np.random.default_rng(seed)

    def draw(image):
        lost = rng.random(image.shape) < share
        return np.where(lost, rng.integers(0, 2, image.shape), (image + rng.normal(0, sigma, image.shape)).clip(0, 1))

    found = profile_from_pairs(with_noise(pictures, draw), pictures, "relative")
    assert found.impulse_share == pytest.approx(share, rel=0.1)
    assert found.level == pytest.approx(sigma, rel=0.1, abs=1e-6)
    assert found.tails.best == "gaussian"


def test_replaced_pixels_of_any_value_are_impulses_where_the_rest_is_untouched(pictures):
    rng = np.random.default_rng(4)
    noisy = with_noise(pictures, lambda x: np.where(rng.random(x.shape) < 0.1, rng.random(x.shape), x))
    found = profile_from_pairs(noisy, pictures, "relative")
    assert found.impulse_share == pytest.approx(0.1, rel=0.1)
    assert found.level == 0


def test_noise_that_is_cut_off_at_white_keeps_its_level(pictures):
    bright = [image * 0.5 + 0.5 for image in pictures]
    rng = np.random.default_rng(5)
    noisy = with_noise(bright, lambda x: (x + rng.normal(0, 0.08, x.shape)).clip(0, 1))
    found = profile_from_pairs(noisy, bright, "relative")
    assert found.level == pytest.approx(0.08, rel=0.05)
    assert found.tails.best == "gaussian"
    assert found.impulse_share == 0
    assert not found.signal.significant


def test_counting_noise_has_its_slope_and_is_gaussian_at_each_brightness(pictures):
    rng = np.random.default_rng(6)
    found = profile_from_pairs(with_noise(pictures, lambda x: rng.poisson(200 * x) / 200), pictures, "relative")
    assert found.signal.significant
    assert found.signal.slope == pytest.approx(1 / 200, rel=0.1)
    assert found.signal.offset_share < 0.1
    assert found.tails.best == "gaussian"
    assert found.variation < 0.1


def test_counting_noise_in_ct_counts_from_air(phantoms):
    rng = np.random.default_rng(7)
    noisy = with_noise(phantoms, lambda x: rng.poisson(900 * np.maximum(x / 1000 + 1, 0)) / 0.9 - 1000)
    found = profile_from_pairs(noisy, phantoms, "HU")
    assert found.signal.slope == pytest.approx(1000 / 900, rel=0.1)
    assert found.signal.offset_share < 0.1
    assert found.impulse_share == 0  # though nothing changes in air


def test_low_dose_noise_is_gaussian_correlated_and_varies_over_the_patient():
    clean = trunk((320, 320), (1.2, 1.2), np.random.default_rng(8))
    rng = np.random.default_rng(9)
    noisy = simulate(clean, (1.2, 1.2), dose_fraction=0.25, noise_hu=15, kernel=SOFT, electronic_noise=0, rng=rng)
    found = profile_from_pairs([noisy], [clean], "HU")
    assert found.level == pytest.approx(np.sqrt(3) * 15, rel=0.1)
    assert found.tails.best == "gaussian"  # its levels are a mixture, with a kurtosis of 2 and more
    assert found.correlation.columns > 0.4
    assert found.variation > 0.2
    assert not found.signal.significant


def test_clean_images_have_no_noise(phantoms, pictures):
    for unit, clean in (("HU", phantoms), ("relative", pictures)):
        found = profile_from_pairs(clean, clean, unit)
        assert (found.level, found.core, found.bias, found.impulse_share) == (0, 0, 0, 0)
        assert found.tails.best == "gaussian"


@pytest.mark.parametrize("shape", [(8, 8), (9, 31), (16, 8)])
def test_tiny_and_constant_images(shape):
    clean = np.full(shape, 40, np.float32)
    noisy = clean + np.random.default_rng(0).normal(0, 10, shape).astype(np.float32)
    found = profile_from_pairs([noisy], [clean], "HU")
    assert found.level == pytest.approx(10, rel=0.3)
    assert not found.signal.significant


def test_nonsense_is_refused():
    image = np.zeros((16, 16), np.float32)
    spoilt = image.copy()
    spoilt[3, 3] = np.nan
    with pytest.raises(UnsuitableImage, match="no pairs"):
        profile_from_pairs([], [], "HU")
    with pytest.raises(UnsuitableImage, match="no pairs"):
        profile_from_pairs([image, image], [image], "HU")
    with pytest.raises(UnsuitableImage, match=r"pair 2: the noisy image has \(16, 16\) pixels"):
        profile_from_pairs([image, image], [image, image[1:]], "HU")
    with pytest.raises(UnsuitableImage, match="pair 1: the image holds NaN"):
        profile_from_pairs([spoilt], [image], "HU")
    with pytest.raises(UnsuitableImage, match="8 x 8 are the least"):
        profile_from_pairs([image[:7]], [image[:7]], "HU")
