"""The report of trials and repeats whose scores are known."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from training.fit import FitSettings
from training.tuning.report.analyse import IMPORTANCE_TRIALS, analyse, arms_of
from training.tuning.report.markdown import render_markdown
from training.tuning.report.page import write_report
from training.tuning.search_space import TuneSettings
from training.tuning.trials import POINT, Search

RANGES = TuneSettings(FitSettings("ct-huber")).ranges


def trial(number, delta, psnr, ssim, *, rate=1e-3, point=None, pruned=False):
    """As `training.tuning.trials.run_trials` returns it."""
    marks = {POINT: point} if point else {}
    scores = {"psnr": psnr, "ssim": ssim, "rmse": 8.0, "bias": 0.0, "seconds": 60.0}
    found = create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=None if pruned else psnr,
        params={"delta": delta, "learning_rate": rate},
        distributions={name: FloatDistribution(each.low, each.high, log=each.log) for name, each in RANGES.items()},
        user_attrs={**scores, **marks},
        intermediate_values={1: psnr - 1, 2: psnr},
    )
    found.number = number - 1
    return found


TRIALS = [
    trial(1, 0.01345, 33.0, 0.920, point="the recipe's own"),
    trial(2, 2.0475, 32.0, 0.910, point="classic delta 0.5"),
    trial(3, 0.05, 33.5, 0.915, rate=2e-3),
    trial(4, 0.3, 31.0, 0.900, pruned=True),
    trial(5, 0.02, 33.2, 0.921),
]


@pytest.fixture
def search(prepared, tmp_path):
    return Search(TuneSettings(FitSettings("ct-huber")), [prepared("a", 1)], [prepared("b", 2)], tmp_path)


def repeats(*means):
    """[arm][seed] of three seeds, whose scores are the mean and 0.1 to either side."""
    return [
        [{"psnr": [["p", mean + shift]] * 2, "ssim": [["p", 0.9]] * 2} for shift in (-0.1, 0, 0.1)] for mean in means
    ]


def test_the_best_is_repeated_beside_every_untuned_constant(search):
    best, own, classic, mixed = arms_of(search, TRIALS)
    assert best.settings.loss == {"delta": 0.05}
    assert (own.name, own.settings.loss["delta"]) == ("the recipe's own", 0.01345)
    assert (classic.name, classic.settings.loss["delta"]) == ("classic delta 0.5", pytest.approx(2.0475))
    assert mixed.name == "classic delta 0.5, best learning rate"


def test_a_best_that_is_a_starting_point_is_one_arm_and_stays_the_first(search):
    arms = arms_of(search, TRIALS[:2])
    assert [arm.name for arm in arms] == ["best", "classic delta 0.5"]
    report = analyse(search, TRIALS[:2], arms, [1, 2, 3], repeats(33.0, 32.0))
    assert report["words"][0] == "Nothing that was tried beats the recipe's own, 33.00 dB."
    arms = arms_of(search, [TRIALS[0], trial(2, 2.0475, 34.0, 0.91, point="classic delta 0.5")])
    assert [arm.name for arm in arms] == ["best", "the recipe's own"]


def test_the_report_says_what_is_a_gain_and_what_is_not(search):
    arms = arms_of(search, TRIALS)
    report = analyse(search, TRIALS, arms, [1, 2, 3], repeats(33.5, 33.5, 32.0, 33.49))
    words = "\n".join(report["words"])
    assert report["best"] == 3
    assert "number 3: 33.50 dB, SSIM 0.9150, with delta 0.05, learning_rate 0.002" in words
    assert re.search(r"classic delta 0.5 \(delta 2.05.*\+1.50 \[\+1.50, \+1.50\] dB.*a clear gain", words)
    assert re.search(r"the recipe's own .*\+0.00 dB: it may be chance", words)
    assert re.search(r"best learning rate .*\+0.01, \+0.01, \+0.01 dB: it does not matter", words)
    assert "the gain over classic delta 0.5 is the learning rate's" in words
    assert "A higher SSIM for a lower PSNR than the best's 0.9150 have trials 5 (0.9210)" in words
    assert "1 tune patients" in words
    assert report["command"] == "clearslice train ct-huber --set delta=0.05 --learning-rate 0.002"


def test_a_gain_of_the_settings_is_not_put_down_to_the_learning_rate(search):
    report = analyse(search, TRIALS, arms_of(search, TRIALS), [1, 2, 3], repeats(33.5, 33.5, 32.0, 32.1))
    assert not any("is the learning rate's" in line for line in report["words"])


def test_the_pareto_front_is_what_nothing_beats_in_both(search):
    report = analyse(search, TRIALS, arms_of(search, TRIALS), [], [])
    assert report["pareto"] == [3, 5]  # 1 is beaten by 5 in both, 2 by all; 4 was not trained to the end
    assert "cannot be told from luck" in "\n".join(report["words"])


def test_a_best_at_the_end_of_its_range_is_pointed_at(search):
    trials = [*TRIALS, trial(6, RANGES["delta"].low * 1.1, 35.0, 0.93)]
    report = analyse(search, trials, arms_of(search, trials), [], [])
    assert any("best delta lies at the end of its range, 0.001" in line for line in report["words"])


def test_importance_finds_the_number_that_matters(search):
    many = [trial(k + 1, 10 ** (-3 + 0.16 * k), 33.0 - abs(k - 9), 0.9 + 0.001 * k) for k in range(20)]
    for k, each in enumerate(many):
        each.params["learning_rate"] = 10 ** (-4 + 0.1 * ((7 * k) % 20))  # drawn without a plan
    report = analyse(search, many, arms_of(search, many), [], [])
    assert next(iter(report["importance"])) == "delta"
    assert sum(report["importance"].values()) == pytest.approx(1)
    few = many[: IMPORTANCE_TRIALS - 1]
    assert analyse(search, few, arms_of(search, few), [], [])["importance"] is None


class Tags(HTMLParser):
    """Counts tags, and collects what they load."""

    def __init__(self):
        super().__init__()
        self.count, self.loads, self.text = {}, [], []

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.loads += [value for name, value in attributes if name in {"src", "href"} and not value.startswith("#")]

    def handle_data(self, data):
        self.text.append(data)


def test_three_files_are_written_and_the_page_needs_nothing_else(search):
    many = [*TRIALS, *(trial(6 + k, 0.001 * 1.5**k, 32 + 0.1 * k, 0.9) for k in range(8))]
    report = analyse(search, many, arms_of(search, many), [1, 2, 3], repeats(33.5, 33.5, 32.0, 33.49))
    files = write_report(report, search.folder)
    assert [file.name for file in files] == ["report.html", "report.md", "report.json"]
    page = Tags()
    page.feed(files[0].read_text())
    assert page.count["svg"] == 4
    assert "script" not in page.count
    assert page.loads == []
    text = " ".join(page.text)
    for said in (*report["words"], report["command"], "classic delta 0.5", "stopped after epoch 2"):
        assert said in text
    assert json.loads(files[2].read_text()) == json.loads(json.dumps(report))
    again = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in write_report(report, search.folder)] == again


def test_markdown_has_every_trial_and_arm(search):
    arms = arms_of(search, TRIALS)
    text = render_markdown(analyse(search, TRIALS, arms, [1, 2, 3], repeats(33.5, 33.5, 32.0, 33.49)))
    assert "| 4 | 0.3 | 0.001 | 31.00 | 0.9000 | stopped after epoch 2 |" in text
    assert "| 2 | 2.05 | 0.001 | 32.00 | 0.9100 | classic delta 0.5; finished |" in text
    assert "| classic delta 0.5 | 2.05 | 0.001 | 32.00 | 0.9000 | +1.50 [+1.50, +1.50] | +0.0000" in text
    assert "    clearslice train ct-huber --set delta=0.05 --learning-rate 0.002" in text
    for line in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({row.count("|") for row in line.strip().splitlines()}) == 1  # whole tables


def test_no_warning_of_optuna_is_left(search, recwarn):
    many = [trial(k + 1, 0.001 * 1.3**k, 33.0 + 0.01 * k, 0.9) for k in range(12)]
    analyse(search, many, arms_of(search, many), [], [])
    assert not [each for each in recwarn if issubclass(each.category, optuna.exceptions.ExperimentalWarning)]
