"""Folds: who is fitted, who chooses, and who is reported on in a study.

roles --deal--> None: fit train/, report on validation/          or         0 .. K-1: parts of train/, each reported
                InvalidStudy: nobody to report on, too few patients         on by models that were fitted on the rest
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.comparison.study import Study
from training.data.datasets import Role, check_roles
from training.data.pairs import PreparedSeries
from training.errors import IncompatibleRun, InvalidStudy
from training.fit import describe
from training.run_files import write_json

DATA = "data.json"

MINIMUM_FOLD_PATIENTS = 2
"""Fitted on in each fold: a model of one patient says nothing about others."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Three sets of patients. Without tune patients the baselines' parameters are chosen on those fitted."""

    number: int | None
    fit: list[PreparedSeries]
    tune: list[PreparedSeries]
    report: list[PreparedSeries]


def deal(study: Study, roles: Mapping[Role, Sequence[PreparedSeries]]) -> dict[int | None, Fold]:
    """Number of the fold -> fold; without cross-validation one, None.

    The patients to fit are dealt in turn, those with most slices first, so that folds are alike.

    Args:
        study: its `folds`.
        roles: prepared series; `report` is not needed when the study is cross-validated, and is left out of it.

    Raises:
        InvalidStudy: nobody to report on, or too few patients for so many folds; says how many there are.
        NoTrainingData: a patient has two roles.
    """
    check_roles({str(role): series for role, series in roles.items()})
    fitted, tune, report = (list(roles.get(role, ())) for role in ("fit", "tune", "report"))
    if not study.folds:
        if not report:
            raise InvalidStudy("there are no patients to report on: add a folder validation/, or give --folds")
        return {None: Fold(None, fitted, tune or fitted, report)}
    slices: dict[str, int] = {}
    for each in fitted:
        slices[each.patient] = slices.get(each.patient, 0) + len(each.images)
    largest_fold = math.ceil(len(slices) / study.folds)
    if study.folds > len(slices) or len(slices) - largest_fold < MINIMUM_FOLD_PATIENTS:
        raise InvalidStudy(
            f"{len(slices)} patients cannot be dealt into {study.folds} folds: each fold needs a patient to report on"
            f" and {MINIMUM_FOLD_PATIENTS} others to fit"
        )
    order = sorted(slices, key=lambda patient: (-slices[patient], patient))
    folds: dict[int | None, Fold] = {}
    for number in range(study.folds):
        held = set(order[number :: study.folds])
        rest = [each for each in fitted if each.patient not in held]
        folds[number] = Fold(number, rest, tune or rest, [each for each in fitted if each.patient in held])
    return folds


def keep_data(folds: Mapping[int | None, Fold], folder: Path) -> None:
    """Records which series the study is about.

    Raises:
        IncompatibleRun: the folder's study is about others.
    """
    now = [
        {
            "fold": number,
            "fit": describe(fold.fit),
            "tune": describe(fold.tune),
            "report": describe(fold.report),
        }
        for number, fold in folds.items()
    ]
    file = folder / DATA
    if file.exists():
        if json.loads(file.read_text()) != now:
            raise IncompatibleRun(f"the study in {folder} is about other series; choose another folder for these data")
    else:
        write_json(file, now)
