"""Tables: the numbers of report.json as rows of text, the same for Markdown and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.comparison.report.terms import spoken
from training.comparison.report.words import amount
from training.comparison.theory import Metric

BEST, TIED, FAVOURITE = "●", "≈", "★"


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says.
        strength: of its colour, -1 (worse) to 1 (better); 0 has none.
        strong: whether it is written in bold.
    """

    text: str
    strength: float = 0.0
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells with names before them and a legend below; `corner` is over the names."""

    corner: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    legend: str


def heat_table(report: Mapping[str, Any], metric: Metric) -> Table:
    """Recipes x degradations: the difference from the reference recipe."""
    columns = report["degradations"]
    standing = {
        (each["name"], column["label"]): each["standing"][metric]
        for column in columns
        for each in column["methods"]
        if each["kind"] == "recipe"
    }
    names = [name for name in report["study"]["recipes"] if any(name == known for known, _ in standing)]
    sizes = [abs(each["to_reference"]["mean"]) for each in standing.values() if each["to_reference"]]
    # one recipe that fails would otherwise leave all others without colour
    scale = float(np.percentile(sizes, 80)) if sizes else 0.0
    rows = tuple(
        tuple(_heat_cell(standing.get((name, column["label"])), metric, scale, name, column) for column in columns)
        for name in names
    )
    references = sorted({column["reference"] for column in columns})
    return Table(
        ", ".join(references),
        tuple(column["label"] for column in columns),
        tuple(names),
        rows,
        f"{BEST} the best, {TIED} not told apart from it, {FAVOURITE} named first by theory;"
        " bold: the difference is real (corrected for the number of recipes, and every seed agrees).",
    )


def _heat_cell(
    standing: Mapping[str, Any] | None, metric: Metric, scale: float, name: str, column: Mapping[str, Any]
) -> Cell:
    if standing is None:
        return Cell("diverged" if name in column["diverged"] else "")
    marks = BEST if standing["to_best"] is None else TIED if standing["tied"] else ""
    if column["favourite"] == name:
        marks += FAVOURITE
    difference = standing["to_reference"]
    if difference is None:
        return Cell(" ".join(filter(None, (_mean(metric, standing["mean"]), marks))))
    strength = max(-1.0, min(1.0, difference["mean"] / scale)) if scale else 0.0
    text = _signed(metric, difference["mean"])
    return Cell(" ".join(filter(None, (text, marks))), strength, difference["real"])


def ranking_table(report: Mapping[str, Any], degradation: Mapping[str, Any]) -> Table:
    """All methods under one degradation, recipes ranked, by PSNR and SSIM with their intervals."""
    rows = []
    several = len(degradation["seeds"]) > 1
    for method in degradation["methods"]:
        psnr, ssim = method["standing"]["psnr"], method["standing"]["ssim"]
        rows.append(
            (
                Cell(_rank(psnr)),
                Cell(_with_interval("psnr", psnr)),
                Cell(_difference("psnr", psnr), strong=_real(psnr)),
                Cell(_with_interval("ssim", ssim)),
                Cell(_difference("ssim", ssim), strong=_real(ssim)),
                Cell(_place(psnr)),
                *([Cell(_seed_means(psnr))] if several else []),
            )
        )
    reference, n = degradation["reference"], degradation["patients"]
    return Table(
        "",
        (
            "rank",
            "PSNR, dB",
            f"minus {reference}",
            "SSIM",
            f"minus {reference}",
            "by PSNR",
            *(["PSNR of each seed"] if several else []),
        ),
        tuple(_name(each) for each in degradation["methods"]),
        tuple(rows),
        spoken(
            f"{n} patients, {degradation['slices']} slices, seeds {', '.join(map(str, degradation['seeds']))};"
            f" {report['main_contract']}. Brackets: {report['statistics']['interval']}; p is corrected.",
            report["unit"],
        ),
    )


ERRORS: tuple[tuple[str, str | None, str, str], ...] = (
    ("rmse", None, "RMSE", "{:.3g}"),
    ("psnr", "full range", "PSNR full range, dB", "{:.2f}"),
    ("bias", "air", "bias air", "{:+.2f}"),
    ("bias", "lung", "bias lung", "{:+.2f}"),
    ("bias", "fat", "bias fat", "{:+.2f}"),
    ("bias", "soft tissue", "bias soft tissue", "{:+.2f}"),
    ("bias", "bone", "bias bone", "{:+.2f}"),
    ("kurtosis", None, "kurtosis of errors", "{:.1f}"),
    ("structure", None, "structure removed", "{:+.3f}"),
    ("edge slope", None, "edge slope", "{:.2f}"),
    ("fine kept", None, "fine detail kept", "{:.2f}"),
    ("fine power", None, "fine power", "{:.2f}"),
)
"""(metric, contract or None for the main one, title, format); those that no method has are left out."""


def error_table(report: Mapping[str, Any], degradation: Mapping[str, Any]) -> Table:
    """What the errors are like: in patients, and on the phantom whose truth is known."""
    methods = degradation["methods"]
    means = [{(metric, contract): value for metric, contract, value in each["means"]} for each in methods]
    shown = [
        (metric, contract or report["main_contract"], title, style)
        for metric, contract, title, style in ERRORS
        if any((metric, contract or report["main_contract"]) in each for each in means)
    ]
    rows = []
    for method, values in zip(methods, means, strict=True):
        cells = [Cell(_text(values.get((metric, contract)), style)) for metric, contract, _, style in shown]
        phantom = method["phantom"]
        high, low = (phantom["transfer"][contrast] for contrast in ("high", "low"))
        cells += [
            Cell(_text(phantom["noise"], "{:.3g}")),
            Cell(_text(phantom["bias"], "{:.3g}")),
            Cell(_text(phantom["spectrum"]["mean_frequency"], "{:.2f}")),
            Cell(_text(high and high["f50"], "{:.2f}")),
            Cell(_text(low and low["f50"], "{:.2f}")),
        ]
        rows.append(tuple(cells))
    unit = {"HU": "HU", "relative": "0..1"}[report["unit"]]
    return Table(
        "",
        (
            *(title for _, _, title, _ in shown),
            "phantom: noise",
            "bias",
            "mean frequency",
            "f50 high",
            "f50 low",
        ),
        tuple(_name(each) for each in methods),
        tuple(rows),
        f"Bias and RMSE in {unit}. Kurtosis: 0 for Gaussian errors, more where few are large. Structure removed: 0 when"
        " only noise was removed. Edge slope, detail kept, power: 1 is the reference's. Phantom, first seed: noise and"
        " squared bias apart, of repeated noise; mean frequency of what noise is left; f50 of edges of high and of low"
        " contrast, 1/mm for CT.",
    )


def cost_table(report: Mapping[str, Any]) -> Table:
    """What each recipe costs to train; running it costs the same for all."""
    cost = report["cost"]
    names = [name for name in report["study"]["recipes"] if name in cost]
    milliseconds: dict[str, list[float]] = {}
    for degradation in report["degradations"]:
        for method in degradation["methods"]:
            milliseconds.setdefault(method["name"], []).append(method["slice_milliseconds"])
    rows = tuple(
        (
            Cell(_text(_thousand(cost[name].get("step_seconds")), "{:.0f}")),
            Cell(_text(cost[name].get("train_seconds"), "{:.0f}")),
            Cell(f"{cost[name]['parameters']:,.0f}"),
            Cell(f"{np.median(milliseconds[name]):.0f}" if name in milliseconds else ""),
        )
        for name in names
    )
    return Table(
        "",
        ("ms a training step", "training, s", "parameters", spoken("ms a slice", report["unit"])),
        tuple(names),
        rows,
        "Medians over the cells of a recipe, on the machine that ran the study, whatever else it was doing.",
    )


def _name(method: Mapping[str, Any]) -> str:
    return ", ".join(method["tuned"]) or str(method["name"])


def _rank(standing: Mapping[str, Any]) -> str:
    if standing["rank"] is None:
        return ""
    low, high = standing["rank_interval"]
    return f"{standing['rank']} [{low}, {high}]" if low < high else str(standing["rank"])


def _place(standing: Mapping[str, Any]) -> str:
    if standing["rank"] is None:
        return ""
    if standing["to_best"] is None:
        return f"{BEST} best"
    return f"{TIED} tied" if standing["tied"] else "behind"


def _seed_means(standing: Mapping[str, Any]) -> str:
    means = standing["seed_means"]
    return " / ".join(f"{each:.2f}" for each in means) if len(means) > 1 else ""


def _with_interval(metric: Metric, standing: Mapping[str, Any]) -> str:
    mean = _mean(metric, standing["mean"])
    ends = standing["interval"]
    return f"{mean} [{', '.join(_mean(metric, each) for each in ends)}]" if ends else mean


def _difference(metric: Metric, standing: Mapping[str, Any]) -> str:
    difference = standing["to_reference"]
    if difference is None:
        return ""
    text = _signed(metric, difference["mean"])
    if difference["interval"]:
        text += f" [{', '.join(_signed(metric, each) for each in difference['interval'])}]"
    return text if difference["p"] is None else f"{text} p {difference['p']:.2g}"


def _real(standing: Mapping[str, Any]) -> bool:
    return bool(standing["to_reference"] and standing["to_reference"]["real"])


def _mean(metric: Metric, value: float) -> str:
    return amount(metric, value, signed=False).removesuffix(" dB")


def _signed(metric: Metric, value: float) -> str:
    return amount(metric, value).removesuffix(" dB")


def _text(value: float | None, style: str) -> str:
    return "" if value is None else style.format(value)


def _thousand(value: float | None) -> float | None:
    return None if value is None else 1000 * value
