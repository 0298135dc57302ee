"""Simulated noise beside real noise: its spectrum, and where in the body there is how much of it.

    neighbouring thin slices --difference / sqrt 2--> real noise ------.--regions--> NPS: mean frequency, distance
    the same slices --unit noise, own texture--> simulated noise ------'--squares--> local deviations: correlation

Two slices that touch show nearly the same anatomy, and what differs between them is mostly noise. Regions lie in soft
tissue, where the anatomy differs least. A scan above 40 HU is noise enough by itself. Nothing of a scan is shown but
these figures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import ROOT
from imaging.low_dose import soft_tissue
from imaging.noise.level import global_noise_level
from imaging.quality.noise_power import NoisePower, RadialPower, noise_power, radial, shape_distance
from imaging.series import CtSeries, read_series
from training.data.pairs import MAX_TARGET_NOISE_HU, PreparedSeries, prepare_series
from training.data.unit_noise import DRAWS
from training.degradations.low_dose import add_mixed, texture_shares, unit_noise
from training.errors import NoTrainingData

REPORT = ROOT / "docs" / "simulated-noise.md"
CACHE = Path("runs/cache")
REGION = 24  # pixels, of a spectrum
SQUARE = 16  # pixels, of a local deviation
_CONTIGUOUS = 1.3  # slice thicknesses, as data/README allows
_THIN = 3.0  # mm
_FEW = 15  # regions or squares; of fewer nothing is said

Picture = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """What one series shows; frequencies as shares of Nyquist."""

    series: str
    level: float
    correlation: float
    real: RadialPower
    simulated: RadialPower
    regions: int
    where: float
    squares: int


def pairs_of(series: CtSeries) -> Iterator[tuple[int, Picture, NDArray[np.bool_]]]:
    """(slice, noise of one image, soft tissue) of every two slices that touch; of a very noisy scan every slice."""
    if global_noise_level(series.volume[len(series.volume) // 2]) > MAX_TARGET_NOISE_HU:
        for number, image in enumerate(series.volume):
            yield number, image.astype(np.float64), soft_tissue(image)
        return
    thickness = series.slice_thickness or np.inf
    for number, gap in enumerate(np.abs(np.diff(series.positions))):
        if gap <= _CONTIGUOUS * thickness and thickness <= _THIN:
            one, two = series.volume[number], series.volume[number + 1]
            yield number, (one.astype(np.float64) - two) / np.sqrt(2), soft_tissue(one) & soft_tissue(two)


def _targets(series: CtSeries, prepared: PreparedSeries) -> dict[int, int]:
    """Slice -> the target that begins with it: itself, or a mean of three (`average_neighbours`)."""
    if len(prepared.images) == len(series.volume):
        return {number: number for number in range(len(series.volume))}
    touching = np.abs(np.diff(series.positions)) <= _CONTIGUOUS * (series.slice_thickness or np.inf)
    firsts = np.flatnonzero(touching[:-1] & touching[1:])
    return {int(first): number for number, first in enumerate(firsts)}


def simulated_noise(series: PreparedSeries, number: int) -> Picture:
    """Noise of deviation 1 in soft tissue with the texture of the scan's own, of the slice."""
    noise = unit_noise(series)
    weights = np.sqrt(np.repeat(texture_shares(series), DRAWS)) * np.tile(
        np.eye(DRAWS)[0], noise.quantum.shape[1] // DRAWS
    )
    total = np.zeros(series.images.shape[1:], np.float32)
    add_mixed(total, noise.quantum, (number, slice(None), slice(None)), 0, weights)
    return total.astype(np.float64)


def compare(series: CtSeries, prepared: PreparedSeries) -> Comparison | None:
    """Of one series, or None where it has too little soft tissue in slices that touch."""
    real, made, deviations = [], [], []
    which = _targets(series, prepared)
    for number, noise, tissue in pairs_of(series):
        if number not in which:
            continue
        simulated = simulated_noise(prepared, which[number])
        for top, left in squares(tissue, REGION):
            real.append(_flattened(noise[top : top + REGION, left : left + REGION]))
            made.append(_flattened(simulated[top : top + REGION, left : left + REGION]))
        for top, left in squares(tissue, SQUARE):
            window = (slice(top, top + SQUARE), slice(left, left + SQUARE))
            deviations.append((number, top, left, noise[window].std(), simulated[window].std()))
    if len(real) < _FEW or len(deviations) < _FEW:
        return None
    spectra = [
        radial(NoisePower(noise_power(np.stack(each), series.spacing).values, series.spacing)) for each in (real, made)
    ]
    places = np.array(deviations)
    return Comparison(
        series=series.name,
        level=prepared.noise_level,
        correlation=prepared.noise_correlation,
        real=spectra[0],
        simulated=spectra[1],
        regions=len(real),
        where=_map_correlation(places),
        squares=len(places),
    )


def squares(mask: NDArray[np.bool_], side: int) -> Iterator[tuple[int, int]]:
    """Top left corners of the squares of a grid that lie in `mask` altogether."""
    rows, columns = (size // side for size in mask.shape)
    blocks = mask[: rows * side, : columns * side].reshape(rows, side, columns, side).all(axis=(1, 3))
    for row, column in np.argwhere(blocks):
        yield int(row) * side, int(column) * side


def _map_correlation(places: Picture) -> float:
    """Correlation over the body of the local deviations, each place averaged over its slices: chance aside."""
    where: dict[tuple[float, float], list[tuple[float, float]]] = {}
    for _, top, left, real, made in places:
        where.setdefault((top, left), []).append((real, made))
    means = np.array([np.mean(each, axis=0) for each in where.values() if len(each) >= 3])  # noqa: PLR2004 - a mean of two says little
    return float(np.corrcoef(means.T)[0, 1]) if len(means) >= _FEW else float("nan")


def _flattened(region: Picture) -> Picture:
    """Without its mean and its slope, which are anatomy."""
    y, x = np.mgrid[-1 : 1 : region.shape[0] * 1j, -1 : 1 : region.shape[1] * 1j]
    basis = np.stack([np.ones(region.size), y.ravel(), x.ravel()])
    weights, *_ = np.linalg.lstsq(basis.T, region.ravel(), rcond=None)
    return np.asarray(region - (weights @ basis).reshape(region.shape))


def render(found: list[Comparison]) -> str:
    """The table as Markdown."""
    head = (
        "series",
        "noise, HU",
        "neighbours' correlation",
        "mean frequency, real",
        "simulated",
        "distance of the spectra",
    )
    more = ("local deviations, correlation", "regions", "squares")
    lines = [f"| {' | '.join(head + more)} |", "|---" * len(head + more) + "|"]
    for each in found:
        real, made = (power.relative(power.mean_frequency) for power in (each.real, each.simulated))
        lines.append(
            f"| {each.series} | {each.level:.0f} | {each.correlation:.2f} | {real:.2f} | {made:.2f} |"
            f" {shape_distance(each.real, each.simulated):.2f} | {each.where:.2f} | {each.regions} | {each.squares} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Prints the table; `--write` also puts it under docs/."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.simulated_noise", description="Holds the noise against real one."
    )
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="as of `clearslice train`")
    parser.add_argument("--cache", type=Path, metavar="DIR", default=CACHE, help=f"as there, default {CACHE}")
    parser.add_argument("--write", action="store_true", help=f"also write {REPORT.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    found = []
    for role, average in (("train", True), ("tune", False)):
        for file in sorted((options.data / role).glob("*.zip")):
            for series in read_series(file):
                try:
                    prepared = prepare_series(series, options.cache, average=average)
                except NoTrainingData:  # too noisy to be a target, and just right here
                    prepared = prepare_series(series, options.cache, average=False)
                comparison = compare(series, prepared)
                if comparison:
                    found.append(comparison)
    text = render(found)
    sys.stdout.write(text)
    if options.write:
        head = (
            REPORT.read_text(encoding="utf-8").partition("<!-- table -->")[0]
            if REPORT.exists()
            else "# Simulated noise\n\n"
        )
        REPORT.write_text(f"{head}<!-- table -->\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
