"""Export: a finished run -> a SavedModel with everything in its graph, a golden sample, a model card -> publish.

    run --load_run--> Keras model --signatures over one set of weights-> staged/saved_model.pb, variables/
                                  --phantom, odd size, metal, air------> staged/golden.npz
                                  --scores, data, settings-------------> staged/README.md, draft --> publish

`training.saved_model` writes the graph. TensorFlow is imported inside the functions that need it.
"""

from __future__ import annotations

import datetime as dt
import itertools
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from imaging.image import Unit
from imaging.low_dose import STANDARD, simulate
from imaging.metrics import SOFT_TISSUE
from imaging.phantom import trunk
from model_store.errors import RefusedVersion
from model_store.golden import check_reduced, deviation
from model_store.manifest import (
    BFLOAT16,
    FLOAT32,
    UNCERTAINTY,
    Contract,
    Golden,
    ManifestDraft,
    Provenance,
    Score,
    Signature,
    TrainingData,
)
from model_store.store import ModelStore
from model_store.version import ModelVersion
from training.calibration.calibrate import Calibration, read_calibration
from training.card import render_card
from training.domains import DOMAINS
from training.errors import IncompatibleRun, UnknownRecipe
from training.evaluation.evaluate import DEGRADED, INTERVAL_METHOD, Row
from training.evaluation.image_scores import AGREEMENT, CONTRACTS
from training.fit import FitSettings, finished_epochs, load_run
from training.networks.unet import UNIT_RANGE
from training.provenance import revision, versions
from training.recipes import parse_model_name
from training.saved_model import write_saved_model
from training.start import seen_series

GOLDEN_SHAPE = (65, 83)
"""Odd and small: reaches the padding inside the graph, and weighs under 100 KB, of all outputs together."""

INTENDED_USE = "Research. Not a medical device: not for diagnosis or treatment."


@dataclass(frozen=True)
class Credit:
    """Where a series comes from: the collection's name and its licence."""

    collection: str
    licence: str


def export(
    run: Path, store: ModelStore, *, rows: Sequence[Row] = (), credits_by_series: Mapping[str, Credit] | None = None
) -> ModelVersion:
    """Publishes the model of a run as the next version of its name.

    Args:
        run: folder of a run with all its epochs done. Where bfloat16 is too coarse for it, its version is float32 only.
        store: with a writable layer.
        rows: the evaluation, for the manifest and the card.
        credits_by_series: a series' name, or a pattern such as `dead-leaves-*` -> credit; names go before patterns, and
            a series without either is listed as "not stated".

    Raises:
        IncompatibleRun: no run there, unfinished, or Keras is not on its TensorFlow backend.
        RefusedVersion, StoreConflict: publishing failed; nothing is left behind.
    """
    if keras.backend.backend() != "tensorflow":
        raise IncompatibleRun("export writes a TensorFlow SavedModel: run it with KERAS_BACKEND=tensorflow")
    model, settings = load_run(run)
    done = finished_epochs(model, settings)
    if done < settings.epochs:
        raise IncompatibleRun(
            f"{run} has finished {done} of {settings.epochs} epochs; resume it with `clearslice train`"
        )
    with tempfile.TemporaryDirectory(prefix="clearslice-export-") as folder:
        staged = Path(folder) / "staged"
        calibration = read_calibration(run)
        intervals = calibration.intervals if calibration else None
        unit = DOMAINS[parse_model_name(settings.model)[0]]
        image, reduced = golden_image(unit), True
        write_saved_model(model, settings, staged, intervals=intervals)
        if not _reduced_holds(staged, image, _bounds(UNIT_RANGE[unit][2])):
            reduced = False
            shutil.rmtree(staged)
            write_saved_model(model, settings, staged, intervals=intervals, reduced=False)
        arrays: dict[str, Any] = {"image": image, **_answers_of(staged, image)}
        np.savez_compressed(staged / "golden.npz", **arrays)
        data = seen_series(run)
        rows = [row for row in rows if row.method == settings.model or not _is_model(row.method)]
        draft = _draft(model, settings, rows, data, credits_by_series=credits_by_series or {}, calibration=calibration)
        if not reduced:
            kept = {name: each for name, each in draft.signatures.items() if name != BFLOAT16}
            draft = draft.model_copy(update={"signatures": kept})
        (staged / "README.md").write_text(render_card(draft, rows, calibration))
        return store.publish(staged, draft)


def _is_model(method: str) -> bool:
    """Whether a row is of a model that was evaluated together with this one; its own card has it."""
    try:
        parse_model_name(method)
    except UnknownRecipe:
        return False
    return True


def golden_image(unit: Unit = "HU") -> NDArray[np.float32]:
    """The golden input, (1, 65, 83, 1) float32; always the same.

    For `HU` a noisy abdomen with metal, bone, gas and air; for `relative` the same as a picture: what its soft-tissue
    window shows, from black to white, with white noise that goes beyond both.
    """
    rng = np.random.default_rng(20261124)
    spacing = (4.3, 4.3)  # mm; a whole trunk within so few pixels
    truth = trunk(GOLDEN_SHAPE, spacing, rng, metal=True)
    if unit == "relative":
        shown = np.clip((truth - SOFT_TISSUE.low) / (SOFT_TISSUE.high - SOFT_TISSUE.low), 0, 1)
        noisy = np.asarray(shown + rng.normal(0, 0.1, shown.shape), np.float32)
    else:
        noisy = simulate(truth, spacing, dose_fraction=0.25, noise_hu=15, kernel=STANDARD, electronic_noise=4, rng=rng)
    return noisy[None, ..., None]


def _answers_of(folder: Path, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Output -> answer of the staged model: `restored`, and what `with_uncertainty` gives beside it."""
    import tensorflow as tf  # noqa: PLC0415 - heavy; see the module

    signatures = tf.saved_model.load(str(folder)).signatures
    answers: dict[str, NDArray[np.float32]] = {}
    for name in (UNCERTAINTY, FLOAT32):  # in this order: `restored` is that of the signature that all versions have
        if name in signatures:
            answers |= {output: tensor.numpy() for output, tensor in signatures[name](image=tf.constant(image)).items()}
    return answers


def _reduced_holds(folder: Path, image: NDArray[np.float32], bounds: Golden) -> bool:
    """Whether bfloat16 stays within what every version is held to. Strong noise in relative images is beyond it."""
    import tensorflow as tf  # noqa: PLC0415 - heavy; see the module

    signatures = tf.saved_model.load(str(folder)).signatures
    exact, reduced = (signatures[name](image=tf.constant(image))["restored"].numpy() for name in (FLOAT32, BFLOAT16))
    try:
        check_reduced(deviation(reduced, exact), bounds, "it")
    except RefusedVersion:
        return False
    return True


def _draft(
    model: keras.Model,
    settings: FitSettings,
    rows: Sequence[Row],
    data: Sequence[Mapping[str, Any]],
    *,
    credits_by_series: Mapping[str, Credit],
    calibration: Calibration | None,
) -> ManifestDraft:
    domain, _ = parse_model_name(settings.model)
    recipe = settings.recipe
    sources = [(each, _credit(each["series"], credits_by_series)) for each in data]
    installed = versions()
    return ManifestDraft(
        name=settings.model,
        domain=domain,
        unit=DOMAINS[domain],
        recipe=recipe.name,
        recipe_settings=dict(recipe.settings),
        summary=f"Residual U-Net for {domain}, loss {recipe.name}. Theory favours it for: {recipe.says}.",
        intended_use=INTENDED_USE,
        signatures={FLOAT32: Signature(), BFLOAT16: Signature(compute_dtype="bfloat16")}
        | ({UNCERTAINTY: Signature(outputs=recipe.outputs)} if len(recipe.outputs) > 1 else {}),
        size_multiple=settings.network.size_multiple,
        receptive_field=settings.network.receptive_field,
        parameters=model.count_params(),
        training_settings=_settings_without_paths(settings),
        training_data=tuple(
            TrainingData(**each, collection=credit.collection, licence=credit.licence) for each, credit in sources
        ),
        scores=_scores(settings.model, rows),
        intervals=calibration.intervals if calibration else None,
        guard=calibration.guard if calibration else None,
        golden=_bounds(UNIT_RANGE[DOMAINS[domain]][2]),
        provenance=Provenance(
            created=dt.datetime.now(dt.UTC).replace(microsecond=0),
            clearslice=installed.pop("clearslice"),
            source_revision=revision(),
            framework=installed,
            device=platform.machine(),
            seed=settings.seed,
        ),
    )


def _credit(series: str, credits_by_series: Mapping[str, Credit]) -> Credit:
    if series in credits_by_series:
        return credits_by_series[series]
    fitting = (credit for pattern, credit in credits_by_series.items() if fnmatchcase(series, pattern))
    return next(fitting, Credit("not stated", "not stated"))


def _bounds(scale: float) -> Golden:
    """The same for every model, in the network's unit: for CT 0.5, 1, 5 and 0.1 HU.

    See docs/decisions/0004-golden-tolerance.md.
    """
    return Golden(max_abs=5e-4 * scale, reduced_rms=1e-3 * scale, reduced_p999=5e-3 * scale, reduced_mean=1e-4 * scale)


def _settings_without_paths(settings: FitSettings) -> dict[str, Any]:
    """As written to the manifest: of files and folders their names and hashes, not where they lay on this machine."""
    plain = settings.to_json()
    if settings.start:
        plain["start"]["of"] = "/".join(Path(settings.start.of).parts[-2:])  # RUN, NAME@VERSION or NAME/VERSION
    if settings.features:
        plain["features"]["file"] = Path(settings.features.file).name
    return plain


def _scores(method: str, rows: Sequence[Row]) -> tuple[Score, ...]:
    contracts = {
        each.name: Contract(name=each.name, low=each.low, high=each.high, unit=each.unit)
        for each in itertools.chain(*CONTRACTS.values())
    }
    before = {(r.degradation, r.metric, r.contract): r.mean for r in rows if r.method == DEGRADED}
    return tuple(
        Score(
            metric=row.metric,
            contract=contracts[row.contract],
            degradation=row.degradation,
            restored=row.mean,
            degraded=before[row.degradation, row.metric, row.contract],
            interval=row.interval,
            interval_method=INTERVAL_METHOD,
            patients=row.patients,
            images=row.images,
        )
        for row in rows
        # the others say in what way an image differs, not how far: they are in evaluation.json only
        if row.method == method
        and row.metric in AGREEMENT
        # at full dose the degraded image is the reference, and has no PSNR
        and (row.degradation, row.metric, row.contract) in before
    )
