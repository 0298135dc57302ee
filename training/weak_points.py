"""Weak points: what a model card says under "Where it fails", from what was measured.

rows --behind a filter, biased, changes a full dose--> sentences
hard cases --------------------------------------------> a table
"""

from __future__ import annotations

from collections.abc import Sequence

from training.evaluation.evaluate import DEGRADED, Row
from training.evaluation.hard_cases import HardCase, render_hard_cases
from training.evaluation.image_scores import CONTRACTS
from training.evaluation.score_tables import unit_of

TOLERATED_BIAS_HU = 1.0
"""Of a tissue's mean; more is said."""

_MEASURED = (("psnr", "PSNR", "{:.2f}"), ("ssim", "SSIM", "{:.4f}"))


def render_weak_points(method: str, rows: Sequence[Row], hard_cases: Sequence[HardCase] = ()) -> str:
    """Markdown: a list, and the table of hard cases if there are any.

    Args:
        method: the model.
        rows: of it, of the degraded image and of the tuned filters; no others. None where it was not evaluated.
        hard_cases: of it.
    """
    lines = [f"- {point}." for point in weak_points(method, rows)] if rows else []
    text = "\n".join(lines) + "\n" if lines else ""
    if hard_cases:
        text += f"\n{render_hard_cases(hard_cases)}\nDrawn, with the truth known; root mean square errors.\n"
    return text


def weak_points(method: str, rows: Sequence[Row]) -> list[str]:
    """Sentences without their full stop; one that says so where the filters are all behind. Arguments as above."""
    unit = unit_of(rows)
    main = CONTRACTS[unit][0].name
    means = {(row.degradation, row.metric, row.contract, row.method): row.mean for row in rows}
    points = []
    for degradation in dict.fromkeys(row.degradation for row in rows):
        if (degradation, "psnr", main, DEGRADED) not in means:
            changed = means[degradation, "rmse", main, method]
            points.append(f"An image that needs nothing ({degradation}) is changed by {changed:.3g} {_suffix(unit)}RMS")
            continue
        for metric, title, style in _MEASURED:
            own = means[degradation, metric, main, method]
            others = {row.method: row.mean for row in rows if _is(row, degradation, metric, main, method)}
            best = max(others, key=lambda name: others[name], default=None)
            if best is not None and others[best] > own:
                both = f"{style.format(own)} against {style.format(others[best])}"
                points.append(f"Behind {best} under {degradation}: {title} {both}")
        if unit == "HU":
            points += [
                f"Moves {tissue} by {mean:+.1f} HU on average under {degradation}"
                for (where, metric, tissue, whose), mean in means.items()
                if (where, metric, whose) == (degradation, "bias", method) and abs(mean) > TOLERATED_BIAS_HU
            ]
    if not points and any(row.method not in (method, DEGRADED) for row in rows):
        points.append("In the tables above it is ahead of every filter")
    return points


def _is(row: Row, degradation: str, metric: str, contract: str, method: str) -> bool:
    """Whether it is the cell of another method."""
    return (row.degradation, row.metric, row.contract) == (degradation, metric, contract) and row.method != method


def _suffix(unit: str) -> str:
    return "HU " if unit == "HU" else ""
