from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from imaging.noise import reading
from imaging.noise.reading import MOST_IMAGES, read_noise
from imaging.phantom import trunk


@pytest.fixture(scope="module")
def slices():
    rng = np.random.default_rng(0)
    return [trunk((320, 320), (1.2, 1.2), rng, z=float(z)).astype(np.float32) for z in (0, 5, 10)]


def noisy(slices, level, sigma=0.0, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for image in slices:
        noise = rng.normal(0, 1, image.shape)
        noise = ndimage.gaussian_filter(noise, sigma) if sigma else noise
        found.append((image + level * noise / noise.std()).astype(np.float32))
    return found


@pytest.mark.parametrize("level", [15, 40, 80])
@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_ct_noise_is_read_within_a_tenth(slices, level, sigma):
    found = read_noise(noisy(slices, level, sigma), "HU")
    assert found.level == pytest.approx(level, rel=0.1)
    assert found.impulses == 0
    assert found.correlation == pytest.approx(math.exp(-1 / (4 * sigma**2)) if sigma else 0, abs=0.1)


def test_impulses_are_counted(slices):
    rng = np.random.default_rng(1)
    images = noisy(slices, 10)
    for image in images:
        hit = rng.random(image.shape) < 0.05
        image[hit] = rng.choice([-1024.0, 3071.0], hit.sum())
    assert 0.02 < read_noise(images, "HU").impulses < 0.055  # in air the dark ones do not show


def test_relative_images_are_read_too():
    rng = np.random.default_rng(0)
    y = np.linspace(0.2, 0.8, 200)
    image = (np.where(np.arange(200) < 90, 0.3, 0.7) + 0 * y[:, None] + rng.normal(0, 0.05, (200, 200))).astype(
        np.float32
    )
    found = read_noise([image], "relative")
    assert found.level == pytest.approx(0.05, rel=0.15)
    assert abs(found.correlation) < 0.1


def test_only_a_few_images_of_a_series_are_read(slices, monkeypatch):

    seen = []
    monkeypatch.setattr(reading, "global_noise_level", lambda image: seen.append(image) or 10.0)
    read_noise(noisy(slices, 10) * 20, "HU")
    assert len(seen) == MOST_IMAGES


def test_what_has_no_noise_to_read_says_so():
    tiny = read_noise([np.zeros((3, 3), np.float32)], "HU")
    assert math.isnan(tiny.level)
    assert math.isnan(tiny.correlation)
    with pytest.raises(ValueError, match="no images"):
        read_noise([], "HU")
