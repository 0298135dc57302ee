"""Page: report.json -> one HTML file that needs nothing else and runs no script; and all three files of a search."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training.run_files import write_json, write_text
from training.tuning.report import figures
from training.tuning.report.markdown import render_markdown
from training.tuning.report.words import Report, budget_text, gain_text, repeats_text


def render_page(report: Report) -> str:
    """The HTML of a report of `training.tuning.report.analyse.analyse`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    drawn = {
        "history": figures.history(report),
        "pareto": figures.pareto(report),
        "slices": figures.slices(report),
        "importance": figures.importance(report) if report["importance"] else "",
    }
    repeats = report["repeats"]
    return environment.get_template("page.html.j2").render(
        report=report,
        budget=budget_text(report),
        figures=drawn,
        repeats=repeats and [_row(arm) for arm in repeats["arms"]],
        how_repeated=repeats and repeats_text(report),
    )


def _row(arm: Report) -> dict[str, object]:
    row: dict[str, object] = {"name": arm["name"], "numbers": arm["numbers"]}
    for metric, style, signed in (("psnr", "{:.2f}", "{:+.2f}"), ("ssim", "{:.4f}", "{:+.4f}")):
        row[metric] = style.format(fmean(arm[metric]))
        row[f"{metric}_gain"] = gain_text(arm[f"{metric}_gain"], signed) if f"{metric}_gain" in arm else ""
    return row


def write_report(report: Report, folder: Path) -> list[Path]:
    """The files, in the order in which they should be looked at: HTML, Markdown, JSON."""
    page, text, plain = (folder / f"report.{suffix}" for suffix in ("html", "md", "json"))
    write_json(plain, report)
    write_text(text, render_markdown(report))
    write_text(page, render_page(report))
    return [page, text, plain]
