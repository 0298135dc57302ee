from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.transform import iradon, radon

from imaging import low_dose
from imaging.backprojection import BINS_PER_PIXEL, backproject, filter_sinograms, half_turn
from imaging.low_dose import (
    KERNELS,
    MU_WATER_PER_MM,
    RAMP,
    SOFT,
    STANDARD,
    Kernel,
    added_noise,
    calibrate,
    kernel_correlation,
    kernel_shares,
    line_integrals,
    noise_basis,
    noise_region,
    photons_for_noise,
    simulate,
    soft_tissue,
)
from imaging.phantom import trunk

SPACING = (1.4, 1.4)
SIDE = 256
RADIUS_MM = 150.0


def _water(shape=(SIDE, SIDE), spacing=SPACING, axes=(RADIUS_MM, RADIUS_MM)):
    y = (np.arange(shape[0]) - shape[0] // 2)[:, None] * spacing[0] / axes[1]
    x = (np.arange(shape[1]) - shape[1] // 2)[None, :] * spacing[1] / axes[0]
    return np.where(x**2 + y**2 < 1, 0, -1000).astype(np.float32)


@pytest.fixture(scope="module")
def disc():
    """A disc of 30 cm of water, its line integrals, and one noise image per kernel."""
    hu = _water()
    integrals = line_integrals(hu, SPACING)
    return hu, integrals, noise_basis(integrals, hu.shape, SPACING, list(KERNELS), np.random.default_rng(1))


def test_a_ray_through_the_middle_of_the_disc_sees_its_diameter(disc):
    _, integrals, _ = disc
    middle = integrals[:, 127:130].max(axis=1)
    np.testing.assert_allclose(middle, 2 * RADIUS_MM * MU_WATER_PER_MM, rtol=0.02)
    assert integrals[:, :5].max() == 0  # rays that miss


def test_every_ray_through_the_disc_sees_its_chord(disc):
    """2 sqrt(r^2 - t^2) mu at distance t from the middle, the same from every side."""
    _, integrals, _ = disc
    distance = (np.arange(256) - 128) * SPACING[0]
    inside = np.abs(distance) < 0.95 * RADIUS_MM
    chord = 2 * np.sqrt(RADIUS_MM**2 - distance[inside] ** 2) * MU_WATER_PER_MM
    np.testing.assert_allclose(integrals[:, inside], np.broadcast_to(chord, (360, chord.size)), rtol=0.035)
    np.testing.assert_allclose(integrals[:, inside].mean(axis=0), chord, rtol=0.01)


def test_denser_tissue_and_unequal_spacings_count_in_full():
    hu = _water((128, 128), (2.0, 2.0), (60, 60))
    base = line_integrals(hu, (2.0, 2.0))
    np.testing.assert_allclose(
        line_integrals(np.where(hu == 0, np.float32(500), hu), (2.0, 2.0)), 1.5 * base, atol=1e-4
    )
    np.testing.assert_allclose(line_integrals(hu, (1.0, 4.0)), base, rtol=1e-6)  # geometric mean, see there
    assert not line_integrals(np.full((40, 40), -3000, np.float32), (1.0, 1.0)).any()  # nothing is below vacuum


def test_a_wide_image_is_projected_at_the_right_scale():
    hu = np.full((64, 256), -1000, np.float32)
    hu[16:48, 64:192] = 0  # 32 x 128 pixels of 2 mm
    integrals = line_integrals(hu, (2.0, 2.0))
    assert integrals[180, 128] == pytest.approx(128 * 2.0 * MU_WATER_PER_MM, rel=0.03)  # along the rows
    assert integrals[0, 128] == pytest.approx(32 * 2.0 * MU_WATER_PER_MM, rel=0.03)  # along the columns


@pytest.mark.parametrize("side", [128, 127])
@pytest.mark.parametrize(("kernel", "filter_name"), [(RAMP, "ramp"), (SOFT, "hann")])
def test_back_projection_agrees_with_scikit_image(kernel, filter_name, side):
    views = 400
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    image = np.exp(-((x - 0.2) ** 2 + (y + 0.1) ** 2) / 0.05).astype(np.float32)
    image[x**2 + y**2 > 0.9] = 0
    angles = np.arange(views) * 180 / views
    sinogram = radon(image, angles, circle=True)
    reference = iradon(sinogram, angles, circle=True, filter_name=filter_name)
    bins = round(side * BINS_PER_PIXEL)
    across = (np.arange(bins) - (bins - 1) / 2) / BINS_PER_PIXEL + (side - 1) / 2  # both share their middle
    fine = ndimage.map_coordinates(sinogram, np.meshgrid(across, np.arange(views), indexing="ij"), order=3).T
    filtered = filter_sinograms(np.ascontiguousarray(fine[..., None], np.float32), [kernel], pixel_mm=1.0)
    ours = backproject(filtered, side, half_turn(len(filtered)))[0]
    inside = np.s_[20:-20, 20:-20]
    assert np.abs(ours - reference)[inside].max() < 0.01  # of a peak of 1
    assert np.abs(ours - image)[inside].max() < 0.03


def test_two_whole_scans_differ_by_the_added_noise(monkeypatch):
    """Independent of the module: photons at both doses, logarithm, and a reconstruction of its own in plain numpy.

    Absolute level, distribution over the patient and the share of electronic noise must all be those of the formula.
    """
    side, mm, views, (wide, deep) = 96, 3.4, 256, (150.0, 110.0)
    photons, dose, electronic, repeats = 3e6, 0.1, 25.0, 12
    monkeypatch.setattr(low_dose, "VIEWS", views)
    rng = np.random.default_rng(0)
    bins, pitch = round(side * BINS_PER_PIXEL), mm / BINS_PER_PIXEL
    angles = np.arange(views) * np.pi / views
    across = (np.arange(bins) - bins // 2) * pitch
    shadow = ((wide * np.cos(angles)) ** 2 + (deep * np.sin(angles)) ** 2)[:, None]  # squared half width of an ellipse
    p = MU_WATER_PER_MM * 2 * wide * deep * np.sqrt(np.maximum(shadow - across**2, 0)) / shadow
    y, x = np.meshgrid(*2 * [(np.arange(side) - side // 2) * mm], indexing="ij")

    def scan(fraction):
        """Noise of one scan in HU: counts -> logarithm -> filter, 8 x finer bins -> back-projection."""
        expected = fraction * photons * np.exp(-p)
        counts = rng.poisson(expected) + rng.normal(0, electronic, p.shape)
        frequency = np.fft.rfftfreq(512, pitch)
        window = np.where(frequency < 0.75 / mm, (1 + np.cos(np.pi * frequency * mm / 0.75)) / 2, 0)  # STANDARD
        spectrum = np.fft.rfft(-np.log(counts / expected), 512) * frequency * window
        fine = np.fft.irfft(spectrum, 512 * 8)[:, : bins * 8] * 8
        place = across[0] + np.arange(bins * 8) * pitch / 8
        rays = [np.interp(x * np.cos(a) - y * np.sin(a), place, ray) for a, ray in zip(angles, fine, strict=True)]
        return np.sum(rays, axis=0) * np.pi / views / MU_WATER_PER_MM * 1000

    expected = np.mean([scan(dose) ** 2 - scan(1.0) ** 2 for _ in range(repeats)], axis=0)
    radius = np.hypot(x / wide, y / deep)
    hu = np.where(radius < 1, 0, -1000).astype(np.float32)
    basis = noise_basis(line_integrals(hu, (mm, mm)), hu.shape, (mm, mm), [STANDARD] * repeats, rng)

    def level(electronic_noise, where):
        settings = {"dose_fraction": dose, "photons": photons, "electronic_noise": electronic_noise}
        added = [added_noise(basis, **settings, draw=draw)[where] for draw in range(repeats)]
        return np.sqrt(np.mean(np.square(added)))

    for low, high, tolerance in ((0, 0.95, 0.03), (0, 0.4, 0.08), (0.7, 0.95, 0.05)):
        ring = (radius >= low) & (radius < high)
        assert level(electronic, ring) == pytest.approx(np.sqrt(expected[ring].mean()), rel=tolerance)
    assert level(0.0, radius < 0.4) < 0.9 * np.sqrt(expected[radius < 0.4].mean())  # without it, it would show


@pytest.mark.parametrize(("number", "low", "high"), [(0, 0.0, 0.16), (1, 0.18, 0.33), (2, 0.5, 0.66), (3, 0.7, 0.83)])
def test_each_kernel_has_its_correlation(disc, number, low, high):
    """Lag-1 correlation, mean of both directions. Real scans: 0.16 for plain FBP, 0.57 to 0.66 for a soft kernel."""
    noise = disc[2].quantum[number][78:178, 78:178]
    variance = noise.var()
    lag = ((noise[:, 1:] * noise[:, :-1]).mean() + (noise[1:] * noise[:-1]).mean()) / 2 / variance
    assert low < lag < high
    assert lag == pytest.approx(kernel_correlation(KERNELS[number]), abs=0.04)


def test_shares_of_two_kernels_add_up_to_a_correlation():
    known = [kernel_correlation(kernel) for kernel in KERNELS]
    for wanted in np.linspace(known[0], known[-1], 20):
        shares = kernel_shares(wanted)
        assert shares @ known == pytest.approx(wanted)
        assert shares.sum() == pytest.approx(1)
        assert np.count_nonzero(shares) <= 2
    np.testing.assert_array_equal(kernel_shares(-0.3), [1, 0, 0, 0])
    np.testing.assert_array_equal(kernel_shares(0.9), [0, 0, 0, 1])


def test_noise_has_no_mean_and_is_stronger_in_the_middle(disc):
    hu, _, basis = disc
    mask = soft_tissue(hu)
    for noise in basis.quantum:
        assert abs(noise[mask].mean()) < 0.02 * noise[mask].std()
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    radius = np.hypot(x, y) * SPACING[0]
    ring = (radius > 120) & (radius < 140)
    assert basis.quantum[0][radius < 40].std() > 1.2 * basis.quantum[0][ring].std()


def test_streaks_run_along_the_thick_direction():
    hu = _water(axes=(170, 90))
    integrals = line_integrals(hu, SPACING)
    noise = noise_basis(integrals, hu.shape, SPACING, [RAMP], np.random.default_rng(2)).quantum[0][98:158, 78:178]
    along = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    across = (noise[1:] * noise[:-1]).mean() / noise.var()
    assert along > across + 0.3


def test_the_coarse_projection_changes_the_noise_level_by_less_than_one_percent(monkeypatch):
    """Against the full 512 pixels and 1000 views, on anatomy with bone, gas and metal; both kinds of noise."""
    spacing = (0.75, 0.75)
    hu = trunk((512, 512), spacing, np.random.default_rng(1), metal=True)
    levels = []
    for views, size in ((360, 256), (1000, 512)):
        monkeypatch.setattr(low_dose, "_PROJECTED_VIEWS", views)
        monkeypatch.setattr(low_dose, "_PROJECTED_SIZE", size)
        # one seed: the same white noise under both, so that only the variance map differs
        basis = noise_basis(line_integrals(hu, spacing), hu.shape, spacing, [SOFT], np.random.default_rng(3))
        levels.append([noise[0][soft_tissue(hu)].std() for noise in (basis.quantum, basis.electronic)])
    np.testing.assert_allclose(levels[0], levels[1], rtol=0.01)


def test_calibration_hits_the_asked_noise_level(disc):
    hu, integrals, basis = disc
    fresh = noise_basis(integrals, hu.shape, SPACING, [SOFT] * 4, np.random.default_rng(77))

    def half_dose(electronic_noise):
        photons = calibrate(hu, basis, noise_hu=14, electronic_noise=electronic_noise, draw=2)
        settings = {"dose_fraction": 0.5, "photons": photons, "electronic_noise": electronic_noise}
        return np.mean([added_noise(fresh, **settings, draw=draw)[soft_tissue(hu)].std() for draw in range(4)])

    assert half_dose(0) == pytest.approx(14, rel=0.025)  # half the dose adds as much as the full dose has
    assert half_dose(20) > 14 * 1.02  # electronic noise grows faster as the dose falls


def test_the_whole_chain_adds_what_was_asked_for():
    hu = _water((160, 200), (1.8, 1.8), (150, 110))
    settings = {"dose_fraction": 0.25, "noise_hu": 10, "kernel": SOFT, "electronic_noise": 0}
    noise = simulate(hu, (1.8, 1.8), **settings, rng=np.random.default_rng(8)) - hu
    assert noise[noise_region(hu)].std() == pytest.approx(np.sqrt(3) * 10, rel=1e-3)  # one draw: calibrated exactly


def test_photons_for_noise_solves_its_equation():
    photons = photons_for_noise(3e8, 4e12, 12.0)
    assert 3e8 / photons + 4e12 / photons**2 == pytest.approx(144)
    assert photons_for_noise(144e6, 0.0, 12.0) == pytest.approx(1e6)
    with pytest.raises(ValueError, match="noise_hu must be positive"):
        photons_for_noise(1.0, 0.0, 0.0)


def test_full_dose_adds_nothing_and_other_fractions_are_refused(disc):
    basis = disc[2]
    assert not added_noise(basis, dose_fraction=1, photons=1e6, electronic_noise=5).any()
    for fraction in (0, -0.1, 1.5):
        with pytest.raises(ValueError, match="dose_fraction"):
            added_noise(basis, dose_fraction=fraction, photons=1e6, electronic_noise=5)


def test_noise_scales_with_dose_as_the_formula_says(disc):
    basis = disc[2]
    strong = added_noise(basis, dose_fraction=0.1, photons=1e6, electronic_noise=0)
    weak = added_noise(basis, dose_fraction=0.25, photons=1e6, electronic_noise=0)
    np.testing.assert_allclose(strong, weak * np.sqrt(9 / 3), rtol=1e-5)


@pytest.mark.parametrize("shape", [(61, 80), (80, 61), (45, 45)])
def test_any_shape_and_the_same_seed_gives_the_same_noise(shape):
    hu = _water(shape, (4.0, 4.0), (90, 70))
    arguments = {"dose_fraction": 0.25, "noise_hu": 10, "kernel": SOFT, "electronic_noise": 3}
    one, two, other = (simulate(hu, (4.0, 4.0), **arguments, rng=np.random.default_rng(s)) for s in (1, 1, 2))
    assert one.shape == shape
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    assert np.abs(hu).max() == 1000  # the input is as it was


@pytest.mark.parametrize("side", [1, 2, 4])
def test_an_image_too_small_for_a_noise_level_is_refused_by_name(side):
    hu = np.zeros((side, side), np.float32)
    settings = {"dose_fraction": 0.25, "noise_hu": 10, "kernel": SOFT, "electronic_noise": 3}
    with pytest.raises(ValueError, match=rf"\({side}, {side}\) pixels is too small"):
        simulate(hu, (1.0, 1.0), **settings, rng=np.random.default_rng(0))
    smallest = simulate(np.zeros((5, 5), np.float32), (1.0, 1.0), **settings, rng=np.random.default_rng(0))
    assert np.isfinite(smallest).all()


def test_without_soft_tissue_the_whole_circle_sets_the_level():
    region = noise_region(np.full((40, 40), -1000, np.float32))
    assert region[20, 20]
    assert not region[0, 0]


def test_windows_are_one_at_zero_and_zero_beyond():
    frequency = np.array([0.0, 0.25, 0.5, 0.6])
    np.testing.assert_allclose(Kernel("k", 0.5).response(frequency), [1, 0.5, 0, 0], atol=1e-12)
    np.testing.assert_allclose(RAMP.response(frequency), [1, 1, 1, 0])
