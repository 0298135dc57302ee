"""Messages of the Open Inference Protocol: JSON, and after it the binary tensors one after the other.

    Inference-Header-Content-Length: J   +---J bytes---+--input 0--+--input 1--+
                                         |    JSON     |   raw     |   raw     |
                                         +-------------+-----------+-----------+
    parse --> InferRequest    MalformedInference
    render(outputs) --> body, headers

Without that header the whole body is JSON. What Triton's client sends is taken as it sends it: it sets no Content-Type,
and asks for binary outputs by a request parameter when it names no output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.refs import echo
from service.errors import MalformedInference
from service.inference import datatypes

Body = list[bytes | memoryview]
"""Of an answer, in parts that are sent one after the other."""

LENGTH_HEADER = "Inference-Header-Content-Length"
BINARY_TYPE = "application/octet-stream"

MAX_JSON_BYTES = 16 * 2**20
"""Of a JSON part, a request's or an answer's: three images of 512 x 512 as text. Python needs ten times as much memory
to read it."""

NUMBER_BYTES = 20
"""Of a float32 as JSON writes it, at most and with its comma."""

_ALIGNMENT = 16
"""Of memory that is fetched for many bytes, in which these begin; numbers need no more than 8."""

MAX_DIMENSIONS, MAX_SIDE = 8, 2**31 - 1
_LONGEST_TIMEOUT = 1e12  # microseconds: eleven days
_DIGITS = re.compile(r"[0-9]{1,12}")
_REFUSED = ("shared_memory", "sequence_")
"""Beginnings of parameters that ask for what this server does not do, and that cannot be ignored."""


@dataclass(frozen=True)
class WantedOutput:
    """An output that was asked for by its name, and whether it shall come as binary data."""

    name: str
    binary: bool


@dataclass(frozen=True)
class InferRequest:
    """One request.

    Attributes:
        id: comes back.
        inputs: name -> tensor.
        outputs: what is wanted, in order; empty for all that the model has.
        binary: whether outputs that are not named come as binary data.
        timeout: seconds, or None.
    """

    id: str
    inputs: Mapping[str, NDArray[Any]] = field(repr=False)
    outputs: tuple[WantedOutput, ...]
    binary: bool
    timeout: float | None


def together(pieces: Sequence[bytes], header: str | None) -> memoryview:
    """The pieces of a body as one; where there are several, placed in memory so that the first tensor is aligned, and
    read where it is.

    Args:
        pieces: in order.
        header: value of `LENGTH_HEADER`, if there is one.
    """
    if len(pieces) == 1:
        return memoryview(pieces[0])
    length = int(header) if header is not None and _DIGITS.fullmatch(header.strip()) else 0
    ahead = bytes(-length % _ALIGNMENT)
    return memoryview(b"".join([ahead, *pieces]))[len(ahead) :]


def parse(body: bytes | memoryview, header: str | None) -> InferRequest:
    """Reads a request.

    Args:
        body: whole, decompressed.
        header: value of `LENGTH_HEADER`, if there is one.

    Raises:
        MalformedInference: what is wrong, in a sentence.
    """
    length = _json_length(header, len(body))
    message = _object(_loads(bytes(body[:length])), "the request")
    parameters = _parameters(message, "the request")
    inputs, rest = {}, memoryview(body)[length:]
    for entry in _list(message, "inputs", "the request"):
        name, tensor, rest = _input(_object(entry, "an input"), rest)
        if name in inputs:
            raise MalformedInference(f"input {echo(name)} comes twice")
        inputs[name] = tensor
    if len(rest):
        raise MalformedInference(f"{len(rest)} bytes follow the last input's binary data, and belong to none")
    binary = parameters.get("binary_data_output", False) is True
    outputs = [
        _output(_object(entry, "an output"), binary=binary)
        for entry in _list(message, "outputs", "the request", needed=False)
    ]
    return InferRequest(
        id=_text(message.get("id", ""), "id"),
        inputs=inputs,
        outputs=tuple(outputs),
        binary=binary,
        timeout=_seconds(parameters.get("timeout")),
    )


def render(
    document: dict[str, Any], tensors: Mapping[str, NDArray[np.float32]], binary: Mapping[str, bool]
) -> tuple[Body, dict[str, str]]:
    """The body of an answer and the headers that belong to it.

    Args:
        document: all but `outputs`.
        tensors: name -> output, finite.
        binary: name -> whether it comes as binary data.
    """
    outputs, parts = [], []
    for name, tensor in tensors.items():
        described: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(tensor.shape)}
        if binary[name]:
            parts.append(datatypes.to_bytes(tensor))
            outputs.append(_json({**described, "parameters": {"binary_data_size": parts[-1].nbytes}}))
        else:
            outputs.append(f'{_json(described)[:-1]},"data":{datatypes.to_json(tensor)}}}')
    text = f'{_json(document)[:-1]},"outputs":[{",".join(outputs)}]}}'.encode()
    if not parts:
        return [text], {"Content-Type": "application/json"}
    return [text, *parts], {"Content-Type": BINARY_TYPE, LENGTH_HEADER: str(len(text))}


def _json(document: Mapping[str, Any]) -> str:
    """Of a document that is not empty."""
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def _json_length(header: str | None, size: int) -> int:
    if header is None:
        length = size
    elif not _DIGITS.fullmatch(header.strip()):
        raise MalformedInference(f"the header {LENGTH_HEADER} must be a number of bytes")
    else:
        length = int(header)
    if size == 0:
        raise MalformedInference("the request has no body")
    if length == 0:
        raise MalformedInference(
            f"the header {LENGTH_HEADER} is 0, so that the body is one tensor alone; its shape cannot be known, since"
            " images may have any size. Send the JSON part with the shape"
        )
    if length > size:
        raise MalformedInference(f"the header {LENGTH_HEADER} says {length} bytes, and the body has {size}")
    if length > MAX_JSON_BYTES:
        raise MalformedInference(
            f"the JSON part has {length} bytes, and at most {MAX_JSON_BYTES} are read; send tensors as binary data"
        )
    return length


def _loads(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedInference("the request's JSON part cannot be read") from None


def _input(entry: Mapping[str, Any], rest: memoryview) -> tuple[str, NDArray[Any], memoryview]:
    name = _text(entry.get("name"), "the name of an input")
    datatype = _text(entry.get("datatype"), f"the datatype of input {echo(name)}")
    shape = _shape(entry.get("shape"), name)
    size = _parameters(entry, f"input {echo(name)}").get("binary_data_size")
    if size is None:
        if "data" not in entry:
            raise MalformedInference(f"input {echo(name)} has neither data nor the parameter binary_data_size")
        return name, datatypes.from_json(entry["data"], datatype, shape, name), rest
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
        raise MalformedInference(
            f"binary_data_size of input {echo(name)} must be a number of bytes, at most the {len(rest)} that are left"
        )
    return name, datatypes.from_bytes(rest[:size], datatype, shape, name), rest[size:]


def _output(entry: Mapping[str, Any], *, binary: bool) -> WantedOutput:
    name = _text(entry.get("name"), "the name of an output")
    parameters = _parameters(entry, f"output {echo(name)}")
    if parameters.get("classification"):
        raise MalformedInference(f"output {echo(name)} is an image, and has no classification")
    return WantedOutput(name, parameters.get("binary_data", binary) is True)


def _shape(value: Any, name: str) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(isinstance(side, int) and not isinstance(side, bool) for side in value)
    if not whole or not 0 < len(value) <= MAX_DIMENSIONS or min(value) < 1 or max(value) > MAX_SIDE:
        raise MalformedInference(f"the shape of input {echo(name)} must be 1 to {MAX_DIMENSIONS} whole numbers above 0")
    return tuple(value)


def _parameters(entry: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    found = _object(entry.get("parameters", {}), f"parameters of {what}")
    for name in found:
        if name.startswith(_REFUSED):
            raise MalformedInference(
                f"{what} has the parameter {echo(name)}; this server has no shared memory and no sequences"
            )
    return found


def _seconds(microseconds: Any) -> float | None:
    if microseconds is None:
        return None
    known = isinstance(microseconds, int | float) and not isinstance(microseconds, bool)
    if not known or not 0 < microseconds <= _LONGEST_TIMEOUT:
        raise MalformedInference("the parameter timeout must be a positive number of microseconds")
    return float(microseconds) / 1e6


def _list(entry: Mapping[str, Any], name: str, what: str, *, needed: bool = True) -> list[Any]:
    found = entry.get(name, [])
    if not isinstance(found, list) or (needed and not found):
        raise MalformedInference(f"{name} of {what} must be a list" + (" that is not empty" if needed else ""))
    return found


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedInference(f"{what} must be a JSON object")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise MalformedInference(f"{what} must be text")
    return value
