from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage, stats

from imaging.low_dose import SOFT, line_integrals, noise_basis, noise_region
from imaging.metrics import SOFT_TISSUE, MetricContract
from imaging.phantom import trunk
from imaging.quality.residuals import error_kurtosis, residual_structure

SPACING = (1.5, 1.5)


@pytest.fixture(scope="module")
def reference():
    return trunk((224, 224), SPACING, np.random.default_rng(0))


@pytest.fixture(scope="module")
def low_dose(reference):
    basis = noise_basis(line_integrals(reference, SPACING), reference.shape, SPACING, [SOFT], np.random.default_rng(1))
    return 25 * basis.quantum[0] / basis.quantum[0][noise_region(reference)].std()


def noises(reference, low_dose):
    rng = np.random.default_rng(2)
    counts = np.sqrt(np.maximum(reference + 1000, 0) / 1000)  # grows with the signal
    hit = rng.random(reference.shape) < 0.05
    return {
        "white": rng.normal(0, 25, reference.shape),
        "low dose": low_dose,
        "signal dependent": 25 * counts * rng.normal(0, 1, reference.shape),
        "impulse": np.where(hit, rng.choice([-500, 500], reference.shape), 0),
    }


def test_removed_noise_is_no_structure_and_removed_edges_are(reference, low_dose):
    for name, noise in noises(reference, low_dose).items():
        degraded = (reference + noise).astype(np.float32)
        perfect = residual_structure(degraded, reference)
        half = residual_structure(degraded, (reference + 0.5 * noise).astype(np.float32))
        blurred = residual_structure(degraded, ndimage.gaussian_filter(degraded, 1.0))
        assert abs(perfect) < 0.06, name
        assert abs(half) < 0.06, name
        assert blurred > 0.1 + abs(perfect), name


def test_noise_left_along_the_edges_is_negative(reference):
    noise = np.random.default_rng(3).normal(0, 25, reference.shape)
    edges = ndimage.gaussian_gradient_magnitude(reference.astype(np.float64), 1.0) > 20
    restored = np.where(edges, reference + noise, reference).astype(np.float32)
    assert residual_structure((reference + noise).astype(np.float32), restored) < -0.2


def test_a_shift_of_all_levels_changes_nothing(reference):
    degraded = (reference + np.random.default_rng(4).normal(0, 25, reference.shape)).astype(np.float32)
    restored = ndimage.gaussian_filter(degraded, 1.0)
    one = residual_structure(degraded, restored)
    assert residual_structure(3 * degraded, 3 * restored) == pytest.approx(one, abs=1e-6)


def test_where_nothing_was_removed_there_is_no_structure(reference):
    assert math.isnan(residual_structure(reference, reference.copy()))
    noise = np.random.default_rng(5).normal(0, 1, (32, 32)).astype(np.float32)
    assert math.isnan(residual_structure(noise, np.zeros_like(noise)))  # no edge is left
    with pytest.raises(ValueError, match="alike"):
        residual_structure(reference, reference[1:])


def test_kurtosis_of_known_errors():
    rng = np.random.default_rng(6)
    reference = np.zeros((400, 400), np.float32)
    for error, expected in ((rng.normal(0, 10, reference.shape), 0), (rng.laplace(0, 7, reference.shape), 3)):
        restored = error.astype(np.float32)
        assert error_kurtosis(restored, reference, SOFT_TISSUE) == pytest.approx(expected, abs=0.25)
    half = np.where(np.indices(reference.shape).sum(0) % 2, 5, -5).astype(np.float32)
    assert error_kurtosis(half, reference, SOFT_TISSUE) == pytest.approx(-2)  # by hand: 625 / 25^2 - 3


def test_kurtosis_as_scipy_computes_it_inside_the_window():
    rng = np.random.default_rng(7)
    reference = rng.uniform(-1000, 1000, (60, 70)).astype(np.float32)
    restored = (reference + rng.laplace(0, 30, reference.shape)).astype(np.float32)
    inside = (reference >= -160) & (reference <= 240)
    error = restored[inside].clip(-160, 240).astype(np.float64) - reference[inside]
    assert error_kurtosis(restored, reference, SOFT_TISSUE) == pytest.approx(stats.kurtosis(error), rel=1e-9)


def test_kurtosis_without_errors_or_pixels_is_not_defined():
    flat = np.zeros((8, 8), np.float32)
    assert math.isnan(error_kurtosis(flat, flat, SOFT_TISSUE))
    assert math.isnan(error_kurtosis(flat + 1, flat, MetricContract("elsewhere", 50, 60, "HU")))
    with pytest.raises(ValueError, match="same shape"):
        error_kurtosis(flat, flat[1:], SOFT_TISSUE)
