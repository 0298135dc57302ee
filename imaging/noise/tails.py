"""Tails of a noise: excess kurtosis, and which of three distributions describes it best.

    values, how many of them are independent --fit by maximum likelihood--> Gaussian, Laplace, contaminated Gaussian
                                                                            --AIC--> the best one: `Tails.best`

Neighbouring noise values are correlated, so n values tell less than n independent ones would: likelihoods and standard
errors are scaled to the effective number. AIC: Akaike, IEEE Transactions on Automatic Control 19 (6), 1974.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Family = Literal["gaussian", "laplace", "contaminated"]

MAX_VALUES = 100_000
"""More are thinned out evenly: the fits are exact to 1 % already, and EM passes over all of them."""

NEGLIGIBLE_KURTOSIS = 0.5
"""Below it the mean is still a far better estimate than the median: under a contaminated Gaussian of this kurtosis
(10 % at 1.6 times the deviation) the median has 1.5 times the mean's variance. Such tails change no decision."""

MINIMUM_VALUES = 20
"""Fewer independent values say nothing about tails."""

_EM_STEPS = 200
_EM_DONE = 1e-7  # change of the mean log-likelihood
_SMALLEST_RATIO = 1.05  # between the two deviations; nearer they are one


@dataclass(frozen=True)
class Tails:
    """How heavy the tails are. Deviations are in units of the noise's own standard deviation.

    Attributes:
        kurtosis: excess kurtosis: 0 for a Gaussian, 3 for Laplace noise.
        kurtosis_error: its standard error if the noise were Gaussian; NaN for too few values.
        aic: of each family, relative to the lowest (which is 0); empty for too few values.
        core: standard deviation of the narrow part of the contaminated Gaussian.
        ratio: of the wide part's standard deviation to the narrow part's.
        share: of the values that belong to the wide part, 0..1.
        values: effective number of independent values.
    """

    kurtosis: float
    kurtosis_error: float
    aic: dict[Family, float]
    core: float
    ratio: float
    share: float
    values: float

    @property
    def best(self) -> Family:
        """The family of lowest AIC; `gaussian` where tails are not heavier than chance and use would explain."""
        if not self.aic or self.kurtosis < max(3 * self.kurtosis_error, NEGLIGIBLE_KURTOSIS):
            return "gaussian"
        return min(("laplace", "contaminated"), key=self.aic.__getitem__)


@dataclass(frozen=True)
class Contaminated:
    """(1 - share) N(mean, core^2) + share N(mean, (ratio core)^2)."""

    mean: float
    core: float
    ratio: float
    share: float
    log_likelihood: float


def measure_tails(values: Values, *, effective: float) -> Tails:
    """Kurtosis and the three fits.

    Args:
        values: (n,) noise of one spread (divide by the local deviation first: a mixture of spreads has heavy tails).
        effective: how many independent values these count as, at most n; for the kurtosis this is n over the sum of
            the fourth powers of the autocorrelation (Lomnicki, Metrika 4, 1961), which a caller may only bound.

    Raises:
        ValueError: not one-dimensional, or not finite.
    """
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"values must be (n,) and finite, not of shape {values.shape}")
    if len(values) > MAX_VALUES:
        values = values[:: math.ceil(len(values) / MAX_VALUES)]
    count = min(float(effective), float(len(values)))
    deviation = float(values.std()) if len(values) else 0.0
    if count < MINIMUM_VALUES or deviation == 0:
        return Tails(0.0, math.nan, {}, 1.0, 1.0, 0.0, count)
    z = (values - values.mean()) / deviation
    fit = fit_contaminated(z)
    # mean log-likelihood of one value, times the number of independent ones; parameters: place and shape
    likelihoods: dict[Family, tuple[float, int]] = {
        "gaussian": (-0.5 * (math.log(2 * math.pi) + 1), 2),
        "laplace": (-math.log(2 * float(np.abs(z - np.median(z)).mean())) - 1, 2),
        "contaminated": (fit.log_likelihood, 4),
    }
    aic = {name: 2 * parameters - 2 * count * mean for name, (mean, parameters) in likelihoods.items()}
    lowest = min(aic.values())
    return Tails(
        kurtosis=float(np.mean(z**4)) - 3,
        kurtosis_error=math.sqrt(24 / count),
        aic={name: value - lowest for name, value in aic.items()},
        core=fit.core,
        ratio=fit.ratio,
        share=fit.share,
        values=count,
    )


def fit_contaminated(z: Values) -> Contaminated:
    """Maximum likelihood by expectation and maximisation (Dempster, Laird & Rubin, J Roy Stat Soc B 39 (1), 1977).

    Args:
        z: (n,) values, not all alike.

    Returns:
        The better of two local maxima: started from rare, far outliers and from many near ones.
    """
    spread = 1.4826 * float(np.median(np.abs(z - np.median(z)))) or float(z.std())
    starts = ((0.02, 8.0), (0.3, 2.0))  # share and ratio
    return max((_climb(z, spread, share, ratio) for share, ratio in starts), key=lambda fit: fit.log_likelihood)


def _climb(z: Values, core: float, share: float, ratio: float) -> Contaminated:
    mean, before = float(np.median(z)), -math.inf
    for _ in range(_EM_STEPS):
        square = (z - mean) ** 2
        narrow = (1 - share) / core * np.exp(-0.5 * square / core**2)
        wide = share / (ratio * core) * np.exp(-0.5 * square / (ratio * core) ** 2)
        density = np.maximum(narrow + wide, np.finfo(np.float64).tiny)
        likelihood = float(np.log(density).mean()) - 0.5 * math.log(2 * math.pi)
        if likelihood - before < _EM_DONE:
            break
        before = likelihood
        outlier = wide / density
        share = float(np.clip(outlier.mean(), 1e-6, 0.5))  # the narrow part is the larger one
        precision = (1 - outlier) / core**2 + outlier / (ratio * core) ** 2
        mean = float((precision * z).sum() / precision.sum())
        square = (z - mean) ** 2
        core = math.sqrt(max(float(((1 - outlier) * square).sum() / (1 - outlier).sum()), 1e-12))
        outside = math.sqrt(float((outlier * square).sum() / max(outlier.sum(), 1e-12)))
        ratio = max(outside / core, _SMALLEST_RATIO)
    return Contaminated(mean, core, ratio, share, max(likelihood, before))
