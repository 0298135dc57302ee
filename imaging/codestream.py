"""The header of a compressed image: what its decoder would make of it, read before any decoder runs.

    bytes --read_jpeg / read_jpeg2000 / read_rle--> Codestream: size, components, bits, sign, what it may have lost
            NotAnImage

A decoder allocates what the codestream states, whatever the DICOM header says, so a few bytes can ask for gigabytes.
Here nothing is decoded. Besides the header only the end is looked at: a stream that was cut off, or whose tail was
overwritten, has no end marker any more, and several decoders would fill the rest with something.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

from imaging.errors import NotAnImage, UnsuitableImage, UnsupportedFormat

Fidelity = Literal["exact", "reversible", "lossy"]
"""`exact`: nothing can be lost. `reversible`: JPEG 2000 with an integer transform, exact unless its encoder dropped
bits, which the stream does not tell. `lossy`: values were changed."""


@dataclass(frozen=True)
class Codestream:
    """What a codestream states about itself.

    Attributes:
        rows, columns, components: of the image.
        precision: bits of one sample.
        signed: of the samples; None where the format cannot say it.
        fidelity: see `Fidelity`.
        process: N of the JPEG marker SOFn (55 for JPEG-LS), 0 elsewhere.
    """

    rows: int
    columns: int
    components: int
    precision: int
    signed: bool | None
    fidelity: Fidelity
    process: int = 0


JPEG_LOSSLESS = 3
JPEG_LS = 55
_SOI, _SOS, _SOF_JPEG_LS = 0xD8, 0xDA, 0xF7
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {_SOF_JPEG_LS}
_END = b"\xff\xd9"
_ANOTHER = re.compile(rb"\xff\xd9\0?\xff(\xd8\xff|\x4f\xff\x51)")

_SOC_SIZ = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\0\0\0\x0cjP  "
_SOT = 0x90
_TRANSFORM = {0x52: 9, 0x53: 6}  # COD and COC, which is for single components: where their byte of the filter stands
_REVERSIBLE = 1  # the 5-3 filter (ISO/IEC 15444-1 table A.20)

_BLANK = bytes(4096)
"""One page of a disk that was never written. No coder makes so many zeros in a row: each would have to be a packet that
is empty, of one tile."""

_RLE_HEADER_BYTES = 64


def read_jpeg(data: bytes) -> Codestream:
    """The header of a JPEG (ISO/IEC 10918-1 B.2) or JPEG-LS (ISO/IEC 14495-1 C.2) stream.

    Raises:
        NotAnImage: no such stream, malformed, or its end is missing.
        UnsuitableImage: more than one image.
    """
    if data[:2] != bytes((0xFF, _SOI)):
        raise NotAnImage("the compressed pixel data are no JPEG stream: they do not begin with its marker")
    _check_end(data)
    frame: tuple[int, int, int, int, int] | None = None
    for marker, segment in _segments(data, 2):
        if marker in _SOF:
            if frame is not None or len(segment) < 6:  # noqa: PLR2004 - precision, rows, columns, components
                raise NotAnImage("the JPEG stream has a malformed or second frame header")
            frame = (marker, *struct.unpack_from(">BHHB", segment))
        elif marker == _SOS:
            if frame is None or len(segment) < 4:  # noqa: PLR2004 - Ns ... Ss, Se, Ah and Al
                break
            kind, precision, rows, columns, components = frame
            process = JPEG_LS if kind == _SOF_JPEG_LS else kind & 0x0F
            near, point_transform = segment[-3], segment[-1] & 0x0F
            lost = near if process == JPEG_LS else point_transform if process == JPEG_LOSSLESS else 1
            return Codestream(rows, columns, components, precision, None, "lossy" if lost else "exact", process)
    raise NotAnImage("the JPEG stream has no complete header: it is damaged")


def read_jpeg2000(data: bytes) -> Codestream:
    """The header of a JPEG 2000 codestream (ISO/IEC 15444-1 annex A), as `bare_codestream` gives it.

    Raises:
        NotAnImage: no such stream, malformed, or its end is missing.
        UnsuitableImage: more than one image.
        UnsupportedFormat: components of a lower resolution than the image.
    """
    if data[:4] != _SOC_SIZ:
        raise NotAnImage("the compressed pixel data are no JPEG 2000 stream: they do not begin with its markers")
    _check_end(data)
    size: tuple[int, ...] | None = None
    transform: int | None = None
    for marker, segment in _segments(data, 2):
        if marker == _SOC_SIZ[3] and len(segment) >= 39:  # noqa: PLR2004 - up to the first component
            size = struct.unpack_from(">H8IH3B", segment)
        elif marker in _TRANSFORM and len(segment) > _TRANSFORM[marker]:
            transform = segment[_TRANSFORM[marker]]
        elif marker == _SOT:
            break
    if size is None or transform is None:
        raise NotAnImage("the JPEG 2000 stream has no complete header: it is damaged")
    if _BLANK in data:  # its decoder would go on; those of the other codecs notice
        raise NotAnImage(f"the JPEG 2000 stream has more than {len(_BLANK)} zeros in a row: it was overwritten")
    _, width, height, left, top, *_, components, depth, step_x, step_y = size
    if (step_x, step_y) != (1, 1):
        raise UnsupportedFormat("the JPEG 2000 stream has components of a lower resolution than the image")
    return Codestream(
        rows=height - top,
        columns=width - left,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        fidelity="reversible" if transform == _REVERSIBLE else "lossy",
    )


def bare_codestream(data: bytes) -> bytes:
    """A JPEG 2000 codestream without the JP2 file around it, which DICOM forbids (PS3.5 A.4.4) and some writers add."""
    if not data.startswith(_JP2_SIGNATURE):
        return data
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"jp2c":
            return data[position + 8 : position + length if length else len(data)]
        if length < 8:  # noqa: PLR2004 - its own header
            break
        position += length
    raise NotAnImage("the compressed pixel data are a JP2 file without a codestream")


def read_rle(data: bytes, *, rows: int, columns: int, bits_allocated: int) -> Codestream:
    """The header of an RLE frame (PS3.5 G.5); it states only how many segments of bytes there are, and where.

    Args:
        data: the frame.
        rows, columns, bits_allocated: of the data set, since RLE has none of its own.

    Raises:
        NotAnImage: malformed, or segments that lie outside of the frame.
        UnsuitableImage: not one segment for each byte of a sample.
    """
    if len(data) < _RLE_HEADER_BYTES:
        raise NotAnImage(f"the RLE frame has {len(data)} bytes, fewer than its header of {_RLE_HEADER_BYTES}")
    count, *offsets = struct.unpack_from("<16I", data)
    needed = bits_allocated // 8
    if count != needed:
        raise UnsuitableImage(f"the RLE frame has {count} segments; one sample of {bits_allocated} bits needs {needed}")
    ends = [*offsets[1:count], len(data)]
    if offsets[0] < _RLE_HEADER_BYTES or any(begin >= end for begin, end in zip(offsets[:count], ends, strict=True)):
        raise NotAnImage("the segments of the RLE frame are out of order or outside of it: the file is damaged")
    return Codestream(rows, columns, 1, bits_allocated, None, "exact")


def _segments(data: bytes, position: int) -> list[tuple[int, bytes]]:
    """(marker, content without length) from `position` to the first scan or tile, or as far as they are well-formed."""
    found = []
    while position + 4 <= len(data) and data[position] == 0xFF:  # noqa: PLR2004 - every marker begins so
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:  # noqa: PLR2004 - a fill byte
            position += 1 if marker == 0xFF else 2  # noqa: PLR2004
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if length < 2 or end > len(data):  # noqa: PLR2004 - its own bytes
            break
        found.append((marker, data[position + 4 : end]))
        if marker in (_SOS, _SOT):
            break
        position = end
    return found


def _check_end(data: bytes) -> None:
    """That the stream has its end marker, with at most padding after it, and that no second image follows."""
    content = data.rstrip(b"\0")
    if not content.endswith(_END) and content[-3:-1] != _END:
        raise NotAnImage("the compressed pixel data have no end marker: they are truncated or overwritten")
    if _ANOTHER.search(data):
        raise UnsuitableImage("the compressed pixel data hold several images where there should be one frame")
