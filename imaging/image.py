"""Image: one 2-D array in a physical unit, and all that is needed to write it back.

    stored values --Rescale--> physical values (HU or 0..1) --network--> physical values --Rescale--> stored values

A pixel whose physical value did not change keeps its stored value bit for bit, and so do padding pixels. Therefore an
identity model, or strength 0, gives back every stored value exactly, whatever the encoding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from imaging.errors import UnsuitableImage
from imaging.finite import all_finite

if TYPE_CHECKING:
    from imaging.dicom_file import SourceInstance

Unit = Literal["HU", "relative"]
"""`HU`: Hounsfield units, water 0 and air -1000. `relative`: grayscale from 0 (black) to 1 (white)."""

Format = Literal["png", "npy", "tiff", "dicom"]

AIR_HU = -1000.0
"""What the network sees where a CT image holds padding: air, the usual surrounding of a patient."""


@dataclass(frozen=True)
class Rescale:
    """physical = slope * stored + intercept (DICOM PS3.3 C.11.1.1.2).

    Raises:
        UnsuitableImage: slope is 0, or either number is not finite.
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)) or self.slope == 0:
            raise UnsuitableImage(
                f"rescale slope {self.slope} and intercept {self.intercept} define no unit:"
                " both must be finite and the slope must not be 0"
            )

    @property
    def changes_nothing(self) -> bool:
        """Whether stored values are physical ones."""
        return self.slope == 1 and self.intercept == 0

    def to_physical(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Physical values, float32, of stored values of any real dtype and any shape (computed in float64).

        Where they are the stored ones, and float32, it is the same array.
        """
        if self.changes_nothing and np.can_cast(stored.dtype, np.float32):
            return stored.astype(np.float32, copy=False)
        values = stored.astype(np.float64)
        values *= self.slope  # in place: fresh memory for each step would cost more than the arithmetic
        values += self.intercept
        return values.astype(np.float32)

    def to_stored(self, physical: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Unrounded, unclipped stored values, float64, of physical values of any shape."""
        values = physical.astype(np.float64)
        values -= self.intercept
        values /= self.slope
        return values


@dataclass(frozen=True, eq=False)
class Image:
    """One image in a physical unit. Arrays are read-only.

    Attributes:
        pixels: (H, W) float32 in `unit`, finite everywhere; padding pixels hold `AIR_HU`.
        unit: the unit of `pixels`.
        stored: (H, W) values as the file holds them, in native byte order, any integer or floating dtype.
        rescale: how `stored` becomes `pixels`.
        format: the container it came in, and in which it is written back.
        spacing: (between rows, between columns) in mm, or None when unknown.
        padding: (H, W) bool, True where a stored value is no measurement, or None when every pixel is one.
        dataset: the DICOM instance it came from (never mutated), or None.
        extent: the lowest and the highest of `pixels`.
    """

    pixels: NDArray[np.float32]
    unit: Unit
    stored: NDArray[Any]
    rescale: Rescale
    format: Format
    spacing: tuple[float, float] | None = None
    padding: NDArray[np.bool_] | None = None
    dataset: SourceInstance | None = field(default=None, repr=False)
    extent: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.float32:  # noqa: PLR2004 - H, W
            raise ValueError(f"pixels must be (H, W) float32, not {self.pixels.shape} {self.pixels.dtype}")
        for name in ("stored", "padding"):
            array = getattr(self, name)
            if array is not None and array.shape != self.pixels.shape:
                raise ValueError(f"{name} has shape {array.shape}, pixels {self.pixels.shape}")
            if array is not None:
                array.flags.writeable = False
        extent = float(self.pixels.min()), float(self.pixels.max())
        if not (math.isfinite(extent[0]) and math.isfinite(extent[1])):  # both are NaN where a pixel is
            raise UnsuitableImage("the image holds NaN or infinite values; every pixel must be a finite number")
        object.__setattr__(self, "extent", extent)
        self.pixels.flags.writeable = False

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        height, width = self.pixels.shape
        return height, width


@dataclass(frozen=True, eq=False)
class StoredPixels:
    """Pixels on their way back into a file.

    Attributes:
        values: (H, W) in the dtype asked for.
        clipped: how many pixels did not fit the range and were set to its nearer end.
    """

    values: NDArray[Any]
    clipped: int


def to_stored_values(
    image: Image, restored: NDArray[np.float32], *, low: float, high: float, dtype: np.dtype[Any]
) -> StoredPixels:
    """Stored values of a restored image; unchanged and padding pixels keep theirs bit for bit.

    Args:
        image: where the pixels came from.
        restored: (H, W) float32 in `image.unit`, finite.
        low, high: the range of stored values, inclusive, that the encoding can hold.
        dtype: of the result; integers are rounded half to even, floats are not rounded.

    Raises:
        ValueError: `restored` has another shape or dtype, or is not finite.
    """
    if restored.shape != image.pixels.shape or restored.dtype != np.float32:
        raise ValueError(f"restored must be {image.pixels.shape} float32, not {restored.shape} {restored.dtype}")
    if not all_finite(restored):
        raise ValueError("restored holds NaN or infinite values")
    if image.rescale.changes_nothing and image.stored.dtype == dtype == np.float32 and low <= np.finfo(dtype).min:
        return StoredPixels(restored if image.padding is None else np.where(image.padding, image.stored, restored), 0)
    keep = restored == image.pixels
    if image.padding is not None:
        keep |= image.padding
    exact = image.rescale.to_stored(restored)
    if np.issubdtype(dtype, np.integer):
        np.rint(exact, out=exact)
    clipped = 0
    if exact.min() < low or exact.max() > high:
        clipped = int(np.count_nonzero(((exact < low) | (exact > high)) & ~keep))
        np.clip(exact, low, high, out=exact)
    values = exact.astype(dtype)
    np.copyto(values, image.stored, where=keep, casting="unsafe")
    return StoredPixels(values, clipped)
