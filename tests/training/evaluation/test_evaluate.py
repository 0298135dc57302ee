from __future__ import annotations

import json
import math

import numpy as np
import pytest

from imaging.metrics import RELATIVE, SOFT_TISSUE, measure
from training.data.datasets import evaluation_pairs
from training.data.pairs import PreparedSeries
from training.degradations import DoseProtocol, parse_degradation
from training.evaluation.evaluate import (
    DEGRADED,
    ImageScore,
    bootstrap,
    evaluate,
    rows_from_json,
    score_from_json,
    summarise,
    to_json,
)
from training.evaluation.image_scores import AGREEMENT
from training.evaluation.score_tables import render_markdown

PROTOCOL = DoseProtocol(0.25, 15.0)


def _score(method, patient, psnr, ssim=0.5):
    key = SOFT_TISSUE.name
    return ImageScore(method, "noise", "s", patient, {("psnr", key): psnr, ("ssim", key): ssim})


def test_means_are_over_patients_of_means_over_slices():
    mean, interval = bootstrap([np.array([1.0, 2.0, 3.0]), np.array([10.0])], np.random.default_rng(0))
    assert mean == 6.0  # not 4, the mean over slices
    low, high = interval
    assert low < 3  # both draws may fall on the first patient, whose slices vary
    assert high == 10


def test_the_interval_covers_what_it_should():
    """Patients with mean 0 and deviation 1: the 95 % interval of the mean covers 0 in about that share of studies."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(60):
        patients = [rng.normal(rng.normal(), 0.1, 3) for _ in range(20)]
        _, (low, high) = bootstrap(patients, rng)
        covered += low <= 0 <= high
    assert covered >= 52


def test_one_patient_has_no_interval():
    assert bootstrap([np.array([1.0, 3.0])], np.random.default_rng(0)) == (2.0, None)


def test_gains_are_paired():
    scores = []
    for patient, level in (("a", 20.0), ("b", 40.0)):  # patients differ far more than methods do
        scores += [_score(DEGRADED, patient, level), _score("better", patient, level + 1)]
    rows = {(row.method, row.metric): row for row in summarise(scores)}
    better = rows["better", "psnr"]
    assert (better.mean, better.gain, better.gain_interval) == (31.0, 1.0, (1.0, 1.0))
    assert better.interval[1] - better.interval[0] > 10
    assert (better.patients, better.images) == (2, 2)
    assert rows[DEGRADED, "psnr"].gain == 0


def test_gains_are_paired_slice_by_slice():
    """Slices of a patient differ too: a gain of 1 dB on each of them is certain, whatever slices are drawn."""
    scores = []
    for patient in ("a", "b"):
        for level in (10.0, 20.0, 60.0):
            scores += [_score(DEGRADED, patient, level), _score("better", patient, level + 1)]
    better = next(row for row in summarise(scores) if (row.method, row.metric) == ("better", "psnr"))
    assert better.gain == pytest.approx(1)
    assert better.gain_interval == pytest.approx((1, 1))
    assert (better.patients, better.images) == (2, 6)


def test_every_method_is_scored_on_every_slice_and_survives_json(prepared):
    series = prepared("b", 2)
    scores = evaluate({"halved": lambda image: image / 2}, [series], [prepared("a", 1)], [PROTOCOL], processes=1)
    methods = {score.method for score in scores}
    assert {DEGRADED, "halved"} < methods
    assert len(methods) == 7
    assert len(scores) == 7 * 2
    degraded, reference = next(iter(evaluation_pairs(series, PROTOCOL)))
    first = next(score for score in scores if score.method == "halved")
    assert first.values["psnr", SOFT_TISSUE.name] == measure(degraded / 2, reference, SOFT_TISSUE).psnr
    assert first.values["bias", "soft tissue"] < -10
    rows = summarise(scores)
    plain = json.loads(json.dumps(to_json(rows, scores), allow_nan=False))
    assert rows_from_json(plain) == rows
    assert [
        score_from_json(each).values == pytest.approx(score.values, nan_ok=True)
        for each, score in zip(plain["scores"], scores, strict=True)
    ] == [True] * len(scores)
    table = render_markdown(rows)
    assert "1 patients, 2 slices" in table
    assert "| halved |" in table
    assert "[-160, 240] HU" in table


def test_what_is_not_defined_on_a_slice_does_not_count():
    """The degraded image has no structure removed; the second slice's is not defined for the method either."""
    key = SOFT_TISSUE.name
    scores = []
    for psnr, structure in ((20.0, 0.1), (30.0, math.nan)):
        scores.append(ImageScore(DEGRADED, "noise", "s", "a", {("psnr", key): psnr, ("structure", key): math.nan}))
        scores.append(ImageScore("ours", "noise", "s", "a", {("psnr", key): math.inf, ("structure", key): structure}))
    rows = {(row.method, row.metric): row for row in summarise(scores)}
    assert (rows["ours", "structure"].mean, rows["ours", "structure"].images) == (0.1, 1)
    assert (rows["ours", "structure"].gain, rows["ours", "structure"].gain_interval) == (None, None)
    assert (DEGRADED, "structure") not in rows
    assert ("ours", "psnr") not in rows  # a perfect image has an infinite PSNR, which has no mean
    assert rows[DEGRADED, "psnr"].mean == 25
    json.dumps(to_json(rows.values(), scores), allow_nan=False)


def test_relative_images_are_scored_under_their_own_contract():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.2, 0.8, (2, 1, 1)) + 0.2 * (np.indices((2, 48, 48))[2] > 20)
    series = PreparedSeries("dunes", "dunes", (1.0, 1.0), "relative", math.nan, images.astype(np.float32))
    degradation = parse_degradation("impulse", "relative")
    scores = evaluate({}, [series], [series], [degradation], processes=1)
    rows = {row.method.partition(" (")[0]: row for row in summarise(scores) if row.metric == "psnr"}
    assert {row.contract for row in rows.values()} == {RELATIVE.name}
    assert max(rows.values(), key=lambda row: row.mean) is rows["median"]  # what it is for
    metrics = {metric for metric, _ in scores[0].values}
    assert {*AGREEMENT, "bias", "kurtosis", "edge slope"} < metrics
    assert "noise" not in metrics  # of soft tissue, which there is none of
    table = render_markdown(summarise(scores))
    assert "HU" not in table
    assert "over [0, 1], clipped, range 1" in table


def test_without_tune_patients_there_are_no_baselines(prepared):
    scores = evaluate({}, [prepared("b", 2)], [], [PROTOCOL], processes=1)
    assert {score.method for score in scores} == {DEGRADED}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_summary_repeats(seed):
    scores = [_score(DEGRADED, patient, 20.0 + i) for i, patient in enumerate("abcd")]
    assert summarise(scores, seed=seed) == summarise(scores, seed=seed)


def test_the_interval_is_that_of_the_hierarchical_bootstrap():
    """Its variance in closed form, for P patients of n slices: (Var_p(mean_p) + Mean_p(Var_slices / n)) / P."""
    rng = np.random.default_rng(5)
    patients = [rng.normal(rng.normal(), 4.0, 6) for _ in range(40)]
    means = np.array([values.mean() for values in patients])
    within = np.mean([values.var() / len(values) for values in patients])
    deviation = np.sqrt((means.var() + within) / len(patients))
    mean, (low, high) = bootstrap(patients, rng)
    assert mean == pytest.approx(means.mean())
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.06)
    assert (high + low) / 2 == pytest.approx(mean, abs=0.1 * deviation)
    patients_alone = np.sqrt(means.var() / len(patients))
    assert deviation > 1.15 * patients_alone  # so the slices' share cannot be left out unnoticed
