"""From uploaded files to frames that a model may have.

bytes --(unit stated or given?)--> decode --(reference alike?)--> Frames --(unit of the model? derivable?)--> Frames
        UnitMismatch               imaging.errors UnsuitableImage          UnitMismatch  DerivationRefused
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imaging import formats
from imaging.errors import UnsuitableImage
from imaging.formats import Frames, Limits
from imaging.image import Rescale, Unit
from model_store.manifest import Manifest
from service.dicom.eligibility import check_source
from service.errors import UnitMismatch
from service.settings import SiteConventions

ModelsTaking = Callable[[Unit], Sequence[str]]
"""Names of the models that take a unit; asked only for messages."""


def take_in(
    image: bytes,
    reference: bytes | None,
    *,
    rescale: Rescale | None,
    manifest: Manifest,
    limits: Limits,
    conventions: SiteConventions,
    models_taking: ModelsTaking,
) -> tuple[Frames, Frames | None]:
    """The degraded images of a file, checked for one model, and those of the reference when there is one.

    Args:
        image, reference, limits, rescale: as `decode_pair`.
        manifest: of the model.
        conventions: of the site.
        models_taking: for messages.

    Raises:
        ImagingError: as `decode_pair`.
        UnitMismatch: the model takes another unit; names the models that would take the images, and the fields that
            would give them a unit.
        DerivationRefused: a DICOM instance from which none may be derived.
    """
    check_rescale_given(image, rescale, manifest, models_taking=models_taking)
    frames, truth = decode_pair(image, reference, limits=limits, rescale=rescale)
    check_unit(frames, manifest, models_taking=models_taking)
    if frames.first.dataset is not None:
        check_source(frames.first.dataset, conventions)
    return frames, truth


def decode_pair(
    image: bytes, reference: bytes | None, *, limits: Limits, rescale: Rescale | None
) -> tuple[Frames, Frames | None]:
    """The degraded images of a file, and those of the reference when there is one.

    Args:
        image, reference: whole files, each in any format that is read.
        limits: of each file.
        rescale: for those of the two that state no unit.

    Raises:
        ImagingError: as `imaging.formats.decode`; UnsuitableImage also when the rescale fits no file, or the two
            differ in number of frames, size or unit.
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
    image: bytes, rescale: Rescale | None, manifest: Manifest, *, models_taking: ModelsTaking
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


def check_pair(image: Frames, reference: Frames) -> None:
    """Raises UnsuitableImage unless both have the same number of frames, size and unit."""
    if len(image) != len(reference):
        raise UnsuitableImage(
            f"the reference has {_counted(reference)} and the image {_counted(image)}; both must have as many, in the"
            " same order"
        )
    if image.shape != reference.shape:
        raise UnsuitableImage(
            f"the reference has {reference.shape[0]} x {reference.shape[1]} pixels and the image"
            f" {image.shape[0]} x {image.shape[1]}; both must have the same rows and columns"
        )
    if image.unit != reference.unit:
        raise UnsuitableImage(
            f"the reference is in unit {reference.unit!r} and the image in {image.unit!r}; a PNG, TIFF or NPY file"
            " becomes HU with rescale_slope and rescale_intercept"
        )


def check_unit(image: Frames, manifest: Manifest, *, models_taking: ModelsTaking) -> None:
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


def _counted(frames: Frames) -> str:
    return f"{len(frames)} frame{'s' if len(frames) > 1 else ''}"
