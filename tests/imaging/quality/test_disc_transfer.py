from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from imaging.quality.disc_transfer import Disc, DiscNotVisible, Transfer, disc_transfer, edge_spread

FINE = 8
SPACING = (0.7, 0.7)


def blurred_disc(disc, sigma, side=64, background=40.0):
    """A disc under a Gaussian of `sigma` pixels, drawn eight times finer and sampled at the pixels' centres."""
    grid = (np.arange(side * FINE) - FINE // 2) / FINE
    inside = np.hypot(grid[:, None] - disc.row, grid[None, :] - disc.column) < disc.radius
    fine = ndimage.gaussian_filter(inside.astype(np.float64), sigma * FINE)
    return background + disc.contrast * fine[FINE // 2 :: FINE, FINE // 2 :: FINE]


@pytest.mark.parametrize("sigma", [0.6, 1.0, 1.5])
@pytest.mark.parametrize("contrast", [300.0, -80.0])
def test_a_gaussian_blur_has_its_analytic_curve(sigma, contrast):
    disc = Disc(30.3, 31.7, 12, contrast)
    transfer = disc_transfer(blurred_disc(disc, sigma)[None], [disc], SPACING)
    expected = np.exp(-2 * np.pi**2 * (sigma * 0.7) ** 2 * transfer.frequency**2)
    np.testing.assert_allclose(transfer.values, expected, atol=0.012)
    assert transfer.f50 == pytest.approx(math.sqrt(math.log(2) / 2) / (math.pi * sigma * 0.7), rel=0.015)
    if sigma >= 1:
        assert transfer.f10 == pytest.approx(math.sqrt(math.log(10) / 2) / (math.pi * sigma * 0.7), rel=0.02)
    assert transfer.frequency[-1] <= 0.5 / 0.7


def test_noise_averages_out_over_repetitions_and_discs():
    """The noise is as strong as a third of the contrast; the error falls as repetitions are added."""
    rng = np.random.default_rng(0)
    discs = [Disc(30.3, 31.7, 10, 60.0), Disc(31.1, 30.6, 10, 60.0)]
    errors = []
    for repetitions in (1, 16):
        tries = []
        for _ in range(3):
            noise = rng.normal(0, 20, (2, repetitions, 64, 64))
            curves = [
                disc_transfer(blurred_disc(disc, 1.0) + each, [disc], SPACING)
                for disc, each in zip(discs, noise, strict=True)
            ]
            mean = np.mean([curve.values for curve in curves], axis=0)
            tries.append(np.abs(mean - np.exp(-2 * np.pi**2 * 0.49 * curves[0].frequency ** 2)).mean())
        errors.append(np.mean(tries))
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.05


def test_discs_are_averaged():
    one, two = Disc(20.2, 20.6, 8, 100.0), Disc(43.9, 43.3, 8, 100.0)
    image = blurred_disc(one, 0.8) + blurred_disc(two, 1.6) - 40
    both = disc_transfer(image[None], [one, two], SPACING)
    apart = [disc_transfer(image[None], [each], SPACING).values for each in (one, two)]
    np.testing.assert_allclose(both.values, np.mean(apart, axis=0), atol=0.006)  # but for their phases


def test_the_edge_spread_is_that_of_the_disc():
    disc = Disc(30.3, 31.7, 12, 100.0)
    distance, values = edge_spread(blurred_disc(disc, 1.0)[None], disc, 6.0)
    assert (distance[0], distance[-1]) == (-6, 6)
    assert values[0] == pytest.approx(140, abs=0.1)
    assert values[-1] == pytest.approx(40, abs=0.1)
    assert np.interp(0, distance, values) == pytest.approx(90, abs=2.5)  # a curved edge lies a little further in


def test_where_a_curve_crosses():
    curve = Transfer(np.array([0, 0.1, 0.2, 0.3]), np.array([1, 0.8, 0.4, 0.3]))
    assert curve.f50 == pytest.approx(0.175)
    assert math.isnan(curve.f10)


@pytest.mark.parametrize(
    ("images", "discs", "spacing", "says"),
    [
        (np.zeros((1, 64, 64)), [], SPACING, "at least one"),
        (np.zeros((64, 64)), [Disc(32, 32, 10, 1)], SPACING, r"\(N, H, W\)"),
        (np.zeros((1, 64, 64)), [Disc(32, 32, 4, 1)], SPACING, "radius"),
        (np.zeros((1, 64, 64)), [Disc(10, 32, 10, 1)], SPACING, "inside 64 x 64"),
        (np.zeros((1, 64, 64)), [Disc(32, 32, 10, 1)], (1.0, 0.7), "equal"),
    ],
)
def test_refusals(images, discs, spacing, says):
    with pytest.raises(ValueError, match=says):
        disc_transfer(images, discs, spacing)


def test_discs_that_do_not_show():
    disc = Disc(30.3, 31.7, 12, 100.0)
    with pytest.raises(DiscNotVisible):
        disc_transfer(np.zeros((1, 64, 64)), [disc], SPACING)
    with pytest.raises(DiscNotVisible):
        disc_transfer(-blurred_disc(disc, 1.0)[None], [disc], SPACING)
