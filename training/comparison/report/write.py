"""Write: a study's folder -> report.json, report.md and report.html in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from training.comparison.picture_crop import reference_crop
from training.comparison.report.analyse import analyse
from training.comparison.report.collect import collect
from training.comparison.report.markdown import render_markdown
from training.comparison.report.page import render_page
from training.comparison.study import Study
from training.domains import DOMAINS
from training.evaluation.image_scores import Picture
from training.run_files import write_text


def write_report(study: Study, folder: Path) -> list[Path]:
    """The files, in the order in which they should be looked at: HTML, Markdown, JSON.

    Raises:
        InvalidStudy: nothing is scored yet.
    """
    columns = collect(study, folder)
    report = analyse(study, columns, folder)
    crops: dict[str, dict[str, Picture]] = {
        column.degradation.label: {each.name: np.load(each.crop) for each in column.methods if each.crop.is_file()}
        for column in columns
    }
    page, text, plain = (folder / f"report.{suffix}" for suffix in ("html", "md", "json"))
    write_text(plain, json.dumps(report, allow_nan=False) + "\n")  # in one line: it is many numbers
    write_text(text, render_markdown(report))
    write_text(page, render_page(report, crops, reference_crop(DOMAINS[study.domain])))
    return [page, text, plain]
