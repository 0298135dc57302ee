from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.advice.evidence import FORMAT, read_evidence
from training.comparison.report import analyse
from training.errors import UnusableEvidence
from training.recipes import RECIPES


def method(name, rank, *, tied=False, mean=30.0):
    return {
        "name": name,
        "kind": "recipe" if rank else "baseline",
        "tuned": [] if rank or name == "degraded" else [f"{name} (3 px)"],
        "standing": {"psnr": {"rank": rank, "tied": tied, "mean": mean}},
    }


REPORT = {
    "format": FORMAT,
    "study": {"domain": "ct"},
    "degradations": [
        {
            "label": "gaussian:sigma=30",
            "methods": [
                method("Gaussian", None, mean=29.0),
                method("l1", 2, tied=True),
                method("huber:delta=0.5", 1, tied=True),
                method("l2", 3, mean=29.95),
                method("charbonnier", 4, mean=29.9),
            ],
        },
        {"label": "gaussian:sigma=60", "methods": [method("l2", 1, tied=True)]},
        {"label": "impulse", "methods": [method("l1", 1, tied=True), method("median", None, mean=33.5)]},
    ],
}


@pytest.fixture
def written(tmp_path):
    def write(plain):
        file = tmp_path / "report.json"
        file.write_text(plain if isinstance(plain, str) else json.dumps(plain))
        return file

    return write


def test_the_best_recipe_of_each_degradation_is_read(written):
    winners = read_evidence(written(REPORT), "ct")
    assert set(winners) == {"gaussian", "impulse"}
    gaussian = winners["gaussian"]
    assert (gaussian.recipe, gaussian.settings, gaussian.tied) == ("huber", {"delta": 0.5}, ("l1", "l2"))
    assert gaussian.source == "report.json"
    assert gaussian.filter is None
    impulse = winners["impulse"]
    assert (impulse.tied, impulse.filter, impulse.ahead) == ((), "median (3 px)", 3.5)


def test_it_reads_what_reports_are_written_in():
    assert analyse.FORMAT == FORMAT


@pytest.mark.parametrize(
    ("plain", "domain", "says"),
    [
        ("no json", "ct", "is no report.json"),
        ({"rows": []}, "ct", "is no report.json"),
        ([], "ct", "is no report.json"),
        ({**REPORT, "degradations": [{"label": "gaussian", "methods": [{"name": "l1"}]}]}, "ct", "is no report.json"),
        ({**REPORT, "format": 0}, "ct", "has format 0"),
        (REPORT, "relative", "a study of ct images, and these are relative"),
        ({**REPORT, "degradations": []}, "ct", "ranks no recipe"),
    ],
)
def test_other_files_are_refused(written, plain, domain, says):
    with pytest.raises(UnusableEvidence, match=says):
        read_evidence(written(plain), domain)


@pytest.mark.parametrize(
    ("name", "domain", "columns"), [("which-loss", "ct", 6), ("which-loss-pictures", "relative", 4)]
)
def test_the_studies_in_the_docs_are_evidence(name, domain, columns):
    """`clearslice advise --evidence docs/reports/which-loss.json`, as docs/which-loss.md says."""
    winners = read_evidence(Path(__file__).parents[3] / "docs" / "reports" / f"{name}.json", domain)
    assert len(winners) == columns
    assert {each.recipe for each in winners.values()} <= set(RECIPES)
