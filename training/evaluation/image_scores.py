"""The scores of one restored slice: (metric, contract) -> value, for every domain.

    reference --score_against--> Reference (edges, spectrum) --.
    degraded, restored ----------------------------------------+--> scores --> {("psnr", "soft tissue window"): 29.5}

What the unit of the images is decides under which contracts they are scored. `docs/training.md` says of each metric
what it shows and what it hides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.image import Unit
from imaging.metrics import FULL_RANGE, RELATIVE, SOFT_TISSUE, MetricContract, measure, tissue_bias
from imaging.noise.level import global_noise_level
from imaging.quality.detail import ReferenceDetail, detail_bands, edge_slope, reference_detail
from imaging.quality.residuals import error_kurtosis, residual_structure

Picture = NDArray[np.float32]

Values = dict[tuple[str, str], float]
"""(metric, contract or tissue) -> value; NaN where a metric is not defined on this slice, such as the structure of what
was removed when nothing was."""

AGREEMENT = ("psnr", "ssim", "rmse")
"""The metrics of agreement with the reference, under every contract: what manifests state."""

CONTRACTS: dict[Unit, tuple[MetricContract, ...]] = {"HU": (SOFT_TISSUE, FULL_RANGE), "relative": (RELATIVE,)}
"""Unit -> contracts of PSNR, SSIM and RMSE. The first is the main one: everything else is scored under it alone."""

MINIMUM_TISSUE_PIXELS = 50
"""Of a class of tissue; fewer say nothing about a bias."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference, and what is needed of it by every method that is compared with it."""

    image: Picture
    unit: Unit
    detail: ReferenceDetail

    @property
    def contract(self) -> MetricContract:
        """The main one of its unit."""
        return CONTRACTS[self.unit][0]


def score_against(image: Picture, unit: Unit) -> Reference:
    """Prepares a reference, (H, W) float32 in `unit`; raises as `imaging.quality.detail.reference_detail`."""
    return Reference(image, unit, reference_detail(image, CONTRACTS[unit][0]))


def scores(restored: Picture, degraded: Picture, reference: Reference) -> Values:
    """All scores of one method on one slice.

    Args:
        restored, degraded: (H, W) float32 in the reference's unit.
        reference: of the same slice.

    Returns:
        psnr (dB), ssim and rmse (unit) under each contract; under the main one `bias` where there are no tissues,
        `structure`, `kurtosis`, `edge slope`, and `power` and `kept` of each of `imaging.quality.detail.BANDS`; in HU
        `bias` of each tissue that the slice has enough of, and `noise`: the level in soft tissue, which needs no
        reference.

    Raises:
        ValueError: other shapes or dtypes than these, NaN or infinite pixels.
    """
    values: Values = {}
    for contract in CONTRACTS[reference.unit]:
        measured = measure(restored, reference.image, contract)
        for metric in AGREEMENT:
            values[metric, contract.name] = float(getattr(measured, metric))
        if reference.unit == "relative":
            values["bias", contract.name] = measured.bias
    if reference.unit == "HU":
        for tissue, (bias, pixels) in tissue_bias(restored, reference.image).items():
            if pixels >= MINIMUM_TISSUE_PIXELS:
                values["bias", tissue] = bias
        values["noise", "soft tissue"] = global_noise_level(restored)
    main = reference.contract
    untouched = restored is degraded or np.array_equal(restored, degraded)
    values["structure", main.name] = math.nan if untouched else residual_structure(degraded, restored)
    values["kurtosis", main.name] = error_kurtosis(restored, reference.image, main)
    values["edge slope", main.name] = edge_slope(restored, reference.detail)
    for name, band in detail_bands(restored, reference.detail).items():
        values[f"{name} power", main.name] = band.power
        values[f"{name} kept", main.name] = band.kept
    return values
