"""One image from bytes to bytes, step by step; no shared state, no HTTP, no threads.

    bytes --decode_pair--> Image, reference --check_*--> to_batch --restorer--> checked --blend--> pixels --encode-->
          imaging.errors   UnsuitableImage  UnitMismatch                       ModelFailed                RuleViolated
                                            DerivationRefused

The service runs the steps on different threads (`engine.py`); the command line runs `reconstruct`, all in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from imaging import formats
from imaging.errors import UnsuitableImage
from imaging.formats import HU_IN_PNG, Limits
from imaging.image import Format, Image, Rescale, Unit
from model_store.manifest import Manifest
from model_store.store import ModelVersion
from service.dicom import rules
from service.dicom.derive import derive, write_instance
from service.dicom.eligibility import check_source
from service.dicom.identity import MANUFACTURER, Derivation, program_version
from service.errors import ModelFailed, UnitMismatch
from service.settings import SiteConventions

MEDIA_TYPES: dict[Format, str] = {"dicom": "application/dicom", "png": "image/png", "npy": "application/x-npy"}
RELATIVE_IN_PNG = Rescale(1 / 65535, 0.0)

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Encoded:
    """An image as a file.

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
        as_hounsfield: write HU themselves, because other instances of the series could not keep the source's encoding,
            and all of one series have the same.
    """

    now: datetime
    begun: datetime | None = None
    as_hounsfield: bool = False


def decode_pair(
    image: bytes, reference: bytes | None, *, limits: Limits, rescale: Rescale | None
) -> tuple[Image, Image | None]:
    """The degraded image, and the reference when there is one.

    Args:
        image, reference: whole files, each in any format that is read.
        limits: of each file.
        rescale: for those of the two that state no unit.

    Raises:
        ImagingError: as `imaging.formats.decode`; UnsuitableImage also when the rescale fits no file, or the two
            differ in size or unit.
    """
    files = [image] if reference is None else [image, reference]
    stated = [formats.sniff(data) == "dicom" for data in files]
    if rescale is not None and all(stated):
        raise UnsuitableImage("DICOM images have a rescale of their own; leave rescale_slope and rescale_intercept out")
    decoded = [
        formats.decode(data, limits=limits, rescale=None if has_unit else rescale)
        for data, has_unit in zip(files, stated, strict=True)
    ]
    if reference is None:
        return decoded[0], None
    check_pair(decoded[0], decoded[1])
    return decoded[0], decoded[1]


def check_rescale_given(
    image: bytes, rescale: Rescale | None, manifest: Manifest, *, models_taking: Callable[[Unit], Sequence[str]]
) -> None:
    """Raises UnitMismatch when a model needs HU and the file can only have them by a rescale that is missing.

    Before decoding, because float files would be refused there as no relative image, which is not what is wrong.
    """
    kind = formats.sniff(image)
    if manifest.unit != "HU" or rescale is not None or kind == "dicom":
        return
    models = tuple(models_taking("relative"))
    raise UnitMismatch(
        f"model {manifest.name} takes Hounsfield units, and this {kind.upper()} file states no unit: send"
        " rescale_slope and rescale_intercept (HU = slope x value + intercept), or choose another model;"
        f" models that take relative images: {', '.join(models) or 'none in this store'}",
        missing_fields=("rescale_slope", "rescale_intercept"),
        models=models,
    )


def check_pair(image: Image, reference: Image) -> None:
    """Raises UnsuitableImage unless both have the same size and unit."""
    if image.shape != reference.shape:
        raise UnsuitableImage(
            f"the reference has {reference.shape[0]} x {reference.shape[1]} pixels and the image"
            f" {image.shape[0]} x {image.shape[1]}; both must have the same rows and columns"
        )
    if image.unit != reference.unit:
        raise UnsuitableImage(
            f"the reference is in unit {reference.unit!r} and the image in {image.unit!r}; a PNG or NPY file becomes HU"
            " with rescale_slope and rescale_intercept"
        )


def check_unit(image: Image, manifest: Manifest, *, models_taking: Callable[[Unit], Sequence[str]]) -> None:
    """Whether the model takes the image's unit.

    Args:
        image: as decoded.
        manifest: of the model.
        models_taking: names of the models that take a unit; asked only when the answer is no.

    Raises:
        UnitMismatch: it does not; names the models that would take the image.
    """
    if image.unit == manifest.unit:
        return
    models = tuple(models_taking(image.unit))
    raise UnitMismatch(
        f"model {manifest.name} takes images in unit {manifest.unit!r}, and this one is in {image.unit!r};"
        f" models that take {image.unit} images: {', '.join(models) or 'none in this store'}",
        models=models,
    )


def check_derivable(image: Image, conventions: SiteConventions) -> None:
    """Raises DerivationRefused when the image is a DICOM instance from which none may be derived."""
    if image.dataset is not None:
        check_source(image.dataset, conventions)


def to_batch(image: Image) -> Pixels:
    """(1, H, W, 1) float32 in the image's unit; padding is air."""
    return image.pixels[np.newaxis, :, :, np.newaxis]


def checked(batch: Pixels, image: Image, ref: str) -> Pixels:
    """The one restored image (H, W) of a model's answer, after looking whether it may be delivered.

    Raises:
        ModelFailed: another shape or dtype than asked, NaN or infinite values.
    """
    expected = (1, *image.shape, 1)
    if not isinstance(batch, np.ndarray) or batch.shape != expected or batch.dtype != np.float32:
        found = f"{batch.shape} {batch.dtype}" if isinstance(batch, np.ndarray) else type(batch).__name__
        raise ModelFailed(f"model {ref} answered with {found} instead of {expected} float32; nothing is delivered")
    restored: Pixels = batch[0, :, :, 0]
    if not np.isfinite(restored).all():
        count = int(np.count_nonzero(~np.isfinite(restored)))
        raise ModelFailed(f"model {ref} answered with {count} values that are no finite numbers; nothing is delivered")
    return restored


def blend(image: Image, restored: Pixels, strength: float) -> Pixels:
    """image + strength x (restored - image), float32; 0 gives the image and 1 the restored one exactly.

    Padding pixels keep what the image holds there.
    """
    if strength == 0:
        return image.pixels
    mixed = restored.copy() if strength == 1 else image.pixels + np.float32(strength) * (restored - image.pixels)
    if image.padding is not None:
        mixed[image.padding] = image.pixels[image.padding]
    return mixed


def derivation_of(version: ModelVersion, strength: float) -> Derivation:
    """What a derived DICOM instance tells about this model version and strength."""
    return Derivation(
        model=version.name,
        version=version.version,
        weights_sha256=version.weights_sha256,
        strength=strength,
        program=f"{MANUFACTURER.lower()} {program_version()}",
    )


def encode(
    image: Image,
    pixels: Pixels,
    wanted: Format,
    *,
    derivation: Derivation,
    conventions: SiteConventions,
    series: SeriesContext,
) -> Encoded:
    """The blended pixels as a file.

    Args:
        image: what came in.
        pixels: (H, W) float32 in the image's unit.
        wanted: the image's own format, or png or npy: PNG then has 16 bits, and NPY float32 in the image's unit.
        derivation, conventions, series: for DICOM.

    Raises:
        RuleViolated: the derived instance broke a rule.
        ValueError: DICOM wanted of an image that is none.
    """
    if wanted == "dicom":
        if image.dataset is None:
            raise ValueError(f"a {image.format} image has no DICOM data set to derive from")
        derived = derive(
            image,
            pixels,
            derivation,
            conventions,
            now=series.now,
            series_begun=series.begun,
            as_hounsfield=series.as_hounsfield,
        )
        rules.check(image.dataset, derived.dataset, padding=image.padding)
        data = write_instance(derived, image.dataset)
        made = derived.pixels
        return Encoded(data, "dicom", reencoded=made.reencoded, clipped=made.clipped, notes=derived.notes)
    if wanted == image.format:
        return Encoded(formats.encode(image, pixels), wanted, rescale=image.rescale)
    if wanted == "npy":
        return Encoded(formats.encode_npy(pixels), "npy", rescale=Rescale(1.0, 0.0))
    rescale = HU_IN_PNG if image.unit == "HU" else RELATIVE_IN_PNG
    return Encoded(formats.encode_png(pixels, rescale=rescale), "png", rescale=rescale)


def reconstruct(image: Image, restorer: Callable[[Pixels], Pixels], *, ref: str, strength: float) -> Pixels:
    """From an image to its blended pixels in one go, on this thread.

    Raises:
        ModelFailed: the answer may not be delivered.
    """
    return blend(image, checked(restorer(to_batch(image)), image, ref), strength)
