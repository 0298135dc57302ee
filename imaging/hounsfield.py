"""What a value in Hounsfield units can be: how far it reaches, and when it is no measurement.

Rescale + stored range --check_reach--> plausible HU           pixels --undeclared_padding--> mask
                         UnsuitableImage
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imaging.errors import UnsuitableImage
from imaging.image import Rescale

UNDECLARED_PADDING_HU = -1500.0
"""Far below air (-1000) and the noise of air with sharp kernels (-1260 in real series), so never a measurement."""

MAX_ABS_HU = 1e6
"""A larger result means a nonsensical rescale. Every integer below it is exact in float32."""

MIN_SLOPE = 1e-9
"""A smaller slope is nonsensical too, and dividing by it could overflow."""


def check_reach(rescale: Rescale, low: float, high: float) -> None:
    """Raises UnsuitableImage when stored values from `low` to `high` do not become numbers that HU can be."""
    furthest = max(abs(rescale.slope * value + rescale.intercept) for value in (low, high))
    if not furthest <= MAX_ABS_HU or abs(rescale.slope) < MIN_SLOPE:
        raise UnsuitableImage(
            f"with rescale slope {rescale.slope} and intercept {rescale.intercept} the stored values reach"
            f" {furthest:.3g}; HU are -1000 for air, 0 for water, and at most some 10000 for metal"
        )


def undeclared_padding(hounsfield: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """True where an image (H, W) in HU has its lowest value, if that is at most `UNDECLARED_PADDING_HU`; else None."""
    lowest = hounsfield.min()
    if lowest > UNDECLARED_PADDING_HU:
        return None
    mask: NDArray[np.bool_] = hounsfield == lowest
    return mask
