from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from imaging.metrics import SOFT_TISSUE, MetricContract
from imaging.phantom import trunk
from imaging.quality.detail import BANDS, detail_bands, edge_slope, reference_detail

WIDE = MetricContract("wide", -2000, 2000, "HU")


@pytest.fixture(scope="module")
def reference():
    return trunk((192, 192), (1.8, 1.8), np.random.default_rng(0))


def test_the_reference_is_as_sharp_as_itself(reference):
    detail = reference_detail(reference, SOFT_TISSUE)
    assert edge_slope(reference, detail) == pytest.approx(1)
    for band in detail_bands(reference, detail).values():
        assert (band.power, band.kept) == (pytest.approx(1), pytest.approx(1))


def test_half_the_contrast_is_half_the_slope_and_a_quarter_of_the_power(reference):
    halved = (reference / 2).astype(np.float32)
    detail = reference_detail(reference, WIDE)
    assert edge_slope(halved, detail) == pytest.approx(0.5, rel=1e-5)
    for band in detail_bands(halved, detail).values():
        assert (band.power, band.kept) == (pytest.approx(0.25, rel=1e-5), pytest.approx(0.5, rel=1e-5))


def test_noise_adds_power_and_changes_nothing_kept(reference):
    noisy = (reference + np.random.default_rng(1).normal(0, 20, reference.shape)).astype(np.float32)
    detail = reference_detail(reference, WIDE)
    assert edge_slope(noisy, detail) == pytest.approx(1, abs=0.02)
    bands = detail_bands(noisy, detail)
    assert bands["fine"].power > 1.05
    for band in bands.values():
        assert band.kept == pytest.approx(1, abs=0.03)


def test_blur_loses_what_its_filter_takes(reference):
    """In a band a Gaussian keeps its own response, weighted by the reference's power; written out here."""
    sigma = 0.8
    blurred = ndimage.gaussian_filter(reference.astype(np.float64), sigma, mode="wrap").astype(np.float32)
    detail = reference_detail(reference, WIDE)
    bands = detail_bands(blurred, detail)
    for name, (low, high) in BANDS.items():
        ends = [math.exp(-2 * math.pi**2 * sigma**2 * f**2) for f in (low, high)]
        assert ends[1] < bands[name].kept < ends[0] + 0.01
        assert ends[1] ** 2 < bands[name].power < ends[0] ** 2 + 0.01
    assert edge_slope(blurred, detail) < 0.9


def test_invented_texture_has_power_and_keeps_nothing(reference):
    rng = np.random.default_rng(2)
    smooth = ndimage.gaussian_filter(reference, 2.0)
    invented = smooth + 25 * rng.standard_normal(reference.shape).astype(np.float32)
    detail = reference_detail(reference, SOFT_TISSUE)
    band = detail_bands(invented, detail)["fine"]
    assert band.power > 0.5
    assert band.kept < 0.15


def test_a_wave_of_known_frequency_falls_into_its_band():
    rows = np.arange(64)
    image = np.broadcast_to(50 * np.sin(2 * np.pi * 12 * rows / 64)[:, None], (64, 64)).astype(np.float32)
    detail = reference_detail(image, WIDE)
    bands = detail_bands(image, detail)  # 12 / 64 = 0.19 cycles per pixel: middle
    assert bands["middle"].kept == pytest.approx(1)
    assert detail_bands(2 * image, detail)["middle"].power == pytest.approx(4)


def test_what_the_window_does_not_show_does_not_count(reference):
    changed = reference.copy()
    changed[reference > 240] += 500  # white before, white after
    detail = reference_detail(reference, SOFT_TISSUE)
    assert edge_slope(changed, detail) == pytest.approx(1)
    assert detail_bands(changed, detail)["fine"].power == pytest.approx(1)


def test_a_flat_reference_has_no_detail():
    flat = np.full((32, 32), 40, np.float32)
    detail = reference_detail(flat, SOFT_TISSUE)
    assert math.isnan(edge_slope(flat, detail))
    assert all(math.isnan(band.power) and math.isnan(band.kept) for band in detail_bands(flat, detail).values())


def test_refusals(reference):
    with pytest.raises(ValueError, match="16 pixels"):
        reference_detail(np.zeros((64, 8), np.float32), SOFT_TISSUE)
    detail = reference_detail(reference, SOFT_TISSUE)
    for function in (edge_slope, detail_bands):
        with pytest.raises(ValueError, match="same shape"):
            function(reference[1:], detail)
