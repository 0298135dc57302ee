"""NPY <-> stored values: one array of real numbers, (H, W) for an image or (N, H, W) for a stack of frames.

    bytes --(magic, version)--> header --(a number type? 2-D or 3-D? as many bytes as it says?)--> stored values
            NotAnImage                    UnsuitableImage TooLarge NotAnImage

The header is a Python literal and is parsed as nothing else; object arrays, which NumPy would unpickle, are refused.
Nothing is reshaped, since the answer has the shape of the question: (1, H, W) is a stack of one. An array whose last
axis has 1 to 4 values is refused, because it is more likely one image with channels than a stack of very narrow ones.
The format: numpy.lib.format, versions 1.0 to 3.0.
"""

from __future__ import annotations

import ast
import io
import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import NotAnImage, UnsuitableImage, UnsupportedFormat
from imaging.limits import Limits, check_frames

MAGIC = b"\x93NUMPY"

_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # size of the header's length field, by major version
_MAX_HEADER = 1000
"""A header of a 2-D array has about 100 bytes. In NumPy's own limit, 10 000, a number may have more digits than Python
writes into a message (4300)."""
_MAX_SIDE = 2**63 - 1
"""NumPy's own limit."""
_IMAGE, _STACK = 2, 3  # dimensions
MAX_CHANNELS = 4
"""RGB with alpha."""
_NUMBER = re.compile(r"[<>|=](?:[iu][1248]|f[248])")


def read_npy(data: bytes, *, limits: Limits) -> NDArray[Any]:
    """Stored values (H, W) or (N, H, W) of an NPY file, in native byte order: integers of 8 to 64 bits or floats of 16
    to 64.

    Raises:
        NotAnImage: a broken header, or another number of bytes than it promises.
        UnsuitableImage: of other dimensions, empty, perhaps with channels, or of objects, structures, complex numbers,
            booleans, text.
        UnsupportedFormat: an unknown version of the format.
        TooLarge: more frames, pixels or bytes than `limits` allow, by the header, before memory is taken.
    """
    header, start = _header(data)
    dtype, shape = _dtype(header.get("descr")), _shape(header.get("shape"))
    fortran = header.get("fortran_order")
    if not isinstance(fortran, bool):
        raise NotAnImage("the header of the NPY file has no fortran_order of True or False")
    frames = 1 if len(shape) == _IMAGE else shape[0]
    check_frames(frames, *shape[-2:], itemsize=dtype.itemsize, limits=limits)
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - start
    if expected != found:
        raise NotAnImage(
            f"the NPY file promises {' x '.join(map(str, shape))} values of {dtype.itemsize} bytes, {expected} in all,"
            f" but holds {found}"
        )
    values = np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    return np.require(values, dtype.newbyteorder("="), ["C", "A"])  # a view of the file where it can be


def write_npy(values: NDArray[Any]) -> bytes:
    """An NPY file (version 1.0, C order, little-endian) of (H, W) or (N, H, W) real numbers."""
    if values.ndim not in (_IMAGE, _STACK) or values.dtype.kind not in "iuf":
        raise ValueError(f"values must be (H, W) or (N, H, W) real numbers, not {values.shape} {values.dtype}")
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(values))
    return b"".join((header.getvalue(), values.data))


def _header(data: bytes) -> tuple[dict[Any, Any], int]:
    """The header and where the values begin."""
    position = len(MAGIC) + 2
    if not data.startswith(MAGIC) or len(data) < position:
        raise NotAnImage("the NPY file ends within its header")
    version = data[len(MAGIC)]
    if version not in _LENGTH_BYTES:
        raise UnsupportedFormat(f"version {version} of the NPY format is not read; versions 1 to 3 are")
    start = position + _LENGTH_BYTES[version]
    length = int.from_bytes(data[position:start], "little")
    if length > _MAX_HEADER:
        raise NotAnImage(f"the header of the NPY file has {length} bytes; that of an image has about 100")
    if len(data) < start + length:
        raise NotAnImage("the NPY file ends within its header")
    try:
        header = ast.literal_eval(data[start : start + length].decode("utf-8" if version >= 3 else "latin-1").strip())  # noqa: PLR2004
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise NotAnImage("the header of the NPY file is no dictionary of descr, fortran_order and shape")
    return header, start + length


def _dtype(descr: object) -> np.dtype[Any]:
    if not isinstance(descr, str) or not _NUMBER.fullmatch(descr):
        raise UnsuitableImage(
            f"the NPY file holds values of type {str(descr)[:32]!r}; integers of 8 to 64 bits and floats of 16, 32 or"
            " 64 bits are read"
        )
    return np.dtype(descr)


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not all(type(side) is int and 0 <= side <= _MAX_SIDE for side in shape):
        raise NotAnImage("the header of the NPY file has no shape of whole numbers below 2^63")
    shown = str(shape)[:64]
    if len(shape) not in (_IMAGE, _STACK) or 0 in shape:
        raise UnsuitableImage(
            f"the NPY file holds an array of shape {shown}; one image (H, W) or a stack (N, H, W) is needed"
        )
    if len(shape) == _STACK and shape[-1] <= MAX_CHANNELS:
        raise UnsuitableImage(
            f"the NPY file holds an array of shape {shown}, whose last axis could be channels of one image as well as"
            " columns; send one image (H, W), or a stack (N, H, W) with more columns"
        )
    return shape
