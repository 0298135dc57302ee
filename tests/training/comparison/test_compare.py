"""A whole study of 2 recipes x 2 degradations on generated pictures, of a few steps each."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from training.claims import Claim
from training.comparison.cells import cost_of, missing
from training.comparison.compare import compare, take
from training.comparison.folds import deal, keep_data
from training.comparison.report.write import write_report
from training.comparison.scoring import choose, degraded_slice
from training.comparison.study import Budget, Choice, Study, keep_study
from training.data.dead_leaves import dead_leaves
from training.data.pictures import picture_series
from training.errors import IncompatibleRun, InvalidStudy
from training.evaluation.baselines import BASELINES
from training.evaluation.image_scores import CONTRACTS
from training.evaluation.phantom_tests import phantom_series
from training.fit import load_run
from training.probes import restore_slice

ASKED = Study(
    "relative",
    (Choice("l2"), Choice("huber", (("delta", 0.5),))),
    (Choice("gaussian"), Choice("laplace", (("sigma", 0.2),))),
    budget=Budget(epochs=2, steps=2, batch=2, patch=32, widths=(4, 6), blocks=1),
    slices=2,
)


def pictures(*names: str, slices: int = 3):
    side = (64, 64)
    return [
        picture_series(name, np.stack([dead_leaves(side, rng) for rng in np.random.default_rng(n).spawn(slices)]))
        for n, name in enumerate(names)
    ]


@pytest.fixture(scope="module")
def roles():
    return {"fit": pictures("f0", "f1"), "tune": pictures("t0", slices=1), "report": pictures("r0", "r1")}


@pytest.fixture(scope="module", autouse=True)
def _little_to_score():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.comparison.compare.BASELINES", [each for each in BASELINES if each.name == "Gaussian"])
        patch.setattr("training.comparison.scoring.phantom_series", partial(phantom_series, repetitions=2))
        yield


def run(asked, folder, roles, **options):
    whole = keep_study(asked, folder)
    dealt = deal(whole, roles)
    keep_data(dealt, folder)
    compare(whole, dealt, folder, cache=folder / "cache", **options)
    return whole


@pytest.fixture(scope="module")
def finished(roles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "whole"
    notices = []
    whole = run(ASKED, folder, roles, notice=notices.append)
    return folder, whole, notices


def scores(folder):
    """File -> scores without the milliseconds and the hash of the weights' file (HDF5), which no two runs share."""
    found = {}
    for file in sorted((folder / "cells").rglob("scores.json")):
        plain = json.loads(file.read_text())
        plain.pop("slice_milliseconds")
        plain["terms"].pop("restorer")
        found[str(file.relative_to(folder))] = plain
    return found


def test_every_cell_is_trained_and_scored(finished):
    folder, whole, notices = finished
    assert missing(whole, folder) == []
    assert sorted(scores(folder)) == [
        f"cells/{degradation}/{method}/scores.json"
        for degradation in ("gaussian", "laplace_sigma=0.2")
        for method in ("baseline Gaussian/all", "degraded/all", "huber_delta=0.5/seed0", "l2/seed0")
    ]
    assert "trained 1/4: gaussian, l2, seed 0" in notices[0]
    advice = json.loads((folder / "cells/laplace_sigma=0.2/advice/all/advice.json").read_text())
    assert advice["terms"]["tune"] == ["t0"]
    cost = cost_of(next(iter(whole.cells())), folder)
    assert cost["train_seconds"] == pytest.approx(4 * cost["step_seconds"])
    assert cost["parameters"] == load_run(folder / "cells/gaussian/l2/seed0")[0].count_params()


def test_scores_are_those_of_the_model_on_slices_that_it_never_saw(finished, roles):
    folder, whole, _ = finished
    cell = list(whole.cells())[3]
    plain = json.loads((folder / cell.folder / "scores.json").read_text())
    assert [(each["series"], each["slice"]) for each in plain["images"]] == [
        ("r0", 0), ("r0", 2), ("r1", 0), ("r1", 2),
    ]  # fmt: skip
    degraded, reference = degraded_slice(roles["report"][1], 2, whole.degradation(cell.degradation))
    restored = restore_slice(load_run(folder / cell.folder)[0])(degraded)
    error = np.mean((np.clip(restored, 0, 1).astype(np.float64) - reference) ** 2)
    values = {(metric, contract): value for metric, contract, value in plain["images"][3]["values"]}
    assert values["psnr", CONTRACTS["relative"][0].name] == pytest.approx(-10 * np.log10(error), abs=1e-6)


class Killed(Exception):
    pass


def test_a_killed_study_goes_on_as_if_nothing_had_happened(finished, roles, tmp_path):
    steps = []

    def kill(stage, done, total):
        if stage == "train, all cells":
            steps.append((done, total))
            if done == 7:  # in the last epoch of the second cell
                raise Killed

    with pytest.raises(Killed):
        run(ASKED, tmp_path, roles, progress=kill)
    assert steps[-1] == (7, 16)
    first = tmp_path / "cells/gaussian/l2/seed0/trained.json"
    before = first.stat().st_mtime_ns
    assert len(missing(ASKED, tmp_path)) == 3
    run(ASKED, tmp_path, roles)
    assert first.stat().st_mtime_ns == before
    assert scores(tmp_path) == scores(finished[0])


def test_what_another_process_is_at_is_left_to_it(finished, roles, tmp_path):
    gaussian = tmp_path / "cells/gaussian"
    with Claim.wait(gaussian / "l2/seed0/claim"), Claim.wait(gaussian / "degraded/all/claim"):
        whole = run(ASKED, tmp_path, roles)
    left = {"cells/gaussian/l2/seed0", "cells/gaussian/degraded/all", "cells/gaussian/baseline Gaussian/all"}
    assert [str(cell.folder) for cell in missing(whole, tmp_path)] == ["cells/gaussian/l2/seed0"]
    assert set(scores(finished[0])) - set(scores(tmp_path)) == {f"{each}/scores.json" for each in left}
    run(ASKED, tmp_path, roles)
    assert scores(tmp_path) == scores(finished[0])


def test_what_exists_is_not_done_again_and_what_is_added_is(finished, roles, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "study")
    notices = []
    run(ASKED, folder, roles, notice=notices.append)
    assert notices == []
    file = folder / "cells/gaussian/l2/seed0/scores.json"
    good = file.read_text()
    file.write_text(good.replace('"version": 1', '"version": 0'))  # of other terms: made anew, the model is not
    run(ASKED, folder, roles, train=False, notice=notices.append)
    assert notices == ["scored: gaussian/l2/seed0"]
    assert json.loads(file.read_text())["images"] == json.loads(good)["images"]
    notices.clear()
    more = replace(ASKED, degradations=ASKED.degradations[:1], recipes=(Choice("l1"),))
    run(more, folder, roles, score=False, notice=notices.append)
    assert [each.split(": loss")[0] for each in notices] == [
        "trained 1/2: gaussian, l1, seed 0",
        "trained 2/2: laplace:sigma=0.2, l1, seed 0",
    ]


def test_a_run_that_was_trained_before_is_an_additional_row(finished, roles, tmp_path):
    folder, whole, _ = finished
    taken = folder / "cells/gaussian/l2/seed0"
    copy = shutil.copytree(folder, tmp_path / "study")
    run(ASKED, copy, roles, taken=[take(taken, whole, deal(whole, roles))])
    files = sorted(copy.glob("cells/*/taken seed0/all/scores.json"))
    own = json.loads((taken / "scores.json").read_text())
    assert len(files) == 2
    assert json.loads(files[0].read_text())["images"] == own["images"]  # the same weights
    write_report(whole, copy)
    methods = json.loads((copy / "report.json").read_text())["degradations"][1]["methods"]
    row = next(each for each in methods if each["name"] == "seed0 (taken)")
    assert (row["kind"], row["standing"]["psnr"]["rank"]) == ("taken", None)
    met = {**roles, "fit": pictures("x"), "report": roles["fit"]}
    with pytest.raises(IncompatibleRun, match="reports on"):
        take(taken, whole, deal(whole, met))


def test_the_report_says_what_the_cells_say(finished):
    folder, whole, _ = finished
    page, text, plain = write_report(whole, folder)
    report = json.loads(plain.read_text())
    assert report["unfinished"] == []
    assert report["data"]["report"] == {"patients": 2, "slices": 4}
    [first, _] = report["degradations"]
    own = json.loads((folder / "cells/gaussian/l2/seed0/scores.json").read_text())
    psnr = [value for each in own["images"] for metric, _, value in each["values"] if metric == "psnr"]
    l2 = next(each for each in first["methods"] if each["name"] == "l2")
    assert l2["standing"]["psnr"]["mean"] == pytest.approx(np.mean(psnr))
    assert l2["phantom"]["spectrum"]["curve"]["values"] == pytest.approx(
        own["phantom"]["spectrum"]["curve"]["values"], rel=1e-4
    )
    assert f"{np.mean(psnr):.2f}" in page.read_text()
    assert "with 2 pictures nothing is claimed" in re.sub(r"\s+", " ", text.read_text())


def test_nobody_can_be_compared_with_nobody(tmp_path):
    with pytest.raises(InvalidStudy, match=r"nothing in .* is scored"):
        write_report(keep_study(ASKED, tmp_path), tmp_path)


def test_slices_are_spread_over_all_series_of_a_patient():
    one, two = pictures("a"), pictures("b", slices=4)
    two = [replace(two[0], patient="a")]
    assert [(series.name, number) for series, number in choose([*one, *two], 3)] == [("a", 1), ("b", 0), ("b", 2)]
    assert len(choose([*one, *two], 50)) == 7
