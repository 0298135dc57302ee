"""The table of degradations: `DEGRADATIONS` shows them all, by domain.

The numbers make the families comparable: at their defaults all but the CT physics, the impulses and what draws its
level have the same standard deviation, 40 HU in water or 0.1 at mid-grey, so that what differs between two columns of a
comparison is the kind of noise and not its amount. 40 HU are twice what a quarter of a usual dose adds under a soft
kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.low_dose import RAMP, SOFT, STANDARD
from training.data.pairs import PreparedSeries, Window
from training.degradations.degradation import Degradation
from training.degradations.low_dose import DoseProtocol
from training.degradations.pixelwise import (
    contaminated,
    gaussian,
    gaussian_levels,
    impulse,
    impulse_levels,
    laplace,
    poisson,
    poisson_gaussian,
)
from training.degradations.sparse_views import SparseViews
from training.domains import DOMAINS, Domain
from training.errors import UnknownDegradation


@dataclass(frozen=True)
class Pixelwise:
    """A function of `training.degradations.pixelwise` under its numbers, kept within a scale: a `Degrade`."""

    function: Callable[..., NDArray[np.float32]]
    settings: Mapping[str, float]
    scale: tuple[float, float]

    def __call__(self, series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
        return self.function(np.asarray(series.images[window]), rng, **self.settings).clip(*self.scale)


_CT_SCALE = (-1024.0, 3071.0)
"""HU that 12 bits hold, all that a network sees (`training.networks.unet.SEEN`): noise below them, in air, could not be
removed, and would be much of the squared error that training sees. So in air, and only there, white noise has a mean
above zero."""

_NO_SCALE = (-np.inf, np.inf)


def _ct(function: Callable[..., NDArray[np.float32]], **settings: float) -> Pixelwise:
    return Pixelwise(function, settings, _CT_SCALE)


def _relative(function: Callable[..., NDArray[np.float32]], **settings: float) -> Pixelwise:
    return Pixelwise(function, settings, _NO_SCALE)


# Of counting noise: what no signal is, and the distance to where the photons are stated (water in CT, white)
_HU_COUNTS = {"black": -1000.0, "scale": 1000.0}
_RELATIVE_COUNTS = {"black": 0.0, "scale": 1.0}

_CT = (
    Degradation(
        "low-dose",
        "ct",
        "a fraction of the scan's own dose, soft kernel: correlated, nearly Gaussian, more along thick paths",
        partial(DoseProtocol, kernel=SOFT),
        {"dose_fraction": 0.25, "electronic_noise": 4.0},
    ),
    Degradation(
        "low-dose-sharp",
        "ct",
        "the same under the sharp kernel, which correlates neighbours little",
        partial(DoseProtocol, kernel=RAMP),
        {"dose_fraction": 0.25, "electronic_noise": 4.0},
    ),
    Degradation(
        "low-dose-matched",
        "ct",
        "the same with the texture of the scan's own noise: nothing but its strength tells the two apart",
        partial(DoseProtocol, kernel=None),
        {"dose_fraction": 0.25, "electronic_noise": 4.0},
    ),
    Degradation(
        "low-dose-thin",
        "ct",
        "sharp thin slices: a fraction of a dose with 40 HU of noise, standard kernel, whatever the scan has",
        partial(DoseProtocol, kernel=STANDARD),
        {"dose_fraction": 0.25, "full_dose_noise_hu": 40.0, "electronic_noise": 4.0},
    ),
    Degradation(
        "sparse-views",
        "ct",
        "streaks of too few projections, soft kernel: no noise, but the patient's own edges, far away",
        SparseViews,
        {"views": 60.0},  # about 30 HU in soft tissue
    ),
    Degradation(
        "gaussian",
        "ct",
        "white noise: the textbook case, which no scanner gives",
        partial(_ct, gaussian),
        {"sigma": 40.0},
    ),
    Degradation(
        "poisson",
        "ct",
        "counting noise whose variance grows with attenuation, photons counted at water",
        partial(_ct, poisson, **_HU_COUNTS),
        {"photons": 625.0},  # 1000 HU / sqrt(625) = 40 HU in water
    ),
    Degradation(
        "poisson-gaussian",
        "ct",
        "counting noise and white noise of the electronics",
        partial(_ct, poisson_gaussian, **_HU_COUNTS),
        {"photons": 1250.0, "sigma": 28.3},  # half of the variance of 40 HU in water each
    ),
    Degradation("laplace", "ct", "white noise with heavy tails", partial(_ct, laplace), {"sigma": 40.0}),
    Degradation(
        "impulse",
        "ct",
        "lost pixels at the ends of the 12-bit scale, the rest untouched",
        partial(_ct, impulse),
        {"share": 0.05, "low": -1024.0, "high": 3071.0},
    ),
    Degradation(
        "contaminated",
        "ct",
        "white noise with a few outliers",
        partial(_ct, contaminated),
        {"sigma": 27.0, "share": 0.05, "outlier_factor": 5.0},  # 27 sqrt(1 + 0.05 (25 - 1)) = 40 HU in all
    ),
)

_RELATIVE = (
    Degradation("gaussian", "relative", "white noise: the textbook case", partial(_relative, gaussian), {"sigma": 0.1}),
    Degradation(
        "poisson",
        "relative",
        "counting noise whose variance grows with brightness, photons counted at white",
        partial(_relative, poisson, **_RELATIVE_COUNTS),
        {"photons": 50.0},  # sqrt(0.5 / 50) = 0.1 at mid-grey
    ),
    Degradation(
        "poisson-gaussian",
        "relative",
        "counting noise and white noise of the electronics, as cameras have",
        partial(_relative, poisson_gaussian, **_RELATIVE_COUNTS),
        {"photons": 100.0, "sigma": 0.0707},  # half of the variance of 0.1 at mid-grey each
    ),
    Degradation("laplace", "relative", "white noise with heavy tails", partial(_relative, laplace), {"sigma": 0.1}),
    Degradation(
        "impulse",
        "relative",
        "lost pixels, black or white, the rest untouched",
        partial(_relative, impulse),
        {"share": 0.05, "low": 0.0, "high": 1.0},
    ),
    Degradation(
        "contaminated",
        "relative",
        "white noise with a few outliers",
        partial(_relative, contaminated),
        {"sigma": 0.0675, "share": 0.05, "outlier_factor": 5.0},  # 0.1 in all
    ),
    Degradation(
        "gaussian-levels",
        "relative",
        "white noise of any level, drawn anew for every image: to train one model for all of them",
        partial(_relative, gaussian_levels),
        {"least_sigma": 0.01, "most_sigma": 0.25},
    ),
    Degradation(
        "impulse-levels",
        "relative",
        "lost pixels, from few to many, drawn anew for every image: to train one model for all of them",
        partial(_relative, impulse_levels),
        {"least_share": 0.005, "most_share": 0.3, "low": 0.0, "high": 1.0},
    ),
)

DEGRADATIONS: dict[Domain, dict[str, Degradation]] = {
    domain: {row.name: row for row in (*_CT, *_RELATIVE) if row.domain == domain} for domain in DOMAINS
}


def parse_degradation(name: str, domain: Domain, numbers: Mapping[str, float] | None = None) -> Degradation:
    """`("gaussian", "ct", {"sigma": 30})` -> white noise of 30 HU.

    Raises:
        UnknownDegradation: the domain has none of that name; the message lists those that it has.
        UnknownSetting, ImpossibleSetting: as `Degradation.with_settings`.
    """
    if name not in DEGRADATIONS[domain]:
        known = ", ".join(DEGRADATIONS[domain])
        raise UnknownDegradation(f"no degradation {name!r} for {domain} images; there is: {known}")
    return DEGRADATIONS[domain][name].with_settings(numbers or {})


def degradation_from_json(plain: Mapping[str, Any]) -> Degradation:
    """What `Degradation.to_json` wrote; raises as `parse_degradation`."""
    return parse_degradation(plain["name"], plain["domain"], plain["settings"])
