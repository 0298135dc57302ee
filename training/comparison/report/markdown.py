"""Markdown: the words and tables of a report."""

from __future__ import annotations

from typing import Any

from training.comparison.report.tables import (
    Table,
    cost_table,
    error_table,
    heat_table,
    ranking_table,
)
from training.comparison.report.terms import budget_text, data_text, statistics_text
from training.comparison.theory import Metric


def render_markdown(report: dict[str, Any]) -> str:
    """Of report.json."""
    words = report["words"]
    lines = [f"# {report['question']}", "", data_text(report), "", budget_text(report), ""]
    if report["unfinished"]:
        lines += ["**Unfinished.** " + "; ".join(report["unfinished"]) + ".", ""]
    lines += ["## Which recipe to take", ""]
    for each in words["answer"]:
        lines += [f"- **{each['degradation']}**: {' '.join(each['sentences'])}"]
    lines += ["", *words["all"], ""]
    titles: dict[Metric, str] = {"psnr": "PSNR, dB", "ssim": "SSIM"}
    for metric, title in titles.items():
        table = heat_table(report, metric)
        lines += [f"## {title}, minus {table.corner}", "", *_table(table), "", table.legend, ""]
    lines += ["## What may be chance", "", *(f"- {each}" for each in words["chance"]), ""]
    if words["theory"]:
        lines += ["## What theory predicted", "", *(f"- {each}" for each in words["theory"]), ""]
    if words["advised"]:
        lines += ["## What the noise alone advises", "", *(f"- {each}" for each in words["advised"]), ""]
    if words["variants"]:
        lines += ["## The same recipe under other constants", "", "PSNR.", ""]
        lines += [*(f"- {each}" for each in words["variants"]), ""]
    for degradation in report["degradations"]:
        lines += [f"## {degradation['label']}", "", f"{degradation['stated']}: {degradation['says']}.", ""]
        for table in (ranking_table(report, degradation), error_table(report, degradation)):
            lines += [*_table(table), "", table.legend, ""]
    table = cost_table(report)
    return "\n".join([*lines, "## Cost", "", *_table(table), "", table.legend, "", statistics_text(report)]) + "\n"


def _table(table: Table) -> list[str]:
    rows = [[f"**{cell.text}**" if cell.strong else cell.text for cell in row] for row in table.rows]
    head = ["", *table.columns]
    return [
        _line(head),
        "|---" * len(head) + "|",
        *(_line([name, *row]) for name, row in zip(table.names, rows, strict=True)),
    ]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"
