from __future__ import annotations

import numpy as np
import pytest

from imaging.low_dose import KERNELS, SOFT, kernel_correlation, simulate
from imaging.noise.level import global_noise_level, neighbour_correlation
from imaging.phantom import trunk


@pytest.mark.parametrize("sigma", [5.0, 12.0, 30.0])
def test_white_noise_on_water_is_read_off(sigma):
    hu = np.random.default_rng(0).normal(30, sigma, (200, 200)).astype(np.float32)
    assert global_noise_level(hu) == pytest.approx(sigma, rel=0.05)


def test_low_dose_noise_on_anatomy_is_read_off():
    rng = np.random.default_rng(4)
    hu = trunk((384, 384), (1.0, 1.0), rng)
    noisy = simulate(hu, (1.0, 1.0), dose_fraction=0.25, noise_hu=15, kernel=SOFT, electronic_noise=0, rng=rng)
    assert global_noise_level(noisy) == pytest.approx(np.sqrt(3) * 15, rel=0.12)
    assert global_noise_level(noisy) > 4 * global_noise_level(hu)


def test_without_soft_tissue_there_is_no_level():
    assert np.isnan(global_noise_level(np.full((64, 64), -1000, np.float32)))


def test_a_constant_image_has_no_noise():
    assert global_noise_level(np.full((64, 64), 40, np.float32)) == 0


def test_edges_and_bone_do_not_raise_the_level():
    rng = np.random.default_rng(6)
    hu = trunk((320, 320), (1.2, 1.2), rng, region="chest")
    hu += rng.normal(0, 20, hu.shape).astype(np.float32)
    assert global_noise_level(hu) == pytest.approx(20, rel=0.05)  # the deviation of the whole image is some 500


@pytest.mark.parametrize(("side", "known"), [(28, False), (29, True)])
def test_five_hundred_pixels_of_soft_tissue_are_enough(side, known):
    """Three pixels of each edge are not counted: 28 leaves 22 x 22 = 484 pixels, 29 leaves 529."""
    hu = np.random.default_rng(0).normal(40, 8, (side, side)).astype(np.float32)
    assert np.isfinite(global_noise_level(hu)) == known


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_the_kernel_is_read_off_the_noise_on_anatomy(kernel):
    rng = np.random.default_rng(3)
    clean = trunk((320, 320), (1.2, 1.2), rng)
    noisy = simulate(clean, (1.2, 1.2), dose_fraction=0.25, noise_hu=20, kernel=kernel, electronic_noise=0, rng=rng)
    read, expected = neighbour_correlation([noisy, noisy]), kernel_correlation(kernel)
    assert -0.09 < read - expected < 0.06  # of the softest kernel 0.07 is taken away with the local mean


def test_white_noise_is_uncorrelated():
    images = np.random.default_rng(0).normal(30, 10, (2, 200, 200)).astype(np.float32)
    assert neighbour_correlation(images) == pytest.approx(0, abs=0.03)


def test_without_soft_tissue_or_noise_there_is_no_correlation():
    for value in (-1000, 40):
        assert np.isnan(neighbour_correlation([np.full((64, 64), value, np.float32)]))
    assert np.isnan(neighbour_correlation([]))
