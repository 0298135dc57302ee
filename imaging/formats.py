"""Files <-> images, by content and never by name.

    bytes --(size)--> sniff --png/npy/tiff/dicom--> stored values --Rescale--> Frames: one image, or several alike
            TooLarge  NotAnImage UnsupportedFormat               UnsuitableImage
    Frames + restored --to_stored_values--> bytes of the same format and number type, with as many frames

PNG, NPY and TIFF state no unit. Without a rescale they are relative: integers of 8 or 16 bits fill 0 .. 1, floats must
lie in it, and where a TIFF file shows 0 white, 0 is 1. With a rescale they are HU. DICOM states its own; it is written
back by `service/dicom/derive.py`, since a derived image needs more than pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imaging.dicom_file import looks_like_dicom, read_dicom
from imaging.dicom_pixels import image_from_dataset
from imaging.enhanced_ct import frames_from_dataset, is_multi_frame_ct
from imaging.errors import ImagingError, NotAnImage, UnsuitableImage, UnsupportedFormat
from imaging.finite import all_finite
from imaging.frames import Frames
from imaging.hounsfield import UNDECLARED_PADDING_HU, check_reach, undeclared_padding
from imaging.image import AIR_HU, Format, Image, Rescale, Unit, to_stored_values
from imaging.limits import Limits, check_bytes
from imaging.npy import MAGIC as NPY_MAGIC
from imaging.npy import read_npy, write_npy
from imaging.png import SIGNATURE as PNG_SIGNATURE
from imaging.png import read_png, write_png
from imaging.tiff import TiffAttributes, looks_like_tiff, read_tiff, write_tiff

__all__ = ["HU_IN_PNG", "Frames", "Limits", "decode", "encode", "encode_npy", "encode_png", "encode_tiff", "sniff"]

HU_IN_PNG = Rescale(1.0, -1024.0)
"""How HU are put into a 16-bit PNG: the usual encoding of CT scanners, from -1024 to far above any metal."""

_EXACT_INTEGERS = 1 << 53
"""float64, in which stored values are computed, holds every integer up to here."""

_READ = "DICOM, PNG, TIFF and NPY are read"

_CENTIMETRE = 3  # TIFF's ResolutionUnit
_RESOLUTION_STEPS = 1_000_000  # the denominator of TIFF's pixels per centimetre
_MIN_SPACING, _MAX_SPACING = 0.003, 10_000.0  # mm, what fits into such a fraction

# Where a file that is none of ours begins so, this is told; the first match counts.
_OTHERS: tuple[tuple[re.Pattern[bytes], type[ImagingError], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), error, what)
    for pattern, error, what in (
        (rb"$", NotAnImage, "is empty"),
        (rb"\xff\xd8\xff", UnsupportedFormat, "looks like JPEG, whose losses cannot be told from the image"),
        (rb"(\xff\x4f\xff\x51|\0\0\0\x0cjP  )", UnsupportedFormat, "looks like JPEG 2000 outside of DICOM"),
        (rb"GIF8", UnsupportedFormat, "looks like GIF, which is for display"),
        (rb"BM.{4}\0\0\0\0", UnsupportedFormat, "looks like BMP, which is for display"),
        (rb"RIFF.{4}WEBP", UnsupportedFormat, "looks like WebP, which is for display"),
        (rb"NRRD", UnsupportedFormat, "looks like NRRD; send single slices"),
        (rb"%PDF", NotAnImage, "looks like a PDF document"),
        (rb"PK(\x03\x04|\x05\x06)", NotAnImage, "looks like a zip archive or NPZ; send the files in it one by one"),
        (rb"\x1f\x8b", NotAnImage, "looks like gzip; decompress it first"),
        (rb"(\x02\0\0\0|\x08\0|\0\x08)", NotAnImage, "looks like DICOM without preamble; write it as PS3.10 says"),
        (rb".?PNG", NotAnImage, "looks like a PNG file whose first bytes are damaged, as by a transfer as text"),
        (rb"\s*<", NotAnImage, "looks like HTML, XML or SVG"),
        (rb"[\t\n\r\f\x20-\xff]{1,512}$", NotAnImage, "looks like text"),
        (rb"", NotAnImage, "looks like nothing known"),
    )
)
_SAMPLE = 512  # bytes that are enough to tell


def sniff(data: bytes) -> Format:
    """The format of a file, by its first bytes.

    Raises:
        NotAnImage: empty, text, a document, an archive or unknown bytes; the message tells what it looks like.
        UnsupportedFormat: an image of another format.
    """
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(NPY_MAGIC):
        return "npy"
    if looks_like_dicom(data):
        return "dicom"
    if looks_like_tiff(data):
        return "tiff"
    sample = data[:_SAMPLE]
    error, what = next((error, what) for pattern, error, what in _OTHERS if pattern.match(sample))
    raise error(f"the file {what}; {_READ}")


def decode(
    data: bytes,
    *,
    limits: Limits,
    rescale: Rescale | None = None,
    relative_range: tuple[float, float] = (0.0, 1.0),
) -> Frames:
    """Reads the images of a file.

    Args:
        data: a whole PNG, NPY, TIFF or DICOM file.
        limits: enforced before anything is decoded.
        rescale: from stored values to HU, for PNG, NPY and TIFF; None leaves them relative.
        relative_range: what relative floats may reach; noise that was not clipped goes beyond 0 .. 1.

    Raises:
        TooLarge, NotAnImage, UnsupportedFormat: as `sniff`, `read_png`, `read_npy`, `read_tiff`, `read_dicom` say.
        UnsuitableImage: as those say; also NaN or infinite values; floats outside of `relative_range` or integers of
            other than 8 or 16 unsigned bits without a rescale; a rescale with DICOM, or one that leads beyond any HU.
    """
    check_bytes(len(data), max_bytes=limits.max_bytes)
    kind = sniff(data)
    if kind == "dicom":
        if rescale is not None:
            raise UnsuitableImage(
                "a DICOM image has a rescale of its own; leave rescale_slope and rescale_intercept out"
            )
        dataset = read_dicom(data, limits=limits)
        if is_multi_frame_ct(dataset):
            return Frames(frames_from_dataset(dataset, limits=limits))
        return Frames((image_from_dataset(dataset, max_pixels=limits.max_pixels),))
    tiff: TiffAttributes | None = None
    notes: tuple[str, ...] = ()
    if kind == "tiff":
        content = read_tiff(data, limits=limits)
        stored, tiff, notes = content.stored, content.attributes, content.notes
    elif kind == "npy":
        stored = read_npy(data, limits=limits)
    else:
        stored = read_png(data, limits=limits)
    low, high = float(stored.min()), float(stored.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # both are NaN where a pixel is
        raise UnsuitableImage("the image holds NaN or infinite values; every pixel must be a finite number")
    unit: Unit = "relative" if rescale is None else "HU"
    if rescale is None:
        rescale = _relative(stored, relative_range, min_is_white=tiff is not None and tiff.min_is_white)
    check_reach(rescale, low, high)
    lowest = np.float32(min(rescale.slope * value + rescale.intercept for value in (low, high)))
    padded = unit == "HU" and bool(lowest <= UNDECLARED_PADDING_HU)
    several = stored.ndim == 3  # noqa: PLR2004 - (N, H, W)
    planes = stored if several else stored[np.newaxis]
    images = tuple(_image(plane, kind, unit, rescale, padded=padded) for plane in planes)
    return Frames(images, stacked=kind == "npy" and several, tiff=tiff, notes=notes)


def encode(frames: Frames, restored: Sequence[NDArray[np.float32]]) -> bytes:
    """Writes restored images in the format and the number type they came in; unchanged pixels keep their stored value.

    Values that the number type cannot hold, and relative ones outside of 0 .. 1, are set to the nearest that fits.

    Args:
        frames: of a PNG, NPY or TIFF file.
        restored: as many arrays (H, W) float32 in `frames.unit`, finite.

    Raises:
        ValueError: DICOM images, another number, or what `to_stored_values` refuses.
    """
    if frames.format == "dicom":
        raise ValueError("a DICOM image is written by service.dicom.derive, which also derives its attributes")
    planes = [_stored(image, pixels) for image, pixels in zip(frames, restored, strict=True)]
    stored = planes[0][np.newaxis] if len(planes) == 1 else np.stack(planes)
    if frames.format == "tiff":
        return write_tiff(stored, frames.tiff or TiffAttributes())
    if frames.format == "npy" and frames.stacked:
        return write_npy(stored)
    (plane,) = stored
    return write_png(plane) if frames.format == "png" else write_npy(plane)


def encode_npy(pixels: Sequence[NDArray[np.float32]]) -> bytes:
    """Physical values in any unit as an NPY file of float32.

    Args:
        pixels: (H, W) arrays: one becomes (H, W), several (N, H, W).
    """
    stack = np.stack(pixels).astype(np.float32, copy=False)
    return write_npy(stack if len(stack) > 1 else stack[0])


def encode_tiff(pixels: Sequence[NDArray[np.float32]], *, spacing: tuple[float, float] | None = None) -> bytes:
    """Physical values in any unit, (H, W) each, as a TIFF file with a page of float32 for each: nothing is rounded.

    Args:
        pixels: at least one.
        spacing: (between rows, between columns) in mm, written as resolution.
    """
    resolution = None
    if spacing is not None and all(_MIN_SPACING <= side <= _MAX_SPACING for side in spacing):
        down, across = ((round(10 / side * _RESOLUTION_STEPS), _RESOLUTION_STEPS) for side in spacing)
        resolution = (across, down, _CENTIMETRE)
    return write_tiff(np.stack(pixels).astype(np.float32, copy=False), TiffAttributes(resolution=resolution))


def encode_png(pixels: NDArray[np.float32], *, rescale: Rescale, bits: Literal[8, 16] = 16) -> bytes:
    """Physical values as a PNG file of (pixels - intercept) / slope, rounded half to even and clipped.

    Args:
        pixels: (H, W) float32, finite, in any unit.
        rescale: `HU_IN_PNG` for HU; Rescale(1 / 255, 0) or Rescale(1 / 65535, 0) for relative values.
        bits: of one pixel.

    Raises:
        ValueError: not (H, W), or not finite.
    """
    if not all_finite(pixels):
        raise ValueError("pixels hold NaN or infinite values")
    stored = np.rint(rescale.to_stored(pixels)).clip(0, (1 << bits) - 1)
    return write_png(stored.astype(np.uint8 if bits == 8 else np.uint16))  # noqa: PLR2004


def _image(stored: NDArray[Any], kind: Format, unit: Unit, rescale: Rescale, *, padded: bool) -> Image:
    """One image of a file that states no unit; `padded` if it may have padding."""
    pixels, padding = rescale.to_physical(stored), None
    if padded and (padding := undeclared_padding(pixels)) is not None:
        pixels = np.where(padding, np.float32(AIR_HU), pixels)
    return Image(pixels=pixels, unit=unit, stored=stored, rescale=rescale, format=kind, padding=padding)


def _stored(image: Image, restored: NDArray[np.float32]) -> NDArray[Any]:
    low, high = _stored_range(image)
    return to_stored_values(image, restored, low=low, high=high, dtype=image.stored.dtype).values


def _relative(stored: NDArray[Any], within: tuple[float, float], *, min_is_white: bool) -> Rescale:
    """What turns stored values of no declared unit into 0 .. 1, with 1 for white."""
    top = 1.0
    if stored.dtype in (np.uint8, np.uint16):
        top = float(np.iinfo(stored.dtype).max)
    else:
        _check_relative(stored, within)
    return Rescale(-1.0 / top, 1.0) if min_is_white else Rescale(1.0 / top, 0.0)


def _check_relative(stored: NDArray[Any], within: tuple[float, float]) -> None:
    """Raises UnsuitableImage unless the values are floats `within`."""
    send = "send rescale_slope=1 and rescale_intercept=0 if the values are HU"
    if stored.dtype.kind != "f":
        raise UnsuitableImage(f"the image holds {stored.dtype} values without a unit; {send}, or scale them to 0 .. 1")
    low, high = float(stored.min()), float(stored.max())
    if low < within[0] or high > within[1]:
        raise UnsuitableImage(
            f"the image holds values from {low:.6g} to {high:.6g}; without a rescale they must lie in"
            f" {within[0]:g} .. {within[1]:g}; {send}"
        )


def _stored_range(image: Image) -> tuple[float, float]:
    """What the number type holds; for relative images this is 0 .. 1, because integers fill it."""
    dtype = image.stored.dtype
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)
        return (0.0, 1.0) if image.unit == "relative" else (-limit, limit)
    limits = np.iinfo(dtype)
    return max(int(limits.min), -_EXACT_INTEGERS), min(int(limits.max), _EXACT_INTEGERS)
