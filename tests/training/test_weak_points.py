from __future__ import annotations

from training.evaluation.evaluate import DEGRADED, Row
from training.evaluation.hard_cases import HardCase
from training.weak_points import render_weak_points, weak_points

WINDOW = "soft tissue window"


def _row(method, metric, mean, *, degradation="half dose", contract=WINDOW):
    return Row(method, degradation, metric, contract, mean, None, None, None, 6, 12)


def _table(own, other, *, before=30.0, bias=0.2):
    return [
        _row(DEGRADED, "psnr", before),
        _row("ct-l2", "psnr", own),
        _row("median (3 px)", "psnr", other),
        _row("bilateral", "psnr", other - 1),
        _row(DEGRADED, "ssim", 0.8),
        _row("ct-l2", "ssim", 0.9),
        _row("median (3 px)", "ssim", 0.85),
        _row("ct-l2", "bias", bias, contract="bone"),
        _row("median (3 px)", "bias", 5.0, contract="bone"),
    ]


def test_it_says_where_a_filter_is_better_and_by_how_much():
    assert weak_points("ct-l2", _table(33, 33.5)) == ["Behind median (3 px) under half dose: PSNR 33.00 against 33.50"]


def test_doing_nothing_can_be_better_too():
    assert "Behind degraded under half dose" in weak_points("ct-l2", _table(29, 28))[0]


def test_it_says_which_tissue_moves():
    assert weak_points("ct-l2", _table(34, 33, bias=-1.4)) == ["Moves bone by -1.4 HU on average under half dose"]


def test_it_says_what_becomes_of_an_image_that_needs_nothing():
    full = [_row("ct-l2", "rmse", 4.56, degradation="full dose"), _row("ct-l2", "psnr", 40, degradation="full dose")]
    assert weak_points("ct-l2", full) == ["An image that needs nothing (full dose) is changed by 4.56 HU RMS"]


def test_a_model_that_is_ahead_everywhere_says_that_and_no_more():
    (point,) = weak_points("ct-l2", _table(34, 33))
    assert "ahead of every filter" in point


def test_hard_cases_are_a_table_below():
    text = render_weak_points("ct-l2", _table(34, 33), [HardCase("head", "in the brain", 6.8, 4.6, ("drift",))])
    assert text.startswith("- In the tables above it is ahead of every filter.\n")
    assert weak_points("ct-l2", [row for row in _table(34, 33) if row.method in ("ct-l2", DEGRADED)]) == []
    assert "| head | in the brain | 6.8 | 4.6 | drift |" in text
    assert "| head | in the brain | 6.8 | 4.6 | nothing |" in render_weak_points(
        "ct-l2", [], [HardCase("head", "in the brain", 6.8, 4.6, ())]
    )
    assert render_weak_points("ct-l2", []) == ""
