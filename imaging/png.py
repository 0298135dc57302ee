"""PNG <-> stored values: grayscale of 8 or 16 bits, without alpha, one frame.

    bytes --(chunks whole, CRC right?)--> IHDR --(grayscale? 8/16 bits? size?)--> IDAT --Pillow--> stored values
            NotAnImage                    UnsupportedFormat       TooLarge       NotAnImage

Only the chunks that hold pixels reach Pillow, so neither compressed texts nor colour profiles cost anything. Values are
taken as they are: gAMA, sRGB and sBIT describe a display, not a measurement.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngImageFile

from imaging.errors import NotAnImage, UnsuitableImage, UnsupportedFormat
from imaging.limits import Limits, check_pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_HEADER = struct.Struct(">II5B")  # width, height, bit depth, colour type, compression, filter, interlace
_GRAYSCALE = 0
_COLOUR_TYPES = {2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGB with alpha"}
_DEPTHS = (8, 16)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced image (PNG specification, 8.2): first column and row, steps between columns and rows."""


def read_png(data: bytes, *, limits: Limits) -> NDArray[Any]:
    """Stored values (H, W), uint8 or uint16, of a PNG file.

    Raises:
        NotAnImage: truncated, a wrong checksum, or data that do not decode.
        UnsupportedFormat: another colour type or depth, transparency, or an unknown critical chunk.
        UnsuitableImage: an animation.
        TooLarge: more than `limits.max_pixels`, by the header, before anything is decoded.
    """
    chunks = list(_chunks(data))
    header = chunks[0][1]
    if chunks[0][0] != b"IHDR" or len(header) != _HEADER.size:
        raise NotAnImage("the PNG file does not begin with its header (IHDR)")
    width, height, depth, colour_type, compression, filters, interlace = _HEADER.unpack(header)
    _check_kind({name for name, _ in chunks}, depth, colour_type)
    if width < 1 or height < 1 or compression or filters or interlace > 1:
        raise NotAnImage(
            f"the header of the PNG file declares {width} x {height} pixels, compression {compression},"
            f" filters {filters} and interlacing {interlace}, which PNG does not define"
        )
    check_pixels(height, width, max_pixels=limits.max_pixels)
    packed = b"".join(payload for name, payload in chunks if name == b"IDAT")
    _check_complete(packed, _scanline_bytes(width, height, depth // 8, interlaced=interlace == 1))
    bare = SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
    try:
        # not PIL.Image.open: its own limit on pixels would come on top of ours, as a warning
        with PngImageFile(io.BytesIO(bare)) as picture:
            stored = np.array(picture)
    except Exception as error:  # noqa: BLE001 - Pillow raises SyntaxError, OSError, ValueError, struct.error ...
        raise NotAnImage(f"the pixels of the PNG file do not decode ({type(error).__name__})") from None
    if stored.shape != (height, width):
        raise NotAnImage(f"the PNG file decodes to {stored.shape} instead of {(height, width)}")
    return stored.astype(np.uint8 if depth == _DEPTHS[0] else np.uint16)


def write_png(stored: NDArray[Any]) -> bytes:
    """A grayscale PNG file of (H, W) uint8 or uint16 values, lossless."""
    if stored.ndim != 2 or stored.dtype not in (np.uint8, np.uint16):  # noqa: PLR2004 - (H, W)
        raise ValueError(f"PNG takes (H, W) uint8 or uint16, not {stored.shape} {stored.dtype}")
    file = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(stored)).save(file, format="PNG")
    return file.getvalue()


def _check_kind(names: set[bytes], depth: int, colour_type: int) -> None:
    if b"acTL" in names:
        raise UnsuitableImage("the PNG file is an animation (APNG); send one image")
    if colour_type != _GRAYSCALE:
        kind = _COLOUR_TYPES.get(colour_type, f"colour type {colour_type}")
        raise UnsupportedFormat(f"the PNG file is {kind}; grayscale without alpha is needed, of 8 or 16 bits")
    if depth not in _DEPTHS:
        raise UnsupportedFormat(f"the PNG file has {depth} bits a pixel; 8 or 16 are needed")
    if b"tRNS" in names:
        raise UnsupportedFormat("the PNG file has a transparent gray value (tRNS); grayscale without alpha is needed")
    unknown = {name for name in names if name[0:1].isupper()} - {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
    if unknown:
        raise UnsupportedFormat(f"the PNG file has an unknown critical chunk {min(unknown).decode('latin-1')!r}")


def _scanline_bytes(width: int, height: int, size: int, *, interlaced: bool) -> int:
    """Bytes of all rows, each with its filter type before it; of all seven passes where the image is interlaced."""
    total = 0
    for left, top, right_step, down_step in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = len(range(left, width, right_step)), len(range(top, height, down_step))
        total += rows * (1 + columns * size) if columns else 0
    return total


def _check_complete(packed: bytes, expected: int) -> None:
    """Pillow leaves rows black that a well-formed stream does not hold, so they are counted before."""
    try:
        found = len(zlib.decompressobj().decompress(packed, expected))
    except zlib.error:
        raise NotAnImage("the pixels of the PNG file are no zlib stream; send the file again") from None
    if found < expected:
        raise NotAnImage(f"the PNG file holds {found} bytes of pixels where its header promises {expected}")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, payload) of each chunk up to IEND, checksums verified; what follows IEND is ignored, as viewers do."""
    position = len(SIGNATURE)
    while True:
        head = data[position : position + 8]
        length, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")  # noqa: PLR2004
        payload = data[position + 8 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        if not name or len(payload) < length or len(checksum) < 4:  # noqa: PLR2004
            raise NotAnImage(f"the PNG file ends early, after {len(data)} bytes; send the whole file")
        if zlib.crc32(name + payload) != int.from_bytes(checksum, "big"):
            raise NotAnImage(f"the PNG file is damaged: chunk {name.decode('latin-1')!r} has a wrong checksum")
        yield name, payload
        if name == b"IEND":
            return
        position += 12 + length


def _chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload), name) + payload + struct.pack(">I", zlib.crc32(name + payload))
