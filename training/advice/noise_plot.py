"""The noise in one picture: its distribution, how far it is correlated, and how it follows the signal.

PlainNoise, NoiseProfile --> PNG with three panels: histogram and the three fits | autocorrelation | deviation
                                                                                                     by signal
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from imaging.noise.correlation import REACH, autocorrelation
from imaging.noise.profile import NoiseProfile, PlainNoise, standardise
from imaging.noise.tails import fit_contaminated

_SIGNALS = 20  # bins
_MINIMUM = 50  # pixels in a bin
_SHOWN = 6.0  # deviations to either side in the histogram
_MAX_VALUES = 200_000  # that the histogram and the fits see


def plot_noise(plain: PlainNoise, profile: NoiseProfile, file: Path) -> None:
    """Writes the picture, aside and then renamed.

    Raises:
        OSError: it cannot be written.
    """
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    standard = standardise(plain, profile.signal)
    values = np.concatenate([noise[known] for noise, known in standard])
    values = values[:: max(1, len(values) // _MAX_VALUES)]
    if len(values) and values.std() > 0:
        _histogram(left, values / values.std())
    _correlation(middle, autocorrelation(standard))
    _dependence(right, plain, profile)
    aside = file.with_name(f"{file.name}.aside")
    figure.savefig(aside, format="png", dpi=120)
    aside.replace(file)


def _histogram(axes: Any, z: NDArray[np.float64]) -> None:
    axes.hist(z, bins=np.linspace(-_SHOWN, _SHOWN, 121), density=True, color="0.8", label="measured")
    x = np.linspace(-_SHOWN, _SHOWN, 400)
    scale = float(np.abs(z - np.median(z)).mean())
    fit = fit_contaminated(z)
    curves = {
        "Gaussian": _normal(x, 1.0),
        "Laplace": np.exp(-np.abs(x) / scale) / (2 * scale),
        "contaminated": (1 - fit.share) * _normal(x, fit.core) + fit.share * _normal(x, fit.ratio * fit.core),
    }
    for name, curve in curves.items():
        axes.plot(x, curve, label=name)
    axes.set(yscale="log", ylim=(1e-6, 2), xlabel="noise over its local deviation", ylabel="density")
    axes.legend()


def _normal(x: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi)), np.float64)


def _correlation(axes: Any, half: NDArray[np.float64]) -> None:
    whole = np.concatenate([half[::-1, :0:-1], half], axis=1)  # lags of the opposite sign look alike
    edge = REACH + 0.5
    shown = axes.imshow(whole, vmin=-1, vmax=1, cmap="RdBu_r", extent=(-edge, edge, edge, -edge))
    axes.set(xlabel="columns apart", ylabel="rows apart", title="autocorrelation")
    axes.figure.colorbar(shown, ax=axes)


def _dependence(axes: Any, plain: PlainNoise, profile: NoiseProfile) -> None:
    noise, signal = (
        np.concatenate([getattr(each, name)[each.known] for each in plain.maps]) for name in ("noise", "signal")
    )
    unit = "HU" if plain.unit == "HU" else "0 black, 1 white"
    if len(signal):
        edges = np.unique(np.quantile(signal, np.linspace(0, 1, _SIGNALS + 1)))
        place = np.clip(np.searchsorted(edges, signal, side="right") - 1, 0, max(len(edges) - 2, 0))
        for number in range(max(len(edges) - 1, 1)):
            inside = place == number
            if np.count_nonzero(inside) >= _MINIMUM:
                axes.plot(signal[inside].mean(), noise[inside].std(), "o", color="0.4")
        x = np.linspace(profile.signal.dark, profile.signal.bright, 100)
        axes.plot(x, np.sqrt(profile.signal.variance(x)), label="fit within regions")
        axes.legend()
    axes.set(xlabel=f"signal, {unit}", ylabel="standard deviation", ylim=(0, None))
