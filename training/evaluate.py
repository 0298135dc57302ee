"""Evaluate: what a restorer does to patients it has never seen, beside tuned classical baselines, with intervals.

    report series --DoseProtocol--> (degraded, reference) --each method--> ImageScore --by patient--> Row --> table
    tune series ----------------------------------------> the baselines' parameters

Scores are means over patients of means over slices. Intervals come from a hierarchical bootstrap: patients are drawn
with replacement, then slices within each drawn patient (Davison & Hinkley, Bootstrap Methods and their Application,
1997, section 3.8). Methods see the same noise, so gains over the degraded image are paired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.metrics import FULL_RANGE, SOFT_TISSUE, measure, tissue_bias
from training.baselines import BASELINES, TunedBaseline, tune
from training.datasets import DoseProtocol, evaluation_pairs
from training.pairs import PreparedSeries
from training.progress import Advance, silent

Picture = NDArray[np.float32]
Restore = Callable[[Picture], Picture]
"""(H, W) float32 HU -> (H, W) float32 HU."""

Interval = tuple[float, float]
"""(low, high)."""

CONTRACTS = (SOFT_TISSUE, FULL_RANGE)
DEGRADED = "degraded"

BOOTSTRAP_DRAWS = 2000
INTERVAL_METHOD = f"95 % hierarchical bootstrap (patient, then slice), {BOOTSTRAP_DRAWS} draws"
_TUNE_SLICES = 12
_MINIMUM_TISSUE_PIXELS = 50  # fewer say nothing about a bias


@dataclass(frozen=True)
class ImageScore:
    """All scores of one method on one slice: (metric, contract) -> value."""

    method: str
    degradation: str
    series: str
    patient: str
    values: dict[tuple[str, str], float]


@dataclass(frozen=True)
class Row:
    """One cell of the table: mean over patients, its interval, and the mean paired gain over the degraded image."""

    method: str
    degradation: str
    metric: str
    contract: str
    mean: float
    interval: Interval | None
    gain: float
    gain_interval: Interval | None
    patients: int
    images: int


def evaluate(
    methods: Mapping[str, Restore],
    report: Sequence[PreparedSeries],
    tune_series: Sequence[PreparedSeries],
    protocols: Sequence[DoseProtocol],
    *,
    processes: int | None = None,
    progress: Advance = silent,
) -> list[ImageScore]:
    """Scores every method, the degraded image and the baselines on every slice of `report` under every protocol.

    Args:
        methods: name -> restorer of one image.
        report: series of patients that nothing was fitted or tuned on.
        tune_series: what the baselines' parameters are chosen on; empty leaves the baselines out.
        protocols: how slices are degraded.
        processes: for the baselines (default: the machine's cores).
        progress: told (what, done, total).
    """
    scores = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for protocol in protocols:
            baselines = _tuned(tune_series, protocol, pool, progress)
            pairs = [(each, pair) for each in report for pair in evaluation_pairs(each, protocol)]
            for number, (series, (degraded, reference)) in enumerate(pairs):
                work = [pool.submit(baseline, degraded) for baseline in baselines]
                restored = {DEGRADED: degraded}
                restored |= {name: restore(degraded) for name, restore in methods.items()}
                restored |= {b.label: future.result() for b, future in zip(baselines, work, strict=True)}
                for method, image in restored.items():
                    values = _values(image, reference)
                    scores.append(ImageScore(method, protocol.label, series.name, series.patient, values))
                progress(f"evaluate: {protocol.label}", number + 1, len(pairs))
    return scores


def _tuned(
    series: Sequence[PreparedSeries],
    protocol: DoseProtocol,
    pool: ProcessPoolExecutor,
    progress: Advance,
) -> list[TunedBaseline]:
    pairs = [pair for each in series for pair in evaluation_pairs(each, protocol)]
    if not pairs:
        return []
    pairs = pairs[:: max(1, len(pairs) // _TUNE_SLICES)]
    total, done = sum(len(baseline.grid) for baseline in BASELINES), 0
    tuned = []
    for baseline in BASELINES:

        def advance() -> None:
            nonlocal done
            done += 1
            progress(f"tune baselines: {protocol.label}", done, total)

        tuned.append(tune(baseline, pairs, pool, advance))
    return tuned


def _values(restored: Picture, reference: Picture) -> dict[tuple[str, str], float]:
    values = {}
    for contract in CONTRACTS:
        scores = measure(restored, reference, contract)
        for metric in ("psnr", "ssim", "rmse"):
            values[metric, contract.name] = float(getattr(scores, metric))
    for tissue, (bias, pixels) in tissue_bias(restored, reference).items():
        if pixels >= _MINIMUM_TISSUE_PIXELS:
            values["bias", tissue] = bias
    return values


def summarise(scores: Iterable[ImageScore], *, seed: int = 0) -> list[Row]:
    """Rows in the order of methods; within a patient the order of slices pairs a method with the degraded image."""
    table: dict[tuple[str, str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        for (metric, contract), value in score.values.items():
            table[score.degradation, score.method, metric, contract][score.patient].append(value)
    rows = []
    for (degradation, method, metric, contract), by_patient in table.items():
        before = table[degradation, DEGRADED, metric, contract]
        values = [np.asarray(each) for each in by_patient.values()]
        gains = [np.asarray(each) - np.asarray(before[patient]) for patient, each in by_patient.items()]
        mean, interval = bootstrap(values, np.random.default_rng(seed))
        gain, gain_interval = bootstrap(gains, np.random.default_rng(seed))
        images = sum(len(each) for each in values)
        rows.append(
            Row(method, degradation, metric, contract, mean, interval, gain, gain_interval, len(values), images)
        )
    return rows


def bootstrap(by_patient: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> tuple[float, Interval | None]:
    """Mean over patients of the means over slices, and its 95 % interval; see the module.

    Args:
        by_patient: for each patient (slices,) values.
        rng: source of randomness.

    Returns:
        (mean, (low, high)); no interval for a single patient, whose mean says nothing about others.
    """
    mean = float(np.mean([values.mean() for values in by_patient]))
    if len(by_patient) < 2:  # noqa: PLR2004 - one patient
        return mean, None
    places = (BOOTSTRAP_DRAWS, len(by_patient))
    # [patient, draw, place]: what each patient's slices would average to if it were drawn there
    drawn = np.stack([values[rng.integers(len(values), size=(*places, len(values)))].mean(-1) for values in by_patient])
    chosen = rng.integers(len(by_patient), size=places)
    means = np.take_along_axis(drawn, chosen[None], axis=0)[0].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return mean, (float(low), float(high))


def to_json(rows: Iterable[Row], scores: Iterable[ImageScore]) -> dict[str, Any]:
    """Rows and the single scores they come from, as plain values."""
    plain = [asdict(score) | {"values": [[*key, value] for key, value in score.values.items()]} for score in scores]
    return {"interval_method": INTERVAL_METHOD, "rows": [asdict(row) for row in rows], "scores": plain}


def rows_from_json(plain: Mapping[str, Any]) -> list[Row]:
    """The rows that `to_json` wrote."""
    pairs = ("interval", "gain_interval")
    fields: Iterable[dict[str, Any]] = plain["rows"]
    return [Row(**{**row, **{key: row[key] and tuple(row[key]) for key in pairs}}) for row in fields]


def render_markdown(rows: Sequence[Row]) -> str:
    """The table that reports and model cards show: one section per degradation, one line per method."""
    lines: list[str] = []
    columns = (
        ("psnr", SOFT_TISSUE.name, "PSNR, dB", "{:.2f}"),
        ("ssim", SOFT_TISSUE.name, "SSIM", "{:.4f}"),
        ("rmse", SOFT_TISSUE.name, "RMSE, HU", "{:.2f}"),
        ("psnr", FULL_RANGE.name, "PSNR full range, dB", "{:.2f}"),
        ("bias", "soft tissue", "bias in soft tissue, HU", "{:+.2f}"),
    )
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
            texts = []
            for metric, contract, _, style in columns:
                row = cells.get((method, metric, contract))
                mean = style.format(row.mean) if row else ""
                interval = ", ".join(style.format(end) for end in row.interval) if row and row.interval else ""
                texts.append(f"{mean} [{interval}]" if interval else mean)
            lines.append(f"| {method} | " + " | ".join(texts) + " |")
        lines.append("")
    window = f"[{SOFT_TISSUE.low:g}, {SOFT_TISSUE.high:g}] HU"
    full = f"[{FULL_RANGE.low:g}, {FULL_RANGE.high:g}] HU"
    lines.append(
        f"PSNR, SSIM and RMSE in the soft-tissue window {window}, clipped, range {SOFT_TISSUE.data_range:g};"
        f" full range {full}, range {FULL_RANGE.data_range:g}."
        f" SSIM: {SOFT_TISSUE.ssim_taps} taps, sigma {SOFT_TISSUE.ssim_sigma}."
        f" Brackets: {INTERVAL_METHOD}. Baselines are tuned for each degradation on the tune patients."
    )
    return "\n".join(lines) + "\n"
