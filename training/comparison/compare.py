"""Compare: trains and scores the cells of a study, and keeps each result as it finishes.

    for each seed, degradation and fold:
        every recipe --train_cell--> run folder, trained.json                       (cells)
        every recipe, baseline and taken run --score_restorer--> scores.json, crop.npy        (scoring)
        pairs of tune slices --advise--> advice.json                                          (advised)
    study folder --report--> report.html, report.json, report.md

All recipes of a degradation come before the next degradation, and all of a seed before the next seed, so what an
interrupted study has is a table with whole columns. What is finished is not done again, so a study may take days, and
may grow.

Several processes may work on one folder: each claims what it trains or scores, and passes by what another has claimed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from training.claims import Claim
from training.comparison.advised import is_advised, keep_advice
from training.comparison.cells import cost_of, is_trained, missing, train_cell
from training.comparison.folds import Fold
from training.comparison.scoring import (
    VERSION,
    Bench,
    choose,
    degraded_slice,
    is_scored,
    keep_scores,
    make_bench,
    score_restorer,
)
from training.comparison.study import Cell, Choice, Study
from training.degradations import prepare_degradation
from training.domains import DOMAINS
from training.errors import IncompatibleRun, InvalidStudy
from training.evaluation.baselines import BASELINES, tune
from training.evaluation.image_scores import Picture
from training.fit import Progress, load_run
from training.memory import forget_models
from training.probes import restore_slice
from training.progress import Advance, Notice, silent
from training.recipes import parse_model_name

DEGRADED = "degraded"
"""The method that does nothing."""

ADVICE = "advice"
"""The folder of what is advised from the noise alone."""

BASELINE = "baseline "
TAKEN = "taken "
"""What the folders of methods that are no recipes begin with; names of recipes have no spaces."""

_TUNE_SLICES = 12


@dataclass(frozen=True)
class Taken:
    """A run that was trained before, under its own budget: an additional row."""

    name: str
    run: Path


def method_folder(degradation: Choice, method: str, fold: int | None) -> Path:
    """Of a method that is no recipe, below the study's folder."""
    return Path("cells") / degradation.folder / method / ("all" if fold is None else f"fold{fold}")


def take(run: Path, study: Study, folds: Mapping[int | None, Fold]) -> Taken:
    """A run folder as an additional row.

    Raises:
        IncompatibleRun: no run, of another domain, or fitted on a patient that the study reports on.
    """
    _, settings = load_run(run)
    domain, _ = parse_model_name(settings.model)
    if domain != study.domain:
        raise IncompatibleRun(f"{run} is of domain {domain}, and the study of {study.domain}")
    fitted = {each["patient"] for each in json.loads((run / "data.json").read_text())}
    if any(each.patient in fitted for fold in folds.values() for each in fold.report):
        raise IncompatibleRun(f"{run} was fitted on a patient that the study reports on; it cannot be a row of it")
    return Taken(run.resolve().name, run)


def compare(
    study: Study,
    folds: Mapping[int | None, Fold],
    folder: Path,
    *,
    cache: Path,
    train: bool = True,
    score: bool = True,
    taken: Sequence[Taken] = (),
    progress: Advance = silent,
    notice: Notice = silent,
) -> None:
    """Trains and scores what is missing and nobody else is at.

    Args:
        study: as `training.comparison.study.keep_study` gave it.
        folds: as `training.comparison.folds.deal` gave them.
        folder: of the study.
        cache: of unit noise, projections and feature encoders.
        train, score: which of the two to do; scores are made of the cells that are trained.
        taken: additional rows.
        progress: told the steps done and in all of what was missing, and what else takes long.
        notice: told about each finished cell.

    Raises:
        As `training.fit.fit` and the degradations.
    """
    todo = missing(study, folder) if train else []
    for (_, degradation, fold), cells in groupby(
        study.cells(), key=lambda cell: (cell.seed, cell.degradation, cell.fold)
    ):
        group = list(cells)
        for cell in group:
            if cell not in todo:
                continue
            with _claim(folder / cell.folder) as mine:
                if mine and not is_trained(cell, folder):
                    _train(study, cell, folds[fold], folder, cache, todo=todo, progress=progress, notice=notice)
        if score:
            _Scorer(study, degradation, folds[fold], folder, cache, progress, notice).score(group, taken)


@contextmanager
def _claim(place: Path) -> Iterator[bool]:
    """Whether nobody else is at work on this folder of cells/; nobody begins while the block lasts."""
    claim = Claim.take(place / "claim")
    try:
        yield claim is not None
    finally:
        if claim is not None:
            claim.release()


def _preparing(degradation: Choice, folder: Path) -> Claim:
    """One process prepares the degradation, on all cores, and the others wait for it."""
    return Claim.wait(folder / "cells" / degradation.folder / "claim")


def _train(
    study: Study,
    cell: Cell,
    fold: Fold,
    folder: Path,
    cache: Path,
    *,
    todo: list[Cell],
    progress: Advance,
    notice: Notice,
) -> None:
    with _preparing(cell.degradation, folder):
        prepare_degradation(study.degradation(cell.degradation), fold.fit, progress=progress)
    number = todo.index(cell)
    steps = study.budget.epochs * study.budget.steps

    def told(state: Progress) -> None:
        done = (state.epoch - 1) * state.steps + state.step
        progress("train, all cells", number * steps + done, len(todo) * steps)

    cost = train_cell(study, cell, fold, folder, cache=cache, advance=progress, progress=told)
    ended = "diverged" if cost["loss"] is None else f"loss {cost['loss']:.4g}"
    speed = "" if cost["step_seconds"] is None else f", {1000 * cost['step_seconds']:.0f} ms a step"
    notice(f"trained {number + 1}/{len(todo)}: {cell.label}: {ended}{speed}")


@dataclass
class _Scorer:
    """Scores of one degradation and fold; the bench is made when the first score is missing."""

    study: Study
    degradation: Choice
    fold: Fold
    folder: Path
    cache: Path
    progress: Advance
    notice: Notice
    _bench: Bench | None = None

    @property
    def bench(self) -> Bench:
        if self._bench is None:
            degradation = self.study.degradation(self.degradation)
            with _preparing(self.degradation, self.folder):
                self._bench = make_bench(degradation, self.fold.report, self.study.slices, self.cache, self.progress)
        return self._bench

    def score(self, cells: Sequence[Cell], taken: Sequence[Taken]) -> None:
        for cell in cells:
            if is_trained(cell, self.folder):
                self._run(self.folder / cell.folder, self.folder / cell.folder, cell)
        for each in taken:
            place = self.folder / method_folder(self.degradation, TAKEN + each.name, self.fold.number)
            self._run(each.run, place, None)
        with _claim(self.folder / method_folder(self.degradation, DEGRADED, self.fold.number)) as mine:
            if mine:
                self._advice()
                self._baselines()

    def _run(self, run: Path, place: Path, cell: Cell | None) -> None:
        """Scores the model of a run folder, into `place`, unless somebody else is at it."""
        with _claim(place) as mine:
            if mine:
                self._score_run(run, place, cell)

    def _score_run(self, run: Path, place: Path, cell: Cell | None) -> None:
        terms = self._terms(sha256((run / "checkpoint.weights.h5").read_bytes()).hexdigest()[:16])
        if is_scored(place, terms):
            return
        if cell is not None and cost_of(cell, self.folder)["loss"] is None:
            keep_scores(place, terms, {"diverged": True})
            return
        model, _ = load_run(run)
        restore = restore_slice(model)
        restore(self.bench.picture.degraded)  # compiles, which is no part of the milliseconds
        try:
            found, crop = score_restorer(restore, self.bench)
        except ValueError:  # the metrics refuse NaN, and only a model that diverged in its last steps gives them
            if np.isfinite(restore(self.bench.picture.degraded)).all():
                raise
            keep_scores(place, terms, {"diverged": True})
        else:
            keep_scores(place, terms, found, crop)
        forget_models()
        self.notice(f"scored: {place.relative_to(self.folder / 'cells')}")

    def _advice(self) -> None:
        place = self.folder / method_folder(self.degradation, ADVICE, self.fold.number)
        terms = {"tune": sorted({each.patient for each in self.fold.tune})}
        if not is_advised(place, terms):
            keep_advice(place, self._tune_pairs(), self.study.domain, terms)

    def _baselines(self) -> None:
        places = {
            name: self.folder / method_folder(self.degradation, name, self.fold.number)
            for name in (DEGRADED, *(BASELINE + each.name for each in BASELINES))
        }
        terms = self._terms(sorted({each.patient for each in self.fold.tune}))
        if all(is_scored(place, terms) for place in places.values()):
            return
        keep = places.pop(DEGRADED)
        found, crop = score_restorer(_nothing, self.bench)
        keep_scores(keep, terms, found, crop)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            for each, place in zip(BASELINES, places.values(), strict=True):
                if is_scored(place, terms):
                    continue
                tuned = tune(each, self._tune_pairs(), DOMAINS[self.study.domain], pool)
                found, crop = score_restorer(tuned, self.bench, pool.map)
                keep_scores(place, terms, found | {"tuned": tuned.label}, crop)
                self.notice(f"scored: {place.relative_to(self.folder / 'cells')}: {tuned.label}")

    def _tune_pairs(self) -> list[tuple[Picture, Picture]]:
        patients = len({each.patient for each in self.fold.tune})
        if not patients:
            raise InvalidStudy("there is nobody to choose the baselines' parameters on")
        degradation = self.study.degradation(self.degradation)
        with _preparing(self.degradation, self.folder):
            prepare_degradation(degradation, self.fold.tune, progress=self.progress)
        chosen = choose(self.fold.tune, max(1, _TUNE_SLICES // patients))
        return [degraded_slice(series, number, degradation) for series, number in chosen]

    def _terms(self, restorer: Any) -> dict[str, Any]:
        return {"version": VERSION, "slices": self.study.slices, "restorer": restorer}


def _nothing(image: Picture) -> Picture:
    return image
