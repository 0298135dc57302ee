"""Restoring the images of one file, step by step; no shared state, no HTTP, no threads.

    Frames --each image: to_batch--> restorer --checked--> restored --blend--> pixels --encode--> bytes, as many frames
           `intake.take_in`                   ModelFailed                              RuleViolated

Beside that the guard looks at every answer (`warnings_of`). The service runs the steps on different threads
(`engine.py`); the command line runs them one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from imaging import formats
from imaging.enhanced_ct import is_multi_frame_ct
from imaging.finite import all_finite
from imaging.formats import HU_IN_PNG, Frames
from imaging.guard import findings, measure_answer
from imaging.image import Format, Image, Rescale
from model_store.store import ModelVersion
from service import tiling
from service.dicom import rules
from service.dicom.derive import derive
from service.dicom.enhanced import derive_frames
from service.dicom.file_writer import write_instance
from service.dicom.identity import MANUFACTURER, Derivation, program_version
from service.errors import ModelFailed
from service.settings import SiteConventions

MEDIA_TYPES: dict[Format, str] = {
    "dicom": "application/dicom",
    "png": "image/png",
    "tiff": "image/tiff",
    "npy": "application/x-npy",
}
ONE_IMAGE: frozenset[Format] = frozenset({"png"})
"""Formats whose files hold no more than one image."""

RELATIVE_IN_PNG = Rescale(1 / 65535, 0.0)
UNCHANGED = Rescale(1.0, 0.0)

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """Images as a file.

    Attributes:
        data: the bytes.
        format: of the file.
        rescale: what turns the file's values into the image's unit, where the format itself does not say it.
        reencoded: whether a DICOM file could not keep its source's encoding (`SeriesContext.as_hounsfield`).
        clipped: pixels beyond what a DICOM file can hold.
        notes: what was tolerated or repaired, without patient data.
    """

    data: bytes
    format: Format
    rescale: Rescale | None = None
    reencoded: bool = False
    clipped: int = 0
    notes: tuple[str, ...] = ()

    @property
    def media_type(self) -> str:
        """Of `data`."""
        return MEDIA_TYPES[self.format]


@dataclass(frozen=True)
class SeriesContext:
    """What the instances of one derived series share.

    Attributes:
        now: the moment of this instance, aware.
        begun: SeriesDate and SeriesTime, aware; None leaves them out.
        revision: as of `Derivation`.
        as_hounsfield: write HU themselves, because other instances of the series could not keep the source's encoding,
            and all of one series have the same.
    """

    now: datetime
    begun: datetime | None = None
    as_hounsfield: bool = False
    revision: int = 0


def to_batch(image: Image) -> Pixels:
    """(1, H, W, 1) float32 in the image's unit; padding is air."""
    return image.pixels[np.newaxis, :, :, np.newaxis]


def checked(batch: Pixels, image: Image, ref: str) -> Pixels:
    """The one restored image (H, W) of a model's answer, after looking whether it may be delivered.

    Raises:
        ModelFailed: another shape or dtype than asked, NaN or infinite values.
    """
    return checked_outputs(batch, image, ref, ("restored",))["restored"]


def checked_outputs(batch: Pixels, image: Image, ref: str, outputs: Sequence[str]) -> dict[str, Pixels]:
    """Output -> image (H, W), of an answer (1, H, W, C) that has them as channels; raises as `checked`."""
    expected = (1, *image.shape, len(outputs))
    if not isinstance(batch, np.ndarray) or batch.shape != expected or batch.dtype != np.float32:
        found = f"{batch.shape} {batch.dtype}" if isinstance(batch, np.ndarray) else type(batch).__name__
        raise ModelFailed(f"model {ref} answered with {found} instead of {expected} float32; nothing is delivered")
    if not all_finite(batch):
        count = int(np.count_nonzero(~np.isfinite(batch)))
        raise ModelFailed(f"model {ref} answered with {count} values that are no finite numbers; nothing is delivered")
    return {name: batch[0, :, :, channel] for channel, name in enumerate(outputs)}


def blend(image: Image, restored: Pixels, strength: float) -> Pixels:
    """image + strength x (restored - image), float32; 0 gives the image and 1 the restored one exactly.

    Padding pixels keep what the image holds there.
    """
    if strength == 0:
        return image.pixels
    mixed = restored if strength == 1 else image.pixels + np.float32(strength) * (restored - image.pixels)
    return mixed if image.padding is None else np.where(image.padding, image.pixels, mixed)


def without_padding(image: Image, output: str, pixels: Pixels) -> Pixels:
    """A further output, (H, W), that says of padding what is known of it: the value, with no doubt."""
    if image.padding is None:
        return pixels
    known = pixels.copy()
    known[image.padding] = 0.0 if output == "sigma" else image.pixels[image.padding]
    return known


def warnings_of(frames: Frames, restored: Sequence[Pixels], version: ModelVersion) -> tuple[str, ...]:
    """What the guard finds in the answers to a file's images, each measure once, at its first image; mostly nothing.

    Args:
        frames: what came in.
        restored: of each frame, (H, W), before any blending.
        version: whose manifest says what is normal; without a calibration nothing is found.
    """
    guard = version.manifest.guard
    if guard is None:
        return ()
    found: dict[str, str] = {}
    for number, (image, answer) in enumerate(zip(frames, restored, strict=True), start=1):
        for finding in findings(measure_answer(image.pixels, answer, frames.unit), guard.bounds):
            where = f"frame {number}: " if len(frames) > 1 else ""
            found.setdefault(finding.measure, f"{where}{finding}")
    return tuple(found.values())


def derivation_of(
    version: ModelVersion, strength: float, warnings: Sequence[str] = (), *, precision: str
) -> Derivation:
    """What a derived DICOM instance tells about this model version and strength, and what the guard found.

    Args:
        version: that restored it.
        strength: of the blend.
        warnings: from `warnings_of`.
        precision: in which the version computed.
    """
    return Derivation(
        model=version.name,
        version=version.version,
        weights_sha256=version.weights_sha256,
        strength=strength,
        program=f"{MANUFACTURER.lower()} {program_version()}",
        precision=precision,
        warning="; ".join(warnings),
    )


def encode(
    frames: Frames,
    pixels: Sequence[Pixels],
    wanted: Format,
    *,
    derivation: Derivation,
    conventions: SiteConventions,
    series: SeriesContext,
) -> Encoded:
    """The blended pixels as a file.

    Args:
        frames: what came in.
        pixels: of each frame, (H, W) float32 in the frames' unit.
        wanted: the frames' own format, or another: NPY and TIFF then hold float32 in the frames' unit, and PNG, which
            holds no more than one image, 16 bits.
        derivation, conventions, series: for DICOM.

    Raises:
        RuleViolated: the derived instance broke a rule.
        ValueError: DICOM wanted of images that are none, or PNG of several.
    """
    if wanted == "dicom":
        made = _derived(frames, pixels, derivation, conventions, series)
    else:
        made = _as_file(frames, pixels, wanted)
    return replace(made, notes=(*frames.notes, *made.notes))


def _as_file(frames: Frames, pixels: Sequence[Pixels], wanted: Format) -> Encoded:
    """The images of a file that is not DICOM."""
    if wanted == frames.format:
        return Encoded(formats.encode(frames, pixels), wanted, rescale=frames.first.rescale)
    if wanted == "npy":
        return Encoded(formats.encode_npy(pixels), "npy", rescale=UNCHANGED)
    if wanted == "tiff":
        return Encoded(formats.encode_tiff(pixels, spacing=frames.spacing), "tiff", rescale=UNCHANGED)
    (plane,) = pixels
    rescale = HU_IN_PNG if frames.unit == "HU" else RELATIVE_IN_PNG
    return Encoded(formats.encode_png(plane, rescale=rescale), "png", rescale=rescale)


def encode_further(frames: Frames, pixels: Sequence[Pixels], wanted: Format) -> Encoded:
    """The pixels of an output beside `restored` as a file; arguments as for `encode`.

    Where DICOM is wanted it is NPY: the end of an interval is no image for reading, and must not reach an archive as
    one.
    """
    if wanted == "dicom":
        return Encoded(formats.encode_npy(pixels), "npy", rescale=UNCHANGED)
    return _as_file(frames, pixels, wanted)


def _derived(
    frames: Frames,
    pixels: Sequence[Pixels],
    derivation: Derivation,
    conventions: SiteConventions,
    series: SeriesContext,
) -> Encoded:
    """The images of a DICOM file as one derived instance."""
    source = frames.first.dataset
    if source is None:
        raise ValueError(f"a {frames.format} image has no DICOM data set to derive from")
    derivation = replace(derivation, revision=series.revision)
    if is_multi_frame_ct(source):
        derived = derive_frames(
            frames.images,
            pixels,
            derivation,
            conventions,
            now=series.now,
            series_begun=series.begun,
            as_hounsfield=series.as_hounsfield,
        )
    else:
        (image,), (plane,) = frames.images, pixels
        derived = derive(
            image,
            plane,
            derivation,
            conventions,
            now=series.now,
            series_begun=series.begun,
            as_hounsfield=series.as_hounsfield,
        )
    rules.check(source, derived.dataset, padding=frames.padding)
    data = write_instance(derived, source)
    made = derived.pixels
    return Encoded(data, "dicom", reencoded=made.reencoded, clipped=made.clipped, notes=derived.notes)


def tiles_of(shape: tuple[int, int], version: ModelVersion, *, tile_pixels: int) -> list[tiling.Tile]:
    """The tiles in which a version restores an image; one where it has no more than `tile_pixels`."""
    manifest = version.manifest
    return tiling.split(
        shape,
        tile_pixels=tile_pixels,
        receptive_field=manifest.receptive_field,
        size_multiple=manifest.size_multiple,
    )


def restore_all(
    frames: Frames, restorer: Callable[[Pixels], Pixels], version: ModelVersion, *, tile_pixels: int
) -> list[Pixels]:
    """From images to their restored ones, (H, W) each, one after the other, on this thread.

    Raises:
        ModelFailed: an answer may not be delivered.
    """
    tiles = tiles_of(frames.shape, version, tile_pixels=tile_pixels)
    return [checked(tiling.restore_tiles(restorer, to_batch(image), tiles), image, version.ref) for image in frames]
