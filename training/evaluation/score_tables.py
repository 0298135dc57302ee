"""The tables that reports and model cards show: rows -> Markdown.

    rows --render_markdown-----> PSNR, SSIM, RMSE, bias: how far from the reference
         --render_more_metrics-> noise, structure, sparseness, sharpness: in what way

One section per degradation, one line per method. The columns follow from the unit that the rows were scored in.
"""

from __future__ import annotations

from collections.abc import Sequence

from imaging.image import Unit
from imaging.metrics import FULL_RANGE, RELATIVE, SOFT_TISSUE
from imaging.quality.detail import BANDS
from training.evaluation.evaluate import INTERVAL_METHOD, Row
from training.evaluation.image_scores import CONTRACTS

Column = tuple[str, str, str, str]
"""(metric, contract, title, format)."""

_MAIN: dict[Unit, tuple[Column, ...]] = {
    "HU": (
        ("psnr", SOFT_TISSUE.name, "PSNR, dB", "{:.2f}"),
        ("ssim", SOFT_TISSUE.name, "SSIM", "{:.4f}"),
        ("rmse", SOFT_TISSUE.name, "RMSE, HU", "{:.2f}"),
        ("psnr", FULL_RANGE.name, "PSNR full range, dB", "{:.2f}"),
        ("bias", "soft tissue", "bias in soft tissue, HU", "{:+.2f}"),
    ),
    "relative": (
        ("psnr", RELATIVE.name, "PSNR, dB", "{:.2f}"),
        ("ssim", RELATIVE.name, "SSIM", "{:.4f}"),
        ("rmse", RELATIVE.name, "RMSE", "{:.4f}"),
        ("bias", RELATIVE.name, "bias", "{:+.4f}"),
    ),
}


_RANGES: dict[Unit, str] = {
    "HU": (
        f"in the soft-tissue window [{SOFT_TISSUE.low:g}, {SOFT_TISSUE.high:g}] HU, clipped,"
        f" range {SOFT_TISSUE.data_range:g}; full range [{FULL_RANGE.low:g}, {FULL_RANGE.high:g}] HU,"
        f" range {FULL_RANGE.data_range:g}"
    ),
    "relative": f"over [{RELATIVE.low:g}, {RELATIVE.high:g}], clipped, range {RELATIVE.data_range:g}",
}

_BANDS_SHOWN = ("middle", "fine")
"""Of `imaging.quality.detail.BANDS`; the JSON has all. In the coarse band methods hardly differ."""


def unit_of(rows: Sequence[Row]) -> Unit:
    """The unit whose main contract the rows were scored under.

    Raises:
        ValueError: there is none: no row, or rows of something else.
    """
    contracts = {row.contract for row in rows}
    for unit, (main, *_) in CONTRACTS.items():
        if main.name in contracts:
            return unit
    raise ValueError(f"no row was scored under a main contract; the contracts are: {', '.join(sorted(contracts))}")


def render_markdown(rows: Sequence[Row]) -> str:
    """The main table, and under it how its figures came about; raises as `unit_of`."""
    unit = unit_of(rows)
    main = CONTRACTS[unit][0]
    return _tables(rows, _MAIN[unit]) + (
        f"PSNR, SSIM and RMSE {_RANGES[unit]}."
        f" SSIM: {main.ssim_taps} taps, sigma {main.ssim_sigma}."
        f" Brackets: {INTERVAL_METHOD}. Baselines are tuned for each degradation on the tune patients.\n"
    )


def render_more_metrics(rows: Sequence[Row]) -> str:
    """The second table, of what the errors are like, and its legend; raises as `unit_of`."""
    unit = unit_of(rows)
    main = CONTRACTS[unit][0].name
    noise: list[Column] = [("noise", "soft tissue", "noise, HU", "{:.1f}")] if unit == "HU" else []
    columns = (
        *noise,
        ("structure", main, "structure removed", "{:+.2f}"),
        ("kurtosis", main, "kurtosis of errors", "{:.1f}"),
        ("edge slope", main, "edge slope", "{:.2f}"),
        *((f"{band} kept", main, f"{band} detail kept", "{:.2f}") for band in _BANDS_SHOWN),
        *((f"{band} power", main, f"{band} power", "{:.2f}") for band in _BANDS_SHOWN),
    )
    bands = ", ".join(f"{band} {BANDS[band][0]:g} to {BANDS[band][1]:g}" for band in _BANDS_SHOWN)
    legend = (
        "Structure removed: correlation of (input - output) with the output's edges; 0 when only noise was removed,"
        " positive when edges were. Kurtosis of errors: 0 for Gaussian, more where few errors are large. Edge slope,"
        f" detail kept, power: 1 is the reference's; {bands} cycles per pixel."
    )
    return _tables(rows, columns) + legend + (" Noise: level in soft tissue.\n" if noise else "\n")


def _tables(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    lines: list[str] = []
    for degradation in dict.fromkeys(row.degradation for row in rows):
        cells = {(r.method, r.metric, r.contract): r for r in rows if r.degradation == degradation}
        first = next(iter(cells.values()))
        lines += [
            f"**{degradation}**: {first.patients} patients, {first.images} slices",
            "",
            "| method | " + " | ".join(title for _, _, title, _ in columns) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for method in dict.fromkeys(method for method, _, _ in cells):
            texts = [_cell(cells.get((method, metric, contract)), style) for metric, contract, _, style in columns]
            lines.append(f"| {method} | " + " | ".join(texts) + " |")
        lines.append("")
    return "\n".join(lines) + "\n"


def _cell(row: Row | None, style: str) -> str:
    if row is None:
        return ""
    mean = style.format(row.mean)
    return f"{mean} [{', '.join(style.format(end) for end in row.interval)}]" if row.interval else mean
