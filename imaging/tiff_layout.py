"""What a page of a TIFF file says about its pixels: may it be read, how large is it, where do its bytes lie.

    Directory --(gray? number type? codec?)--(size?)--(strips or tiles as many as needed, inside the file?)--> TiffPage
              UnsupportedFormat              TooLarge NotAnImage
    bytes of a page, unpacked --predictor--> rows of numbers --tiles side by side, cropped--> (H, W)

Nothing is decoded to find this out. Sources: TIFF 6.0 sections 4, 14 and 15; Adobe's Technical Note 3 for predictor 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import NotAnImage, UnsupportedFormat
from imaging.limits import check_pixels
from imaging.tiff_tags import Directory, Tag

NO_COMPRESSION = 1
PACKBITS = 32773
_UNPACKED = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", PACKBITS: "PackBits"}
_OTHER_CODECS = {
    2: "CCITT RLE",
    3: "CCITT fax 3",
    4: "CCITT fax 4",
    6: "old JPEG",
    7: "JPEG, whose losses cannot be told from the image",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
}
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_COLOURS = {2: "RGB", 3: "palette colour", 4: "a transparency mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
_FORMATS = {1: "u", 2: "i", 3: "f"}
_NUMBERS = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"})
_HORIZONTAL, _FLOATING = 2, 3

MAX_SEGMENTS = 1 << 18
"""Strips or tiles of one file: one for each row of 128 pages of 2048 rows."""

TILE_STEP, MAX_TILE_SIDE = 16, 1 << 16
"""Sides of tiles are multiples of 16 (TIFF 6.0 section 15), which also bounds their number; 128 to 1024 are usual."""


@dataclass(frozen=True, eq=False)
class TiffPage:
    """One page whose tags have been checked.

    Attributes:
        shape: (H, W).
        dtype: of the stored values, in the file's byte order.
        min_is_white: whether 0 is shown white.
        compression: a key of `_UNPACKED`.
        predictor: 1 none, 2 horizontal differences, 3 of floating point.
        tile: (rows, columns) of tiles, None for strips.
        rows: of one segment, a strip or a tile.
        segments: (S, 2) int64, offset and size in bytes of each, all inside the file.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    min_is_white: bool
    compression: int
    predictor: int
    tile: tuple[int, int] | None
    rows: int
    segments: NDArray[np.int64]

    @property
    def row_values(self) -> int:
        """Values in one row of a segment."""
        return self.tile[1] if self.tile else self.shape[1]

    @property
    def last_rows(self) -> int:
        """Of the last segment: a strip may be shorter than the others, a tile not."""
        return self.rows if self.tile else self.shape[0] - self.rows * (len(self.segments) - 1)

    @property
    def unpacked_bytes(self) -> int:
        """Of all segments, decompressed; more than the image has where tiles reach beyond it."""
        rows = self.rows * (len(self.segments) - 1) + self.last_rows
        return rows * self.row_values * self.dtype.itemsize


def page_of(directory: Directory, *, max_pixels: int) -> TiffPage:
    """A directory, checked.

    Raises:
        UnsupportedFormat: colour, alpha, bits that are no number type, another codec, or swapped bits.
        TooLarge: more than `max_pixels`.
        NotAnImage: tags that are missing, contradict each other, or point out of the file.
    """
    where = f"page {directory.number} of the TIFF file"
    min_is_white = _check_gray(directory, where)
    dtype = _dtype(directory, where)
    compression, predictor = _codec(directory, dtype, where)
    height, width = directory.integer(Tag.IMAGE_LENGTH), directory.integer(Tag.IMAGE_WIDTH)
    if height < 1 or width < 1:
        raise NotAnImage(f"{where} has {height} rows and {width} columns; both must be at least 1")
    check_pixels(height, width, max_pixels=max_pixels)
    tile = None
    if Tag.TILE_OFFSETS in directory or Tag.TILE_WIDTH in directory:
        tile = directory.integer(Tag.TILE_LENGTH), directory.integer(Tag.TILE_WIDTH)
        if any(side % TILE_STEP or not TILE_STEP <= side <= MAX_TILE_SIDE for side in tile):
            raise NotAnImage(
                f"{where} has tiles of {tile[0]} x {tile[1]}; sides must be multiples of {TILE_STEP}, at most"
                f" {MAX_TILE_SIDE}"
            )
        rows = tile[0]
        count = math.ceil(height / tile[0]) * math.ceil(width / tile[1])
    else:
        rows = min(directory.integer(Tag.ROWS_PER_STRIP, height), height)
        if rows < 1:
            raise NotAnImage(f"{where} has strips of {rows} rows")
        count = math.ceil(height / rows)
    check_segments(count)
    bare = TiffPage(
        (height, width), dtype, min_is_white, compression, predictor, tile, rows, np.zeros((count, 2), np.int64)
    )
    return _with_segments(bare, directory, where)


def check_segments(count: int) -> None:
    """Raises NotAnImage where a file has more strips or tiles than anybody writes; each costs time."""
    if count > MAX_SEGMENTS:
        raise NotAnImage(f"the TIFF file consists of {count} strips or tiles; at most {MAX_SEGMENTS} are read")


def arrange(unpacked: NDArray[np.uint8], page: TiffPage) -> NDArray[Any]:
    """The stored values (H, W), in native byte order, of a page's decompressed bytes (`page.unpacked_bytes`,)."""
    native = page.dtype.newbyteorder("=")
    rows = unpacked.reshape(-1, page.row_values * page.dtype.itemsize)
    if page.predictor == _FLOATING:
        # bytes of one significance lie together, the most significant first, whatever the byte order of the file
        planes = np.cumsum(rows, axis=1, dtype=np.uint8).reshape(len(rows), page.dtype.itemsize, page.row_values)
        values = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(page.dtype.newbyteorder(">"))[:, :, 0]
    elif page.predictor == _HORIZONTAL:
        # differences wrap around, of floating point as of integers of the same size
        whole = np.dtype(f"u{page.dtype.itemsize}")
        differences = rows.view(whole.newbyteorder(page.dtype.byteorder))
        values = np.cumsum(differences, axis=1, dtype=whole).view(native)
    else:
        values = rows.view(page.dtype)
    if page.tile:
        down, across = (math.ceil(side / step) for side, step in zip(page.shape, page.tile, strict=True))
        tiles = values.reshape(down, across, *page.tile).transpose(0, 2, 1, 3)
        values = tiles.reshape(down * page.tile[0], across * page.tile[1])
    return values[: page.shape[0], : page.shape[1]].astype(native, copy=False)


def _check_gray(directory: Directory, where: str) -> bool:
    """Whether 0 is white, of a page that is grayscale."""
    photometric = directory.integer(Tag.PHOTOMETRIC)
    samples = directory.integer(Tag.SAMPLES_PER_PIXEL, 1)
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        kind = _COLOURS.get(photometric, f"photometric interpretation {photometric}")
        raise UnsupportedFormat(f"{where} is {kind}; grayscale is needed")
    if samples != 1 or Tag.EXTRA_SAMPLES in directory:
        raise UnsupportedFormat(f"{where} has {samples} samples per pixel; grayscale with one is needed, without alpha")
    if directory.integer(Tag.FILL_ORDER, 1) != 1:
        raise UnsupportedFormat(f"{where} has the bits of each byte reversed (FillOrder 2)")
    return photometric == _WHITE_IS_ZERO


def _dtype(directory: Directory, where: str) -> np.dtype[Any]:
    bits, kind = directory.integer(Tag.BITS_PER_SAMPLE, 1), directory.integer(Tag.SAMPLE_FORMAT, 1)
    name = f"{_FORMATS.get(kind, '?')}{bits // 8}"
    if bits % 8 or name not in _NUMBERS:
        what = {"u": "unsigned", "i": "signed", "f": "floating point"}.get(name[0], f"sample format {kind}")
        raise UnsupportedFormat(
            f"{where} has pixels of {bits} bits ({what}); integers of 8, 16 and 32 bits and floats of 16, 32 and 64"
            " are read"
        )
    return np.dtype(directory.order + name)


def _codec(directory: Directory, dtype: np.dtype[Any], where: str) -> tuple[int, int]:
    """Compression and predictor."""
    compression = directory.integer(Tag.COMPRESSION, NO_COMPRESSION)
    if compression not in _UNPACKED:
        name = _OTHER_CODECS.get(compression, str(compression))
        raise UnsupportedFormat(f"{where} is compressed by {name}; uncompressed, deflate, LZW and PackBits are read")
    predictor = directory.integer(Tag.PREDICTOR, 1)
    floating = predictor == _FLOATING and dtype.kind != "f"
    if predictor not in (1, _HORIZONTAL, _FLOATING) or floating:
        raise UnsupportedFormat(f"{where} has predictor {predictor}, which does not exist for {dtype.name}")
    if predictor != 1 and compression in (NO_COMPRESSION, PACKBITS):
        raise UnsupportedFormat(f"{where} has predictor {predictor} with compression {_UNPACKED[compression]}")
    return compression, predictor


def _with_segments(page: TiffPage, directory: Directory, where: str) -> TiffPage:
    """The page with its segments filled in."""
    offset_tag, size_tag = (
        (Tag.TILE_OFFSETS, Tag.TILE_BYTE_COUNTS) if page.tile else (Tag.STRIP_OFFSETS, Tag.STRIP_BYTE_COUNTS)
    )
    expected = len(page.segments)
    offsets = directory.integers(offset_tag)
    needed = np.full(expected, page.rows * page.row_values * page.dtype.itemsize, np.int64)
    needed[-1] = page.last_rows * page.row_values * page.dtype.itemsize
    # Old writers leave the sizes out where nothing is compressed, and then they say nothing new.
    plain = page.compression == NO_COMPRESSION
    sizes = needed if plain and size_tag not in directory else directory.integers(size_tag)
    if len(offsets) != expected or len(sizes) != expected:
        raise NotAnImage(
            f"{where} needs {expected} strips or tiles and has {len(offsets)} offsets and {len(sizes)} sizes"
        )
    if plain:
        if (sizes < needed).any():
            raise NotAnImage(f"{where} has strips or tiles of fewer bytes than their pixels need")
        sizes = needed
    if (sizes < 1).any() or (offsets < 1).any() or int((offsets + sizes).max()) > len(directory.data):
        raise NotAnImage(f"{where} has strips or tiles that are empty or reach beyond the end of the file")
    return replace(page, segments=np.stack([offsets, sizes], axis=1))
