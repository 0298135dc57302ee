"""Fit: one loop, readable in one sitting, that a killed run resumes.

    patches --train_on_batch--> weights --end of epoch--> scores of probes --> TensorBoard, history, checkpoint

A run is a folder:

    settings.json, data.json
                       what was asked, and of which series; a run resumes only under the same
    checkpoint.weights.h5, history.json
                       weights with optimiser state, and one line per finished epoch; written aside, then renamed
    discriminator-*.weights.h5, features.json
                       of recipes that need them: the discriminator with its optimiser, after the last two epochs; and
                       what the features hash to
    provenance.json    hashes of the data, code, versions and machine (training.provenance)
    tensorboard/       scalars and pictures per epoch

Epoch n draws its patches from a generator seeded with (seed, n), so a resumed run sees the same data as one that was
never stopped. Keras only: the same loop runs on TensorFlow and on JAX, but for the recipe `adversarial`, whose step is
in `training.networks.adversary`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from training.data.datasets import check_fit_series, check_unseen, patches
from training.data.pairs import PreparedSeries
from training.data.prefetch import prefetched
from training.degradations import DEGRADATIONS, Degradation, DoseRange, degradation_from_json
from training.domains import DOMAINS
from training.errors import IncompatibleRun, UnknownDegradation, UnknownSetting
from training.gradients import share_scores
from training.networks.adversary import Adversary
from training.networks.encoder import features_of
from training.networks.features import FeatureSource
from training.networks.unet import UNIT_RANGE, UNetConfig, build_unet
from training.optimiser import build_optimiser
from training.probes import choose_probes, score_probes
from training.progress import Advance, silent
from training.provenance import make_deterministic, record
from training.recipes import Loss, Recipe, parse_model_name
from training.run_files import same_as_before
from training.start import DATA, Start, begin_with, seen_series, start_weights
from training.tensorboard_log import TensorBoardLog


@dataclass(frozen=True)
class FitSettings:
    """Everything that decides the outcome of a run beside the data; stored in the manifest.

    Attributes:
        model: domain and recipe, such as `ct-l2`.
        epochs, steps, batch, patch: `epochs` times `steps` batches of `batch` patches of `patch` x `patch` pixels.
        learning_rate: of Adam at its peak; see `training.optimiser`.
        precision: Keras policy of the convolutions; weights, losses and the residual sum are float32 always.
        seed: of weights, patches and noise.
        noise: what degrades the patches: many doses, or one stated degradation of the model's domain. Where there is no
            dose (domain `relative`) the default is white noise, `gaussian`.
        loss: the recipe's settings; those not given are the recipe's own.
        features: of recipes that compare by features, whose; by default an encoder trained on the fit series.
        start: the weights to begin with; by default random ones.

    Raises:
        UnknownDegradation: `noise` is of another domain than `model`.
        UnknownRecipe, UnknownSetting: `model` or a name in `loss` does not exist, or the recipe takes no `features`.
    """

    model: str
    epochs: int = 20
    steps: int = 300
    batch: int = 32
    patch: int = 96
    learning_rate: float = 1e-3
    precision: str = "mixed_bfloat16"
    seed: int = 0
    network: UNetConfig = field(default_factory=UNetConfig)
    noise: DoseRange | Degradation = field(default_factory=DoseRange)
    loss: Mapping[str, float] = field(default_factory=dict)
    features: FeatureSource | None = None
    start: Start | None = None

    def __post_init__(self) -> None:
        # all of them, so that a run is not resumed under another loss when the recipe's own numbers change
        object.__setattr__(self, "loss", dict(self.recipe.settings))
        domain, _ = parse_model_name(self.model)
        if self.noise == DoseRange() and domain != "ct":
            object.__setattr__(self, "noise", DEGRADATIONS[domain]["gaussian"])
        of = self.noise.domain if isinstance(self.noise, Degradation) else "ct"
        if of != domain:
            raise UnknownDegradation(f"{self.noise.label} degrades {of} images, and {self.model} is for {domain} ones")
        if self.recipe.needs == "features":
            object.__setattr__(self, "features", self.features or FeatureSource())
        elif self.features is not None:
            raise UnknownSetting(f"recipe {self.recipe.name} compares by no features; leave out --features")

    @property
    def recipe(self) -> Recipe:
        """The recipe under `loss`."""
        return parse_model_name(self.model)[1].with_settings(self.loss)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as written to settings.json and the manifest."""
        plain: dict[str, Any] = json.loads(json.dumps({**dataclasses.asdict(self), "noise": self.noise.to_json()}))
        for name in ("features", "start"):
            if plain[name] is None:
                del plain[name]
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> FitSettings:
        """What `to_json` gave.

        Raises:
            IncompatibleRun: its range of doses is of an earlier kind.
        """
        network = UNetConfig.from_json(plain["network"])
        noise = degradation_from_json(plain["noise"]) if "name" in plain["noise"] else _dose_range(plain["noise"])
        features = FeatureSource(**plain["features"]) if "features" in plain else None
        start = Start(**plain["start"]) if "start" in plain else None
        return cls(**{**plain, "network": network, "features": features, "noise": noise, "start": start})


@dataclass(frozen=True)
class Progress:
    """Where a run is: told after every step, and with `scores` after every epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    scores: dict[str, float] | None = None


def fit(
    settings: FitSettings,
    fit_series: Sequence[PreparedSeries],
    tune_series: Sequence[PreparedSeries],
    run: Path,
    *,
    cache: Path | None = None,
    until: int | None = None,
    source: str | None = None,
    advance: Advance = silent,
    progress: Callable[[Progress], None] = lambda _: None,
) -> keras.Model:
    """Trains, or resumes, one model and returns it.

    Args:
        settings: see there.
        fit_series: its pixels change the weights.
        tune_series: scored after each epoch, for the eye only; may be empty. No epoch is chosen by it: the last
            one counts.
        run: folder of the run, made when missing.
        cache: where the encoder of recipes that compare by features is kept for other runs; by default in `run`.
        until: stops after so many epochs of the schedule, which stays that of all; by default none is left out.
        source: where the series were read from, for `clearslice reproduce`.
        advance: told while that encoder is made.
        progress: told after every step and epoch.

    Raises:
        NoTrainingData: `fit_series` is empty, or holds slices smaller than a patch; a patient to tune on was fitted by
            the model to start from.
        IncompatibleRun: `run` holds a run with other settings.
        UnusableFeatures, UnsupportedBackend: of recipes that need a network.
        UnusableStart: the weights to start from are gone, or others.
    """
    domain, _ = parse_model_name(settings.model)
    recipe = settings.recipe
    check_fit_series(fit_series, settings.patch)
    unit = DOMAINS[domain]
    _, _, scale = UNIT_RANGE[unit]
    same_as_before(run / "settings.json", settings.to_json(), "settings")
    same_as_before(run / DATA, describe(fit_series), "training series")
    if settings.features:
        network, sha256 = features_of(settings.features, fit_series, unit, cache or run, progress=advance)
        same_as_before(run / "features.json", {"sha256": sha256}, "features")
        recipe = recipe.with_network(network)
    make_deterministic()
    keras.utils.set_random_seed(settings.seed)
    model = compile_model(settings, recipe)
    if settings.start:
        begin_with(model, start_weights(settings.start, domain, run))
        check_unseen(tune_series, seen_series(run), settings.start.of)
    history = _resume(model, settings, run)
    train = model.train_on_batch
    adversary = Adversary(model, recipe, unit) if recipe.needs == "discriminator" else None
    if adversary:
        adversary.resume(run, epoch=len(history))
        train, recipe = adversary.step, adversary.recipe
    probes = choose_probes(tune_series, settings.noise)
    last = min(settings.epochs, until or settings.epochs)
    if len(history) < last:
        record(run, {"fit": fit_series, "tune": tune_series}, epoch=len(history) + 1, source=source)
    with closing(TensorBoardLog(run / "tensorboard")) as log:
        for epoch in range(len(history), last):
            total = 0.0
            batches = patches(
                fit_series,
                size=settings.patch,
                batch=settings.batch,
                steps=settings.steps,
                degrade=settings.noise,
                target=recipe.target,
                rng=np.random.default_rng((settings.seed, epoch)),
            )
            with prefetched(batches) as ready:
                for step, (degraded, target) in enumerate(ready, start=1):
                    total += float(train(degraded, target))
                    progress(Progress(epoch + 1, settings.epochs, step, settings.steps, total / step))
            scores, pictures = score_probes(model, recipe.outputs, probes)
            scores |= share_scores(recipe, target / scale, model.predict_on_batch(degraded) / scale)
            scores["loss"] = total / settings.steps
            if adversary:
                scores |= adversary.scores()
                adversary.save(run, epoch + 1)
            log.write(epoch + 1, scores, pictures)
            history.append(scores)
            _save(model, history, run)
            progress(Progress(epoch + 1, settings.epochs, settings.steps, settings.steps, scores["loss"], scores))
    return model


def load_run(run: Path) -> tuple[keras.Model, FitSettings]:
    """The model of a finished or unfinished run, without its optimiser, and its settings.

    Its channels are the outputs of the recipe; `training.probes.restore_slice` makes a restorer of images of it.

    Raises:
        IncompatibleRun: the folder holds no run, or one without a finished epoch.
    """
    if not (run / "settings.json").is_file() or not (run / "checkpoint.weights.h5").is_file():
        raise IncompatibleRun(f"{run} holds no training run with a finished epoch; make one with `clearslice train`")
    settings = FitSettings.from_json(json.loads((run / "settings.json").read_text()))
    model = compile_model(settings, settings.recipe)
    model.load_weights(run / "checkpoint.weights.h5")
    return model, settings


def compile_model(settings: FitSettings, recipe: Recipe) -> keras.Model:
    """A model to be trained: fresh weights of Keras' global generator, the optimiser, and the loss of `recipe`."""
    domain, _ = parse_model_name(settings.model)
    unit = DOMAINS[domain]
    model = build_unet(settings.network, unit, outputs=recipe.outputs, dtype=settings.precision)
    optimizer = build_optimiser(learning_rate=settings.learning_rate, epochs=settings.epochs, steps=settings.steps)
    model.compile(optimizer=optimizer, loss=in_network_unit(recipe.loss, unit))
    model.optimizer.build(model.trainable_variables)
    return model


def finished_epochs(model: keras.Model, settings: FitSettings) -> int:
    """How many epochs the weights of a run, as `load_run` gives them, have been trained for."""
    return int(ops.convert_to_numpy(model.optimizer.iterations)) // settings.steps


def _dose_range(plain: Mapping[str, float]) -> DoseRange:
    if plain.keys() != DoseRange().to_json().keys():
        raise IncompatibleRun(
            "the run was trained over a range of doses that an earlier version of this program drew"
            f" ({', '.join(plain)}), and cannot go on; its weights can be used: clearslice train --start RUN"
        )
    return DoseRange(**plain)


def in_network_unit(loss: Loss, unit: str) -> Loss:
    """The loss of physical values: both images are divided by the unit's scale first, in float32."""
    _, _, scale = UNIT_RANGE[unit]

    def scaled(reference: Any, restored: Any) -> Any:
        return loss(ops.cast(reference, "float32") / scale, ops.cast(restored, "float32") / scale)

    return scaled


def describe(series: Sequence[PreparedSeries]) -> list[dict[str, Any]]:
    """What a manifest says of the data: `series`, `patient` (a hash), `slices`."""
    return [{"series": each.name, "patient": each.patient, "slices": len(each.images)} for each in series]


def _resume(model: keras.Model, settings: FitSettings, run: Path) -> list[dict[str, float]]:
    if not (run / "checkpoint.weights.h5").exists():
        return []
    model.load_weights(run / "checkpoint.weights.h5")
    history: list[dict[str, float]] = json.loads((run / "history.json").read_text())
    # killed between the two renames of `_save`, the history has the line of an epoch whose weights are lost
    return history[: finished_epochs(model, settings)]


def _save(model: keras.Model, history: list[dict[str, float]], run: Path) -> None:
    (run / "aside.json").write_text(json.dumps(history, indent=1) + "\n")
    _replace(run / "aside.json", run / "history.json")
    model.save_weights(run / "aside.weights.h5")
    _replace(run / "aside.weights.h5", run / "checkpoint.weights.h5")


def _replace(aside: Path, final: Path) -> None:
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    aside.replace(final)
