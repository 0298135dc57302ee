from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from training.comparison.study import Budget, Choice, Study, keep_study, read_study
from training.errors import IncompatibleRun, InvalidStudy, UnknownDegradation, UnknownRecipe, UnknownSetting
from training.recipes import RECIPES

REPOSITORY = Path(__file__).parents[3]


def study(**changes) -> Study:
    asked = {
        "domain": "ct",
        "recipes": (Choice("l2"), Choice("huber", (("delta", 0.5),))),
        "degradations": (Choice("gaussian"), Choice("laplace", (("sigma", 20.0),))),
    }
    return Study(**{**asked, **changes})


def test_choices_are_read_as_they_are_written():
    choice = Choice.parse("l1-ssim: ssim_weight=0.2, l1_weight=1")
    assert choice == Choice("l1-ssim", (("l1_weight", 1.0), ("ssim_weight", 0.2)))
    assert choice.label == "l1-ssim:l1_weight=1,ssim_weight=0.2"
    assert Choice.parse(choice.label) == choice
    assert ":" not in choice.folder
    for text in ("huber:delta", "huber:=1", "huber:delta=x", "huber:delta=nan"):
        with pytest.raises(InvalidStudy, match=r"huber:delta=0\.5"):
            Choice.parse(text)


def test_cells_of_a_degradation_come_before_those_of_the_next_and_seeds_are_outermost():
    cells = list(study(seeds=(3, 5), folds=2).cells())
    assert len(cells) == 2 * 2 * 2 * 2
    assert [(each.seed, each.degradation.name, each.fold, each.recipe.name) for each in cells[:5]] == [
        (3, "gaussian", 0, "l2"),
        (3, "gaussian", 0, "huber"),
        (3, "gaussian", 1, "l2"),
        (3, "gaussian", 1, "huber"),
        (3, "laplace", 0, "l2"),
    ]
    assert all(each.seed == 3 for each in cells[:8])
    assert len({each.folder for each in cells}) == len(cells)


def test_every_cell_has_the_same_budget_and_its_own_settings():
    asked = study(budget=Budget(epochs=2, steps=7, batch=3, patch=32, widths=(4, 6), blocks=1), seeds=(4,))
    settings = [asked.fit_settings(cell) for cell in asked.cells()]
    assert {(each.epochs, each.steps, each.batch, each.patch, each.network.widths, each.seed) for each in settings} == {
        (2, 7, 3, 32, (4, 6), 4)
    }
    assert settings[1].loss == {"delta": 0.5}
    assert settings[2].noise.settings == {"sigma": 20.0}
    assert settings[0].model == "ct-l2"


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"recipes": ()}, InvalidStudy, "needs recipes"),
        ({"seeds": (1, 1)}, InvalidStudy, r"\[1, 1\]"),
        ({"folds": 1}, InvalidStudy, "not 1"),
        ({"slices": 0}, InvalidStudy, "not 0"),
        (
            {"recipes": (Choice("huber"), Choice.parse(f"huber:delta={RECIPES['huber'].settings['delta']}"))},
            InvalidStudy,
            "are the same",
        ),
        ({"degradations": (Choice("gaussian"), Choice("gaussian"))}, InvalidStudy, "are the same"),
        ({"recipes": (Choice("l3"),)}, UnknownRecipe, "l3"),
        ({"recipes": (Choice("l2", (("delta", 1.0),)),)}, UnknownSetting, "delta"),
        ({"degradations": (Choice("fog"),)}, UnknownDegradation, "fog"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, error, says):
    with pytest.raises(error, match=says):
        study(**changes)


@pytest.mark.parametrize("change", [{"steps": 0}, {"widths": ()}, {"learning_rate": -1.0}])
def test_a_budget_of_nothing_is_refused(change):
    with pytest.raises(InvalidStudy, match=next(iter(change))):
        Budget(**change)


def test_a_study_survives_json_and_refuses_what_it_does_not_know():
    asked = study(seeds=(0, 1), folds=3, slices=2, budget=Budget(steps=9, widths=(4, 6)))
    assert Study.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    with pytest.raises(InvalidStudy, match=r"'recipe'.*recipes"):
        Study.from_json({"recipe": ["l2"]})
    with pytest.raises(InvalidStudy, match="'epoch'"):
        Study.from_json(asked.to_json() | {"budget": {"epoch": 3}})


def test_a_study_grows_and_keeps_its_terms(tmp_path):
    assert read_study(tmp_path) is None
    first = keep_study(study(), tmp_path)
    more = replace(first, recipes=(Choice("l1"),), seeds=(0, 1), degradations=(Choice("impulse"),), slices=5)
    whole = keep_study(more, tmp_path)
    assert [each.label for each in whole.recipes] == ["l2", "huber:delta=0.5", "l1"]
    assert [each.name for each in whole.degradations] == ["gaussian", "laplace", "impulse"]
    assert (whole.seeds, whole.slices) == ((0, 1), 5)
    assert read_study(tmp_path) == whole


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"budget": Budget(steps=3)}, "budget steps 250, not 3"), ({"folds": 2}, "folds 0, not 2")],
)
def test_another_budget_is_refused(tmp_path, changes, says):
    kept = keep_study(study(), tmp_path)
    with pytest.raises(IncompatibleRun, match=says):
        keep_study(study(**changes), tmp_path)
    assert read_study(tmp_path) == kept


def test_the_study_of_the_docs_is_one():
    asked = Study.from_json(tomllib.loads((REPOSITORY / "docs/reports/which-loss.toml").read_text()))
    assert len(asked.recipes) >= 8
    assert len(asked.degradations) >= 5
    assert {"l2", "huber", "l1-ssim", "l1-ssim:ssim_weight=0.2"} <= {each.label for each in asked.recipes}
