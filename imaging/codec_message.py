"""Calls and results between this process and its codec workers, without pickle.

    values --send--> length, JSON header, raw bytes of each array --receive--> values
                                                                   MalformedMessage EOFError TimeoutError

Whoever parsed hostile bytes may be under their control, so nothing that comes from a worker is executed, unpickled or
believed: sizes and types are checked before memory is taken.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Value = bool | int | float | str | bytes | NDArray[Any] | None
"""What an argument or a result may be; arrays have real numbers or bool, at most `MAX_DIMENSIONS` dimensions."""

MAX_HEADER_BYTES = 1 << 16
"""A header has a name, a few numbers and the shapes of a few arrays."""

MAX_DIMENSIONS = 4
_DTYPE = re.compile(r"[<>|]?[biuf][1248]")
_LENGTH = struct.Struct("<I")
_CHUNK = 1 << 20


class MalformedMessage(Exception):
    """The other side does not speak as it should."""


def send(connection: socket.socket, head: dict[str, Any], values: Sequence[Value] = ()) -> None:
    """Writes one message.

    Args:
        connection: a stream socket; its timeout is that of each part.
        head: plain values, for the receiver's eyes.
        values: arguments or results.

    Raises:
        TypeError: a value that is none of `Value`.
        ValueError: a header of more than `MAX_HEADER_BYTES`.
        OSError: the other side is gone; TimeoutError, it does not read.
    """
    described: list[Any] = []
    buffers: list[memoryview] = []
    for value in values:
        if isinstance(value, bytes):
            described.append({"bytes": len(value)})
            buffers.append(memoryview(value))
        elif isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value).reshape(value.shape)
            if not _DTYPE.fullmatch(array.dtype.str) or array.ndim > MAX_DIMENSIONS:
                raise TypeError(f"an array of {array.dtype} with {array.ndim} dimensions cannot be sent")
            described.append({"array": [array.dtype.str, list(array.shape)]})
            buffers.append(array.reshape(-1).view(np.uint8).data)
        elif value is None or isinstance(value, (bool, int, float, str)):
            described.append({"plain": value})
        else:
            raise TypeError(f"a value of type {type(value).__name__} cannot be sent")
    header = json.dumps({**head, "values": described}).encode()
    if len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {len(header)} bytes is larger than {MAX_HEADER_BYTES}")
    connection.sendall(_LENGTH.pack(len(header)) + header)
    for buffer in buffers:
        connection.sendall(buffer)


def receive(
    connection: socket.socket, *, max_bytes: int, deadline: float | None = None
) -> tuple[dict[str, Any], list[Value]]:
    """Reads one message.

    Args:
        connection: a stream socket.
        max_bytes: of all arrays and bytes together.
        deadline: of the whole message, `time.monotonic()` seconds; None waits for ever.

    Returns:
        Head and values; arrays own their memory.

    Raises:
        EOFError: the other side is gone.
        TimeoutError: the deadline passed.
        MalformedMessage: no header, unknown types, or more than `max_bytes`.
    """
    (size,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size, deadline))
    if size > MAX_HEADER_BYTES:
        raise MalformedMessage(f"a header of {size} bytes")
    try:
        head = json.loads(bytes(_exactly(connection, size, deadline)))
        described = head.pop("values")
        planned = [_planned(item) for item in described]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MalformedMessage(f"a header that cannot be read ({type(error).__name__})") from None
    total = sum(count for count, _, _ in planned)
    if total > max_bytes:
        raise MalformedMessage(f"{total} bytes where {max_bytes} are allowed")
    values: list[Value] = []
    for item, (count, dtype, shape) in zip(described, planned, strict=True):
        if "plain" in item:
            values.append(item["plain"])
            continue
        data = _exactly(connection, count, deadline)
        values.append(bytes(data) if dtype is None else np.frombuffer(data, dtype).reshape(shape))
    return head, values


def _planned(item: dict[str, Any]) -> tuple[int, np.dtype[Any] | None, tuple[int, ...]]:
    """(bytes that follow, dtype or None for bytes, shape) of one value; raises ValueError or TypeError."""
    if "plain" in item:
        if not (item["plain"] is None or isinstance(item["plain"], (bool, int, float, str))):
            raise TypeError("no plain value")
        return 0, None, ()
    if "bytes" in item:
        return _size(item["bytes"]), None, ()
    name, shape = item["array"]
    if not _DTYPE.fullmatch(name) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("an array of another type")
    dtype = np.dtype(name)
    sizes = tuple(_size(length) for length in shape)
    return math.prod(sizes) * dtype.itemsize, dtype, sizes


def _size(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError("no size")
    return number


def _exactly(connection: socket.socket, count: int, deadline: float | None) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    done = 0
    while done < count:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
        got = connection.recv_into(view[done : done + _CHUNK])
        if not got:
            raise EOFError
        done += got
    return data
