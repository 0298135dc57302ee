"""Was the advice right? Short trainings under one budget, on the images themselves.

pairs, or clean images + imitated noise --sources: some held out--> fit recipe after recipe --> PSNR of each
                                           UnverifiableAdvice                                   held-out image
--training.advice.verdict--> right | within the interval | wrong
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.image import Unit
from imaging.metrics import psnr
from training.advice.noisy_images import NoisyImages
from training.advice.verdict import UNTREATED, Verification, compare, judge
from training.data.datasets import evaluation_pairs
from training.data.pairs import PreparedSeries, Window
from training.degradations import Degradation
from training.domains import Domain
from training.errors import UnverifiableAdvice
from training.fit import FitSettings, Progress, fit
from training.networks.unet import UNetConfig
from training.probes import CONTRACTS, restore_slice
from training.progress import Advance, silent

HELD_OUT = 0.3
"""Share of the sources that no training sees, at least one."""

SCORED_IMAGES = 60
"""Held-out images that are scored, or one of each series if these are more: training is to take the time, not this."""

_HIGHEST_PSNR = 100.0  # dB: stands for a perfect image, which has no finite one


@dataclass(frozen=True)
class Budget:
    """What each recipe may spend; the meaning of the fields is that of `FitSettings`."""

    epochs: int = 2
    steps: int = 250
    batch: int = 16
    patch: int = 64
    learning_rate: float = 5e-3  # so few steps need it (docs/which-loss.md)
    network: UNetConfig = field(default_factory=lambda: UNetConfig((24, 40, 56), 2))
    precision: str = "mixed_bfloat16"
    seed: int = 0

    @property
    def says(self) -> str:
        return f"{self.epochs * self.steps} steps of {self.batch} patches of {self.patch} x {self.patch} pixels"


@dataclass(frozen=True)
class Contender:
    """A recipe under test; `settings` replace its own, in the network's unit."""

    recipe: str
    settings: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Measured:
    """The user's own noisy images as a `Draw`: the noise of a window is the one that was recorded there."""

    noisy: Mapping[str, NDArray[np.float32]]

    def __call__(self, series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
        del rng  # there is one noisy image of each place
        return self.noisy[series.name][window]


def measured_pairs(images: NoisyImages, domain: Domain) -> tuple[list[PreparedSeries], Degradation]:
    """The clean images as series, one for each source and shape, and the degradation that gives their noisy partners.

    Raises:
        UnverifiableAdvice: there are no clean images.
    """
    if images.clean is None:
        raise UnverifiableAdvice("there are no clean images to train against")
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
    for index, (source, image) in enumerate(zip(images.sources, images.noisy, strict=True)):
        groups[source, image.shape].append(index)
    series, noisy = [], {}
    for (source, _), indices in groups.items():
        clean, degraded = (np.stack([each[index] for index in indices]) for each in (images.clean, images.noisy))
        # named by its pixels: a run on other images is another run
        name = hashlib.sha256(clean.tobytes() + degraded.tobytes()).hexdigest()[:16]
        series.append(PreparedSeries(name, source, (1.0, 1.0), images.unit, float("nan"), clean))
        noisy[name] = degraded
    return series, Degradation("measured", domain, "the noise of the given pairs", lambda: Measured(noisy), {})


def hold_out(series: Sequence[PreparedSeries], seed: int = 0) -> tuple[list[PreparedSeries], list[PreparedSeries]]:
    """(to fit, held out), split by source.

    Raises:
        UnverifiableAdvice: all series are of one source.
    """
    sources = sorted({each.patient for each in series})
    if len(sources) < 2:  # noqa: PLR2004 - one to fit, one to look at
        raise UnverifiableAdvice(
            "verifying takes images of at least two patients or sources, one to fit and one to look at; pictures of one"
            " folder below noisy/ count as one source"
        )
    order = np.random.default_rng(seed).permutation(len(sources))
    chosen = {sources[index] for index in order[: max(1, round(HELD_OUT * len(sources)))]}
    return [each for each in series if each.patient not in chosen], [each for each in series if each.patient in chosen]


def median_noise(series: Sequence[PreparedSeries]) -> float:
    """The usual level of the images' own noise, NaN where none is known."""
    known = [each.noise_level for each in series if np.isfinite(each.noise_level)]
    return float(np.median(known)) if known else float("nan")


def verify(
    contenders: Sequence[Contender],
    fit_series: Sequence[PreparedSeries],
    held_out: Sequence[PreparedSeries],
    degradation: Degradation,
    folder: Path,
    *,
    domain: Domain,
    budget: Budget,
    advance: Advance = silent,
) -> Verification:
    """Trains every contender and compares the first, the advised one, with the others.

    Args:
        contenders: at least two; the first is the advice.
        fit_series, held_out: of different sources.
        degradation: of both.
        folder: of the runs; a killed verification goes on there.
        domain, budget: of all runs.
        advance: told (recipe, steps done, steps in all).

    Raises:
        UnverifiableAdvice: fewer than two contenders.
        NoTrainingData: images smaller than a patch.
    """
    if len(contenders) < 2:  # noqa: PLR2004 - a comparison
        raise UnverifiableAdvice("there is nothing to compare the advice with")
    pairs = list(_scored_pairs(held_out, degradation))
    scores = {UNTREATED: [_psnr(noisy, clean, held_out[0].unit) for _, noisy, clean in pairs]}
    for contender in contenders:
        restore = _train(contender, fit_series, degradation, folder, domain=domain, budget=budget, advance=advance)
        scores[contender.recipe] = [_psnr(restore(noisy), clean, held_out[0].unit) for _, noisy, clean in pairs]
    sources = [source for source, _, _ in pairs]
    advised = contenders[0].recipe
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    comparisons = tuple(
        compare(scores[advised], scores[each.recipe], sources, each.recipe, budget.seed) for each in contenders[1:]
    )
    return Verification(
        verdict=judge(comparisons, means),
        advised=advised,
        psnr=means,
        comparisons=comparisons,
        sources=len(set(sources)),
        images=len(pairs),
        budget=budget.says,
    )


def _scored_pairs(
    held_out: Sequence[PreparedSeries], degradation: Degradation
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
    """(source, degraded, reference) of at most `SCORED_IMAGES`, spread evenly over every series."""
    each_gives = max(1, SCORED_IMAGES // len(held_out))
    for series in held_out:
        step = -(-len(series.images) // each_gives)
        for degraded, reference in islice(evaluation_pairs(series, degradation), step // 2, None, step):
            yield series.patient, degraded, reference


def _psnr(image: NDArray[np.float32], clean: NDArray[np.float32], unit: Unit) -> float:
    return min(float(psnr(image, clean, CONTRACTS[unit])), _HIGHEST_PSNR)


def _train(
    contender: Contender,
    series: Sequence[PreparedSeries],
    degradation: Degradation,
    folder: Path,
    *,
    domain: Domain,
    budget: Budget,
    advance: Advance,
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    settings = FitSettings(
        model=f"{domain}-{contender.recipe}",
        epochs=budget.epochs,
        steps=budget.steps,
        batch=budget.batch,
        patch=budget.patch,
        learning_rate=budget.learning_rate,
        precision=budget.precision,
        seed=budget.seed,
        network=budget.network,
        noise=degradation,
        loss=dict(contender.settings),
    )

    def told(state: Progress) -> None:
        advance(contender.recipe, (state.epoch - 1) * state.steps + state.step, state.epochs * state.steps)

    run = folder / _run_name(settings.to_json(), series)
    return restore_slice(fit(settings, series, [], run, progress=told))


def _run_name(settings: Mapping[str, Any], series: Sequence[PreparedSeries]) -> str:
    """Recipe, and what tells this run from one on other images or under another budget."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for each in series:
        digest.update(each.name.encode() + np.ascontiguousarray(each.images).tobytes())
    return f"{settings['model']}-{digest.hexdigest()[:12]}"
