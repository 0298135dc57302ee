"""Low-dose CT from a normal-dose image: noise is added in the projections, where scanners make it.

    HU --attenuation--> mu --project--> line integrals p ----variance per ray----.
                                                                                 v
    degraded = HU + scale * (back-projection of filtered noise) <--kernel-- noise sinogram

Only the *added noise* is reconstructed, so the image keeps the scan's own resolution. A scan at dose fraction a has, on
a ray with line integral p, the added variance (after Yu et al., J Comput Assist Tomogr 2012; 36:477-487)

    (1 - a) / a * e^p / I0   +   (1 - a^2) / a^2 * s^2 * e^(2p) / I0^2
         quantum noise                  electronic noise

with I0 photons per ray before the patient at full dose and s the standard deviation of the electronic noise in photons.
Both terms are a constant times a unit-strength noise that depends on the patient only. `noise_basis` makes these unit
noises once; any dose, I0 and s is then a weighted sum of two images (`added_noise`), which costs nothing to redraw.

Photon starvation (the bias of the logarithm at a few counts per ray) is not simulated: the added noise has mean zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from imaging.backprojection import BINS_PER_PIXEL, backproject, filter_sinograms, half_turn, outside_circle

MU_WATER_PER_MM = 0.0193
"""Linear attenuation of water at 70 keV, a usual effective energy of a 120 kVp beam."""

VIEWS = 1000
"""Projections over half a turn for the noise: above pi/2 * 512, so that 512 pixels are sampled without streaks."""

_PROJECTED_VIEWS = 360
_PROJECTED_SIZE = 256
# Line integrals only set the variance of each ray and vary slowly, so a coarser projection serves: against 512 pixels
# and 1000 views the resulting noise level changes by less than 1 % (tests/imaging/test_low_dose.py).

SOFT_TISSUE_HU = (-20.0, 120.0)
"""Water, muscle and organs, with and without contrast agent: where a noise level is defined and measured."""

_MINIMUM_SOFT_TISSUE = 100  # pixels; fewer give no standard deviation worth the name


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: the ramp filter under a Hann window.

    Attributes:
        name: for tables and logs.
        cutoff: cycles per pixel at which the Hann window reaches zero; None leaves the plain ramp (Ram-Lak), which
            ends at the pixel's Nyquist frequency of 0.5.
    """

    name: str
    cutoff: float | None

    def response(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """Window (dimensionless, 0..1) at `frequency` in cycles per pixel, any shape."""
        if self.cutoff is None:
            return (frequency <= 0.5).astype(np.float64)  # noqa: PLR2004 - Nyquist, see the class
        return np.where(frequency < self.cutoff, 0.5 + 0.5 * np.cos(np.pi * frequency / self.cutoff), 0.0)


KERNELS = (Kernel("ramp", None), Kernel("standard", 0.75), Kernel("soft", 0.5), Kernel("very soft", 0.35))
RAMP, STANDARD, SOFT, VERY_SOFT = KERNELS


def kernel_correlation(kernel: Kernel) -> float:
    """Correlation of the noise of neighbouring pixels under a kernel, -1..1: 0.05, 0.23, 0.57 and 0.77 for `KERNELS`.

    From the noise power spectrum of filtered back-projection, |f| times the squared window, by the Hankel transform
    (Riederer, Pelc & Chesler, Phys Med Biol 1978; 23:446-454).
    """
    frequency = np.linspace(0, 0.75, 3001)
    power = frequency**2 * kernel.response(frequency) ** 2  # |f| f df
    return float((power * special.j0(2 * np.pi * frequency)).sum() / power.sum())


def kernel_shares(correlation: float) -> NDArray[np.float64]:
    """(K,) shares of the variance, of noise under each of `KERNELS`, whose sum is correlated so between neighbours.

    Of at most two kernels; beyond the sharpest and the softest these alone.
    """
    known = [kernel_correlation(kernel) for kernel in KERNELS]
    return np.array([np.interp(correlation, known, row) for row in np.eye(len(KERNELS))])


@dataclass(frozen=True, eq=False)
class NoiseBasis:
    """Unit-strength noise of one slice, in HU: what I0 = 1 photon and electronic noise of 1 photon would add.

    Attributes:
        quantum: (K, H, W) float32, independent draws.
        electronic: (K, H, W) float32, independent draws.
    """

    quantum: NDArray[np.float32]
    electronic: NDArray[np.float32]


def line_integrals(hu: NDArray[np.float32], spacing: tuple[float, float]) -> NDArray[np.float32]:
    """Parallel-beam line integrals of the attenuation, of the image's inscribed circle.

    Args:
        hu: (H, W) float32 in HU.
        spacing: (between rows, between columns) in mm. Unequal spacings are taken at their geometric mean: noise levels
            do not depend on the small difference.

    Returns:
        (360, 256) float32, dimensionless: views over half a turn, then detector bins across the longer side.
    """
    from skimage.transform import radon, resize  # noqa: PLC0415 - heavy, and needed by training and the phantom only

    size = max(hu.shape)
    square = np.full((size, size), -1000.0, np.float32)
    top, left = (size - hu.shape[0]) // 2, (size - hu.shape[1]) // 2
    square[top : top + hu.shape[0], left : left + hu.shape[1]] = hu
    mu = np.maximum(MU_WATER_PER_MM * (1 + square / 1000), 0)
    small = resize(mu, (_PROJECTED_SIZE, _PROJECTED_SIZE), order=1, anti_aliasing=size > _PROJECTED_SIZE)
    small[outside_circle(_PROJECTED_SIZE)] = 0
    angles = np.arange(_PROJECTED_VIEWS) * (180 / _PROJECTED_VIEWS)
    pixel_mm = float(np.sqrt(spacing[0] * spacing[1])) * size / _PROJECTED_SIZE
    return np.ascontiguousarray(radon(small, angles, circle=True).T * pixel_mm, np.float32)


def noise_basis(
    integrals: NDArray[np.float32],
    shape: tuple[int, int],
    spacing: tuple[float, float],
    kernels: list[Kernel],
    rng: np.random.Generator,
) -> NoiseBasis:
    """One independent draw of quantum and of electronic noise for each kernel in `kernels` (a kernel may come twice).

    Args:
        integrals: (360, 256) from `line_integrals`.
        shape: (H, W) of the image.
        spacing: as for `line_integrals`.
        kernels: K kernels.
        rng: source of randomness.

    Returns:
        Noise basis with K images each; zero outside the inscribed circle.
    """
    size = max(shape)
    bins = round(size * BINS_PER_PIXEL)
    p = ndimage.zoom(
        integrals, (VIEWS / integrals.shape[0], bins / integrals.shape[1]), order=1, grid_mode=True, mode="nearest"
    )
    deviations = np.stack([np.exp(p / 2), np.exp(p)])  # standard deviation of a ray at I0 = 1 and at s = I0 = 1
    pixel_mm = float(np.sqrt(spacing[0] * spacing[1]))
    sinograms = np.empty((VIEWS, bins, 2 * len(kernels)), np.float32)
    for index in range(2 * len(kernels)):
        sinograms[..., index] = deviations[index % 2] * rng.standard_normal((VIEWS, bins), np.float32)
    filtered = filter_sinograms(sinograms, [kernel for kernel in kernels for _ in range(2)], pixel_mm)
    square = backproject(filtered, size, half_turn(VIEWS)) * np.float32(1000 / MU_WATER_PER_MM)
    top, left = (size - shape[0]) // 2, (size - shape[1]) // 2
    noise = square[:, top : top + shape[0], left : left + shape[1]]
    return NoiseBasis(np.ascontiguousarray(noise[0::2]), np.ascontiguousarray(noise[1::2]))


def added_noise(
    basis: NoiseBasis, *, dose_fraction: float, photons: float, electronic_noise: float, draw: int = 0
) -> NDArray[np.float32]:
    """Noise in HU that a scan at `dose_fraction` has on top of the full-dose scan, (H, W) float32.

    Args:
        basis: of the slice.
        dose_fraction: a, above 0 and at most 1; 1 adds nothing.
        photons: I0, per ray before the patient at full dose; see `calibrate`.
        electronic_noise: s, in photons.
        draw: which draw of the basis.

    Raises:
        ValueError: dose fraction outside (0, 1], or photons not positive.
    """
    if not 0 < dose_fraction <= 1 or photons <= 0:
        raise ValueError(f"dose_fraction must lie in (0, 1] and photons be positive, not {dose_fraction} and {photons}")
    a = dose_fraction
    quantum = np.sqrt((1 - a) / a / photons)
    electronic = np.sqrt(1 - a * a) / a * electronic_noise / photons
    return np.asarray(quantum * basis.quantum[draw] + electronic * basis.electronic[draw], np.float32)


def soft_tissue(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) bool: pixels well inside soft tissue, away from edges, where noise is what varies."""
    smooth = ndimage.gaussian_filter(hu, 2)
    inside = (smooth > SOFT_TISSUE_HU[0]) & (smooth < SOFT_TISSUE_HU[1])
    return np.asarray(ndimage.binary_erosion(inside, iterations=3), np.bool_)


def photons_for_noise(quantum_variance: float, electronic_variance: float, noise_hu: float) -> float:
    """Photons I0 at which a full-dose scan, of variance quantum / I0 + electronic / I0^2, has `noise_hu` of noise.

    Args:
        quantum_variance: HU^2 at I0 = 1.
        electronic_variance: HU^2 at I0 = 1, for the electronic noise in question; may be 0.
        noise_hu: target standard deviation in HU, positive.

    Raises:
        ValueError: `noise_hu` is not positive.
    """
    if noise_hu <= 0:
        raise ValueError(f"noise_hu must be positive, not {noise_hu}")
    # the positive root of noise^2 I0^2 - quantum I0 - electronic = 0
    root = np.sqrt(quantum_variance**2 + 4 * electronic_variance * noise_hu**2)
    return float((quantum_variance + root) / (2 * noise_hu**2))


def noise_region(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(H, W) bool: where a noise level is taken. Soft tissue, or the inscribed circle where there is next to none."""
    mask = soft_tissue(hu)
    if np.count_nonzero(mask) >= _MINIMUM_SOFT_TISSUE:
        return mask
    y, x = np.ogrid[: hu.shape[0], : hu.shape[1]]
    radius = max(hu.shape) / 2
    circle: NDArray[np.bool_] = np.hypot(y - hu.shape[0] / 2, x - hu.shape[1] / 2) < radius - 1
    return circle


def calibrate(
    hu: NDArray[np.float32], basis: NoiseBasis, *, noise_hu: float, electronic_noise: float, draw: int = 0
) -> float:
    """Photons I0 at which the *full-dose* scan of this slice has `noise_hu` of noise in its `noise_region`.

    Raises:
        ValueError: `noise_hu` is not positive, or the region has under two pixels (an image below 5 x 5).
    """
    region = noise_region(hu)
    if np.count_nonzero(region) < 2:  # noqa: PLR2004 - one value has no deviation
        raise ValueError(f"an image of {hu.shape} pixels is too small to have a noise level; 5 x 5 are enough")
    quantum = float(np.var(basis.quantum[draw][region]))
    electronic = float(np.var(basis.electronic[draw][region])) * electronic_noise**2
    return photons_for_noise(quantum, electronic, noise_hu)


def simulate(
    hu: NDArray[np.float32],
    spacing: tuple[float, float],
    *,
    dose_fraction: float,
    noise_hu: float,
    kernel: Kernel,
    electronic_noise: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """A low-dose version of one slice: the whole chain above; raises as `added_noise` and `calibrate`.

    Args:
        hu: (H, W) float32 in HU.
        spacing: (between rows, between columns) in mm.
        dose_fraction: in (0, 1].
        noise_hu: soft-tissue noise of the full-dose scan under `kernel`, in HU; it sets the tube output.
        kernel: reconstruction kernel of the noise.
        electronic_noise: in photons per ray.
        rng: source of randomness.
    """
    basis = noise_basis(line_integrals(hu, spacing), (hu.shape[0], hu.shape[1]), spacing, [kernel], rng)
    photons = calibrate(hu, basis, noise_hu=noise_hu, electronic_noise=electronic_noise)
    return hu + added_noise(basis, dose_fraction=dose_fraction, photons=photons, electronic_noise=electronic_noise)
