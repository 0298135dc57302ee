"""Datatypes of the Open Inference Protocol: bytes or JSON numbers <-> numpy, little-endian and row-major.

BF16 has no numpy type and no JSON form: its 16 bits are the upper half of a float32's.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.refs import echo
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
_NUMBERS = frozenset({int, float, bool})
_PIECE = 10_000
"""Numbers that are written at once: some 10 ms."""


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
        raise MalformedInference(f"datatype {echo(datatype)} {what}; it can be {known}")
    return NUMPY[datatype].itemsize


def from_bytes(data: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """The tensor that some bytes hold; an array of its own for BF16, else a view.

    Raises:
        MalformedInference: as `item_bytes`, or there are more or fewer bytes than the shape has elements.
    """
    expected = math.prod(shape) * item_bytes(datatype)
    if len(data) != expected:
        raise MalformedInference(
            f"input {echo(name)} has {len(data)} bytes, and {datatype} of the shape {list(shape)} has {expected}"
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
        raise MalformedInference(f"input {echo(name)}: BF16 can only be sent as binary data")
    item_bytes(datatype)
    # as objects: of text numpy would make an array whose every element is as long as the longest
    found = np.asarray(data, np.object_)
    wrong = MalformedInference(f"data of input {echo(name)} must be numbers of the datatype {datatype}")
    if not all(type(value) in _NUMBERS for value in found.flat):
        raise wrong
    if found.shape not in (shape, (math.prod(shape),)):
        raise MalformedInference(
            f"data of input {echo(name)} has the shape {list(found.shape)}, and must be flat or have the stated one,"
            f" {list(shape)}"
        )
    wanted = NUMPY[datatype]
    if wanted.kind != "f" and not _holds(wanted, found):
        raise wrong
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is refused as an image
            return found.astype(np.float64 if wanted.kind == "f" else wanted).astype(wanted).reshape(shape)
    except OverflowError:  # an integer beyond what floats hold
        raise wrong from None


def to_bytes(tensor: NDArray[np.float32]) -> memoryview:
    """FP32, row-major; the tensor's own memory where that is so already."""
    return np.ascontiguousarray(tensor, "<f4").data.cast("B")


def to_json(tensor: NDArray[np.float32]) -> str:
    """FP32 as a flat JSON list; finite numbers, since JSON has no others.

    Piece by piece, because the encoder lets no other thread run until it is done.
    """
    flat = tensor.ravel()
    pieces = (flat[begin : begin + _PIECE].tolist() for begin in range(0, flat.size, _PIECE))
    return "[" + ",".join(json.dumps(piece, allow_nan=False, separators=(",", ":"))[1:-1] for piece in pieces) + "]"


def _holds(wanted: np.dtype[Any], found: NDArray[Any]) -> bool:
    """Whether an integer datatype, or BOOL, has all of these numbers."""
    low, high = (0, 1) if wanted.kind == "b" else (int(np.iinfo(wanted).min), int(np.iinfo(wanted).max))
    return all(type(value) is not float and low <= value <= high for value in found.flat)
