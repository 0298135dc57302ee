"""What a search may change: one range for each setting of a recipe, and the constants that it starts from.

    recipe --search_ranges--> {"ssim_weight": 1e-4 .. 1, log, "learning_rate": ...} --Optuna--> trials
           --starting_points-> the recipe's own numbers and the classic ones: the first trials, untuned

Ranges run from "the setting has no effect" to "it is all that counts", so that the answer lies inside. Where equal
ratios matter rather than equal differences, the scale is logarithmic. All numbers are in the network's unit: 1.0 is
1000 HU for CT, and the whole range of a relative image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from training.domains import DOMAINS
from training.errors import InvalidSettings
from training.fit import FitSettings
from training.networks.unet import UNIT_RANGE
from training.recipes import Recipe, parse_model_name

LEARNING_RATE = "learning_rate"
"""Name of Adam's peak learning rate among the searched numbers."""


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both included; `says` what the ends mean."""

    low: float
    high: float
    log: bool
    says: str


LEARNING_RATES = Range(1e-4, 1e-2, log=True, says="too slow for the budget ... unstable")

RANGES: Mapping[str, Mapping[str, Range]] = {
    "huber": {"delta": Range(1e-3, 3.0, log=True, says="L1 ... half of L2 for every error there is")},
    "charbonnier": {"eps": Range(1e-5, 0.1, log=True, says="L1 ... L2 for usual errors")},
    "log-cosh": {"scale": Range(1e-3, 0.3, log=True, says="L1 ... L2 for usual errors")},
    "barron": {
        "shape": Range(-2.0, 2.0, log=False, says="Geman-McClure, outliers do not count ... L2"),
        "scale": Range(1e-3, 0.3, log=True, says="a tenth of a usual error ... far above it"),
    },
    "psnr": {"eps": Range(1e-8, 1e-3, log=True, says="clean patches take over ... L2")},
    "l1-ssim": {"ssim_weight": Range(1e-4, 1.0, log=True, says="L1 ... SSIM")},
    "ms-ssim-l1": {"ms_ssim_weight": Range(1e-3, 0.99, log=True, says="L1 ... MS-SSIM")},
    "window-l1": {"window_weight": Range(0.0, 0.98, log=False, says="L1 ... the window alone")},
    "gradient": {"gradient_weight": Range(1e-3, 10.0, log=True, says="L1 ... gradients alone")},
    "focal-frequency": {"frequency_weight": Range(1e-2, 100.0, log=True, says="L1 ... spectrum alone")},
    "perceptual": {"feature_weight": Range(1e-3, 10.0, log=True, says="L2 ... features alone")},
    "adversarial": {
        "adversarial_weight": Range(1e-5, 0.1, log=True, says="L2 ... realness alone"),
        "discriminator_rate": Range(2e-5, 2e-3, log=True, says="a discriminator that is fooled ... one that never is"),
    },
    "heteroscedastic": {"beta": Range(0.0, 1.0, log=False, says="likelihood ... L2 for the image")},
}

HELD: Mapping[str, str] = {
    "data_range": "SSIM of another window is another question",
    "low": "belongs to the unit",
    "scales": "as many as the patch is large enough for",
    "l1_weight": "only the ratio of the weights matters: the optimiser's steps have one length",
    "window_low": "the window is asked for, not searched",
    "window_high": "the window is asked for, not searched",
    "coverage": "the interval is asked for, not searched",
}
"""Settings that are never searched, and why."""


@dataclass(frozen=True)
class StartingPoint:
    """Constants that nobody tuned on this data.

    Attributes:
        name: for tables.
        settings: of the recipe, those that differ from its own.
        says: where they come from.
    """

    name: str
    settings: Mapping[str, float]
    says: str


def search_ranges(recipe: Recipe, held: Iterable[str]) -> dict[str, Range]:
    """Name of a number -> its range, the learning rate last.

    Args:
        recipe: whose settings are searched.
        held: names that keep the value they have.
    """
    ranges = {**RANGES.get(recipe.name, {}), LEARNING_RATE: LEARNING_RATES}
    kept = set(held)
    return {name: each for name, each in ranges.items() if name not in kept}


def starting_points(recipe: Recipe, unit: str) -> list[StartingPoint]:
    """The recipe's own numbers first, then the classic constants where they differ from these.

    Args:
        recipe: of the domain.
        unit: of its images.
    """
    low, high, scale = UNIT_RANGE[unit]
    classics = {
        # half of the range, whatever the unit
        "huber": ("classic delta 0.5", {"delta": 0.5 * (high - low) / scale}, "for images of 0..1"),
        "charbonnier": ("classic eps 1e-3", {"eps": 1e-3}, "Lai et al. 2017"),
        "psnr": ("classic eps 1e-8", {"eps": 1e-8}, "a guard against the logarithm of 0"),
        "l1-ssim": ("classic 0.8 / 0.2", {"l1_weight": 0.8, "ssim_weight": 0.2}, "the weights as they stand"),
        "ms-ssim-l1": ("classic 0.84", {"ms_ssim_weight": 0.84}, "Zhao et al. 2017, for photographs"),
        "window-l1": ("classic 0.8 / 0.2", {"window_weight": 0.8}, "the weights as they stand"),
        "adversarial": ("classic 0.01", {"adversarial_weight": 0.01}, "the usual 0.01 to 0.1"),
    }
    own = StartingPoint("the recipe's own", {}, "training/recipes.py")
    if recipe.name not in classics:
        return [own]
    name, settings, says = classics[recipe.name]
    if all(recipe.settings[key] == value for key, value in settings.items()):
        return [StartingPoint(f"{name}, the recipe's own", {}, says)]
    return [own, StartingPoint(name, settings, says)]


@dataclass(frozen=True)
class TuneSettings:
    """What is searched, and under which budget.

    Attributes:
        fit: of every trial; `learning_rate` and the searched settings of its loss are replaced.
        held: names that keep the value they have in `fit`.

    Raises:
        InvalidSettings: all that could be searched is held.
    """

    fit: FitSettings
    held: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not self.ranges:
            raise InvalidSettings(
                f"nothing of {self.fit.model} is left to search: {', '.join(sorted(self.held))} are held"
            )

    @property
    def ranges(self) -> dict[str, Range]:
        """Name -> range of everything that is searched."""
        return search_ranges(self.fit.recipe, self.held)

    @property
    def starting_points(self) -> list[StartingPoint]:
        """Untuned constants; those of which nothing is searched are left out."""
        domain, recipe = parse_model_name(self.fit.model)
        own, *classic = starting_points(recipe, DOMAINS[domain])
        return [own, *(point for point in classic if point.settings.keys() & self.ranges.keys())]

    def with_numbers(self, numbers: Mapping[str, float]) -> FitSettings:
        """The run that has these numbers: settings of the loss, and `learning_rate`."""
        loss = {name: value for name, value in numbers.items() if name != LEARNING_RATE}
        rate = numbers.get(LEARNING_RATE, self.fit.learning_rate)
        return replace(self.fit, learning_rate=rate, loss={**self.fit.loss, **loss})

    def numbers_of(self, point: StartingPoint) -> dict[str, float]:
        """Value of everything that is searched, at a starting point; the learning rate is that of `fit`."""
        _, recipe = parse_model_name(self.fit.model)
        values = {**recipe.settings, LEARNING_RATE: self.fit.learning_rate, **point.settings}
        return {name: float(values[name]) for name in self.ranges}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ranges = {name: asdict(each) for name, each in self.ranges.items()}
        return {"fit": self.fit.to_json(), "held": sorted(self.held), "ranges": ranges}
