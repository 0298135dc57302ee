"""What is done for a request before and after its model runs, each in one go on a codec thread.

Task --prepare: resolve or choose, decode, check--> Prepared --(model)--> answers --finish--> Finished
        model_store.errors  imaging.errors  UnitMismatch  NoSuchOutput              ModelFailed RuleViolated
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imaging import formats
from imaging.frames import Frames
from imaging.image import Format, Rescale, Unit
from model_store.evidence import AUTO
from model_store.manifest import Manifest
from model_store.store import CANARY, ModelStore, ModelVersion
from service import auto, pipeline
from service.errors import UnitMismatch
from service.intake import check_unit, take_in
from service.meanings import drawn_canary, names_taking, no_such_output, resolve_standing
from service.scores import score_frames
from service.settings import Settings


@dataclass(frozen=True)
class Task:
    """One reconstruction as asked for.

    Attributes:
        image, reference: whole files.
        model: ref, `auto` for the one that suits the image's noise, or None for the store's default.
        outputs: `restored`, and what else the model shall give.
        strength: 0 to 1.
        metrics: which to compute; empty for none.
        rescale: for files that state no unit.
        choose_format: from the images' own format and their number to the format that the answer shall have.
    """

    image: bytes = field(repr=False)
    reference: bytes | None = field(repr=False)
    model: str | None
    outputs: tuple[str, ...]
    strength: float
    metrics: tuple[str, ...]
    rescale: Rescale | None
    choose_format: Callable[[Format, int], Format]


@dataclass(frozen=True)
class Prepared:
    """A task that is ready for its model.

    Attributes:
        ref: what was asked for: a model ref, or of what `auto` chose the version's own.
        version: what is to restore.
        chosen: why `auto` chose it; empty where the client did.
        frames, reference: the images, and those to measure against.
        instead: where `version` is a canary, what to use when that is refused.
    """

    ref: str
    version: ModelVersion
    chosen: str
    frames: Frames
    reference: Frames | None
    instead: ModelVersion | None = None


@dataclass(frozen=True)
class Finished:
    """What is made of a model's answers; see `service.engine.Answer`."""

    encoded: pipeline.Encoded
    others: dict[str, pipeline.Encoded]
    warnings: tuple[str, ...]
    scores: list[dict[str, Any]] | None


def prepare(
    task: Task,
    store: ModelStore,
    settings: Settings,
    standing: Mapping[str, ModelVersion],
    *,
    canaries: bool = True,
) -> Prepared:
    """The version and the images of a task.

    Args:
        task: what is asked.
        store, settings: of the app.
        standing: as of `service.meanings.resolve_standing`.
        canaries: whether the series may be one of a canary's; who compares models means those that they name.

    Raises:
        ModelStoreError: there is no such version, or nothing that `auto` could choose by.
        NoSuchOutput: the version does not give what was asked for.
        ImagingError, UnitMismatch, DerivationRefused: as `service.intake.take_in`.
    """
    if task.model == AUTO:
        return _choose(task, store, settings)
    ref = store.default_ref() if task.model is None else task.model
    version = resolve_standing(store, ref, standing)
    _check_outputs(task, version, store)
    frames, reference = _decode(task, version.manifest, store, settings)
    canary = drawn_canary(store, task.model, frames, version) if canaries else None
    if canary is not None:
        return Prepared(f"{version.name}@{CANARY}", canary, "", frames, reference, instead=version)
    return Prepared(ref, version, "", frames, reference)


def prepare_several(
    task: Task, refs: Sequence[str], store: ModelStore, settings: Settings, standing: Mapping[str, ModelVersion]
) -> list[Prepared]:
    """The same images for several versions, each once, in the order of `refs`: all is found out before any runs.

    Args:
        task: its model does not count.
        refs: model refs; `auto` may be among them.
        store, settings, standing: as `prepare`.

    Raises:
        UnitMismatch: the versions take images in different units.
        ModelStoreError, ImagingError, DerivationRefused: as `prepare`.
    """
    named = {ref: resolve_standing(store, ref, standing) for ref in refs if ref != AUTO}
    units = {version.manifest.unit: version.ref for version in named.values()}
    if len(units) > 1:
        both = " and ".join(f"{ref} {unit}" for unit, ref in units.items())
        raise UnitMismatch(f"one image cannot go through all of these models: {both} images are taken")
    first = prepare(replace(task, model=refs[0]), store, settings, standing, canaries=False)
    found = {first.version.ref: first}
    for ref in refs[1:]:
        if ref == AUTO:
            chosen = auto.choose_for(store, first.frames.unit, [image.pixels for image in first.frames])
            own = chosen.version.ref
            there = found.get(own, replace(first, ref=own, version=chosen.version))
            found[own] = replace(there, chosen=chosen.reason)
        else:
            check_unit(first.frames, named[ref].manifest, models_taking=functools.partial(names_taking, store))
            found.setdefault(named[ref].ref, replace(first, ref=ref, version=named[ref], chosen=""))
    return list(found.values())


def finish(
    task: Task,
    prepared: Prepared,
    wanted: Format,
    answers: Sequence[pipeline.Pixels],
    *,
    settings: Settings,
    series: pipeline.SeriesContext,
    precision: str,
) -> Finished:
    """The files, warnings and scores of a model's answers.

    Args:
        task, prepared: what was asked, and what was restored.
        wanted: format of the files.
        answers: of each frame, (1, H, W, C) with a channel for each of the task's outputs.
        settings: of the app.
        series: what derived instances share with others of their series, and their moment.
        precision: in which the answers were computed.

    Raises:
        ModelFailed: an answer may not be delivered.
        RuleViolated: a derived instance broke a rule.
    """
    frames, reference, version = prepared.frames, prepared.reference, prepared.version
    given = [
        (image, pipeline.checked_outputs(answer, image, version.ref, task.outputs))
        for image, answer in zip(frames, answers, strict=True)
    ]
    pixels = [pipeline.blend(image, outputs["restored"], task.strength) for image, outputs in given]
    warnings = pipeline.warnings_of(frames, [outputs["restored"] for _, outputs in given], version)
    others = {
        name: pipeline.encode_further(
            frames, [pipeline.without_padding(image, name, outputs[name]) for image, outputs in given], wanted
        )
        for name in task.outputs[1:]
    }
    encoded = pipeline.encode(
        frames,
        pixels,
        wanted,
        derivation=pipeline.derivation_of(version, task.strength, warnings, precision=precision),
        conventions=settings.dicom,
        series=series,
    )
    scores = None
    if reference is not None and task.metrics:
        images = {"restored": pixels, "degraded": [image.pixels for image in frames]}
        truth = [image.pixels for image in reference]
        scores = score_frames(images, truth, unit=frames.unit, metrics=task.metrics)
    return Finished(encoded, others, warnings, scores)


def _choose(task: Task, store: ModelStore, settings: Settings) -> Prepared:
    """By the noise of the images, which have to be decoded for that."""
    unit: Unit = "HU" if task.rescale is not None or formats.sniff(task.image) == "dicom" else "relative"
    _, version = auto.provisional(store, unit)
    frames, reference = _decode(task, version.manifest, store, settings)
    found = auto.choose_for(store, unit, [image.pixels for image in frames])
    _check_outputs(task, found.version, store)
    return Prepared(found.version.ref, found.version, found.reason, frames, reference)


def _check_outputs(task: Task, version: ModelVersion, store: ModelStore) -> None:
    missing = [name for name in task.outputs if name not in ("restored", *version.manifest.spread_outputs)]
    if missing:
        raise no_such_output(store, version, missing)


def _decode(task: Task, manifest: Manifest, store: ModelStore, settings: Settings) -> tuple[Frames, Frames | None]:
    return take_in(
        task.image,
        task.reference,
        rescale=task.rescale,
        manifest=manifest,
        limits=settings.limits(),
        conventions=settings.dicom,
        models_taking=functools.partial(names_taking, store),
    )
