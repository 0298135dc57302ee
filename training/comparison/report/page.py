"""Page: report.json and the restored crops -> one HTML file that needs nothing else and runs no script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from imaging.image import Unit
from imaging.metrics import MetricContract
from training.comparison.report.figures import DIFFERENCE, crop_image, curves, difference_image
from training.comparison.report.tables import (
    cost_table,
    error_table,
    heat_table,
    ranking_table,
)
from training.comparison.report.terms import budget_text, data_text, statistics_text
from training.evaluation.image_scores import CONTRACTS, Picture

TEMPLATE = "page.html.j2"


def render_page(report: dict[str, Any], crops: Mapping[str, Mapping[str, Picture]], reference: Picture) -> str:
    """The HTML.

    Args:
        report: of `training.comparison.report.analyse.analyse`.
        crops: label of the degradation -> method -> restored crop, (H, W) float32.
        reference: the crop of the truth.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    unit: Unit = report["unit"]
    return environment.get_template(TEMPLATE).render(
        report=report,
        data=data_text(report),
        budget=budget_text(report),
        statistics=statistics_text(report),
        heat=[("PSNR, dB", heat_table(report, "psnr")), ("SSIM", heat_table(report, "ssim"))],
        cost=cost_table(report),
        sections=[
            _section(report, each, crops.get(each["label"], {}), reference, unit) for each in report["degradations"]
        ],
    )


def _section(
    report: Mapping[str, Any],
    degradation: Mapping[str, Any],
    crops: Mapping[str, Picture],
    reference: Picture,
    unit: Unit,
) -> dict[str, Any]:
    contract = CONTRACTS[unit][0]
    shown = [name for name in _shown(degradation) if name in crops]
    pictures = [_crop(name, crops[name], reference, contract, unit) for name in shown]
    if pictures:
        truth = {"name": "truth", "image": crop_image(reference, contract), "difference": ""}
        pictures.insert(0, truth)
    return {
        "label": degradation["label"],
        "stated": degradation["stated"],
        "says": degradation["says"],
        "ranking": ranking_table(report, degradation),
        "errors": error_table(report, degradation),
        "crops": pictures,
        "crops_legend": (
            f"Left: {contract.low:g} to {contract.high:g} {contract.unit}. Right: restored minus truth, black"
            f" {-DIFFERENCE[unit]:g}, white {DIFFERENCE[unit]:+g}. A drawing, first seed."
        ),
        "curves": curves(
            {each["name"]: each["phantom"] for each in degradation["methods"] if each["name"] in _shown(degradation)},
            unit,
            salt=degradation["label"],
        ),
    }


def _shown(degradation: Mapping[str, Any]) -> list[str]:
    """Untouched, recipes in the order of their rank, taken runs, and the strongest filter."""
    methods = degradation["methods"]
    filters = [each["name"] for each in methods if each["kind"] == "baseline" and each["tuned"]]
    untouched = [each["name"] for each in methods if each["kind"] == "baseline" and not each["tuned"]]
    return [*untouched, *(each["name"] for each in methods if each["kind"] != "baseline"), *filters[:1]]


def _crop(name: str, crop: Picture, reference: Picture, contract: MetricContract, unit: Unit) -> dict[str, str]:
    return {
        "name": name,
        "image": crop_image(crop, contract),
        "difference": difference_image(crop, reference, unit),
    }
