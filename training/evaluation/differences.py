"""Paired differences between methods: patients differ more than methods do, so they are taken slice by slice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from training.evaluation.evaluate import INTERVAL_METHOD, ImageScore, bootstrap
from training.evaluation.image_scores import CONTRACTS

MINIMUM_PATIENTS = 6
"""With fewer the differences are printed without an interval: they say nothing about other patients."""


def render_differences(scores: Sequence[ImageScore], method: str, *, seed: int = 0) -> str:
    """Markdown table: `method` minus every other method, PSNR and SSIM under the main contract, with intervals.

    Args:
        scores: of all methods on the same slices, in the same order.
        method: the one that is compared.
        seed: of the bootstrap.
    """
    contract = next(main for main, *_ in CONTRACTS.values() if ("psnr", main.name) in scores[0].values)
    values: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        for metric in ("psnr", "ssim"):
            value = score.values[metric, contract.name]
            values[score.degradation, score.method, metric][score.patient].append(value)
    lines = [f"| degradation | {method} minus | PSNR, dB | SSIM |", "|---|---|---|---|"]
    for degradation, other in dict.fromkeys((score.degradation, score.method) for score in scores):
        if other == method:
            continue
        cells = []
        for metric, style in (("psnr", "{:+.2f}"), ("ssim", "{:+.4f}")):
            ours, theirs = values[degradation, method, metric], values[degradation, other, metric]
            paired = [np.asarray(ours[patient]) - np.asarray(theirs[patient]) for patient in ours]
            if not all(np.isfinite(each).all() for each in paired):  # at full dose the degraded image is perfect
                cells.append("")
                continue
            mean, interval = bootstrap(paired, np.random.default_rng(seed))
            text = style.format(mean)
            if interval is not None and len(paired) >= MINIMUM_PATIENTS:
                text += f" [{style.format(interval[0])}, {style.format(interval[1])}]"
            cells.append(text)
        lines.append(f"| {degradation} | {other} | {cells[0]} | {cells[1]} |")
    note = f"Contract: {contract.name}. Brackets: {INTERVAL_METHOD}; not corrected for their number."
    return "\n".join([*lines, "", note]) + "\n"
