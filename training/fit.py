"""Fit: one loop, readable in one sitting, that a killed run resumes.

    patches --train_on_batch--> weights --end of epoch--> tune scores --> TensorBoard, history, checkpoint

A run is a folder:

    settings.json, data.json
                       what was asked, and of which series; a run resumes only under the same
    checkpoint.weights.h5, history.json
                       weights with optimiser state, and one line per finished epoch; written aside, then renamed
    tensorboard/       scalars and pictures per epoch

Epoch n draws its patches from a generator seeded with (seed, n), so a resumed run sees the same data as one that was
never stopped. Keras only: the same loop runs on TensorFlow and on JAX.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from imaging.metrics import SOFT_TISSUE, measure
from training.datasets import DoseProtocol, DoseRange, check_fit_series, evaluation_pairs, patches
from training.errors import IncompatibleRun
from training.gradients import gradient_shares
from training.pairs import PreparedSeries
from training.recipes import DOMAINS, Loss, Recipe, parse_model_name
from training.tensorboard_log import TensorBoardLog
from training.unet import UNIT_RANGE, UNetConfig, build_unet

PROBE_SLICES = 6
"""Tune slices that are scored after each epoch: enough to see progress, few enough to cost seconds."""


@dataclass(frozen=True)
class FitSettings:
    """Everything that decides the outcome of a run beside the data; stored in the manifest.

    Attributes:
        model: domain and recipe, such as `ct-l2`.
        epochs, steps, batch, patch: `epochs` times `steps` batches of `batch` patches of `patch` x `patch` pixels.
        learning_rate: of Adam at its peak; it rises over the first epoch and falls along a cosine to zero.
        precision: Keras policy of the convolutions; weights, losses and the residual sum are float32 always.
        seed: of weights, patches and noise.
        loss: the recipe's settings; those not given are the recipe's own.

    Raises:
        UnknownRecipe, UnknownSetting: `model` or a name in `loss` does not exist.
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
    noise: DoseRange = field(default_factory=DoseRange)
    loss: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # all of them, so that a run is not resumed under another loss when the recipe's own numbers change
        object.__setattr__(self, "loss", dict(self.recipe.settings))

    @property
    def recipe(self) -> Recipe:
        """The recipe under `loss`."""
        return parse_model_name(self.model)[1].with_settings(self.loss)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as written to settings.json and the manifest."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> FitSettings:
        network = UNetConfig(tuple(plain["network"]["widths"]), plain["network"]["blocks"])
        return cls(**{**plain, "network": network, "noise": DoseRange(**plain["noise"])})


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
    progress: Callable[[Progress], None] = lambda _: None,
) -> keras.Model:
    """Trains, or resumes, one model and returns it.

    Args:
        settings: see there.
        fit_series: its pixels change the weights.
        tune_series: scored after each epoch, for the eye only; may be empty. No epoch is chosen by it: the last
            one counts.
        run: folder of the run, made when missing.
        progress: told after every step and epoch.

    Raises:
        NoTrainingData: `fit_series` is empty, or holds slices smaller than a patch.
        IncompatibleRun: `run` holds a run with other settings.
    """
    domain, _ = parse_model_name(settings.model)
    recipe = settings.recipe
    check_fit_series(fit_series, settings.patch)
    keras.utils.set_random_seed(settings.seed)
    unit = DOMAINS[domain]
    model = build_unet(settings.network, unit, dtype=settings.precision)
    model.compile(optimizer=_optimizer(settings), loss=in_network_unit(recipe.loss, unit))
    model.optimizer.build(model.trainable_variables)
    history = _resume(model, settings, describe(fit_series), run)
    probes = _probes(tune_series)
    log = TensorBoardLog(run / "tensorboard")
    for epoch in range(len(history), settings.epochs):
        rng = np.random.default_rng((settings.seed, epoch))
        total = 0.0
        batches = patches(
            fit_series,
            size=settings.patch,
            batch=settings.batch,
            steps=settings.steps,
            noise=settings.noise,
            rng=rng,
        )
        for step, (degraded, reference) in enumerate(batches, start=1):
            total += float(model.train_on_batch(degraded, reference))
            progress(Progress(epoch + 1, settings.epochs, step, settings.steps, total / step))
        scores, pictures = _score(model, probes)
        scores |= _shares(recipe, reference, model.predict_on_batch(degraded), UNIT_RANGE[unit][2])
        scores["loss"] = total / settings.steps
        log.write(epoch + 1, scores, pictures)
        history.append(scores)
        _save(model, history, run)
        progress(Progress(epoch + 1, settings.epochs, settings.steps, settings.steps, scores["loss"], scores))
    log.close()
    return model


def load_run(run: Path) -> tuple[keras.Model, FitSettings]:
    """The model of a finished or unfinished run, without its optimiser, and its settings.

    Raises:
        IncompatibleRun: the folder holds no run, or one without a finished epoch.
    """
    if not (run / "settings.json").is_file() or not (run / "checkpoint.weights.h5").is_file():
        raise IncompatibleRun(f"{run} holds no training run with a finished epoch; make one with `clearslice train`")
    settings = FitSettings.from_json(json.loads((run / "settings.json").read_text()))
    domain, _ = parse_model_name(settings.model)
    model = build_unet(settings.network, DOMAINS[domain], dtype=settings.precision)
    model.compile(optimizer=_optimizer(settings))
    model.optimizer.build(model.trainable_variables)
    model.load_weights(run / "checkpoint.weights.h5")
    return model, settings


def finished_epochs(model: keras.Model, settings: FitSettings) -> int:
    """How many epochs the weights of a run, as `load_run` gives them, have been trained for."""
    return int(ops.convert_to_numpy(model.optimizer.iterations)) // settings.steps


def in_network_unit(loss: Loss, unit: str) -> Loss:
    """The loss of physical values: both images are divided by the unit's scale first, in float32."""
    _, _, scale = UNIT_RANGE[unit]

    def scaled(reference: Any, restored: Any) -> Any:
        return loss(ops.cast(reference, "float32") / scale, ops.cast(restored, "float32") / scale)

    return scaled


def _optimizer(settings: FitSettings) -> keras.optimizers.Optimizer:
    total = settings.epochs * settings.steps
    warm_up = min(settings.steps, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 100,
        decay_steps=max(total - warm_up, 1),
        warmup_target=settings.learning_rate,
        warmup_steps=warm_up,
    )
    # the clip only meets the rare batch with metal: such a step would undo a hundred others
    return keras.optimizers.Adam(schedule, global_clipnorm=1.0)


def describe(series: Sequence[PreparedSeries]) -> list[dict[str, Any]]:
    """What a manifest says of the data: `series`, `patient` (a hash), `slices`."""
    return [{"series": each.name, "patient": each.patient, "slices": len(each.hu)} for each in series]


def _shares(
    recipe: Recipe, reference: NDArray[np.float32], restored: NDArray[np.float32], scale: float
) -> dict[str, float]:
    """`gradient share of <term>` on one batch, for recipes of several terms."""
    shares = gradient_shares(recipe, reference / scale, restored / scale)
    return {f"gradient share of {term}": share for term, share in shares.items()} if len(shares) > 1 else {}


def _resume(model: keras.Model, settings: FitSettings, data: list[dict[str, Any]], run: Path) -> list[dict[str, float]]:
    run.mkdir(parents=True, exist_ok=True)
    _same_as_before(run / "settings.json", settings.to_json(), "settings", run)
    _same_as_before(run / "data.json", data, "training series", run)
    if not (run / "checkpoint.weights.h5").exists():
        return []
    model.load_weights(run / "checkpoint.weights.h5")
    history: list[dict[str, float]] = json.loads((run / "history.json").read_text())
    # killed between the two renames of `_save`, the history has the line of an epoch whose weights are lost
    return history[: finished_epochs(model, settings)]


def _same_as_before(file: Path, asked: Any, what: str, run: Path) -> None:
    if file.exists():
        if json.loads(file.read_text()) != asked:
            raise IncompatibleRun(
                f"{run} holds a run with other {what}; choose another folder with --run, or delete it"
            )
    else:
        file.write_text(json.dumps(asked, indent=1) + "\n")


def _save(model: keras.Model, history: list[dict[str, float]], run: Path) -> None:
    (run / "aside.json").write_text(json.dumps(history, indent=1) + "\n")
    _replace(run / "aside.json", run / "history.json")
    model.save_weights(run / "aside.weights.h5")
    _replace(run / "aside.weights.h5", run / "checkpoint.weights.h5")


def _replace(aside: Path, final: Path) -> None:
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    aside.replace(final)


Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def _probes(series: Sequence[PreparedSeries]) -> list[Pair]:
    pairs = [pair for each in series for pair in evaluation_pairs(each, DoseProtocol())]
    return pairs[:: max(1, len(pairs) // PROBE_SLICES)][:PROBE_SLICES]


def _score(model: keras.Model, probes: list[Pair]) -> tuple[dict[str, float], dict[str, NDArray[np.uint8]]]:
    """Mean scores of the probes under the soft-tissue contract, and one picture: degraded, restored, reference."""
    if not probes:
        return {}, {}
    sums: dict[str, list[float]] = {"psnr": [], "ssim": [], "rmse": [], "bias": []}
    pictures = {}
    for number, (degraded, reference) in enumerate(probes):
        restored = model.predict_on_batch(degraded[None, ..., None])[0, ..., 0]
        scores = measure(restored, reference, SOFT_TISSUE)
        for name, values in sums.items():
            values.append(getattr(scores, name))
        if number < 2:  # noqa: PLR2004 - two pictures tell enough
            row = np.concatenate([degraded, restored, reference], axis=1)
            window = (row - SOFT_TISSUE.low) / (SOFT_TISSUE.high - SOFT_TISSUE.low)
            pictures[f"tune {number}: degraded, restored, reference"] = (np.clip(window, 0, 1) * 255).astype(np.uint8)
    return {name: float(np.mean(values)) for name, values in sums.items()}, pictures
