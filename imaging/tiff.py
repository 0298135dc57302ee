"""TIFF <-> stored values: grayscale pages of one size and number type.

    bytes --directories--> pages --(alike? how many? how large?)--> bytes of each --> arrange --> (N, H, W)
            NotAnImage             UnsuitableImage TooLarge              |
            UnsupportedFormat                                            +-- compressed: libtiff, in a codec worker
                                                                             NotAnImage
    (N, H, W) --tifffile--> one page each, deflate, lossless

Decisions, each tested:

- Pages come in the order of the file. Reduced-resolution pages (NewSubfileType bit 0), which are thumbnails of the
  others, are left out, and `TiffContent.notes` says so; SubIFDs, where pyramids live, are not followed.
- A hyperstack of ImageJ or tifffile that has one directory for many images becomes as many pages.
- MINISWHITE says how values are shown. Stored values are never inverted; `formats.decode` gives relative images the
  rescale that makes 1 white, and HU are what the caller's rescale says, as in DICOM's MONOCHROME1.
- Orientation is kept and not applied; resolution is kept, and no spacing is taken from it, since most programs write 72
  dpi for nothing in particular.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from imaging import codec_process
from imaging.errors import NotAnImage, TooLarge, UnsuitableImage
from imaging.limits import Limits, check_frames, check_unpacked
from imaging.tiff_codecs import unpack
from imaging.tiff_layout import NO_COMPRESSION, TiffPage, arrange, check_segments, page_of
from imaging.tiff_tags import Directory, Tag, directories

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MAX_THUMBNAILS = 64
"""Reduced-resolution pages that are passed over."""

_DEFLATE_LEVEL = 1
"""Noisy CT slices get no smaller at level 6, which takes seven times as long: longer than restoring them."""

_REDUCED = 1  # bit 0 of NewSubfileType
_OLD_REDUCED = 2  # value of SubfileType
_CENTIMETRE = 3
_UNITS = (1, 2, _CENTIMETRE)  # none, inch, centimetre
_NORMAL, _ORIENTATIONS = 1, range(1, 9)

_IMAGEJ = re.compile(r"ImageJ=.*?\nimages=([0-9]{1,9})\n", re.DOTALL)
_TRUNCATED = re.compile(r'\{"shape": \[([0-9, ]{1,99})\].*"truncated": true')


@dataclass(frozen=True)
class TiffAttributes:
    """What an answer in TIFF keeps of its source.

    Attributes:
        min_is_white: whether stored 0 is shown white.
        orientation: 1 to 8 (TIFF 6.0 section 8); 1 is the first row at the top and the first column at the left.
        resolution: pixels per unit along (columns, rows), as fractions, and the unit (1 none, 2 inch, 3 centimetre).
    """

    min_is_white: bool = False
    orientation: int = _NORMAL
    resolution: tuple[tuple[int, int], tuple[int, int], int] | None = None


@dataclass(frozen=True, eq=False)
class TiffContent:
    """What a TIFF file holds.

    Attributes:
        stored: (N, H, W) in native byte order, N at least 1.
        attributes: of the first page.
        notes: what was passed over, as sentences.
    """

    stored: NDArray[Any]
    attributes: TiffAttributes
    notes: tuple[str, ...]


def looks_like_tiff(data: bytes) -> bool:
    """Whether the first four bytes are those of TIFF or BigTIFF."""
    return data.startswith(MAGIC)


def read_tiff(data: bytes, *, limits: Limits) -> TiffContent:
    """Stored values of a TIFF file: integers of 8, 16 or 32 bits, floats of 16, 32 or 64.

    Raises:
        NotAnImage: broken or truncated, or pages in a loop.
        UnsupportedFormat: colour, alpha, 1 bit, JPEG and other codecs; see `page_of`.
        UnsuitableImage: pages of different size, number type or photometric interpretation, or thumbnails only.
        TooLarge: more pages, pixels or bytes than `limits` allow, by the header, before anything is decoded.
    """
    pages, first, left_out = _pages(data, limits)
    page = pages[0]
    height, width = page.shape
    check_frames(len(pages), height, width, itemsize=page.dtype.itemsize, limits=limits)
    check_unpacked(sum(one.unpacked_bytes for one in pages), max_bytes=limits.max_bytes)
    stored = np.empty((len(pages), height, width), page.dtype.newbyteorder("="))
    for index, unpacked in enumerate(_unpacked(data, pages)):
        stored[index] = arrange(unpacked, pages[index])
    notes = (f"{left_out} reduced-resolution pages of the TIFF file were left out",) if left_out else ()
    return TiffContent(stored, _attributes(first, page), notes)


def write_tiff(stored: NDArray[Any], attributes: TiffAttributes = TiffAttributes()) -> bytes:
    """A TIFF file of (N, H, W) values, one page each: little-endian, deflate, integers with horizontal predictor."""
    if stored.ndim != 3 or stored.dtype.kind not in "iuf":  # noqa: PLR2004 - (N, H, W)
        raise ValueError(f"stored must be (N, H, W) real numbers, not {stored.shape} {stored.dtype}")
    horizontal, vertical, unit = attributes.resolution or ((1, 1), (1, 1), 1)
    oriented = (int(Tag.ORIENTATION), 3, 1, attributes.orientation, True)
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder="<") as writer:
        for values in stored:
            writer.write(
                np.ascontiguousarray(values),
                photometric="miniswhite" if attributes.min_is_white else "minisblack",
                compression="zlib",
                compressionargs={"level": _DEFLATE_LEVEL},
                predictor=stored.dtype.kind in "iu",
                maxworkers=1,  # the caller has threads of its own
                resolution=(horizontal, vertical),
                resolutionunit=unit,
                extratags=() if attributes.orientation == _NORMAL else (oriented,),
                software="clearslice",
                metadata=None,
            )
    return file.getvalue()


def _pages(data: bytes, limits: Limits) -> tuple[list[TiffPage], Directory, int]:
    """All full pages, the directory of the first, and how many reduced ones there are; stops at the first too many."""
    pages: list[TiffPage] = []
    first: Directory | None = None
    left_out = 0
    for directory in directories(data):
        if _is_reduced(directory):
            left_out += 1
            if left_out > MAX_THUMBNAILS:
                raise NotAnImage(f"the TIFF file has more than {MAX_THUMBNAILS} reduced-resolution pages")
            continue
        first = first or directory
        page = page_of(directory, max_pixels=limits.max_pixels)
        _check_alike(page, page if not pages else pages[0], directory.number)
        pages.append(page)
        check_segments(sum(len(one.segments) for one in pages))
        if len(pages) > limits.max_frames:
            raise TooLarge(
                f"the TIFF file has more than {limits.max_frames} pages, and no more are allowed; send it in parts",
                limit="max_frames",
            )
    if first is None:
        raise UnsuitableImage("the TIFF file has reduced-resolution pages only; send the full image")
    return _planes(data, pages, first, limits), first, left_out


def _is_reduced(directory: Directory) -> bool:
    return bool(directory.integer(Tag.NEW_SUBFILE_TYPE, 0) & _REDUCED) or (
        directory.integer(Tag.SUBFILE_TYPE, 0) == _OLD_REDUCED
    )


def _check_alike(page: TiffPage, first: TiffPage, number: int) -> None:
    if page.shape != first.shape:
        raise UnsuitableImage(
            f"page {number} of the TIFF file has {page.shape[0]} x {page.shape[1]} pixels and the first"
            f" {first.shape[0]} x {first.shape[1]}; all need the same size"
        )
    if page.dtype != first.dtype or page.min_is_white != first.min_is_white:
        kinds = [f"{one.dtype.name} with {'white' if one.min_is_white else 'black'} 0" for one in (page, first)]
        raise UnsuitableImage(
            f"page {number} of the TIFF file holds {kinds[0]} and the first {kinds[1]}; all need the same number type"
        )


def _planes(data: bytes, pages: list[TiffPage], first: Directory, limits: Limits) -> list[TiffPage]:
    """The pages, or as many planes as the description of a hyperstack promises behind its only directory."""
    page = pages[0]
    count = _promised(first.text(Tag.IMAGE_DESCRIPTION), page.shape)
    if count <= len(pages):
        return pages
    size = page.unpacked_bytes
    ends = page.segments.sum(axis=1)
    contiguous = page.tile is None and (page.segments[1:, 0] == ends[:-1]).all()
    if len(pages) > 1 or page.compression != NO_COMPRESSION or not contiguous:
        raise NotAnImage(f"the TIFF file promises {count} images and has {len(pages)} pages; write it again")
    check_frames(count, *page.shape, itemsize=page.dtype.itemsize, limits=limits)
    start = int(page.segments[0, 0])
    end = start + count * size
    if end > len(data) or start <= first.start < end:
        raise NotAnImage(
            f"the TIFF file promises {count} images of {size} bytes, and does not hold them; send all of it"
        )
    return [
        replace(page, rows=page.shape[0], segments=np.array([[start + index * size, size]], np.int64))
        for index in range(count)
    ]


def _promised(description: str, shape: tuple[int, int]) -> int:
    """How many images of that shape the descriptions of ImageJ and tifffile promise; 0 for other descriptions."""
    imagej, truncated = _IMAGEJ.match(description + "\n"), _TRUNCATED.match(description)
    if imagej:
        return int(imagej[1])
    if truncated:
        return math.prod(int(side) for side in truncated[1].split(",") if side.strip()) // math.prod(shape)
    return 0


def _unpacked(data: bytes, pages: list[TiffPage]) -> list[NDArray[np.uint8]]:
    """The decompressed bytes of each page."""
    whole = np.frombuffer(data, np.uint8)
    found: dict[int, NDArray[np.uint8]] = {}
    packed = []
    for index, page in enumerate(pages):
        if page.compression != NO_COMPRESSION:
            packed.append(index)
        elif len(page.segments) == 1:
            found[index] = whole[page.segments[0, 0] : page.segments[0].sum()]
        else:
            found[index] = np.concatenate([whole[offset : offset + size] for offset, size in page.segments])
    if packed:
        found.update(zip(packed, _decompressed(data, [pages[index] for index in packed]), strict=True))
    return [found[index] for index in range(len(pages))]


def _decompressed(data: bytes, pages: list[TiffPage]) -> list[NDArray[np.uint8]]:
    segments = np.concatenate([page.segments for page in pages])
    if int(segments[:, 1].sum()) > len(data):
        raise NotAnImage("the strips or tiles of the TIFF file overlap: together they are longer than the file")
    table = np.array(
        [
            [one.compression, one.row_values * one.dtype.itemsize, one.rows, one.last_rows, len(one.segments)]
            for one in pages
        ],
        np.int64,
    )
    sizes = [page.unpacked_bytes for page in pages]
    unpacked = codec_process.run(unpack, data, table, segments, output_bytes=sum(sizes))
    if unpacked.shape != (sum(sizes),) or unpacked.dtype != np.uint8:
        raise NotAnImage(f"the pixels of the TIFF file decode to {unpacked.shape} instead of {sum(sizes)} bytes")
    return np.split(unpacked, np.cumsum(sizes)[:-1])


def _attributes(directory: Directory, page: TiffPage) -> TiffAttributes:
    orientation = directory.integer(Tag.ORIENTATION, _NORMAL)
    unit = directory.integer(Tag.RESOLUTION_UNIT, 2)
    across, down = directory.ratio(Tag.X_RESOLUTION), directory.ratio(Tag.Y_RESOLUTION)
    return TiffAttributes(
        min_is_white=page.min_is_white,
        orientation=orientation if orientation in _ORIENTATIONS else _NORMAL,
        resolution=None if across is None or down is None or unit not in _UNITS else (across, down, unit),
    )
