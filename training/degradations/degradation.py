"""Degradation: one row of the table, and what its numbers may be.

name, domain, numbers --parse_degradation--> Degradation --(series, window, generator)--> degraded image
{"name", "domain", "settings"} <--to_json--> degradation_from_json
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from imaging.sparse_views import ALL_VIEWS, OFFSETS
from training.data.pairs import Degrade, PreparedSeries, Repeats, Window, evaluation_rng
from training.domains import DOMAINS, Domain
from training.errors import ImpossibleSetting, UnknownSetting
from training.progress import Advance, silent


@dataclass(frozen=True)
class Setting:
    """What a number of a degradation means.

    Attributes:
        unit: as tables print it; empty for the unit of the images.
        low, high: what it may be, inclusive.
        whole: only integers.
    """

    unit: str
    low: float
    high: float = math.inf
    whole: bool = False


_LEAST = 1e-6  # stands for "above zero" where zero has no meaning

SETTINGS = {
    "sigma": Setting("", 0),
    "least_sigma": Setting("", _LEAST),
    "most_sigma": Setting("", _LEAST),
    "share": Setting("of the pixels", 0, 1),
    "least_share": Setting("of the pixels", 0, 1),
    "most_share": Setting("of the pixels", 0, 1),
    "outlier_factor": Setting("times sigma", 1),
    "low": Setting("", -math.inf),
    "high": Setting("", -math.inf),
    "photons": Setting("photons", _LEAST),
    "dose_fraction": Setting("of the full dose", _LEAST, 1),
    "full_dose_noise_hu": Setting("HU", _LEAST),
    "electronic_noise": Setting("photons", 0),
    "views": Setting("views", 2, ALL_VIEWS // OFFSETS, whole=True),
}
"""The numbers of all degradations: the same name means the same thing everywhere."""


@dataclass(frozen=True)
class Degradation:
    """One row of the table: a way to degrade an image, with its numbers. It is a `Degrade` and a `Repeats`.

    Attributes:
        name: a key of `DEGRADATIONS[domain]`.
        domain: of the images it is for.
        says: what it stands for.
        build: makes a `Degrade` of its numbers, which are keyword arguments; it may be a `Repeats` too.
        settings: the numbers, in the units of `SETTINGS`; sigma, low and high in the images' unit.
    """

    name: str
    domain: Domain
    says: str
    build: Callable[..., Degrade] = field(compare=False, repr=False)
    settings: Mapping[str, float]

    def with_settings(self, numbers: Mapping[str, float]) -> Degradation:
        """The same degradation with some of its numbers replaced.

        Raises:
            UnknownSetting: it has no number of such a name; the message lists those that it has.
            ImpossibleSetting: a value outside the range of `SETTINGS`, or not finite.
        """
        for name, value in numbers.items():
            if name not in self.settings:
                takes = ", ".join(self.settings) or "none"
                raise UnknownSetting(f"degradation {self.name} has no setting {name!r}; its settings: {takes}")
            setting = SETTINGS[name]
            whole = not setting.whole or float(value).is_integer()
            if not (math.isfinite(value) and setting.low <= value <= setting.high and whole):
                what = "be a whole number" if setting.whole else "lie"
                raise ImpossibleSetting(
                    f"{name} of degradation {self.name} must {what} from {setting.low:g} to {setting.high:g},"
                    f" not {value:g}"
                )
        return replace(self, settings={**self.settings, **numbers})

    @property
    def label(self) -> str:
        """For tables and manifests, such as `gaussian, sigma 40 HU`."""
        own = "HU" if DOMAINS[self.domain] == "HU" else ""
        texts = (_text(name, value, own) for name, value in self.settings.items())
        return ", ".join([self.name, *texts])

    def __call__(self, series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
        """The window, degraded; a new (h, w) float32 array in the series' unit.

        Raises:
            UnsuitableSeries: of CT physics, and the series has no projections.
        """
        return self.build(**self.settings)(series, window, rng)

    def repeat(self, series: PreparedSeries, window: Window, draw: int) -> NDArray[np.float32]:
        """The window, degraded, always the same for the same `draw`; otherwise as a call."""
        degrade = self.build(**self.settings)
        if isinstance(degrade, Repeats):
            return degrade.repeat(series, window, draw)
        return degrade(series, window, evaluation_rng(series, window[0], draw))

    def to_json(self) -> dict[str, Any]:
        """Plain values; `degradation_from_json` reads them."""
        return {"name": self.name, "domain": self.domain, "settings": dict(self.settings)}


def _text(name: str, value: float, own: str) -> str:
    unit = SETTINGS[name].unit or own
    words = name.replace("_", " ")
    return f"{words} {value:g}" if unit in {"", words} else f"{words} {value:g} {unit}"


@runtime_checkable
class Prepares(Protocol):
    """A `Degrade` that needs something of each series that takes long to make."""

    def prepare(self, series: PreparedSeries, *, processes: int | None = None, progress: Advance = silent) -> None: ...


def prepare_degradation(
    degrade: Degrade, series: Iterable[PreparedSeries], *, processes: int | None = None, progress: Advance = silent
) -> None:
    """Makes what a degradation needs of the series, where it does; the first draw would, but shows no progress.

    Raises:
        UnsuitableSeries: it cannot be made of one of them.
    """
    draw = degrade.build(**degrade.settings) if isinstance(degrade, Degradation) else degrade
    if isinstance(draw, Prepares):
        for each in series:
            draw.prepare(each, processes=processes, progress=progress)
