"""Looking at a file without a model: what is in it, how noisy it is, and what `auto` would choose.

    bytes --decode_pair--> Frames --describe--> format, unit, size, spacing; of DICOM windows and instance
           ImagingError      |
                             +--read_noise, once--> noise --choose_by--> auto: a version, or why there is none

From what may not be derived (`service.dicom.eligibility`) may be looked at all the same.
"""

from __future__ import annotations

import math
from typing import Any

from imaging.frames import Frames
from imaging.image import Rescale
from imaging.limits import Limits
from imaging.noise.reading import NoiseReading, read_noise
from model_store.errors import ModelStoreError
from model_store.store import ModelStore
from service.auto import choose_by
from service.dicom.summary import summary_of, windows_of
from service.intake import decode_pair


def look_at(
    data: bytes, store: ModelStore, *, limits: Limits, rescale: Rescale | None, noise: bool
) -> tuple[Frames, dict[str, Any]]:
    """The images of a file, and what is said of them.

    Args:
        data: a whole file in any format that is read.
        store: that `auto` would choose from.
        limits: of the file.
        rescale: for a file that states no unit.
        noise: whether to read it, which takes a tenth of a second for an image, and six tenths for many.

    Raises:
        ImagingError: as `decode_pair`.
    """
    frames, _ = decode_pair(data, None, limits=limits, rescale=rescale)
    reading = read_noise([image.pixels for image in frames], frames.unit) if noise else None
    said = {
        **describe(frames),
        "noise": None if reading is None else _figures(reading),
        "auto": None if reading is None else _choice(store, frames, reading),
    }
    return frames, said


def describe(frames: Frames) -> dict[str, Any]:
    """What a file holds, as JSON: spacing in mm, windows in HU; see `service.dicom.summary` for those of DICOM."""
    rows, columns = frames.shape
    source = frames.first.dataset
    return {
        "format": frames.format,
        "unit": frames.unit,
        "frames": len(frames),
        "rows": rows,
        "columns": columns,
        "spacing": None if frames.spacing is None else list(frames.spacing),
        "windows": [] if source is None else windows_of(source),
        "instance": None if source is None else summary_of(source),
    }


def _figures(reading: NoiseReading) -> dict[str, float | None]:
    """None for what could not be told, which JSON has no number for."""
    figures = {"level": reading.level, "correlation": reading.correlation, "impulses": reading.impulses}
    return {name: figure if math.isfinite(figure) else None for name, figure in figures.items()}


def _choice(store: ModelStore, frames: Frames, reading: NoiseReading) -> dict[str, str | None]:
    try:
        chosen = choose_by(store, frames.unit, reading)
    except ModelStoreError as error:
        return {"model": None, "reason": str(error)}
    return {"model": chosen.version.ref, "reason": chosen.reason}
