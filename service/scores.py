"""Metrics of an answer, each under its contract, in a form that JSON can carry.

    images, reference --contracts of their unit--> psnr, ssim, rmse, bias --> [{"contract": ..., "restored": ...}, ...]

Two things that JSON cannot say are spelled out: an infinite PSNR is `null` with `identical` true, and an SSIM of an
image smaller than its window is `null`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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


def compact(scores: list[dict[str, Any]]) -> str:
    """The scores on one line for a header: contracts by name, six digits."""
    short = [
        {"contract": entry["contract"]["name"], **{name: _rounded(entry[name]) for name in entry if name != "contract"}}
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


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: float(f"{value:.{HEADER_DIGITS}g}") if isinstance(value, float) else value
        for name, value in values.items()
    }
