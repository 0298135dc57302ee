from __future__ import annotations

import numpy as np
import pytest

from training.comparison.folds import deal, keep_data
from training.comparison.study import Choice, Study
from training.data.pictures import picture_series
from training.errors import IncompatibleRun, InvalidStudy, NoTrainingData


def patients(*counts: int, start: str = "p"):
    """One series a patient, with so many slices."""
    return [
        picture_series(f"{start}{number}", np.zeros((count, 8, 8), np.float32)) for number, count in enumerate(counts)
    ]


def study(folds: int) -> Study:
    return Study("relative", (Choice("l2"),), (Choice("gaussian"),), folds=folds)


def test_without_folds_validation_is_reported_on():
    fit, tune, report = patients(3, 3), patients(1, start="t"), patients(2, start="r")
    folds = deal(study(0), {"fit": fit, "tune": tune, "report": report})
    assert list(folds) == [None]
    assert (folds[None].fit, folds[None].tune, folds[None].report) == (fit, tune, report)
    with pytest.raises(InvalidStudy, match="validation/"):
        deal(study(0), {"fit": fit, "tune": tune, "report": []})


def test_every_patient_is_reported_on_once_by_models_that_never_saw_it():
    fit = [*patients(9, 1, 1, 5, 4), picture_series("p0-again", np.ones((2, 8, 8), np.float32), source="p0")]
    validation = patients(7, start="r")
    folds = deal(study(3), {"fit": fit, "tune": [], "report": validation})
    reported = []
    for fold in folds.values():
        held = {each.patient for each in fold.report}
        assert held.isdisjoint(each.patient for each in fold.fit)
        assert len(fold.fit) + len(fold.report) == len(fit)
        assert fold.tune == fold.fit  # nobody else is there to choose on
        reported += fold.report
    assert sorted(each.name for each in reported) == sorted(each.name for each in fit)
    assert {each.patient for each in folds[0].report} == {"p0", "p1"}  # most slices first, dealt in turn


@pytest.mark.parametrize(("count", "folds"), [(2, 3), (3, 2), (2, 2)])
def test_too_few_patients_are_refused(count, folds):
    with pytest.raises(InvalidStudy, match=f"{count} patients .* {folds} folds"):
        deal(study(folds), {"fit": patients(*[4] * count)})


def test_three_patients_can_be_dealt_into_three_folds():
    folds = deal(study(3), {"fit": patients(4, 4, 4)})
    assert [len(fold.fit) for fold in folds.values()] == [2, 2, 2]


def test_a_patient_in_two_roles_is_refused():
    with pytest.raises(NoTrainingData, match="both roles"):
        deal(study(0), {"fit": patients(3, 3), "report": patients(2)})


def test_a_study_is_about_the_same_series_always(tmp_path):
    roles = {"fit": patients(3, 3), "report": patients(2, start="r")}
    keep_data(deal(study(0), roles), tmp_path)
    keep_data(deal(study(0), roles), tmp_path)
    with pytest.raises(IncompatibleRun, match="other series"):
        keep_data(deal(study(0), {**roles, "report": patients(2, 2, start="r")}), tmp_path)
