"""Compressed pixel data -> stored values, for every transfer syntax that is read.

    PixelData --fragments--> codestream --header--> like the data set? --worker--> samples --sign, range--> values
              NotAnImage                NotAnImage  UnsuitableImage    NotAnImage          NotAnImage

Decisions, each tested:

- The codestream's size must be Rows x Columns, with one component of at most BitsAllocated bits, before it is decoded.
- Its precision may differ from BitsStored: many writers compress all 16 bits of a 12-bit image. The values decide: each
  must fit BitsStored.
- Sign: JPEG, JPEG-LS and RLE carry none. Under PixelRepresentation 1 their samples are two's complement, of `precision`
  bits or, where no sample has more, of BitsStored. JPEG 2000 states its sign; where it contradicts PixelRepresentation
  the same bits are read the other way, as such files mean it, if the compression is reversible; else it is refused.
- Offset tables are not needed for one frame and therefore not believed: all fragments together are the frame. Several
  frames are told apart by `imaging.encapsulated_frames`, and each is then read as if it were the only one.
- What cannot be known: no codec here has a checksum. A stream whose header, structure, end marker, size and range are
  right may still hold changed bits in between.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from imaging import codec_process, native_codecs
from imaging.codestream import JPEG_LOSSLESS, JPEG_LS, Codestream, bare_codestream, read_jpeg, read_jpeg2000, read_rle
from imaging.dicom_attributes import integer, text
from imaging.encapsulated import join_fragments
from imaging.encapsulated_frames import split_frames
from imaging.errors import NotAnImage, UnsuitableImage
from imaging.frame_errors import naming_frame
from imaging.pixel_encoding import PixelEncoding, native_values

log = logging.getLogger(__name__)

COMPRESSED_SYNTAXES: dict[UID, frozenset[int]] = {
    RLELossless: frozenset(),
    JPEGBaseline8Bit: frozenset({0, 1}),
    JPEGExtended12Bit: frozenset({0, 1}),
    JPEGLossless: frozenset({JPEG_LOSSLESS}),
    JPEGLosslessSV1: frozenset({JPEG_LOSSLESS}),
    JPEGLSLossless: frozenset({JPEG_LS}),
    JPEGLSNearLossless: frozenset({JPEG_LS}),
    JPEG2000Lossless: frozenset(),
    JPEG2000: frozenset(),
    HTJ2KLossless: frozenset(),
    HTJ2KLosslessRPCL: frozenset(),
    HTJ2K: frozenset(),
}
"""The transfer syntaxes that are read, with the JPEG processes (see `Codestream.process`) that each may hold."""

_BITS = {JPEGBaseline8Bit: (8,), JPEGExtended12Bit: (8, 12)}
"""Sample precisions that a syntax has; the others have up to 16 bits."""


def codestreams_of(dataset: Dataset, *, frames: int) -> list[tuple[bytes, Codestream]]:
    """The compressed frames of a data set, in order, and what the header of each states.

    Args:
        dataset: in one of `COMPRESSED_SYNTAXES`.
        frames: how many it has.

    Raises:
        NotAnImage: the pixel data are not encapsulated, not as many frames, or no streams of this transfer syntax.
        UnsuitableImage: several images in one frame.
        UnsupportedFormat: a variant of the codec that is not read.
    """
    element = dataset["PixelData"]
    if not isinstance(element.value, bytes) or not element.value:
        raise NotAnImage("PixelData is empty: the file is damaged")
    if not element.is_undefined_length:
        raise NotAnImage("PixelData is not encapsulated although the transfer syntax is compressed")
    if frames == 1:
        return [_read(dataset, join_fragments(element.value))]
    found = []
    for number, data in enumerate(split_frames(element.value, frames), start=1):
        with naming_frame(number):
            found.append(_read(dataset, data))
    return found


def _read(dataset: Dataset, data: bytes) -> tuple[bytes, Codestream]:
    syntax = UID(text(dataset.file_meta, "TransferSyntaxUID"))
    if syntax == RLELossless:
        rows, columns, bits = (integer(dataset, keyword) for keyword in ("Rows", "Columns", "BitsAllocated"))
        return data, read_rle(data, rows=rows, columns=columns, bits_allocated=bits)
    processes = COMPRESSED_SYNTAXES[syntax]
    if not processes:
        data = bare_codestream(data)
        return data, read_jpeg2000(data)
    header = read_jpeg(data)
    if header.process not in processes:
        raise NotAnImage(f"the JPEG stream is of process SOF{header.process}, which {syntax.name} does not have")
    return data, header


def decode_compressed(dataset: Dataset, shape: tuple[int, ...], encoding: PixelEncoding) -> NDArray[Any]:
    """The stored values of compressed frames.

    Args:
        dataset: as for `codestreams_of`; its size and bits were checked.
        shape: (H, W) of one frame, (N, H, W) of several, small enough to be decoded.
        encoding: of the data set.

    Returns:
        `shape` in `encoding.dtype`, each within `encoding.low .. encoding.high`.

    Raises:
        UnsuitableImage: the codestream contradicts the data set.
        NotAnImage: it cannot be decoded, or to values that BitsStored cannot hold.
        UnsupportedFormat: a variant of the codec that is not read.
    """
    syntax = UID(text(dataset.file_meta, "TransferSyntaxUID"))
    streams = check_codestreams(dataset, shape, encoding)
    if len(shape) == 2:  # noqa: PLR2004 - H, W
        ((data, header),) = streams
        return _decode_frame(data, header, encoding, syntax)
    stack = np.empty(shape, encoding.dtype)
    began = time.monotonic()
    for index, (data, header) in enumerate(streams):
        # one file gets the time of one call, so that its frames together do not hold a thread for minutes
        if time.monotonic() - began > codec_process.seconds():
            raise NotAnImage(
                f"the image could not be decoded: {index} of {shape[0]} frames took longer than the"
                f" {codec_process.seconds():g} s that one file may take"
            )
        with naming_frame(index + 1):
            stack[index] = _decode_frame(data, header, encoding, syntax)
    return stack


def check_codestreams(
    dataset: Dataset, shape: tuple[int, ...], encoding: PixelEncoding
) -> list[tuple[bytes, Codestream]]:
    """The compressed frames, after looking whether their headers agree with the data set; arguments and errors as of
    `decode_compressed`, which does no more before it decodes."""
    syntax = UID(text(dataset.file_meta, "TransferSyntaxUID"))
    if len(shape) == 2:  # noqa: PLR2004 - H, W
        streams = codestreams_of(dataset, frames=1)
        _check_agreement(streams[0][1], (shape[0], shape[1]), encoding, syntax)
        return streams
    streams = codestreams_of(dataset, frames=shape[0])
    for number, (_, header) in enumerate(streams, start=1):
        with naming_frame(number):
            _check_agreement(header, (shape[1], shape[2]), encoding, syntax)
    return streams


def _decode_frame(data: bytes, header: Codestream, encoding: PixelEncoding, syntax: UID) -> NDArray[Any]:
    samples = _decoded(data, header, syntax)
    if syntax == RLELossless:  # it holds native words, byte for byte, whose unused bits may hold anything
        return native_values(samples, encoding)
    values = _with_sign(samples.astype(np.int32), header, encoding)
    low, high = int(values.min()), int(values.max())
    if low < encoding.low or high > encoding.high:
        raise NotAnImage(
            f"the compressed pixel data decode to values from {low} to {high}, and BitsStored {encoding.bits_stored}"
            f" holds {encoding.low} to {encoding.high}: they are damaged, or BitsStored is wrong"
        )
    return values.astype(encoding.dtype)


def _check_agreement(header: Codestream, shape: tuple[int, int], encoding: PixelEncoding, syntax: UID) -> None:
    if (header.rows, header.columns) != shape:
        raise UnsuitableImage(
            f"the compressed image has {header.rows} rows and {header.columns} columns, but Rows is {shape[0]} and"
            f" Columns {shape[1]}"
        )
    if header.components != 1:
        raise UnsuitableImage(f"the compressed image has {header.components} components, but SamplesPerPixel is 1")
    bits = _BITS.get(syntax, range(1, encoding.bits_allocated + 1))
    if header.precision not in bits or header.precision > encoding.bits_allocated:
        raise UnsuitableImage(
            f"the compressed image has samples of {header.precision} bits, which {syntax.name} with BitsAllocated"
            f" {encoding.bits_allocated} cannot have"
        )


def _decoded(data: bytes, header: Codestream, syntax: UID) -> NDArray[Any]:
    size = (header.rows, header.columns, header.precision)
    dtype = native_codecs.sample_type(header.precision, signed=bool(header.signed))
    count = header.rows * header.columns * dtype.itemsize
    run = codec_process.run
    if syntax == RLELossless:
        samples = run(native_codecs.decode_rle, data, *size, output_bytes=count)
    elif header.process == JPEG_LS:
        samples = run(native_codecs.decode_jpeg_ls, data, *size, output_bytes=count)
    elif COMPRESSED_SYNTAXES[syntax]:
        samples = run(native_codecs.decode_jpeg, data, str(syntax), *size, output_bytes=count)
    else:
        samples = run(native_codecs.decode_jpeg2000, data, *size, bool(header.signed), output_bytes=count)
    if not isinstance(samples, np.ndarray) or samples.shape != size[:2] or samples.dtype != dtype:
        raise NotAnImage("the image could not be decoded: the decoder gave something else than its pixels")
    return samples


def _with_sign(samples: NDArray[np.int32], header: Codestream, encoding: PixelEncoding) -> NDArray[np.int32]:
    """Samples of `header.precision` bits under the sign of the data set, int32."""
    if header.signed is encoding.signed or (header.signed is None and not encoding.signed):
        return samples
    if header.signed is not None:
        if header.fidelity == "lossy":
            raise UnsuitableImage(
                f"the lossy codestream is {'signed' if header.signed else 'unsigned'} and PixelRepresentation says the"
                " opposite; near the change of sign its values cannot be trusted"
            )
        log.warning("a JPEG 2000 stream and PixelRepresentation disagree about the sign; the latter is taken")
    bits = header.precision
    if not encoding.signed:
        return samples & ((1 << bits) - 1)
    highest = int(samples.max())
    if bits > encoding.bits_stored and highest < 1 << encoding.bits_stored:
        bits = encoding.bits_stored
    elif bits < encoding.bits_stored and highest >= 1 << (bits - 1):
        raise UnsuitableImage(
            f"the compressed image has unsigned samples of {bits} bits up to {highest}, and PixelRepresentation 1 with"
            f" BitsStored {encoding.bits_stored}: it cannot be known which of them are negative"
        )
    return np.where(samples >= 1 << (bits - 1), samples - (1 << bits), samples)
