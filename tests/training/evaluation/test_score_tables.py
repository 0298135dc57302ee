from __future__ import annotations

import pytest

from imaging.metrics import RELATIVE, SOFT_TISSUE
from training.evaluation.evaluate import DEGRADED, ImageScore, summarise
from training.evaluation.score_tables import render_markdown, render_more_metrics, unit_of


def _rows(contract, **metrics):
    """The degraded image and a method that is twice as good in everything, of three patients."""
    return summarise(
        ImageScore(method, "noise", "s", patient, {(name, contract): factor * (v + i) for name, v in metrics.items()})
        for i, patient in enumerate("abc")
        for method, factor in ((DEGRADED, 1.0), ("ours", 2.0))
    )


def _line(table, method):
    return next(line for line in table.splitlines() if line.startswith(f"| {method} |"))


def test_the_main_table_shows_means_with_intervals():
    table = render_markdown(_rows(SOFT_TISSUE.name, psnr=20.0, ssim=0.0))
    assert "**noise**: 3 patients, 3 slices" in table
    assert _line(table, "degraded").startswith("| degraded | 21.00 [20.00, 22.00] | 1.0000 [0.0000, 2.0000] |")
    assert _line(table, "ours").startswith("| ours | 42.00 [40.00, 44.00] |")
    assert "soft-tissue window [-160, 240] HU, clipped, range 400; full range [-1024, 3071] HU, range 4095" in table


def test_the_second_table_says_in_what_way_images_differ():
    rows = [
        *_rows(SOFT_TISSUE.name, psnr=20.0, structure=0.0, kurtosis=1.0, **{"edge slope": 0.1, "fine kept": 0.2}),
        *_rows("soft tissue", noise=5.0),
    ]
    table = render_more_metrics(rows)
    header = next(line for line in table.splitlines() if line.startswith("| method"))
    titles = [cell.strip() for cell in header.strip("|").split("|")]
    cells = [cell.strip() for cell in _line(table, "ours").strip("|").split("|")]
    shown = dict(zip(titles, cells, strict=True))
    assert shown["noise, HU"] == "12.0 [10.0, 14.0]"
    assert shown["structure removed"] == "+2.00 [+0.00, +4.00]"
    assert shown["fine detail kept"].startswith("2.40")
    assert shown["middle power"] == ""  # was not scored
    assert "cycles per pixel" in table


def test_relative_tables_have_no_hu():
    rows = _rows(RELATIVE.name, psnr=20.0, rmse=0.1, structure=0.0)
    assert unit_of(rows) == "relative"
    assert "HU" not in render_markdown(rows) + render_more_metrics(rows)
    assert _line(render_markdown(rows), "degraded").endswith("| 1.1000 [0.1000, 2.1000] |  |")


def test_rows_of_no_contract_are_refused():
    with pytest.raises(ValueError, match="no row was scored under a main contract"):
        render_markdown([])
