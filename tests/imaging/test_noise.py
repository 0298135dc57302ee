from __future__ import annotations

import numpy as np
import pytest

from imaging.low_dose import SOFT, simulate
from imaging.noise import global_noise_level
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
