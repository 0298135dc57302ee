"""Paired differences between methods: patients differ more than methods do, so they are taken slice by slice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from imaging.metrics import SOFT_TISSUE
from training.evaluate import INTERVAL_METHOD, ImageScore, bootstrap

MINIMUM_PATIENTS = 6
"""With fewer the differences are printed without an interval: they say nothing about other patients."""


def render_differences(scores: Sequence[ImageScore], method: str, *, seed: int = 0) -> str:
    """Markdown table: `method` minus every other method, PSNR and SSIM in the soft-tissue window, with intervals.

    Args:
        scores: of all methods on the same slices, in the same order.
        method: the one that is compared.
        seed: of the bootstrap.
    """
    values: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        for metric in ("psnr", "ssim"):
            value = score.values[metric, SOFT_TISSUE.name]
            values[score.degradation, score.method, metric][score.patient].append(value)
    lines = [f"| degradation | {method} minus | PSNR, dB | SSIM |", "|---|---|---|---|"]
    for degradation, other in dict.fromkeys((score.degradation, score.method) for score in scores):
        if other == method:
            continue
        cells = []
        for metric, style in (("psnr", "{:+.2f}"), ("ssim", "{:+.4f}")):
            ours, theirs = values[degradation, method, metric], values[degradation, other, metric]
            paired = [np.asarray(ours[patient]) - np.asarray(theirs[patient]) for patient in ours]
            mean, interval = bootstrap(paired, np.random.default_rng(seed))
            text = style.format(mean)
            if interval is not None and len(paired) >= MINIMUM_PATIENTS:
                text += f" [{style.format(interval[0])}, {style.format(interval[1])}]"
            cells.append(text)
        lines.append(f"| {degradation} | {other} | {cells[0]} | {cells[1]} |")
    return (
        "\n".join([*lines, "", f"Soft-tissue window. Brackets: {INTERVAL_METHOD}; not corrected for their number."])
        + "\n"
    )
