"""Terms: who was reported on, what every recipe was allowed, and how figures came about; as sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from imaging.image import Unit


def spoken(text: str, unit: Unit) -> str:
    """The text in the words of the domain: relative images are pictures, and come from no patient."""
    if unit == "HU":
        return text
    return re.sub(r"\bslice(s?)\b", r"image\1", re.sub(r"\bpatient(s?)\b", r"picture\1", text))


def data_text(report: Mapping[str, Any]) -> str:
    """Who was fitted and who is reported on."""
    data = report["data"]
    fitted, reported = data["fit"], data["report"]
    if data["cross_validated"]:
        folds = report["study"]["folds"]
        return spoken(
            f"Cross-validated in {folds} folds: {reported['patients']} patients ({reported['slices']} slices, at most"
            f" {report['study']['slices']} of each), each reported on by models that never saw them.",
            report["unit"],
        )
    return spoken(
        f"Fitted on {fitted['patients']} patients ({fitted['slices']} slices), reported on {reported['patients']}"
        f" others ({reported['slices']} slices, at most {report['study']['slices']} of each, spread evenly).",
        report["unit"],
    )


def budget_text(report: Mapping[str, Any]) -> str:
    """What every cell of the table was allowed."""
    study, budget = report["study"], report["study"]["budget"]
    patches = budget["epochs"] * budget["steps"] * budget["batch"]
    return (
        f"Every recipe had the same budget: {budget['epochs'] * budget['steps']:,} steps of {budget['batch']} patches"
        f" of {budget['patch']} x {budget['patch']} pixels ({patches:,} patches), a U-Net of widths"
        f" {', '.join(map(str, budget['widths']))} with {budget['blocks']} blocks, Adam at"
        f" {budget['learning_rate']:g}, {budget['precision']}, {_seeds(study['seeds'])}."
        " This says which loss is best under this budget, and no more."
    )


def statistics_text(report: Mapping[str, Any]) -> str:
    """How the figures came about."""
    how = report["statistics"]
    contracts = "; ".join(
        f"{each['name']} [{each['low']:g}, {each['high']:g}] {each['unit']},"
        f" {'clipped' if each['clip'] else 'not clipped'}, range {each['data_range']:g},"
        f" SSIM {each['ssim_taps']} taps, sigma {each['ssim_sigma']:g}"
        for each in report["contracts"]
    )
    return spoken(
        f"Scores: means over patients of means over slices and seeds; {contracts}. Brackets: {how['interval']}."
        f" Minus the reference: {how['to_reference']}. Tied with the best: {how['to_best']}. Theory: {how['theory']}."
        f" Real: {how['real']}, level {how['level']:g}; nothing is called real under"
        f" {how['minimum_patients']} patients."
        " Tests are about patients and these trained models; seeds are few, so their spread is shown and not tested.",
        report["unit"],
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
