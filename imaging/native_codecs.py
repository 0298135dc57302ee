"""The native decoders of DICOM's compressed pixel data. Called in codec workers only (`imaging.codec_process`).

    codestream --GDCM / CharLS / OpenJPEG / RLE--> samples as the codestream holds them
                 NotAnImage

Each gives the samples and nothing more: no sign is guessed, no bit masked. The caller has read the codestream's header
and knows what the samples are. The libraries may crash, hang or allocate what they like on malformed streams. One fills
gaps and says so on standard error only, which is listened to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import gdcm  # type: ignore[import-untyped]
import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
import rle
from numpy.typing import NDArray
from openjpeg.utils import decode_pixel_data as decode_openjpeg

from imaging.errors import ImagingError, NotAnImage

_STANDARD_ERROR = 2
_HEARD_BYTES = 1 << 16
_CORRUPT = b"Corrupt JPEG data"
"""How libjpeg, inside of GDCM, says that data were missing or left over; GDCM itself goes on."""


def sample_type(precision: int, *, signed: bool = False) -> np.dtype[Any]:
    """The little-endian type in which decoders hand over samples of 1 to 16 bits."""
    return np.dtype(f"<{'i' if signed else 'u'}{1 if precision <= 8 else 2}")  # noqa: PLR2004 - bits of a byte


def decode_jpeg(data: bytes, syntax: str, rows: int, columns: int, precision: int) -> NDArray[Any]:
    """JPEG baseline, extended (12 bits) and lossless, by GDCM.

    Args:
        data: one frame.
        syntax: UID of the transfer syntax.
        rows, columns, precision: as the codestream's header says.

    Returns:
        (rows, columns) in `sample_type(precision)`, unsigned.

    Raises:
        NotAnImage: GDCM cannot decode it.
    """
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    monochrome = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    dtype = sample_type(precision)
    image.SetPixelFormat(gdcm.PixelFormat(1, 8 * dtype.itemsize, precision, precision - 1, 0))
    heard = bytearray()
    with _refusing("JPEG"), _listening(heard):
        # its bytes come as text, each byte that is no UTF-8 as a surrogate
        samples = image.GetBuffer().encode("utf-8", "surrogateescape")
    if _CORRUPT in heard:
        raise NotAnImage("the JPEG stream is corrupt: it has too few or too many data for its image")
    return _shaped(samples, dtype, rows, columns)


def decode_jpeg_ls(data: bytes, rows: int, columns: int, precision: int) -> NDArray[Any]:
    """JPEG-LS, lossless and near-lossless, by CharLS; as `decode_jpeg`."""
    with _refusing("JPEG-LS"):
        samples, _ = jpeg_ls.decode_pixel_data(data)
    return _shaped(samples, sample_type(precision), rows, columns)


def decode_jpeg2000(data: bytes, rows: int, columns: int, precision: int, signed: bool) -> NDArray[Any]:  # noqa: FBT001
    """JPEG 2000 and HTJ2K, by OpenJPEG; as `decode_jpeg`, but signed if the codestream is."""
    with _refusing("JPEG 2000"):
        samples = decode_openjpeg(data, version=2)
    return _shaped(samples, sample_type(precision, signed=signed), rows, columns)


def decode_rle(data: bytes, rows: int, columns: int, bits_allocated: int) -> NDArray[Any]:
    """RLE, by pylibjpeg-rle; as `decode_jpeg`."""
    size = {"rows": rows, "columns": columns, "bits_allocated": bits_allocated}
    with _refusing("RLE"):
        samples = rle.utils.decode_pixel_data(data, version=2, **size)
    return _shaped(samples, sample_type(bits_allocated), rows, columns)


@contextlib.contextmanager
def _refusing(codec: str) -> Iterator[None]:
    """Whatever a decoder raises, other than want of memory, means that it does not take the stream.

    BaseException, since a panic of Rust code is one, and no Exception.
    """
    try:
        yield
    except (MemoryError, ImagingError):
        raise
    except BaseException as error:  # noqa: BLE001 - see above
        raise NotAnImage(
            f"the {codec} stream cannot be decoded ({type(error).__name__}): it is cut off or damaged"
        ) from None


@contextlib.contextmanager
def _listening(heard: bytearray) -> Iterator[None]:
    """Adds to `heard` the first 64 KiB of what native code writes to standard error meanwhile."""
    source, target = os.pipe()
    before = os.dup(_STANDARD_ERROR)
    try:
        os.set_blocking(target, False)  # what does not fit is lost, instead of waited for
        os.set_blocking(source, False)
        os.dup2(target, _STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(before, _STANDARD_ERROR)
        with contextlib.suppress(BlockingIOError):
            heard += os.read(source, _HEARD_BYTES)
    finally:
        for descriptor in (source, target, before):
            os.close(descriptor)


def _shaped(samples: Any, dtype: np.dtype[Any], rows: int, columns: int) -> NDArray[Any]:
    expected = rows * columns * dtype.itemsize
    if len(samples) != expected:
        raise NotAnImage(
            f"the compressed pixel data decode to {len(samples)} bytes, but {rows} x {columns} x {dtype.itemsize}"
            f" needs {expected}: the file is damaged"
        )
    return np.frombuffer(samples, dtype).reshape(rows, columns)
