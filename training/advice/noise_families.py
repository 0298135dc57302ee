"""Which family of noise a profile shows, and the degradation of the laboratory that imitates it.

    NoiseProfile --impulses? none? tails? follows the signal? correlated?--> Family --measured numbers--> Degradation

The first question that is answered with yes decides: an impulse or an outlier harms a network's training more than what
the questions after it ask for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from imaging.image import Unit
from imaging.noise.profile import NoiseProfile
from training.degradations import Degradation, parse_degradation
from training.domains import DOMAINS, Domain

Family = Literal[
    "none",
    "impulse",
    "laplace",
    "contaminated",
    "poisson",
    "poisson-gaussian",
    "low-dose",
    "low-dose-sharp",
    "sparse-views",
    "correlated",
    "gaussian",
]
"""Names of `DEGRADATIONS` where there is one of that kind; `correlated` is that of relative images, which has none."""

NEGLIGIBLE: dict[Unit, float] = {"HU": 1.0, "relative": 0.002}
"""Levels below this are rounding: half a HU to either side, or half a grey level of 8 bits."""

IMPULSES = 0.002
"""Share of the pixels above which impulses decide. Bright specks of clean pictures reach a few in ten thousand."""

HEAVY_WITHOUT_REFERENCE = 1.0
"""Excess kurtosis that noisy images alone must show: texture that was taken for noise makes up to half of it."""

STREAKS = 1.15
"""Correlated noise of CT whose bulk over the whole image is this many times that in soft tissue is streaks: the noise
of few photons is largest where most are absorbed, in the middle of the patient."""

_BY_LEVEL: tuple[Family, ...] = ("gaussian", "laplace", "correlated")
_ONLY_COUNTS = 0.2  # share of the variance that does not follow the signal, below which all of it is counting noise


def recognise(profile: NoiseProfile) -> Family:
    """The family of the noise."""
    if profile.impulse_share > IMPULSES:
        return "impulse"
    if not profile.level > NEGLIGIBLE[profile.unit]:
        return "none"
    correlated = not profile.correlation.white
    if correlated and profile.unit == "HU" and profile.core > STREAKS * profile.level:
        return "sparse-views"
    # outliers come pixel by pixel: without a reference, tails of correlated noise are structure that was taken for it
    heavy = profile.source == "pairs" or (profile.tails.kurtosis > HEAVY_WITHOUT_REFERENCE and not correlated)
    if heavy and profile.tails.best != "gaussian":
        return profile.tails.best
    return _correlated(profile) if correlated else _white(profile)


def _white(profile: NoiseProfile) -> Family:
    if not profile.signal.significant or profile.signal.slope < 0:
        return "gaussian"
    return "poisson" if profile.signal.offset_share < _ONLY_COUNTS else "poisson-gaussian"


def _correlated(profile: NoiseProfile) -> Family:
    if profile.unit != "HU":
        return "correlated"
    # a kernel that keeps all frequencies up to the edge of the band makes diagonal neighbours differ
    return "low-dose-sharp" if profile.correlation.diagonal < 0 else "low-dose"


def imitation(profile: NoiseProfile, domain: Domain, *, own_noise: float = math.nan) -> Degradation | None:
    """The degradation that adds noise like the profile's to clean images; None for no noise.

    Args:
        profile: what was measured.
        domain: of the images.
        own_noise: the level of the images that are to be degraded, in HU: it turns a level into a dose fraction.
            NaN takes the degradation's own dose.

    Raises:
        ImpossibleSetting: a measured number that the degradation does not take.
    """
    family = recognise(profile)
    if family == "none":
        return None
    # white noise stands in for correlated noise of pictures: nothing in the laboratory is nearer
    name = "gaussian" if family == "correlated" else family
    return parse_degradation(name, domain, _numbers(profile, family, domain, own_noise))


def _numbers(profile: NoiseProfile, family: Family, domain: Domain, own_noise: float) -> Mapping[str, float]:
    signal, tails = profile.signal, profile.tails
    scale = 1000.0 if DOMAINS[domain] == "HU" else 1.0  # from no signal to where photons are counted
    numbers: dict[Family, dict[str, float]] = {
        "impulse": {"share": profile.impulse_share},
        # the tails' numbers are in units of the noise's deviation
        "contaminated": {
            "sigma": tails.core * profile.level,
            "share": tails.share,
            "outlier_factor": tails.ratio,
        },
        "poisson": {"photons": scale / max(signal.slope, 1e-6)},
        "poisson-gaussian": {"photons": scale / max(signal.slope, 1e-6), "sigma": math.sqrt(signal.offset)},
        "sparse-views": {},  # how many views there were cannot be told
        **{name: {"sigma": profile.level} for name in _BY_LEVEL},
    }
    if family in numbers:
        return numbers[family]
    # at dose fraction a noise of own_noise sqrt((1 - a) / a) is added
    known = math.isfinite(own_noise)
    return {"dose_fraction": own_noise**2 / (own_noise**2 + profile.level**2)} if known else {}
