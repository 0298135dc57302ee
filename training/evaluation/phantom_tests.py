"""What a restorer does to a phantom whose truth is known: curves that patients cannot give.

    unit --phantom_series--> R copies with their noise --Degrade--> DegradedPhantom --restore--> PhantomResult
           (cached on disk)                            (once a degradation)         (R images of 256 x 256)

    uniform square -> noise power spectrum              all of the body -> noise and bias apart
    discs on a ring -> transfer at high and low contrast, contrast that is left of small ones

The degraded phantom's noise spectrum stands for the full dose's: a lower dose adds noise of the same kernel, so its
shape is the same. Networks may treat a drawing unlike a patient: the curves compare methods, they are no promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imaging.image import Unit
from imaging.quality.disc_transfer import REACH, Disc, DiscNotVisible, Transfer, disc_transfer
from imaging.quality.noise_bias import split_error
from imaging.quality.noise_power import RadialPower, deviations, noise_power, radial, shape_distance
from imaging.quality.phantom import QualityPhantom, quality_phantom
from imaging.series import CtSeries
from training.data.datasets import evaluation_pairs
from training.data.pairs import PreparedSeries, StatedDegrade, prepare_series
from training.degradations.low_dose import TYPICAL_NOISE_HU
from training.evaluation.image_scores import Picture
from training.progress import Advance, silent

REPETITIONS = 8
"""Of the noise: three discs in eight images read a transfer within 0.05 at a contrast of the noise's size."""

NAME = "quality-phantom"

Contrast = Literal["high", "low"]
CONTRASTS: tuple[Contrast, ...] = ("high", "low")


@dataclass(frozen=True)
class Curve:
    """Values over frequency in 1/mm (cycles per pixel for relative images), as plain numbers."""

    frequency: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class NoiseCurve:
    """Noise power spectrum of the uniform square.

    Attributes:
        curve: radial, in unit^2 mm^2.
        mean_frequency, peak_frequency: in 1/mm; None without noise.
        deviation: standard deviation of the noise there, in the unit.
    """

    curve: Curve
    mean_frequency: float | None
    peak_frequency: float | None
    deviation: float


@dataclass(frozen=True)
class TransferCurve:
    """Task transfer function at one contrast; `f50` and `f10` in 1/mm, None where it does not fall so far."""

    curve: Curve
    f50: float | None
    f10: float | None


@dataclass(frozen=True)
class SmallDisc:
    """A small disc of low contrast: its radius in pixels, and the share of its contrast that is there, 1 is all."""

    radius: float
    recovered: float


@dataclass(frozen=True)
class PhantomResult:
    """All that one method does to one degraded phantom.

    Attributes:
        unit: of `noise` and `bias`.
        degradation: its label.
        repetitions: of the noise.
        spectrum: of the noise that is left; None for a restorer that leaves none.
        shape_distance: between the shapes of its spectrum and the degraded phantom's, 0..1.
        transfer: at high and at low contrast; None where its discs do not show any more.
        noise: root of the mean variance in the body, in the unit.
        bias: root of the mean squared bias there, in the unit, free of noise.
        discs: from the largest to the smallest.
    """

    unit: Unit
    degradation: str
    repetitions: int
    spectrum: NoiseCurve
    shape_distance: float | None
    transfer: dict[Contrast, TransferCurve | None]
    noise: float
    bias: float
    discs: tuple[SmallDisc, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `result_from_json` reads them."""
        return asdict(self)


def result_from_json(plain: dict[str, Any]) -> PhantomResult:
    """What `PhantomResult.to_json` wrote, also through a file."""

    def curve(each: dict[str, Any]) -> Curve:
        return Curve(tuple(each["frequency"]), tuple(each["values"]))

    transfer = {
        name: each and TransferCurve(**{**each, "curve": curve(each["curve"])})
        for name, each in plain["transfer"].items()
    }
    spectrum = NoiseCurve(**{**plain["spectrum"], "curve": curve(plain["spectrum"]["curve"])})
    discs = tuple(SmallDisc(**each) for each in plain["discs"])
    return PhantomResult(**{**plain, "transfer": transfer, "spectrum": spectrum, "discs": discs})


@dataclass(frozen=True, eq=False)
class DegradedPhantom:
    """R repetitions of one degradation on the phantom, shared by all methods.

    Attributes:
        phantom: the truth.
        degradation: its label.
        images: (R, H, W) float32 in the phantom's unit.
        spectrum: radial noise power of the images.
    """

    phantom: QualityPhantom
    degradation: str
    images: NDArray[np.float32]
    spectrum: RadialPower


def phantom_series(
    unit: Unit,
    cache: Path,
    *,
    repetitions: int = REPETITIONS,
    processes: int | None = None,
    progress: Advance = silent,
) -> PreparedSeries:
    """R copies of the phantom as a series; for HU with unit noise, independent for each (a minute, then cached).

    Its full dose counts as having a usual noise level, since a drawing has none of its own.
    """
    phantom = quality_phantom(unit)
    images = np.repeat(phantom.image[None], repetitions, axis=0)
    if unit == "relative":
        return PreparedSeries(NAME, NAME, phantom.spacing, unit, math.nan, images)
    series = CtSeries(
        name=NAME,
        patient=NAME,
        series_uid="",
        volume=images,
        padding=None,
        spacing=phantom.spacing,
        slice_thickness=None,
        positions=np.arange(repetitions, dtype=np.float64),
        gaps=(),
        tilt=0.0,
        kernel="",
        kvp=None,
        manufacturer="",
        warnings=(),
    )
    made = prepare_series(series, cache, average=False, processes=processes, progress=progress)
    return replace(made, noise_level=TYPICAL_NOISE_HU)


def degrade_phantom(series: PreparedSeries, degrade: StatedDegrade) -> DegradedPhantom:
    """Every copy of a series of `phantom_series`, degraded; always the same. Raises what `degrade` raises."""
    phantom = quality_phantom(series.unit)
    images = np.stack([degraded for degraded, _ in evaluation_pairs(series, degrade)])
    return DegradedPhantom(phantom, degrade.label, images, _spectrum(images, phantom))


def untouched(degraded: DegradedPhantom) -> PhantomResult:
    """The degraded phantom itself, measured as a restorer would be: what every method has to beat."""
    return _measured(degraded.images, degraded)


def measure_restorer(restore: Callable[[Picture], Picture], degraded: DegradedPhantom) -> PhantomResult:
    """Restores every repetition, (H, W) float32 to the same, and measures what came out.

    Raises:
        ValueError: the restorer changes the shape, or returns NaN or infinite values.
    """
    restored = np.stack([restore(image) for image in degraded.images])
    if restored.shape != degraded.images.shape:
        raise ValueError(f"the restorer made images of {restored.shape[1:]} of {degraded.images.shape[1:]}")
    return _measured(restored, degraded)


def _measured(images: NDArray[np.float32], degraded: DegradedPhantom) -> PhantomResult:
    phantom = degraded.phantom
    spectrum = _spectrum(images, phantom)
    split = split_error(images, phantom.image)
    mean = images.mean(axis=0, dtype=np.float64)
    uniform = np.zeros_like(phantom.body)
    uniform[phantom.uniform] = True
    noisy = spectrum.values.any() and degraded.spectrum.values.any()
    return PhantomResult(
        unit=phantom.unit,
        degradation=degraded.degradation,
        repetitions=len(images),
        spectrum=NoiseCurve(
            _curve(spectrum),
            _known(spectrum.mean_frequency),
            _known(spectrum.peak_frequency),
            split.noise_rms(uniform),
        ),
        shape_distance=shape_distance(spectrum, degraded.spectrum) if noisy else None,
        transfer={contrast: _transfer(images, phantom, contrast) for contrast in CONTRASTS},
        noise=split.noise_rms(phantom.body),
        bias=split.bias_rms(phantom.body),
        discs=tuple(
            SmallDisc(disc.radius, _contrast(mean, disc) / _contrast(phantom.image, disc)) for disc in phantom.small
        ),
    )


def _spectrum(images: NDArray[np.float32], phantom: QualityPhantom) -> RadialPower:
    return radial(noise_power(deviations(images[:, *phantom.uniform]), phantom.spacing))


def _transfer(images: NDArray[np.float32], phantom: QualityPhantom, contrast: Contrast) -> TransferCurve | None:
    discs = phantom.high if contrast == "high" else phantom.low
    try:
        transfer = disc_transfer(images, discs, phantom.spacing)
    except DiscNotVisible:
        return None
    return TransferCurve(_curve(transfer), _known(transfer.f50), _known(transfer.f10))


def _contrast(image: NDArray[Any], disc: Disc) -> float:
    """Mean inside the disc minus mean of a ring around it, in the unit."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    distance = np.hypot(y - disc.row, x - disc.column)
    ring = (distance > disc.radius + REACH / 2) & (distance < disc.radius + REACH)
    return float(image[distance < disc.radius].mean() - image[ring].mean())


def _curve(of: RadialPower | Transfer) -> Curve:
    return Curve(tuple(of.frequency.tolist()), tuple(of.values.tolist()))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
