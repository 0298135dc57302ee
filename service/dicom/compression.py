"""Lossless compression of a derived instance: the same instance in another transfer syntax.

    file --elements--> PixelData --each frame: encode--> fragments --+
            |                                                        +--> file --decode--> the same stored values?
            +--all others, byte for byte-----------------------------+             no: RuleViolated

SOPInstanceUID, LossyImageCompression and every text stay (PS3.5 A.4, PS3.3 C.7.6.1.1.5). Only the transfer syntax
changes, and PixelData with it: OB of undefined length, with a Basic Offset Table and one fragment for each frame.

Which bits are encoded:

- RLE has bytes and no notion of bits: the words as they are, unused bits too.
- JPEG 2000 states bits and sign: BitsStored of both.
- JPEG-LS knows no sign. Signed values are two's complement of as many bits as the stream has, as its readers here and
  elsewhere take them: BitsStored, but 8 where BitsAllocated is 8 and at least 9 where it is 16, since dcmtk decodes no
  other.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
import rle
from numpy.typing import NDArray
from openjpeg.utils import encode_buffer as encode_openjpeg
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from imaging.compressed_pixels import decode_compressed
from imaging.dicom_file import read_dicom
from imaging.errors import ImagingError
from imaging.limits import Limits
from imaging.pixel_encoding import PixelEncoding, native_values
from service.dicom.elements import PIXEL_DATA, Element, File, item, read_file, with_syntax, write_elements, write_file
from service.errors import RuleViolated

Compression = Literal["jpeg-ls", "jpeg-2000", "rle"]

SYNTAXES: dict[Compression, str] = {"jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless, "rle": RLELossless}
"""Transfer syntax UIDs."""

_BYTE_BITS = 8

MIN_SIDE = 32
"""Rows and columns that JPEG-LS and JPEG 2000 need here. OpenJPEG is asked for six resolutions, each half of the one
before; CharLS gets too little room for the header of a tiny image. No scanner makes such images."""

_UNDEFINED = 0xFFFFFFFF
_SEQUENCE_DELIMITER = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

_FRAMES, _ROWS, _COLUMNS = 0x00280008, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _SIGNED = 0x00280100, 0x00280101, 0x00280103
_OF_PIXELS = frozenset({_ROWS, _COLUMNS, _ALLOCATED, _STORED, _SIGNED})
"""Of one frame."""


@dataclass(frozen=True, eq=False)
class _Pixels:
    """What is to be compressed: `words`, (N, H, W) unsigned as in the file, and what they mean."""

    words: NDArray[Any]
    encoding: PixelEncoding

    @property
    def values(self) -> NDArray[Any]:
        """(N, H, W) stored values."""
        return native_values(self.words, self.encoding)


def compressed(data: bytes, syntax: Compression) -> bytes:
    """A derived instance with compressed pixel data; the same bytes for the same input.

    Args:
        data: as `write_instance` gives it.
        syntax: which compression.

    Raises:
        ValueError: `data` is no file of a derived instance, or its images are smaller than `MIN_SIDE` and not for RLE.
        RuleViolated: what was encoded does not decode to the same stored values.
    """
    file = read_file(data)
    pixels = _pixels(file)
    if syntax != "rle" and min(pixels.words.shape[1:]) < MIN_SIDE:
        raise ValueError(f"{syntax} needs images of at least {MIN_SIDE} x {MIN_SIDE} pixels")
    streams = [_encoded(frame, pixels.encoding, syntax) for frame in pixels.words]
    described = File(file.meta, tuple(one for one in file.elements if one.tag in _OF_PIXELS))
    for stream, values in zip(streams, pixels.values, strict=True):
        _check(_with_streams(described, [stream], syntax), values, pixels.encoding, syntax)
    return _with_streams(file, streams, syntax)


def _pixels(file: File) -> _Pixels:
    element = file.get(PIXEL_DATA)
    if element is None:
        raise ValueError("the instance has no PixelData")
    numbers = {tag: file.get(tag) for tag in (_ROWS, _COLUMNS, _ALLOCATED, _STORED, _SIGNED)}
    missing = [f"{tag:08x}" for tag, one in numbers.items() if one is None]
    if missing:
        raise ValueError(f"the instance lacks {missing}, which describe PixelData")
    rows, columns, allocated, stored, signed = (one.number() for one in numbers.values() if one is not None)
    counted = file.get(_FRAMES)
    shape = (1 if counted is None else int(counted.text()), rows, columns)
    encoding = PixelEncoding(allocated, stored, signed=bool(signed))
    words = np.frombuffer(element.value, f"<u{allocated // _BYTE_BITS}", count=int(np.prod(shape)))
    return _Pixels(words.reshape(shape), encoding)


def _encoded(words: NDArray[Any], encoding: PixelEncoding, syntax: Compression) -> bytes:
    """One frame, (H, W) words, as a fragment of even length."""
    rows, columns = words.shape
    if syntax == "rle":
        size = {"rows": rows, "columns": columns, "samples_per_pixel": 1, "bits_allocated": encoding.bits_allocated}
        stream = rle.utils.encode_pixel_data(words.tobytes(), byteorder="<", **size)
    elif syntax == "jpeg-2000":
        bits = encoding.bits_stored
        samples = _samples(native_values(words, encoding), bits)
        stream = encode_openjpeg(samples, columns, rows, 1, bits, encoding.signed)
    else:
        byte = encoding.bits_allocated == _BYTE_BITS
        bits = _BYTE_BITS if byte else max(encoding.bits_stored, _BYTE_BITS + 1)
        samples = _samples(native_values(words, encoding).astype(np.int64) & ((1 << bits) - 1), bits)
        stream = jpeg_ls.encode_pixel_data(samples, rows=rows, columns=columns, samples_per_pixel=1, bits_stored=bits)
    return bytes(stream) + b"\0" * (len(stream) % 2)


def _samples(values: NDArray[Any], bits: int) -> bytes:
    """As encoders take them: a byte for samples of up to 8 bits, else two."""
    signed = np.issubdtype(values.dtype, np.signedinteger)
    return values.astype(f"<{'i' if signed else 'u'}{1 if bits <= _BYTE_BITS else 2}").tobytes()


def _with_streams(file: File, streams: list[bytes], syntax: Compression) -> bytes:
    """The file with these fragments as its PixelData."""
    fragments = [item(stream) for stream in streams]
    offsets = list(accumulate((len(fragment) for fragment in fragments[:-1]), initial=0))
    table = item(struct.pack(f"<{len(offsets)}I", *offsets))
    start = struct.pack("<HH2sHI", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF, b"OB", 0, _UNDEFINED)
    before = tuple(one for one in file.elements if one.tag < PIXEL_DATA)
    after: tuple[Element, ...] = tuple(one for one in file.elements if one.tag > PIXEL_DATA)
    head = write_file(with_syntax(File(file.meta, before), SYNTAXES[syntax]))
    return b"".join((head, start, table, *fragments, _SEQUENCE_DELIMITER, write_elements(after)))


def _check(made: bytes, values: NDArray[Any], encoding: PixelEncoding, syntax: Compression) -> None:
    """By the way that every file comes in: structure, header, decoder in its own process, bits and sign.

    Args:
        made: a file of one frame and what describes it. A whole multi-frame instance could be beyond the limits and the
            time that are for what others send.
        values: (H, W) stored values that it must hold.
        encoding, syntax: of them.
    """
    rows, columns = values.shape
    try:
        read = read_dicom(made, limits=Limits(max_bytes=len(made), max_pixels=rows * columns))
        same = np.array_equal(decode_compressed(read, (rows, columns), encoding), values)
    except ImagingError as error:
        raise _defect(syntax, f"the compressed pixel data cannot be read: {error}") from error
    if not same:
        raise _defect(syntax, "the compressed pixel data must give back every stored value")


def _defect(syntax: Compression, finding: str) -> RuleViolated:
    return RuleViolated(
        f"a derived instance in {syntax} is not what it was and was not delivered; this is a defect of the program",
        findings=(finding,),
    )
