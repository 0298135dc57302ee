"""Collect: the files of a study's folder -> scores that can be compared.

    cells/*/*/*/scores.json --same terms? all folds?--> method -> patient -> (seeds, slices)
                                 |          '-- a recipe counts under a seed only when every fold of it is scored
                                 '-- scores made under other terms are left out until they are made anew

All methods of a degradation are compared over the same seeds, patients and slices.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.comparison.cells import cost_of, is_trained
from training.comparison.compare import BASELINE, DEGRADED, TAKEN
from training.comparison.scoring import CROP, SCORES, VERSION
from training.comparison.standings import Kind
from training.comparison.study import Cell, Choice, Study

Key = tuple[str, str]
"""(metric, contract or tissue)."""


@dataclass(frozen=True)
class Method:
    """What one method did under one degradation.

    Attributes:
        name, kind: who.
        tuned: a baseline with its parameter, such as `Gaussian (0.7 px)`, one for each fold.
        patients: of each slice, in the order of `values`.
        values: (metric, contract) -> (seeds, slices) float64; NaN where a metric is not defined on a slice.
        phantom: of the first seed and fold, as `training.evaluation.phantom_tests.PhantomResult.to_json`.
        milliseconds: a slice.
        crop: file of the restored picture, of the first seed and fold.
    """

    name: str
    kind: Kind
    tuned: tuple[str, ...]
    patients: tuple[str, ...]
    values: dict[Key, NDArray[np.float64]]
    phantom: dict[str, Any]
    milliseconds: float
    crop: Path

    def by_patient(self, key: Key) -> dict[str, NDArray[np.float64]]:
        """Patient -> (seeds, slices) of one metric."""
        places: dict[str, list[int]] = {}
        for place, patient in enumerate(self.patients):
            places.setdefault(patient, []).append(place)
        return {patient: self.values[key][:, each] for patient, each in places.items()}


@dataclass(frozen=True)
class Column:
    """One degradation.

    Attributes:
        degradation: which.
        seeds: those that all its recipes are scored under.
        methods: recipes in the order of the study, then taken runs, then no filter and the baselines.
        missing: recipes without scores of a whole seed.
        diverged: recipes of which a training diverged; they are not among the methods.
        undefined: slices left out because PSNR or SSIM is not defined on them for some method.
    """

    degradation: Choice
    seeds: tuple[int, ...]
    methods: tuple[Method, ...]
    missing: tuple[str, ...]
    diverged: tuple[str, ...]
    undefined: int


@dataclass
class _Scored:
    """Scores of a recipe by seed: one dictionary a fold."""

    seeds: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    crops: dict[int, Path] = field(default_factory=dict)
    diverged: set[int] = field(default_factory=set)


def collect(study: Study, folder: Path) -> list[Column]:
    """Every degradation of which at least one recipe is scored."""
    columns = [_column(study, folder, degradation) for degradation in study.degradations]
    return [column for column in columns if any(each.kind == "recipe" for each in column.methods)]


def costs(study: Study, folder: Path) -> dict[str, dict[str, float]]:
    """Recipe -> median over its cells of `step_seconds`, `train_seconds` and `parameters`."""
    found: dict[str, dict[str, list[float]]] = {}
    for cell in study.cells():
        if is_trained(cell, folder):
            for name, value in cost_of(cell, folder).items():
                if value is not None and name != "loss":
                    found.setdefault(cell.recipe.label, {}).setdefault(name, []).append(value)
    return {recipe: {name: float(np.median(values)) for name, values in each.items()} for recipe, each in found.items()}


def _column(study: Study, folder: Path, degradation: Choice) -> Column:
    scored: dict[str, _Scored] = {each.label: _Scored() for each in study.recipes}
    folds: Sequence[int | None] = range(study.folds) if study.folds else (None,)
    for seed in study.seeds:
        for recipe in study.recipes:
            places = [folder / Cell(degradation, recipe, fold, seed).folder for fold in folds]
            found = [each for place in places if (each := _read(place, study)) is not None]
            if len(found) < len(places):
                continue
            if any(each.get("diverged") for each in found):
                scored[recipe.label].diverged.add(seed)
            else:
                scored[recipe.label].seeds[seed] = found
                scored[recipe.label].crops[seed] = places[0] / CROP
    # whoever diverged once is not ranked by the seeds that went well
    names, seeds = _common({name: set(each.seeds) for name, each in scored.items() if not each.diverged})
    methods = [
        _method(name, "recipe", [scored[name].seeds[seed] for seed in seeds], scored[name].crops[seeds[0]])
        for name in names
    ]
    methods += _others(study, folder, degradation, folds)
    methods, undefined = _defined(methods)
    diverged = tuple(name for name, each in scored.items() if each.diverged)
    missing = tuple(name for name in scored if name not in names and name not in diverged)
    return Column(degradation, seeds, tuple(methods), missing, diverged, undefined)


def _common(seeds: dict[str, set[int]]) -> tuple[list[str], tuple[int, ...]]:
    """Recipes and the seeds that all of them have; where there is none, the seed that most have, and those recipes."""
    having = [name for name, each in seeds.items() if each]
    if not having:
        return [], ()
    common = set.intersection(*(seeds[name] for name in having))
    if not common:
        most = max(sorted(set.union(*seeds.values())), key=lambda seed: sum(seed in each for each in seeds.values()))
        common = {most}
        having = [name for name in having if most in seeds[name]]
    return having, tuple(sorted(common))


def _others(study: Study, folder: Path, degradation: Choice, folds: Iterable[int | None]) -> list[Method]:
    base = folder / "cells" / degradation.folder
    parts = ["all" if fold is None else f"fold{fold}" for fold in folds]
    methods = []
    for place in sorted(base.iterdir()) if base.is_dir() else []:
        kind: Kind = "taken" if place.name.startswith(TAKEN) else "baseline"
        if kind == "baseline" and place.name != DEGRADED and not place.name.startswith(BASELINE):
            continue
        found = [each for part in parts if (each := _read(place / part, study)) is not None]
        if len(found) == len(parts):
            name = place.name.removeprefix(BASELINE)
            if kind == "taken":  # it may be called as a recipe is
                name = f"{place.name.removeprefix(TAKEN)} (taken)"
            methods.append(_method(name, kind, [found], place / parts[0] / CROP))
    return sorted(methods, key=lambda each: (each.kind != "taken", each.name != DEGRADED))


def _read(place: Path, study: Study) -> dict[str, Any] | None:
    """The scores of a folder, if they were made under the terms of the study."""
    file = place / SCORES
    if not file.is_file():
        return None
    plain: dict[str, Any] = json.loads(file.read_text())
    terms = plain["terms"]
    return plain if (terms["version"], terms["slices"]) == (VERSION, study.slices) else None


def _method(name: str, kind: Kind, seeds: list[list[dict[str, Any]]], crop: Path) -> Method:
    """Of each seed's folds; slices of all folds one after the other."""
    images = [[image for fold in folds for image in fold["images"]] for folds in seeds]
    values = [[{(m, c): value for m, c, value in image["values"]} for image in each] for each in images]
    keys = dict.fromkeys(key for each in values for image in each for key in image)
    return Method(
        name,
        kind,
        tuple(dict.fromkeys(fold["tuned"] for fold in seeds[0] if "tuned" in fold)),
        tuple(image["patient"] for image in images[0]),
        {key: np.array([[_number(image.get(key)) for image in each] for each in values], np.float64) for key in keys},
        seeds[0][0]["phantom"],
        float(np.median([fold["slice_milliseconds"] for folds in seeds for fold in folds])),
        crop,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _defined(methods: list[Method]) -> tuple[list[Method], int]:
    """The methods on the slices where every one has a PSNR and an SSIM, and how many slices that leaves out."""
    if not methods:
        return [], 0
    keep = np.ones(len(methods[0].patients), np.bool_)
    for method in methods:
        for (metric, _), values in method.values.items():
            if metric in {"psnr", "ssim"}:
                keep &= np.isfinite(values).all(axis=0)
    if keep.all():
        return methods, 0
    return [
        replace(
            method,
            patients=tuple(patient for patient, kept in zip(method.patients, keep, strict=True) if kept),
            values={key: values[:, keep] for key, values in method.values.items()},
        )
        for method in methods
    ], int((~keep).sum())
