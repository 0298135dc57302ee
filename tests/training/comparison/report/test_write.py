from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from training.comparison.report.write import write_report
from training.comparison.study import Cell, Choice, keep_study

GAINS = {
    "gaussian": {"l2": 0.0, "l1": 0.4, "huber:delta=0.5": -0.5},
    "laplace:sigma=20": {"l2": 0.3, "l1": 0.0, "huber:delta=0.5": 0.29},
}


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture
def written(made_up_study, study_folder):
    """Written once: (study, HTML, Markdown, JSON)."""
    page = study_folder / "report.html"
    if not page.exists():
        write_report(made_up_study(study_folder, GAINS), study_folder)
    text, plain = study_folder / "report.md", study_folder / "report.json"
    return page.read_text(), text.read_text(), json.loads(plain.read_text())


class Page(HTMLParser):
    """Tables as rows of texts, and everything that a browser would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables, self.loads, self.open = [], [], []
        self.cell = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in {"src", "href", "srcset", "data", "action", "xlink:href"} and value:
                self.loads.append(value)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.cell = ""
        if tag not in {"meta", "img", "br", "use", "path"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.tables[-1][-1].append(self.cell.strip())
            self.cell = None
        if tag not in {"meta", "img", "br", "use", "path"}:
            assert self.open.pop() == tag

    def handle_data(self, text):
        if self.cell is not None:
            self.cell += text


def test_the_page_needs_nothing_else_and_runs_nothing(written):
    html, _, _ = written
    page = Page(html)
    assert page.open == []
    assert all(each.startswith(("data:image/webp;base64,", "#")) for each in page.loads)
    assert "<script" not in html
    assert "url(http" not in html
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert len(html) < 1_500_000
    targets = {each[1:] for each in page.loads if each.startswith("#")}
    assert targets <= set(re.findall(r'id="([^"]+)"', html))
    assert "prefers-color-scheme: dark" in html


def test_the_numbers_of_the_page_are_those_of_the_json(written):
    html, _, report = written
    heat = Page(html).tables[0]
    assert heat[0][1:] == ["gaussian", "laplace:sigma=20"]
    for row in heat[1:]:
        for label, text in zip(heat[0][1:], row[1:], strict=True):
            column = next(each for each in report["degradations"] if each["label"] == label)
            standing = next(each for each in column["methods"] if each["name"] == row[0])["standing"]["psnr"]
            difference = standing["to_reference"]
            shown = f"{standing['mean']:.2f}" if difference is None else f"{difference['mean']:+.2f}"
            assert text.split()[0] == shown
            assert ("●" in text) == (standing["rank"] == 1)
    for sentence in (each for answer in report["words"]["answer"] for each in answer["sentences"]):
        assert sentence in html.replace("&#39;", "'")


def test_the_heat_map_marks_the_best_the_tied_and_theorys_choice(written):
    _, text, _ = written
    lines = [line for line in text.splitlines() if line.startswith("| l1 |")]
    assert re.fullmatch(r"\| l1 \| \*\*\+0\.\d\d ●\*\* \| \*\*-0\.\d\d ★\*\* \|", lines[0])
    assert next(line for line in text.splitlines() if line.startswith("| l2 |")).split("|")[2].strip().endswith("★")
    tied = next(line for line in text.splitlines() if line.startswith("| huber:delta=0.5 |"))
    assert "≈" in tied.split("|")[3]


def test_markdown_says_who_n_and_how(written):
    _, text, report = written
    assert "Fitted on 6 patients (120 slices), reported on 11 others (22 slices" in text
    assert "11 patients, 22 slices, seeds 0, 1; soft tissue window" in text
    assert "[-160, 240] HU, clipped, range 400, SSIM 11 taps" in text
    assert "1,000 steps of 16 patches of 64 x 64 pixels" in text
    assert "median (3 px)" in text
    assert "Under gaussian theory names l2 first: theory failed" in text
    assert report["cost"]["l1"] == {"step_seconds": 0.1, "train_seconds": 100.0, "parameters": 1000.0}
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| l1 |")}
    assert 3 + 1 in widths or 4 in widths


def test_what_is_missing_is_said_and_compared_over_the_seeds_that_all_have(made_up_study, tmp_path):
    study = made_up_study(tmp_path, GAINS)
    gone = Cell(Choice("gaussian"), Choice("l1"), None, 1)
    (tmp_path / gone.folder / "scores.json").unlink()
    (tmp_path / Cell(Choice.parse("laplace:sigma=20"), Choice("l1"), None, 0).folder / "scores.json").unlink()
    (tmp_path / Cell(Choice.parse("laplace:sigma=20"), Choice("l1"), None, 1).folder / "scores.json").unlink()
    study = keep_study(replace(study, degradations=(*study.degradations, Choice("impulse"))), tmp_path)
    write_report(study, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    first, second = report["degradations"]
    assert (first["seeds"], first["missing"]) == ([0], [])
    assert (second["seeds"], second["missing"]) == ([0, 1], ["l1"])
    assert report["unfinished"] == [
        "impulse: nothing is scored yet",
        "gaussian: without seed 1, which not all recipes have",
        "laplace:sigma=20: without l1, not scored yet",
    ]
    assert "Unfinished." in (tmp_path / "report.html").read_text()


def test_a_recipe_that_diverged_once_is_named_and_not_ranked(made_up_study, tmp_path):
    study = made_up_study(tmp_path, GAINS)
    file = tmp_path / Cell(Choice("gaussian"), Choice("l1"), None, 1).folder / "scores.json"
    terms = json.loads(file.read_text())["terms"]
    file.write_text(json.dumps({"terms": terms, "diverged": True}))
    write_report(study, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    first = report["degradations"][0]
    assert first["diverged"] == ["l1"]
    assert "l1" not in [each["name"] for each in first["methods"]]  # though it went well under seed 0
    assert first["seeds"] == [0, 1]
    assert report["words"]["answer"][0]["sentences"][-1] == "The training of l1 diverged."
    line = next(line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("| l1 |"))
    assert line.split("|")[2].strip() == "diverged"
