from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imaging.low_dose import (
    KERNELS,
    RAMP,
    SOFT,
    added_noise,
    calibrate,
    kernel_correlation,
    line_integrals,
    noise_basis,
    noise_region,
)
from training.data.datasets import evaluation_pairs
from training.data.pairs import Repeats
from training.data.unit_noise import DRAWS
from training.degradations import DoseProtocol, DoseRange, standard_protocols

WHOLE = (0, slice(0, 96), slice(0, 96))


def test_a_quarter_of_the_own_dose_triples_the_variance(prepared):
    series = prepared()
    degraded, reference = next(iter(evaluation_pairs(series, DoseProtocol(0.25, electronic_noise=0.0))))
    level = (degraded - reference)[noise_region(reference)].std()
    assert level == pytest.approx(np.sqrt(3) * series.noise_level, rel=0.02)


@pytest.mark.parametrize("kernel", [SOFT, RAMP])
def test_an_evaluation_has_the_noise_its_protocol_says(prepared, kernel):
    series = prepared()
    protocol = DoseProtocol(0.25, full_dose_noise_hu=12.0, kernel=kernel, electronic_noise=0.0)
    for number, (degraded, reference) in enumerate(evaluation_pairs(series, protocol)):
        np.testing.assert_array_equal(reference, series.images[number])
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
        "0.25 of the scan's own dose, the scan's own texture, electronic noise 4 photons",
        "0.25 of the scan's own dose, ramp kernel, electronic noise 4 photons",
        "0.25 of a dose with 15 HU noise, soft kernel, electronic noise 4 photons",
    ]


def test_evaluation_is_the_physics_of_low_dose(prepared):
    """Cached, scaled and in float16, or computed afresh by `imaging.low_dose` with the cache's seed: the same noise."""
    series, protocol = prepared(), DoseProtocol(0.2, full_dose_noise_hu=14.0, kernel=SOFT, electronic_noise=30.0)
    hu = np.asarray(series.images[1])
    kernels = [kernel for kernel in KERNELS for _ in range(DRAWS)]
    basis = noise_basis(
        line_integrals(hu, series.spacing), hu.shape, series.spacing, kernels, np.random.default_rng((0, 1))
    )
    draw = kernels.index(SOFT)
    photons = calibrate(hu, basis, noise_hu=14.0, electronic_noise=30.0, draw=draw)
    expected = added_noise(basis, dose_fraction=0.2, photons=photons, electronic_noise=30.0, draw=draw)
    degraded, reference = list(evaluation_pairs(series, protocol))[1]
    np.testing.assert_allclose(degraded - reference, expected, atol=0.002 * np.abs(expected).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_matched_noise_has_the_texture_of_the_scan(prepared, kernel):
    """Of a scan whose own noise is that of a kernel, and of one between two kernels; the level stays the scan's."""
    matched = DoseProtocol(0.25, kernel=None, electronic_noise=0.0)
    series = replace(prepared(), noise_correlation=kernel_correlation(kernel))
    np.testing.assert_array_equal(
        matched.repeat(series, WHOLE, 0), replace(matched, kernel=kernel).repeat(series, WHOLE, 0)
    )
    between = replace(series, noise_correlation=0.4)
    noise = matched.repeat(between, WHOLE, 0) - series.images[0]
    region = noise_region(np.asarray(series.images[0]))
    # draws of two kernels, whose correlation by chance is in the sum
    assert noise[region].std() == pytest.approx(np.sqrt(3) * series.noise_level, rel=0.1)
    pairs = region[:, 1:] & region[:, :-1]
    assert np.corrcoef(noise[:, 1:][pairs], noise[:, :-1][pairs])[0, 1] == pytest.approx(0.4, abs=0.12)
    assert "the scan's own texture" in matched.label


def test_a_scan_of_unknown_texture_counts_as_softly_reconstructed(prepared):
    series = replace(prepared(), noise_correlation=float("nan"))
    unknown, soft = (DoseProtocol(kernel=kernel).repeat(series, WHOLE, 0) for kernel in (None, SOFT))
    np.testing.assert_array_equal(unknown, soft)


@pytest.mark.parametrize("dose_fraction", [0.0, -0.5, 1.5, float("nan")])
def test_dose_fractions_that_are_none_are_refused(dose_fraction):
    with pytest.raises(ValueError, match="dose_fraction must lie in"):
        DoseProtocol(dose_fraction)


def test_fresh_draws_have_the_level_of_the_protocol_and_are_mixes_of_the_cached_ones(prepared):
    series, protocol = prepared("a", 1), DoseProtocol(0.25, full_dose_noise_hu=12.0, electronic_noise=0.0)
    rng, region = np.random.default_rng(0), noise_region(np.asarray(series.images[0]))
    noises = [protocol(series, WHOLE, rng) - series.images[0] for _ in range(200)]
    levels = np.array([noise[region].std() for noise in noises])
    # two draws of few pixels are correlated by chance, and their mixes scatter with that
    assert levels.mean() == pytest.approx(np.sqrt(3) * 12, rel=0.02)
    assert levels.std() < 0.12 * levels.mean()
    first = KERNELS.index(SOFT) * DRAWS
    cached = np.stack([series.unit_noise.quantum[0, first + draw].ravel() for draw in range(DRAWS)]).astype(np.float64)
    weights, residual, *_ = np.linalg.lstsq(cached.T, np.stack([noise.ravel() for noise in noises]).T, rcond=None)
    assert residual.max() < 1e-4 * np.square(noises[0]).sum()
    angles = np.sort(np.arctan2(*weights)) / (2 * np.pi) + 0.5  # uniform over the circle, whatever the sign
    assert np.abs(angles - (np.arange(200) + 0.5) / 200).max() < 0.11
    together = np.mean([np.outer(w, w) for w in (weights / np.linalg.norm(weights, axis=0)).T], axis=0)
    np.testing.assert_allclose(together, np.eye(2) / 2, atol=0.1)  # so two draws are uncorrelated in the mean


def test_a_window_is_a_part_of_the_slice(prepared):
    series, window = prepared("a", 1), (0, slice(10, 50), slice(30, 90))
    for draw in (0, 1):
        whole = DoseProtocol().repeat(series, WHOLE, draw)
        np.testing.assert_array_equal(DoseProtocol().repeat(series, window, draw), whole[10:50, 30:90])


def test_repetitions_are_the_two_cached_draws_and_then_mixes_always_the_same(prepared):
    series, protocol = prepared("a", 1), DoseProtocol()
    assert isinstance(protocol, Repeats)
    assert not isinstance(DoseRange(), Repeats)
    draws = [protocol.repeat(series, WHOLE, draw) for draw in range(5)]
    assert len({each.tobytes() for each in draws}) == 5
    for draw, each in enumerate(draws):
        np.testing.assert_array_equal(each, protocol.repeat(series, WHOLE, draw))
    region = noise_region(np.asarray(series.images[0]))
    one, two = ((each - series.images[0])[region] for each in draws[:2])
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.25  # few independent pixels in a soft kernel's noise


def test_a_range_draws_its_level_once_for_two_scans(prepared):
    series, rng = prepared("a", 1), np.random.default_rng(0)
    region = noise_region(np.asarray(series.images[0]))
    ratios = []
    for _ in range(50):
        scan = DoseRange(clean_share=0, smooth_share=0).of_one_level(rng)
        one, two = ((scan(series, WHOLE, rng) - series.images[0])[region].std() for _ in range(2))
        ratios.append(one / two)
    assert 0.6 < min(ratios) <= max(ratios) < 1.7  # while the levels themselves differ by a factor of 20
    clean = DoseRange(clean_share=1).of_one_level(rng)
    np.testing.assert_array_equal(clean(series, WHOLE, rng), series.images[0])


def test_a_protocol_is_plain_values():
    assert DoseProtocol(0.1, 15.0, RAMP).to_json() == {
        "dose_fraction": 0.1,
        "full_dose_noise_hu": 15.0,
        "kernel": "ramp",
        "electronic_noise": 4.0,
    }
    assert DoseRange(**DoseRange(low=0.1).to_json()) == DoseRange(low=0.1)
