"""load_restorer: from a version on disk to a function on pixels. The only module that loads TensorFlow, and lazily.

    ModelVersion --verify_files--> SavedModel --signatures--> golden sample --replay--> fastest precision --> Restorer
                  RefusedVersion             RefusedVersion               RefusedVersion

Nothing here keeps a model alive: drop the restorer, and its memory can go.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from model_store.errors import ModelStoreError, RefusedVersion
from model_store.golden import Deviation, GoldenSample, check_float32, check_reduced, deviation, read_golden
from model_store.integrity import verify_files
from model_store.manifest import Manifest, Signature
from model_store.version import ModelVersion

logger = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
Batch = NDArray[np.float32]

FLOAT32 = "serving_default"
BFLOAT16 = "bfloat16"
SIGNATURES: dict[Precision, str] = {"float32": FLOAT32, "bfloat16": BFLOAT16}

TIMING_SIDE = 512
"""Pixels; the size of nearly every CT slice."""

TIMING_RUNS = 3
"""The fastest of these counts: other work on the machine can only add time."""

TIMING_BUDGET_S = 1.0
"""No further run once a precision has had this long: a slow model needs no average to be told apart."""

HOPELESS = 4.0
"""A first run this many times slower than the other precision's first ends the contest: bfloat16 without hardware."""


class Restorer(Protocol):
    """A loaded version, safe to call from several threads at once.

    Attributes:
        version: what was loaded.
        precision: in which it computes.
        device: where, `CPU:0` or `GPU:0`.
        timings: precision -> seconds for one 512 x 512 image on this device; empty when the precision was given.
        deviation: of this device's answer from the stored golden one.
    """

    @property
    def version(self) -> ModelVersion: ...
    @property
    def precision(self) -> Precision: ...
    @property
    def device(self) -> str: ...
    @property
    def timings(self) -> dict[str, float]: ...
    @property
    def deviation(self) -> Deviation: ...

    def __call__(self, batch: Batch) -> Batch:
        """The restored batch, (N, H, W, 1) float32 in the model's unit, of a degraded one of the same shape.

        Raises:
            ValueError: the batch is not (N, H, W, 1) float32, or is empty.
        """
        ...


@dataclass(frozen=True, eq=False)
class _TensorFlowRestorer:
    version: ModelVersion
    precision: Precision
    device: str
    timings: dict[str, float]
    deviation: Deviation
    _restore: Callable[[Batch], Batch] = field(repr=False)

    def __call__(self, batch: Batch) -> Batch:
        if not isinstance(batch, np.ndarray) or batch.ndim != 4 or batch.dtype != np.float32 or batch.shape[3] != 1:  # noqa: PLR2004 - NHWC
            found = f"{batch.shape} {batch.dtype}" if isinstance(batch, np.ndarray) else type(batch).__name__
            raise ValueError(f"batch must be a numpy array (N, H, W, 1) float32, not {found}")
        if batch.size == 0:
            raise ValueError(f"batch has shape {batch.shape}, which holds no pixel")
        return self._restore(batch)


def load_restorer(version: ModelVersion, *, precision: Literal["auto", "float32", "bfloat16"] = "auto") -> Restorer:
    """Loads a version on the GPU if TensorFlow sees one, else on the CPU, and proves it there before anyone uses it.

    Args:
        version: from `ModelStore.resolve`.
        precision: `auto` times both on one 512 x 512 image and keeps the faster that reproduces the golden sample.

    Raises:
        RefusedVersion: files, signatures or golden sample are not as the manifest says; or `bfloat16` was asked for
            and the version has no such signature.
        ModelStoreError: TensorFlow is not installed.
    """
    manifest = version.manifest
    verify_files(version.path, manifest)
    golden = read_golden(version.path, manifest)
    if precision == "bfloat16" and BFLOAT16 not in manifest.signatures:
        raise RefusedVersion(f"{version.ref} has no bfloat16 signature; load it in float32")
    device, functions = _load(version)

    def prove(candidate: Precision) -> Deviation:
        return replay(functions[SIGNATURES[candidate]], golden, manifest, candidate)

    if precision != "auto":
        return _TensorFlowRestorer(version, precision, device, {}, prove(precision), functions[SIGNATURES[precision]])
    proven: dict[Precision, Deviation] = {"float32": prove("float32")}
    if BFLOAT16 in functions:
        try:
            proven["bfloat16"] = prove("bfloat16")
        except RefusedVersion as error:
            logger.warning("%s; serving it in float32", error)
    timings = time_each({candidate: functions[SIGNATURES[candidate]] for candidate in proven})
    fastest = min(proven, key=lambda candidate: timings[candidate])
    return _TensorFlowRestorer(version, fastest, device, timings, proven[fastest], functions[SIGNATURES[fastest]])


def replay(
    restore: Callable[[Batch], Batch], golden: GoldenSample, manifest: Manifest, precision: Precision
) -> Deviation:
    """Runs the golden image and returns how the answer deviates.

    Raises:
        RefusedVersion: more than the manifest allows in this precision, or in another shape.
    """
    ref = f"{manifest.name}@{manifest.version}"
    answer = restore(golden.image)
    if answer.shape != golden.restored.shape:
        raise RefusedVersion(f"{ref} answers its golden image {golden.image.shape} with shape {answer.shape}")
    found = deviation(answer, golden.restored)
    check = check_float32 if precision == "float32" else check_reduced
    check(found, manifest.golden, ref)
    return found


def time_each(
    candidates: dict[Precision, Callable[[Batch], Batch]], clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Seconds per 512 x 512 image for each candidate: the fastest of a few runs after one to warm up."""
    image = np.zeros((1, TIMING_SIDE, TIMING_SIDE, 1), np.float32)
    timings: dict[str, float] = {}
    firsts: list[float] = []
    for name, restore in candidates.items():

        def run(restore: Callable[[Batch], Batch] = restore) -> float:
            start = clock()
            restore(image)
            return clock() - start

        firsts.append(run())  # warms up, so it is compared with nothing but the other's first
        if firsts[-1] > max(TIMING_BUDGET_S, HOPELESS * min(firsts)):
            timings[name] = firsts[-1]
            continue
        runs = [run()]
        while len(runs) < TIMING_RUNS and sum(runs) < TIMING_BUDGET_S:
            runs.append(run())
        timings[name] = min(runs)
    return timings


def _load(version: ModelVersion) -> tuple[str, dict[str, Callable[[Batch], Batch]]]:
    """The device, and the manifest's signatures that take `image` and give `restored`, as functions on arrays."""
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Fails when this process already uses the GPU, in training say; then it is too late to choose.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        # TensorFloat-32 keeps 10 of 23 bits, so float32 would not be what the manifest's tolerance is about.
        tf.config.experimental.enable_tensor_float_32_execution(False)
    device = "GPU:0" if gpus else "CPU:0"
    try:
        with tf.device(device):
            model = tf.saved_model.load(str(version.path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise RefusedVersion(f"TensorFlow cannot load {version.ref}: {error}") from error
    signatures = version.manifest.signatures
    if set(model.signatures) != set(signatures):
        raise RefusedVersion(
            f"{version.ref} has the signatures {sorted(model.signatures)}, its manifest says {sorted(signatures)}"
        )
    for name, signature in signatures.items():
        _check_signature(tf, model.signatures[name], signature, f"{version.ref}: signature {name!r}")
    for name in (FLOAT32, BFLOAT16):
        if name in signatures and (signatures[name].inputs, signatures[name].outputs) != (("image",), ("restored",)):
            raise RefusedVersion(f"{version.ref}: signature {name!r} must take 'image' and give 'restored' and no more")
    return device, {name: _function(tf, model, name, device) for name in (FLOAT32, BFLOAT16) if name in signatures}


def _function(tf: Any, model: Any, name: str, device: str) -> Callable[[Batch], Batch]:
    def restore(batch: Batch) -> Batch:
        # Through `model`, so that the function keeps the variables alive: a signature alone does not.
        with tf.device(device):
            answer: Batch = model.signatures[name](image=tf.constant(batch))["restored"].numpy()
        return answer

    return restore


def _check_signature(tf: Any, function: Any, signature: Signature, what: str) -> None:
    """Raises RefusedVersion unless names, dtypes and ranks are as the manifest and its `Signature` say."""
    for kind, expected, specs in (
        ("inputs", signature.inputs, function.structured_input_signature[1]),
        ("outputs", signature.outputs, function.structured_outputs),
    ):
        if set(specs) != set(expected):
            raise RefusedVersion(f"{what} has {kind} {sorted(specs)}, its manifest says {sorted(expected)}")
        for tensor, spec in specs.items():
            if spec.dtype != tf.float32:
                raise RefusedVersion(f"{what}: {tensor!r} is {spec.dtype.name}, not float32")
            shape = None if spec.shape.rank is None else tuple(spec.shape)
            if shape != (None, None, None, 1):
                raise RefusedVersion(f"{what}: {tensor!r} has shape {shape}, not (None, None, None, 1)")


def import_tensorflow() -> Any:
    """The module `tensorflow`, told to log errors only unless the user has set otherwise.

    Raises:
        ModelStoreError: it is not installed.
    """
    # 2: errors only. TensorFlow reads it once, while it is imported; a value that the user set stays.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow as tf  # noqa: PLC0415 - heavy, and absent where nothing is restored
    except ImportError as error:
        raise ModelStoreError(
            "TensorFlow is not installed: install clearslice with the extra 'cpu' or 'gpu', as in: pip install '.[cpu]'"
        ) from error
    return tf
