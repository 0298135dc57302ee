"""Metrics of an answer, each under its contract, in a form that JSON can carry.

    images, reference --contracts of their unit--> psnr, ssim, rmse, bias --> [{"contract": ..., "restored": ...}, ...]
    several frames    --each by itself--> their mean in the same place, and the list of them as "frames"

Two things that JSON cannot say are spelled out: an infinite PSNR is `null` with `identical` true, and an SSIM of an
image smaller than its window is `null`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.image import Unit
from imaging.metrics import (
    FULL_RANGE,
    RELATIVE,
    SOFT_TISSUE,
    SSIM_K1,
    SSIM_K2,
    MetricContract,
    bias,
    psnr,
    rmse,
    ssim,
)

METRICS = ("psnr", "ssim", "rmse", "bias")
CONTRACTS: dict[Unit, tuple[MetricContract, ...]] = {"HU": (SOFT_TISSUE, FULL_RANGE), "relative": (RELATIVE,)}
HEADER_DIGITS = 6


def score(
    images: Mapping[str, NDArray[np.float32]],
    reference: NDArray[np.float32],
    *,
    unit: Unit,
    metrics: tuple[str, ...] = METRICS,
) -> list[dict[str, Any]]:
    """One entry per contract of the unit.

    Args:
        images: what to measure, (H, W) each, by the name it gets in the entry (`restored`, `degraded`, `image`).
        reference: (H, W), the truth.
        unit: of all of them.
        metrics: which of `METRICS`.

    Returns:
        Entries with `contract` (all that is needed to compute the numbers again) and, per image, the metrics and
        `identical`: whether nothing differs under this contract. PSNR is in dB, RMSE and bias in the unit.
    """
    return [
        {
            "contract": {**asdict(contract), "ssim_k1": SSIM_K1, "ssim_k2": SSIM_K2},
            **{name: _one(pixels, reference, contract, metrics) for name, pixels in images.items()},
        }
        for contract in CONTRACTS[unit]
    ]


def score_frames(
    images: Mapping[str, Sequence[NDArray[np.float32]]],
    reference: Sequence[NDArray[np.float32]],
    *,
    unit: Unit,
    metrics: tuple[str, ...] = METRICS,
) -> list[dict[str, Any]]:
    """One entry per contract of the unit, over all frames of a file.

    Args:
        images: what to measure, (H, W) of each frame, by the name it gets in the entry.
        reference: as many, the truth.
        unit, metrics: as `score`.

    Returns:
        As `score` for one frame. For several, each image's metrics are the means over the frames, and the entry also
        has `frames`: a list with the metrics of each. A PSNR or SSIM that a frame does not have does not count in the
        mean, which is `null` when none has it; `identical` says whether all frames are.
    """
    frames = [
        score({name: planes[index] for name, planes in images.items()}, truth, unit=unit, metrics=metrics)
        for index, truth in enumerate(reference)
    ]
    if len(frames) == 1:
        return frames[0]
    return [
        {
            "contract": entries[0]["contract"],
            **{name: _mean([entry[name] for entry in entries]) for name in images},
            "frames": [{name: entry[name] for name in images} for entry in entries],
        }
        for entries in zip(*frames, strict=True)
    ]


def compact(scores: list[dict[str, Any]]) -> str:
    """The scores on one line for a header: contracts by name, six digits, of several frames the means only."""
    short = [
        {
            "contract": entry["contract"]["name"],
            **{name: _rounded(entry[name]) for name in entry if name not in ("contract", "frames")},
        }
        for entry in scores
    ]
    return json.dumps(short, separators=(",", ":"))


def _one(
    pixels: NDArray[np.float32], reference: NDArray[np.float32], contract: MetricContract, metrics: tuple[str, ...]
) -> dict[str, Any]:
    error = float(rmse(pixels, reference, contract))
    found: dict[str, Any] = {"identical": error == 0}
    if "psnr" in metrics:
        decibels = float(psnr(pixels, reference, contract))
        found["psnr"] = decibels if math.isfinite(decibels) else None
    if "ssim" in metrics:
        fits = min(pixels.shape) >= contract.ssim_taps
        found["ssim"] = float(ssim(pixels, reference, contract)) if fits else None
    if "rmse" in metrics:
        found["rmse"] = error
    if "bias" in metrics:
        found["bias"] = float(bias(pixels, reference, contract))
    return found


def _mean(frames: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mean: dict[str, Any] = {}
    for name in frames[0]:
        found = [values[name] for values in frames if values[name] is not None]
        mean[name] = all(found) if name == "identical" else math.fsum(found) / len(found) if found else None
    return mean


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: float(f"{value:.{HEADER_DIGITS}g}") if isinstance(value, float) else value
        for name, value in values.items()
    }
