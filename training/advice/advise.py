"""Advice: which recipe suits a measured noise, with its numbers, the reason, and what speaks against it.

    NoiseProfile --recognise--> family --RULES--> recipe, runners-up --numbers of the noise--> settings
                                   '--evidence of a study, if there is one--> the measured winner instead

What is usually said of tails (L1 for Laplace noise, Huber for outliers) is true of noise in the *targets*. Against
clean targets L2 learns the posterior mean whatever the noise of the input is, and outliers of the input are the largest
errors: a loss that bounds large errors leaves them in. So L2 comes first, and the study of docs/which-loss.md, on whose
first half the rules below were changed, found nothing better by more than 0.1 dB but under streaks and impulses.
A measured winner of a study of one's own (`--evidence`) and short trainings (`--verify`) say more than any rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from imaging.image import Unit
from imaging.noise.profile import NoiseProfile
from training.advice.noise_families import HEAVY_WITHOUT_REFERENCE, IMPULSES, NEGLIGIBLE, Family, recognise
from training.domains import DOMAINS, Domain

Targets = Literal["clean", "second", "none"]
"""What there is to train against: clean images, second noisy images of the same places, or nothing."""

HUBER_EFFICIENCY = 1.345
"""Deviations: Huber's loss is then 95 % as good as L2 under Gaussian noise (Huber 1964)."""

NETWORK_UNIT: dict[Unit, float] = {"HU": 1000.0, "relative": 1.0}
"""What 1.0 is in settings: the scale of `training.networks.unet.UNIT_RANGE`, which to read would load TensorFlow."""

_BIASED = 0.05  # of the level: a smaller mean is lost beside the noise
_VARIES = 0.2  # standard deviation of the level over its mean, above which one level does not serve the image


@dataclass(frozen=True)
class Winner:
    """What a study measured under one degradation.

    Attributes:
        recipe: the best one by the study's first metric.
        settings: its numbers where they differ from the recipe's own.
        tied: recipes that cannot be told from it, or are negligibly behind (`training.comparison.standings`);
            `huber:delta=0.5` under other numbers than their own.
        source: where that is written, for the reason.
        filter, ahead: a classical filter that was better than all of them, and by how many dB.
    """

    recipe: str
    settings: Mapping[str, float] = field(default_factory=dict)
    tied: tuple[str, ...] = ()
    source: str = "the study"
    filter: str | None = None
    ahead: float = 0.0


@dataclass(frozen=True)
class Advice:
    """What to train with, and why.

    Attributes:
        family: of the noise.
        recipe: its name.
        settings: numbers that replace the recipe's own, in the network's unit (1.0 = 1000 HU; relative: 1.0 = white).
        reason: sentences: what was found, what follows; the settings in the images' unit.
        runners_up: recipes to try beside it, best first.
        doubts: sentences: what may make this wrong.
        measured: whether a study decided, and not theory.
    """

    family: Family
    recipe: str
    settings: Mapping[str, float]
    reason: str
    runners_up: tuple[str, ...]
    doubts: tuple[str, ...]
    measured: bool = False


@dataclass(frozen=True)
class Rule:
    """One row of the table: why L2, which comes first everywhere, and what to try beside it."""

    because: str
    runners_up: tuple[str, ...]


FIRST = "l2"
"""The recipe of all rules."""

_GAUSSIAN = "under Gaussian noise the mean is the best estimate, and L2 learns it: the best PSNR"
_CORRELATED = "the noise is Gaussian, if correlated: the mean stays the best estimate, and L2 learns it"
_FOLLOWS_SIGNAL = (
    "the noise follows the signal and is nearly Gaussian at each brightness: L2 learns the mean; heteroscedastic weighs"
    " each pixel by the error that is expected there"
)

RULES: dict[Family, Rule] = {
    "gaussian": Rule(_GAUSSIAN, ("perceptual", "huber")),
    "low-dose": Rule(_CORRELATED, ("perceptual", "heteroscedastic")),
    "low-dose-sharp": Rule(_CORRELATED, ("perceptual", "heteroscedastic")),
    "correlated": Rule(_CORRELATED, ("perceptual", "huber")),
    "sparse-views": Rule(
        "streaks are structure that too few views leave: L2 learns their mean, and a little SSIM beside L1 keeps more"
        " of the edges that they hide",
        ("l1-ssim", "perceptual"),
    ),
    "poisson": Rule(_FOLLOWS_SIGNAL, ("heteroscedastic", "l1")),
    "poisson-gaussian": Rule(_FOLLOWS_SIGNAL, ("heteroscedastic", "l1")),
    "laplace": Rule(
        "the heavy tails are in the input, not in the targets: L2 learns the mean under any noise, while L1, made for"
        " such tails, does not see them",
        ("perceptual", "huber"),
    ),
    "impulse": Rule(
        "an impulse is an error as large as the range: L2 sees little else and takes them out, while L1, with few"
        " steps, stays where leaving every pixel alone is nearly as good",
        ("perceptual", "huber"),
    ),
    "contaminated": Rule(
        "the outliers are in the input, not in the targets: they are the largest errors, which L2 takes out first, and"
        " which Huber and L1 are made to neglect",
        ("perceptual", "huber"),
    ),
    "none": Rule("there is no noise to speak of, so no loss suits it better than another; L2 is the plain choice", ()),
}

_MEDIAN = Rule(
    "impulses do not have mean 0, so L2 against a second noisy image would learn a wrong mean: the median ignores them,"
    " and L1 learns the median",
    ("huber", "barron"),
)
"""Of impulses in the targets as well."""


def advise(
    profile: NoiseProfile,
    domain: Domain,
    *,
    targets: Targets = "clean",
    evidence: Mapping[str, Winner] | None = None,
) -> Advice:
    """The recipe for a noise.

    Args:
        profile: the measured noise, in the domain's unit.
        domain: of the images.
        targets: what there is to train against. Without clean images the recipe is `noise2noise`, if there are second
            ones; with neither it is what suits training on other, clean images with noise like this added.
        evidence: degradation -> what a study found best under it; overrides theory where it has this family.

    Raises:
        ValueError: profile and domain have different units.
    """
    if profile.unit != DOMAINS[domain]:
        raise ValueError(f"the profile is in {profile.unit}, but images of domain {domain} are in {DOMAINS[domain]}")
    family = recognise(profile)
    recipe, rule = FIRST, RULES[family]
    if family == "impulse" and targets == "second":
        recipe, rule = "l1", _MEDIAN
    found = describe(profile, family)
    doubts = _doubts(profile, family, targets)
    because = rule.because
    winner = (evidence or {}).get(family) if targets != "second" else None  # studies have clean targets
    if targets == "second" and family != "impulse":
        because = (
            "there are no clean images, but two noisy ones of each place: the noise of the second has mean 0, so L2"
            " against it learns what L2 against clean images would"
        )
        return Advice(family, "noise2noise", {}, f"{found} {_sentence(because)}", ("l2",), doubts)
    if winner is None or family == "none":
        return Advice(family, recipe, {}, f"{found} {_sentence(because)}", rule.runners_up, doubts)
    if winner.filter is not None:
        doubts = (
            *doubts,
            f"in {winner.source} no recipe reached {winner.filter}, which was {winner.ahead:.1f} dB better",
        )
    return _measured(family, recipe, winner, found, doubts)


def _measured(family: Family, by_rule: str, winner: Winner, found: str, doubts: tuple[str, ...]) -> Advice:
    """What a study says; where it cannot tell the rule's recipe from the best one, the rule's stands."""
    stands = by_rule in winner.tied
    recipe, settings = (by_rule, {}) if stands else (winner.recipe, winner.settings)
    # those under other numbers have their row in the reason, but no name of their own
    others = [each for each in (winner.recipe, *winner.tied, by_rule) if each != recipe and ":" not in each]
    agrees = "as the rule says" if winner.recipe == by_rule else f"where the rule says {by_rule}"
    tied = f", not clearly ahead of {', '.join(winner.tied)}," if winner.tied else ""
    because = f"in {winner.source} {winner.recipe}{tied} was the best under {family} noise, {agrees}"
    if stands:
        because += f"; nothing is better than {by_rule} by more than chance, or by anything to choose by"
    return Advice(
        family, recipe, settings, f"{found} {_sentence(because)}", tuple(dict.fromkeys(others)), doubts, measured=True
    )


def describe(profile: NoiseProfile, family: Family) -> str:
    """What was found, in a sentence or two; levels in the images' unit."""
    level = in_words(profile.level, profile.unit)
    tails = profile.tails
    kurtosis = f"excess kurtosis {tails.kurtosis:.1f}"
    signal = profile.signal
    rise = f"its deviation is {signal.ratio:.2g} times as large in bright parts as in dark ones"
    texts: dict[Family, str] = {
        "none": f"The noise level is {level}.",
        "impulse": f"{profile.impulse_share:.2%} of the pixels are lost to the ends of the range"
        f" (noise in the others: {level}).",
        "laplace": f"The noise has a level of {level} and heavy tails ({kurtosis}; a Laplace distribution fits best).",
        "contaminated": f"The noise has a level of {level} and outliers ({kurtosis}): {tails.share:.1%} of the pixels"
        f" with {tails.ratio:.2g} times the deviation of the rest, which is {in_words(_core(profile), profile.unit)}.",
        "poisson": f"The noise, {level} on average, grows with the signal: {rise}.",
        "poisson-gaussian": f"The noise, {level} on average, has a part that grows with the signal and one that does"
        f" not: {rise}.",
        "sparse-views": f"There are streaks, correlated and stronger around the patient"
        f" ({in_words(profile.core, profile.unit)}) than in soft tissue ({level}), as no scanner's noise is.",
        "gaussian": f"The noise is white and Gaussian, with a level of {level} ({kurtosis}).",
    }
    correlated = (
        f"The noise has a level of {level}, is Gaussian at each place ({kurtosis}) and correlated: neighbours"
        f" {profile.correlation.columns:+.2f} and {profile.correlation.rows:+.2f}, one independent value in"
        f" {profile.correlation.length**2:.1f} pixels."
    )
    return texts.get(family, correlated)


def in_words(value: float, unit: str) -> str:
    """`24.8 HU`, or `0.081 of the range from black to white`."""
    return f"{value:.3g} HU" if unit == "HU" else f"{value:.3g} of the range from black to white"


def _core(profile: NoiseProfile) -> float:
    return profile.tails.core * profile.level


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def settings_for(recipe: str, profile: NoiseProfile) -> dict[str, float]:
    """Numbers of a recipe that follow from the noise, in the network's unit; empty where none does."""
    if recipe != "huber" or not profile.level > 0:
        return {}
    return {"delta": float(f"{HUBER_EFFICIENCY * _core(profile) / NETWORK_UNIT[profile.unit]:.4g}")}


def _doubts(profile: NoiseProfile, family: Family, targets: Targets) -> tuple[str, ...]:
    """What may make the advice wrong: of the measurement, the noise, and the targets."""
    return (*profile.limits, *_doubts_of_noise(profile, family), *_doubts_of_targets(profile, family, targets))


def _doubts_of_noise(profile: NoiseProfile, family: Family) -> Iterator[str]:
    tails = profile.tails
    heavy = family in {"laplace", "contaminated"}
    plain = family in {"gaussian", "low-dose", "low-dose-sharp", "correlated"}
    if family == "impulse" and profile.level > NEGLIGIBLE[profile.unit]:
        yield (
            f"beside the impulses there is noise of {in_words(profile.level, profile.unit)}, which {tails.best} noise"
            " describes best"
        )
    if family not in {"impulse", "none"} and 0 < profile.impulse_share <= IMPULSES:
        yield f"{profile.impulse_share:.3%} of the pixels look like impulses; they were left out"
    if heavy and not profile.correlation.white:
        yield "the noise is correlated too: a loss that takes pixels one by one counts each error several times"
    if heavy and profile.signal.significant:
        yield "the level also follows the signal, which one threshold for all brightnesses does not fit"
    if plain and profile.variation > _VARIES:
        yield f"the level varies over the image by {profile.variation:.0%}: heteroscedastic is made for that"
    if not heavy and family != "impulse" and tails.kurtosis > HEAVY_WITHOUT_REFERENCE:
        yield f"the tails (excess kurtosis {tails.kurtosis:.1f}) are heavier than those of Gaussian noise"
    if family == "sparse-views":
        yield "streaks repeat in every scan: they are no noise, and no average takes them away"


def _doubts_of_targets(profile: NoiseProfile, family: Family, targets: Targets) -> Iterator[str]:
    off = abs(profile.bias) > max(3 * profile.bias_error, _BIASED * profile.level)
    if off and family not in {"impulse", "none"}:
        yield (
            f"noisy images are off by {in_words(profile.bias, profile.unit)} on average, which a network can learn from"
            " clean targets only"
        )
    if targets == "second" and family in {"laplace", "contaminated"}:
        yield "the tails are in the targets too, where L1 and Huber need fewer images to average them: compare both"
    if family == "impulse":
        yield "a median filter takes impulses out without any training: train only what beats it"
    if targets == "second" and family == "impulse":
        yield "impulses do not have mean 0, so two noisy images of each place do not replace clean ones"
    if targets == "none":
        yield "there are no clean images to train against: train on others with noise like this added"
