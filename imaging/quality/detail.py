"""How sharp a restored image is, and whether its detail is the reference's: over-smoothed, or invented?

    reference --edges--> slope of the restored image across them / the reference's own            edge_slope
    both, in the window --FFT, by band--> power of the restored / of the reference                DetailBand.power
                                     '--> what of the reference's detail comes back, in place     DetailBand.kept

A smoothed image has less of both, power and kept. Texture made up to look sharp has power and keeps nothing. Added
noise adds power and changes nothing kept: so the degraded image reads kept 1.

A clinical reference has noise of its own, and most of its power at high frequencies is that noise: a restorer that
takes it away as well reads low there, and is right. `edge_slope` looks only where there are edges, and across them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from imaging.metrics import Float64, MetricContract, Pixels

BANDS: dict[str, tuple[float, float]] = {"coarse": (1 / 16, 1 / 8), "middle": (1 / 8, 1 / 4), "fine": (1 / 4, 1 / 2)}
"""Cycles per pixel, from (inclusive) to (exclusive): octaves up to Nyquist, of structures about 6, 3
and 1.5 pixels wide."""

_EDGE_SIGMA = 1.5
"""Pixels, of the Gaussian before the reference's edges are looked for: its noise must not choose them."""

_SLOPE_SIGMA = 0.7
"""Pixels, of the Gaussian derivative that takes the slopes: one pixel wide, so that a little lost sharpness shows."""

_EDGES = 95.0
"""Percentile of the gradient above which a pixel is an edge: one in twenty."""


@dataclass(frozen=True)
class DetailBand:
    """A band of spatial frequencies, both dimensionless, 1 for the reference itself.

    Attributes:
        power: power of the restored image over the reference's.
        kept: share of the reference's detail that is there, in place and in sign: the regression of the restored
            image's spectrum on the reference's. What has nothing to do with the reference (noise, invented texture)
            does not change it.
    """

    power: float
    kept: float


@dataclass(frozen=True, eq=False)
class ReferenceDetail:
    """What is needed of a reference, made once for all methods that are compared with it; see `reference_detail`."""

    contract: MetricContract
    edges: NDArray[np.bool_]
    direction: tuple[Float64, Float64]
    slope: float
    spectrum: NDArray[np.complex128]
    bands: dict[str, NDArray[np.bool_]]


def reference_detail(reference: Pixels, contract: MetricContract) -> ReferenceDetail:
    """Edges and spectrum of a reference, (H, W) in the contract's unit, of what its window shows.

    Raises:
        ValueError: not (H, W), or a side under 16 pixels, which has no coarse band.
    """
    if reference.ndim != 2 or min(reference.shape) < 16:  # noqa: PLR2004 - (H, W); one wave of the coarsest band
        raise ValueError(f"the reference must be (H, W) with 16 pixels a side or more, not {reference.shape}")
    shown = _shown(reference, contract)
    down, across = (ndimage.gaussian_filter(shown, _EDGE_SIGMA, order=order) for order in ((1, 0), (0, 1)))
    size = np.hypot(down, across)
    edges = (size >= np.percentile(size, _EDGES)) & (size > 0)
    length = np.where(edges, size, 1)[edges]
    direction = down[edges] / length, across[edges] / length
    frequency = np.hypot(fft.fftfreq(shown.shape[0])[:, None], fft.rfftfreq(shown.shape[1])[None])
    bands = {name: (frequency >= low) & (frequency < high) for name, (low, high) in BANDS.items()}
    return ReferenceDetail(contract, edges, direction, _slope(shown, edges, direction), _spectrum(shown), bands)


def edge_slope(restored: Pixels, reference: ReferenceDetail) -> float:
    """Mean slope of the restored image across the reference's edges over the reference's own, dimensionless.

    1 is as sharp as the reference, less is smoother, more is sharpened. Slopes are signed and taken in the direction
    of the reference's smoothed gradient, so noise adds none. NaN where the window shows no edge.

    Raises:
        ValueError: the shape is not the reference's.
    """
    shown = _matching(restored, reference)
    if reference.slope == 0:
        return math.nan
    return _slope(shown, reference.edges, reference.direction) / reference.slope


def detail_bands(restored: Pixels, reference: ReferenceDetail) -> dict[str, DetailBand]:
    """Power and kept detail in each of `BANDS`, of what the window shows.

    With spectra X of the restored image and S of the reference (Hann window), over the frequencies of the band:
    power = sum |X|^2 / sum |S|^2, kept = Re sum conj(S) X / sum |S|^2. NaN in a band where the reference has nothing.

    Raises:
        ValueError: the shape is not the reference's.
    """
    spectrum = _spectrum(_matching(restored, reference))
    bands = {}
    for name, inside in reference.bands.items():
        own, theirs = reference.spectrum[inside], spectrum[inside]
        total = float(np.vdot(own, own).real)
        if total == 0:
            bands[name] = DetailBand(math.nan, math.nan)
        else:
            bands[name] = DetailBand(
                float(np.vdot(theirs, theirs).real) / total, float(np.vdot(own, theirs).real) / total
            )
    return bands


def _shown(image: Pixels, contract: MetricContract) -> Float64:
    values = image.astype(np.float64)
    return values.clip(contract.low, contract.high) if contract.clip else values


def _matching(restored: Pixels, reference: ReferenceDetail) -> Float64:
    if restored.shape != reference.edges.shape:
        raise ValueError(f"restored {restored.shape} and reference {reference.edges.shape} must have the same shape")
    return _shown(restored, reference.contract)


def _slope(shown: Float64, edges: NDArray[np.bool_], direction: tuple[Float64, Float64]) -> float:
    if not edges.any():
        return 0.0
    down, across = (ndimage.gaussian_filter(shown, _SLOPE_SIGMA, order=order)[edges] for order in ((1, 0), (0, 1)))
    return float(np.mean(down * direction[0] + across * direction[1]))


def _spectrum(shown: Float64) -> NDArray[np.complex128]:
    """(H, W // 2 + 1): without the mean, under a Hann window, so that the image's borders are no edges."""
    window = signal.windows.hann(shown.shape[0], sym=False)[:, None] * signal.windows.hann(shown.shape[1], sym=False)
    spectrum: NDArray[np.complex128] = fft.rfft2((shown - shown.mean()) * window)
    return spectrum
