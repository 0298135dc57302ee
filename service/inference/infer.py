"""One inference: a request's tensor through a version, and the answer's body.

    body --unpack, parse, check--> Frames --engine.restore--> batches --check, render--> body
       MalformedInference UnsuitableImage    TooBusy DeadlinePassed         ModelFailed

What takes a moment is done where it is, because handing it to a codec thread would take longer: reading an image or two
of binary data, and sending them when no guard looks at them. All else is done by the codecs.

The tensor is images in the unit that the model's manifest names: (N, H, W, 1); (N, H, W) and (H, W) are taken for it.
Other datatypes than FP32 become float32; the answer is FP32 in the shape that came.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imaging.errors import UnsuitableImage
from imaging.frames import Frames
from imaging.hounsfield import check_reach
from imaging.image import Image, Rescale, Unit
from imaging.limits import FLOAT_BYTES, Limits, check_frames
from model_store.refs import echo
from model_store.store import ModelStore, ModelVersion
from service import pipeline
from service.api.uploads import BodyLimits, unpack
from service.device_work import Ran
from service.engine import Engine
from service.errors import MalformedInference
from service.inference.message import MAX_JSON_BYTES, NUMBER_BYTES, Body, InferRequest, WantedOutput, parse, render
from service.inference.statistics import Statistics
from service.meanings import no_such_output, resolve_standing
from service.settings import Settings

INPUT, RESTORED = "image", "restored"
"""Names of the tensors: those of the SavedModel's signature."""

BEYOND = (-1.0, 2.0)
"""What unclipped noise may make of relative images; models see no further."""

SHORT_BYTES, SHORT_JSON_BYTES, SHORT_IMAGES = 2 * 2**20, 4096, 4
"""Of a request, its JSON, and its images in float32, that take a moment to read: a fraction of a millisecond."""

_RELATIVE = f"floats from 0 (black) to 1 (white), with noise {BEYOND[0]:g} to {BEYOND[1]:g}"
_UNCHANGED = Rescale(1.0, 0.0)
_AXES = {2: (0, -1), 3: (-1,), 4: ()}
"""Number of dimensions -> axes to be added until it is (N, H, W, 1)."""


@dataclass(frozen=True, eq=False)
class Inferred:
    """What is answered.

    Attributes:
        body, headers: as `service.inference.message.render` gives them.
        version: what restored.
        precision, device: of the runs.
        warnings: of the guard.
        seconds: by step, as of a reconstruction.
        images: how many.
    """

    body: Body
    headers: dict[str, str]
    version: ModelVersion
    precision: str
    device: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    images: int


@dataclass(frozen=True, eq=False)
class _Asked:
    request: InferRequest
    version: ModelVersion
    frames: Frames
    shape: tuple[int, ...]
    outputs: tuple[WantedOutput, ...]


@dataclass(frozen=True, eq=False)
class Sent:
    """A request as it came.

    Attributes:
        ref: of the version.
        body: whole.
        encoding: its Content-Encoding.
        header: value of the header that says where its binary data begin, if there is one.
    """

    ref: str
    body: memoryview
    encoding: str
    header: str | None


async def infer(engine: Engine, sent: Sent, *, deadline: float, counts: Statistics) -> Inferred:
    """Answers one request.

    Args:
        engine: of the app.
        sent: the request.
        deadline: in `time.monotonic()` seconds; the request's own timeout may be earlier.
        counts: where it is counted, once it is understood.

    Raises:
        ImagingError, ModelStoreError, ServiceError: as the steps say.
    """
    begin = time.monotonic()
    asked = await _asked(engine, sent, deadline)
    given = (RESTORED, *asked.version.manifest.spread_outputs)
    if missing := [echo(output.name) for output in asked.outputs if output.name not in given]:
        raise await engine.codecs.run(deadline, no_such_output, engine.store, asked.version, missing)
    names = tuple(dict.fromkeys([RESTORED, *(output.name for output in asked.outputs)]))
    asked = replace(asked, version=engine.meanings.swap(sent.ref, asked.version, names))
    try:
        found = await _answered(engine, asked, names, begin, deadline)
    except Exception:
        counts.failed(asked.version.ref, time.monotonic() - begin)
        raise
    counts.answered(found.version.ref, found.images, found.seconds)
    return found


async def _answered(engine: Engine, asked: _Asked, names: tuple[str, ...], begin: float, deadline: float) -> Inferred:
    if asked.request.timeout is not None:
        deadline = min(deadline, begin + asked.request.timeout)
    decoded = time.monotonic()
    ran = await engine.restore(asked.version, asked.frames, names, deadline=deadline)
    rendering = time.monotonic()
    if _is_short_answer(asked):
        body, headers, warnings = _answer(asked, names, ran)
    else:
        body, headers, warnings = await engine.codecs.run(deadline, _answer, asked, names, ran)
    seconds = {
        "decode": decoded - begin,
        "queue": rendering - decoded - ran.infer_seconds,
        "infer": ran.infer_seconds,
        "encode": time.monotonic() - rendering,
    }
    engine.observe(asked.version.ref, "tensor", "tensor", seconds, warned=bool(warnings))
    return Inferred(body, headers, asked.version, ran.precision, ran.device, warnings, seconds, len(asked.frames))


async def _asked(engine: Engine, sent: Sent, deadline: float) -> _Asked:
    version = engine.store.resolved(sent.ref)
    if version is None or not _is_short(sent):
        standing = engine.meanings.standing()
        return await engine.codecs.run(deadline, _read, engine.store, engine.settings, sent, standing)
    request = _parsed(engine.settings, sent)
    if _is_quick(request.inputs[INPUT]):
        return _asked_of(version, engine.settings, request)
    return await engine.codecs.run(deadline, _asked_of, version, engine.settings, request)


def _is_short(sent: Sent) -> bool:
    header = sent.header or ""
    whole = header.isdecimal() and len(header) <= len(str(SHORT_JSON_BYTES)) and int(header) <= SHORT_JSON_BYTES
    return whole and len(sent.body) <= SHORT_BYTES and not sent.encoding


def _is_quick(tensor: NDArray[np.generic]) -> bool:
    """Whether its values are looked at in a moment: half floats, say, are not."""
    one = tensor.ndim == 2  # noqa: PLR2004 - (H, W)
    return tensor.dtype == np.float32 and (one or len(tensor) <= SHORT_IMAGES)


def _is_short_answer(asked: _Asked) -> bool:
    size = FLOAT_BYTES * math.prod(asked.shape) * len(asked.outputs)
    return asked.version.manifest.guard is None and size <= SHORT_BYTES and all(each.binary for each in asked.outputs)


def _read(store: ModelStore, settings: Settings, sent: Sent, standing: Mapping[str, ModelVersion]) -> _Asked:
    version = resolve_standing(store, sent.ref, standing)
    return _asked_of(version, settings, _parsed(settings, sent))


def _parsed(settings: Settings, sent: Sent) -> InferRequest:
    limits = BodyLimits(settings.max_upload_bytes, settings.upload_timeout)
    request = parse(unpack(sent.body, sent.encoding, limits), sent.header)
    if set(request.inputs) != {INPUT}:
        names = ", ".join(echo(name) for name in request.inputs)
        raise MalformedInference(f"a model has the one input {INPUT!r}, and the request has {names}")
    return request


def _asked_of(version: ModelVersion, settings: Settings, request: InferRequest) -> _Asked:
    tensor = request.inputs[INPUT]
    given = (RESTORED, *version.manifest.spread_outputs)
    outputs = request.outputs or tuple(WantedOutput(name, request.binary) for name in given)
    if len({output.name for output in outputs}) < len(outputs):
        raise MalformedInference("an output is asked for twice")
    text = NUMBER_BYTES * tensor.size * sum(not output.binary for output in outputs)
    if text > MAX_JSON_BYTES:
        raise MalformedInference(
            f"the answer would be some {text} bytes of JSON, and at most {MAX_JSON_BYTES} are written; ask for binary"
            " outputs, or for fewer"
        )
    return _Asked(request, version, _frames(tensor, version, settings.limits()), tensor.shape, outputs)


def _frames(tensor: NDArray[np.generic], version: ModelVersion, limits: Limits) -> Frames:
    if tensor.ndim not in _AXES:
        raise MalformedInference(f"input {INPUT!r} must be (N, H, W, 1), (N, H, W) or (H, W), not {list(tensor.shape)}")
    batch = np.expand_dims(tensor, _AXES[tensor.ndim])
    if batch.shape[3] != 1 or batch.size == 0:
        raise MalformedInference(f"input {INPUT!r} of the shape {list(tensor.shape)} holds no grayscale image")
    count, height, width, _ = batch.shape
    check_frames(count, height, width, itemsize=FLOAT_BYTES, limits=limits)
    unit = version.manifest.unit
    if unit == "relative" and batch.dtype.kind != "f":
        raise UnsuitableImage(
            f"relative images are {_RELATIVE}; the tensor holds {batch.dtype}: divide it by its white"
        )
    if batch.dtype != np.float32:  # which may not hold them
        _check_values(unit, float(batch.min()), float(batch.max()))
    with np.errstate(over="ignore"):  # what becomes infinite is refused by Image
        planes = np.require(batch, np.float32, "A")[..., 0]  # a view of the body, where it is aligned there
    images = tuple(Image(pixels=plane, unit=unit, stored=plane, rescale=_UNCHANGED, format="npy") for plane in planes)
    for image in images:
        _check_values(unit, *image.extent)
    return Frames(images)


def _check_values(unit: Unit, low: float, high: float) -> None:
    """Raises UnsuitableImage for numbers that images in the unit do not have; what is not finite is left to `Image`."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return
    if unit == "HU":
        check_reach(_UNCHANGED, low, high)
    elif low < BEYOND[0] or high > BEYOND[1]:
        raise UnsuitableImage(
            f"relative images are {_RELATIVE}; the tensor holds values from {low:.6g} to {high:.6g}: divide it by its"
            " white"
        )


def _answer(asked: _Asked, names: tuple[str, ...], ran: Ran) -> tuple[Body, dict[str, str], tuple[str, ...]]:
    version, frames = asked.version, asked.frames
    answers = [
        pipeline.checked_outputs(batch, image, version.ref, names)
        for batch, image in zip(ran.batches, frames, strict=True)
    ]
    warnings = pipeline.warnings_of(frames, [answer[RESTORED] for answer in answers], version)
    document = {
        "model_name": version.name,
        "model_version": str(version.version),
        **({"id": asked.request.id} if asked.request.id else {}),
        "parameters": {"precision": ran.precision, "device": ran.device, "warning": "; ".join(warnings)},
    }
    tensors = {
        output.name: _together([answer[output.name] for answer in answers]).reshape(asked.shape)
        for output in asked.outputs
    }
    body, headers = render(document, tensors, {output.name: output.binary for output in asked.outputs})
    return body, headers, warnings


def _together(images: Sequence[pipeline.Pixels]) -> pipeline.Pixels:
    return images[0] if len(images) == 1 else np.stack(images)
