"""Datatypes of the Open Inference Protocol: bytes or JSON numbers <-> numpy, little-endian and row-major.

BF16 has no numpy type and no JSON form: its 16 bits are the upper half of a float32's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedInference

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{
        f"{sign}INT{bits}": np.dtype(f"<{code}{bits // 8}")
        for sign, code in (("U", "u"), ("", "i"))
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BF16, BYTES = "BF16", "BYTES"
_BF16_BYTES = 2


def item_bytes(datatype: str) -> int:
    """Bytes of one element.

    Raises:
        MalformedInference: no such datatype, or BYTES, of which no image is made.
    """
    if datatype == BF16:
        return _BF16_BYTES
    if datatype not in NUMPY:
        known = ", ".join([*NUMPY, BF16])
        what = "holds text or files, and a model takes numbers" if datatype == BYTES else "is none that is known"
        raise MalformedInference(f"datatype {datatype[:32]!r} {what}; it can be {known}")
    return NUMPY[datatype].itemsize


def from_bytes(data: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """The tensor that some bytes hold; an array of its own for BF16, else a view.

    Raises:
        MalformedInference: as `item_bytes`, or there are more or fewer bytes than the shape has elements.
    """
    expected = math.prod(shape) * item_bytes(datatype)
    if len(data) != expected:
        raise MalformedInference(
            f"input {name!r} has {len(data)} bytes, and {datatype} of the shape {list(shape)} has {expected}"
        )
    if datatype == BF16:
        halves = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return halves.view(np.float32).reshape(shape)
    return np.frombuffer(data, NUMPY[datatype]).reshape(shape)


def from_json(data: Any, datatype: str, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """The tensor that JSON numbers hold, flat or nested in the shape's own way.

    Raises:
        MalformedInference: as `item_bytes`; BF16, which has no JSON form; other things than numbers of that datatype,
            or more or fewer than the shape has.
    """
    if datatype == BF16:
        raise MalformedInference(f"input {name!r}: BF16 can only be sent as binary data")
    item_bytes(datatype)
    try:
        found = np.asarray(data)
        if datatype == "UINT64" and found.dtype.kind == "f":  # what numpy makes of integers on both sides of 2^63
            found = np.asarray(data, np.object_)
    except ValueError:  # nested in no shape
        found = np.asarray(None)
    if not _holds(NUMPY[datatype], found):
        raise MalformedInference(f"data of input {name!r} must be numbers of the datatype {datatype}")
    with np.errstate(over="ignore"):  # what becomes infinite is refused as an image
        tensor = found.astype(NUMPY[datatype])
    if tensor.shape not in (shape, (math.prod(shape),)):
        raise MalformedInference(
            f"data of input {name!r} has the shape {list(tensor.shape)}, and must be flat or have the stated one,"
            f" {list(shape)}"
        )
    return tensor.reshape(shape)


def to_bytes(tensor: NDArray[np.float32]) -> bytes:
    """FP32."""
    return tensor.astype("<f4", copy=False).tobytes()


def to_json(tensor: NDArray[np.float32]) -> Sequence[float]:
    """FP32, flat; finite numbers, since JSON has no others."""
    flat: list[float] = tensor.ravel().tolist()
    return flat


def _holds(wanted: np.dtype[Any], found: NDArray[Any]) -> bool:
    """Whether a datatype has all of these values; of floating ones it has any number, if rounded."""
    whole = found.dtype.kind == "O" and found.size > 0 and all(type(value) is int for value in found.flat)
    if found.dtype.kind not in "biuf" and not whole:
        return False
    if wanted.kind == "f" or not found.size:
        return True
    low, high = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
    return found.dtype.kind != "f" and int(found.min()) >= low and int(found.max()) <= high
