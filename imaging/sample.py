"""The sample for newcomers: the same phantom scanned twice, at full dose and at a fraction of it.

    seed --phantom--> sharp slice --kernel--> truth --+ noise of the full dose--> full dose
                                                                                      |
                                  low dose <--+ noise that the lower dose adds--------'

Both share the noise of the full dose, as in collections where a low dose was simulated from a real scan. The kernel
blurs the anatomy as it blurs the noise. It takes a good second a slice, nearly all of it for the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from imaging.anatomy import Region
from imaging.low_dose import SOFT, Kernel, NoiseBasis, added_noise, calibrate, line_integrals, noise_basis
from imaging.metrics import SOFT_TISSUE, Measurement, measure
from imaging.phantom import trunk
from imaging.phantom_dicom import INTERCEPT, PhantomSeries, series_files, to_stored

SHAPE = (512, 512)
SPACING = (0.7, 0.7)
"""mm: 358 mm across, which the largest phantom fills."""

THICKNESS_MM = 3.0
FULL_DOSE_MA = 200
ELECTRONIC_NOISE = 4.0
"""Photons a ray; matters only where few photons arrive."""

_POSITIONS = 2**32  # of slices: each has noise of its own, whatever their number

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SampleSettings:
    """What the sample shows.

    Attributes:
        seed: of anatomy and noise; not negative.
        dose_fraction: dose of the low-dose scan as a share of the full dose, above 0 and below 1.
        noise_hu: noise of the full-dose scan in soft tissue, in HU, positive.
        kernel: reconstruction kernel of both scans.
        region: of the trunk.
        slices: of each series, at least 1.

    Raises:
        ValueError: a value out of range; names it.
    """

    seed: int = 0
    dose_fraction: float = 0.25
    noise_hu: float = 15.0
    kernel: Kernel = SOFT
    region: Region = "abdomen"
    slices: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.dose_fraction < 1:
            raise ValueError(f"the dose fraction must lie above 0 and below 1, not {self.dose_fraction}")
        if not 0 < self.noise_hu < np.inf:
            raise ValueError(f"the noise must be a positive number of HU, not {self.noise_hu}")
        if self.seed < 0 or self.slices < 1:
            raise ValueError(f"the seed must not be negative and slices at least 1, not {self.seed} and {self.slices}")


@dataclass(frozen=True, eq=False)
class Sample:
    """Two series of one study, slice by slice.

    Attributes:
        truth: (N, 512, 512) float32 in HU, free of noise, as sharp as the kernel leaves it.
        full_dose, low_dose: (N, 512, 512) float32 in HU, as the files hold them, in whole HU.
        full_dose_files, low_dose_files: N DICOM files each.
        scores: of the low dose against the full dose, slice by slice, in the soft-tissue window.
    """

    truth: NDArray[np.float32]
    full_dose: NDArray[np.float32]
    low_dose: NDArray[np.float32]
    full_dose_files: tuple[bytes, ...]
    low_dose_files: tuple[bytes, ...]
    scores: tuple[Measurement, ...]


def make_sample(settings: SampleSettings, progress: Progress = lambda *_: None) -> Sample:
    """Draws the phantom and scans it twice; equal settings give equal files.

    Args:
        settings: what it shows.
        progress: called with (slices done, slices in all).
    """
    middle = settings.slices // 2
    truth = np.empty((settings.slices, *SHAPE), np.float32)
    full, low = np.empty_like(truth), np.empty_like(truth)
    photons: float | None = None
    # one tube output for the whole scan: that at which the middle slice, which comes first, has the noise asked for
    for done, index in enumerate(sorted(range(settings.slices), key=lambda index: index != middle), start=1):
        offset = index - middle
        sharp = trunk(
            SHAPE,
            SPACING,
            np.random.default_rng(settings.seed),
            region=settings.region,
            z=offset * THICKNESS_MM,
        )
        rng = np.random.default_rng((settings.seed, offset % _POSITIONS))
        kernels = [settings.kernel] * 2  # one draw for each noise
        basis = noise_basis(line_integrals(sharp, SPACING), SHAPE, SPACING, kernels, rng)
        if photons is None:
            photons = calibrate(sharp, basis, noise_hu=settings.noise_hu, electronic_noise=ELECTRONIC_NOISE)
        truth[index] = _through(settings.kernel, sharp)
        full[index] = truth[index] + _full_dose_noise(basis, photons)
        low[index] = full[index] + added_noise(
            basis,
            dose_fraction=settings.dose_fraction,
            photons=photons,
            electronic_noise=ELECTRONIC_NOISE,
            draw=1,
        )
        progress(done, settings.slices)
    full, low = (to_stored(volume).astype(np.float32) + INTERCEPT for volume in (full, low))
    return Sample(
        truth=truth,
        full_dose=full,
        low_dose=low,
        full_dose_files=tuple(series_files(full, _series(settings, 1, 1.0))),
        low_dose_files=tuple(series_files(low, _series(settings, 2, settings.dose_fraction))),
        scores=tuple(measure(one, other, SOFT_TISSUE) for one, other in zip(low, full, strict=True)),
    )


def _through(kernel: Kernel, hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W): what a reconstruction with this kernel makes of a sharp image, by its window in two dimensions."""
    rows, columns = fft.fftfreq(hu.shape[0]), fft.rfftfreq(hu.shape[1])
    window = kernel.response(np.hypot(rows[:, None], columns[None, :]))
    blurred: NDArray[Any] = fft.irfft2(fft.rfft2(hu) * window, hu.shape)
    return np.asarray(blurred, np.float32)


def _full_dose_noise(basis: NoiseBasis, photons: float) -> NDArray[np.float32]:
    """(H, W) in HU, of draw 0: variance e^p / I0 + s^2 e^(2p) / I0^2 on a ray; see `imaging.low_dose`."""
    quantum, electronic = basis.quantum[0] / np.sqrt(photons), basis.electronic[0] * (ELECTRONIC_NOISE / photons)
    return np.asarray(quantum + electronic, np.float32)


def _series(settings: SampleSettings, number: int, dose: float) -> PhantomSeries:
    kernel = settings.kernel.name
    what = "full dose" if dose == 1 else f"{dose:.4g} of the full dose"
    return PhantomSeries(
        patient=f"PHANTOM-{settings.seed}",
        study=repr((settings.region, settings.slices, settings.noise_hu, kernel)),
        description=f"Phantom, {what}, {kernel} kernel",
        number=number,
        spacing=SPACING,
        thickness=THICKNESS_MM,
        region=settings.region.upper(),
        kernel=kernel.upper(),
        tube_current_ma=max(1, round(FULL_DOSE_MA * dose)),
    )
