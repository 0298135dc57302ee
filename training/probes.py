"""Probes: a few slices of the tune patients that a run scores after every epoch, for the eye.

    tune series --evaluation_pairs--> some (degraded, reference) --model--> scores, pictures

A network that says how sure it is gives sigma, or lower and upper, beside the restored image; of those, the share of
pixels whose reference lies in the interval is scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from imaging.image import Unit
from imaging.metrics import RELATIVE, SOFT_TISSUE, MetricContract, measure
from training.data.datasets import evaluation_pairs
from training.data.pairs import Degrade, PreparedSeries
from training.degradations import DoseProtocol, DoseRange

PROBE_SLICES = 6
"""Enough to see progress, few enough to cost seconds."""

PICTURES = 2
"""Probes that are shown: two tell enough."""

HALF_WIDTH_90 = 1.645
"""Standard deviations from the mean of a normal distribution to the ends of the interval that holds 90 % of it."""

CONTRACTS: dict[Unit, MetricContract] = {"HU": SOFT_TISSUE, "relative": RELATIVE}
"""Under what the probes of a unit are scored and shown."""

Picture = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Probe:
    """One slice: (H, W) float32 in the contract's unit."""

    degraded: Picture
    reference: Picture
    contract: MetricContract


def restore_slice(model: keras.Model) -> Callable[[Picture], Picture]:
    """The restorer of one image, (H, W) float32 each, of any model of `training.networks.unet.build_unet`."""

    def restore(image: Picture) -> Picture:
        restored: Picture = model.predict_on_batch(image[None, ..., None])[0, ..., 0]
        return restored

    return restore


def evaluated_degradation(noise: Degrade) -> Degrade:
    """What a run is looked at under: the degradation that it is trained on, and a quarter dose for a range of doses."""
    return DoseProtocol() if isinstance(noise, DoseRange) else noise


def choose_probes(series: Sequence[PreparedSeries], noise: Degrade) -> list[Probe]:
    """Up to `PROBE_SLICES` slices, spread evenly over all, degraded by `noise` (a range of doses: a quarter)."""
    probes = [
        Probe(degraded, reference, CONTRACTS[each.unit])
        for each in series
        for degraded, reference in evaluation_pairs(each, evaluated_degradation(noise))
    ]
    return probes[:: max(1, len(probes) // PROBE_SLICES)][:PROBE_SLICES]


def score_probes(
    model: keras.Model, outputs: tuple[str, ...], probes: Sequence[Probe]
) -> tuple[dict[str, float], dict[str, NDArray[np.uint8]]]:
    """Mean scores under the probes' contract, and pictures of degraded, restored and reference side by side.

    Args:
        model: (N, H, W, 1) -> (N, H, W, C) in the unit of the probes.
        outputs: what its channels are.
        probes: without any there are no scores.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    pictures = {}
    for number, probe in enumerate(probes):
        contract = probe.contract
        answer = model.predict_on_batch(probe.degraded[None, ..., None])[0]
        restored = answer[..., 0]
        found = measure(restored, probe.reference, contract)
        values = {name: float(getattr(found, name)) for name in ("psnr", "ssim", "rmse", "bias")}
        for name, value in (values | interval_scores(answer, outputs, probe.reference, contract)).items():
            scores[name].append(value)
        if number < PICTURES:
            row = np.concatenate([probe.degraded, restored, probe.reference], axis=1)
            window = (row - contract.low) / contract.data_range
            pictures[f"tune {number}: degraded, restored, reference"] = (np.clip(window, 0, 1) * 255).astype(np.uint8)
    return {name: float(np.mean(values)) for name, values in scores.items()}, pictures


def interval_scores(
    answer: Picture, outputs: tuple[str, ...], reference: Picture, contract: MetricContract = SOFT_TISSUE
) -> dict[str, float]:
    """`coverage` of the interval that the network gives for every pixel, 0 to 1, and its mean `interval width`.

    The interval is lower to upper, or the 90 % of a normal distribution around restored: +- 1.645 sigma. Only pixels
    whose reference lies in the contract's range count: in air nearly any interval would do. Empty for networks that
    give no interval, and where no pixel counts.

    Args:
        answer: (H, W, C) in the contract's unit, with the channels `outputs`.
        outputs: as of a recipe.
        reference: (H, W) in the same.
        contract: for CT the soft-tissue window.
    """
    if len(outputs) == 1:
        return {}
    channels = {name: answer[..., number] for number, name in enumerate(outputs)}
    if "sigma" in channels:
        reach = HALF_WIDTH_90 * channels["sigma"]
        low, high = channels["restored"] - reach, channels["restored"] + reach
    else:
        low, high = channels["lower"], channels["upper"]
    seen = (reference >= contract.low) & (reference <= contract.high)
    if not seen.any():
        return {}
    covered = (low <= reference) & (reference <= high)
    return {"coverage": float(covered[seen].mean()), "interval width": float((high - low)[seen].mean())}
