"""Compressed strips and tiles of a TIFF file -> their bytes, by libtiff. Runs in a codec worker.

    file, places --per page--> a plain TIFF of one-byte pixels around the same segments --libtiff--> bytes
                                                                       NotAnImage

The codecs know nothing of pixels: LZW, deflate and PackBits are byte streams, row by row. So every segment is handed to
libtiff as rows of bytes, whatever it holds; number types, byte order and predictors, of which Pillow knows a part only,
are undone afterwards, in `imaging.tiff_layout`. libtiff writes no more bytes than such a header says.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from imaging.errors import NotAnImage

_SHORT, _LONG = 3, 4


def unpack(data: bytes, pages: NDArray[np.int64], segments: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bytes of all segments, one after the other.

    Args:
        data: the whole file.
        pages: (P, 5): compression, bytes of one row, rows of one segment, rows of the last segment, segments.
        segments: (S, 2): offset and size of each, those of the first page first; all lie inside of `data`.

    Raises:
        NotAnImage: a segment does not decode, or to fewer bytes than that.
    """
    made = []
    position = 0
    for number, page in enumerate(pages, start=1):
        compression, width, rows, last, count = (int(value) for value in page)
        parts = [data[offset : offset + size] for offset, size in segments[position : position + count]]
        position += count
        height = rows * (count - 1) + last
        try:
            with TiffImageFile(io.BytesIO(_wrapped(parts, compression, width, height, rows))) as picture:
                unpacked = np.asarray(picture)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - Pillow raises OSError, SyntaxError, ValueError, struct.error ...
            raise NotAnImage(
                f"the pixels of compressed page {number} of the TIFF file do not decode ({type(error).__name__}):"
                " it is cut off or damaged; send the file again"
            ) from None
        if unpacked.shape != (height, width) or unpacked.dtype != np.uint8:
            raise NotAnImage(f"compressed page {number} of the TIFF file decodes to {unpacked.shape} bytes")
        made.append(unpacked.reshape(-1))
    return np.concatenate(made)


def _wrapped(parts: list[bytes], compression: int, width: int, height: int, rows: int) -> bytes:
    """A little-endian TIFF file of (height, width) one-byte pixels with the given strips."""
    sizes = np.array([len(part) for part in parts], "<u4")
    entries = (
        (256, _LONG, 1, width),
        (257, _LONG, 1, height),
        (258, _SHORT, 1, 8),
        (259, _SHORT, 1, compression),
        (262, _SHORT, 1, 1),
        (273, _LONG, len(parts), 0),
        (277, _SHORT, 1, 1),
        (278, _LONG, 1, rows),
        (279, _LONG, len(parts), 0),
    )
    tables = 8 + 2 + 12 * len(entries) + 4
    # A table of one value lies in its entry; one place after the tags would do for both, and costs nothing.
    start = tables + 2 * sizes.nbytes
    offsets = (start + np.concatenate([[0], np.cumsum(sizes[:-1], dtype=np.int64)])).astype("<u4")
    single: dict[int, Any] = {273: int(offsets[0]), 279: int(sizes[0])}
    many = {273: tables, 279: tables + sizes.nbytes}
    places = single if len(parts) == 1 else many
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, count, places.get(tag, value)) for tag, kind, count, value in entries
    )
    return b"".join([head, bytes(4), offsets.tobytes(), sizes.tobytes(), *parts])
