"""load_restorer: from a version on disk to a function on pixels. The only module that loads TensorFlow, and lazily.

    ModelVersion --verify_files--> SavedModel --signatures--> golden sample --replay--> fastest precision --> Restorer
                  RefusedVersion             RefusedVersion               RefusedVersion

Nothing here keeps a model alive: drop the restorer, and its memory can go.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from model_store.errors import ModelStoreError, OutOfDeviceMemory, RefusedVersion
from model_store.golden import Deviation, GoldenSample, check_float32, check_reduced, deviation, read_golden
from model_store.integrity import verify_files
from model_store.manifest import BFLOAT16, FLOAT32, UNCERTAINTY, Manifest
from model_store.signatures import check_signatures
from model_store.timing import time_each
from model_store.version import ModelVersion

logger = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
Batch = NDArray[np.float32]

MemoryKind = Literal["current", "peak"]
KINDS_OF_MEMORY: Final[tuple[MemoryKind, ...]] = get_args(MemoryKind)
"""As TensorFlow names them."""

SIGNATURES: dict[Precision, str] = {"float32": FLOAT32, "bfloat16": BFLOAT16}


class UncertainRestorer(Protocol):
    """The signature `with_uncertainty` of a loaded version, in float32; safe to call from several threads at once.

    Attributes:
        outputs: what it gives: `restored`, and `sigma` or `lower` and `upper`.
        deviations: output -> deviation of this device's answer from the stored golden one.
    """

    @property
    def outputs(self) -> tuple[str, ...]: ...
    @property
    def deviations(self) -> dict[str, Deviation]: ...

    def __call__(self, batch: Batch) -> dict[str, Batch]:
        """Output -> (N, H, W, 1) float32 in the model's unit; `restored` is that of the float32 `Restorer`.

        Raises:
            ValueError: as `Restorer`.
        """
        ...


class Restorer(Protocol):
    """A loaded version, safe to call from several threads at once.

    Attributes:
        version: what was loaded.
        precision: in which it computes.
        device: where, `CPU:0` or `GPU:0`.
        timings: precision -> seconds for one 512 x 512 image on this device; empty when the precision was given.
        deviation: of this device's answer from the stored golden one.
        with_uncertainty: the signature that also says how sure it is, over the same weights; None if there is none.
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
    @property
    def with_uncertainty(self) -> UncertainRestorer | None: ...

    def __call__(self, batch: Batch) -> Batch:
        """The restored batch, (N, H, W, 1) float32 in the model's unit, of a degraded one of the same shape.

        Raises:
            ValueError: the batch is not (N, H, W, 1) float32, or is empty.
            OutOfDeviceMemory: the device cannot run so much at once.
        """
        ...


@dataclass(frozen=True, eq=False)
class _TensorFlowRestorer:
    version: ModelVersion
    precision: Precision
    device: str
    timings: dict[str, float]
    deviation: Deviation
    with_uncertainty: UncertainRestorer | None
    _restore: Callable[[Batch], Batch] = field(repr=False)

    def __call__(self, batch: Batch) -> Batch:
        _check_batch(batch)
        return self._restore(batch)


@dataclass(frozen=True, eq=False)
class _TensorFlowUncertainRestorer:
    outputs: tuple[str, ...]
    deviations: dict[str, Deviation]
    _answer: Callable[[Batch], dict[str, Batch]] = field(repr=False)

    def __call__(self, batch: Batch) -> dict[str, Batch]:
        _check_batch(batch)
        return self._answer(batch)


def _check_batch(batch: Any) -> None:
    if not isinstance(batch, np.ndarray) or batch.ndim != 4 or batch.dtype != np.float32 or batch.shape[3] != 1:  # noqa: PLR2004 - NHWC
        found = f"{batch.shape} {batch.dtype}" if isinstance(batch, np.ndarray) else type(batch).__name__
        raise ValueError(f"batch must be a numpy array (N, H, W, 1) float32, not {found}")
    if batch.size == 0:
        raise ValueError(f"batch has shape {batch.shape}, which holds no pixel")


def load_restorer(
    version: ModelVersion,
    *,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str | None = None,
    timings: Mapping[str, float] | None = None,
) -> Restorer:
    """Loads a version on a device, and proves it there before anyone uses it.

    Args:
        version: from `ModelStore.resolve`.
        precision: `auto` times both on one 512 x 512 image and keeps the faster that reproduces the golden sample.
        device: one of `available_devices`; None for the first: a GPU if TensorFlow sees one, else the CPU.
        timings: of the same weights on the same device, when they were loaded before: `auto` then measures no more.

    Raises:
        RefusedVersion: files, signatures or golden sample are not as the manifest says; or `bfloat16` was asked for
            and the version has no such signature; or TensorFlow computes it on another device.
        ModelStoreError: TensorFlow is not installed.
    """
    manifest = version.manifest
    verify_files(version.path, manifest)
    golden = read_golden(version.path, manifest)
    if precision == "bfloat16" and BFLOAT16 not in manifest.signatures:
        raise RefusedVersion(f"{version.ref} has no bfloat16 signature; load it in float32")
    device = available_devices()[0] if device is None else device
    functions, answer = _load(version, device)
    uncertain: UncertainRestorer | None = None
    if answer is not None:
        outputs = manifest.signatures[UNCERTAINTY].outputs
        uncertain = _TensorFlowUncertainRestorer(outputs, replay_uncertain(answer, golden, manifest), answer)

    def prove(candidate: Precision) -> Deviation:
        return replay(functions[SIGNATURES[candidate]], golden, manifest, candidate)

    if precision != "auto":
        restore = functions[SIGNATURES[precision]]
        return _TensorFlowRestorer(version, precision, device, {}, prove(precision), uncertain, restore)
    proven: dict[Precision, Deviation] = {"float32": prove("float32")}
    if BFLOAT16 in functions:
        try:
            proven["bfloat16"] = prove("bfloat16")
        except RefusedVersion as error:
            logger.warning("%s; serving it in float32", error)
    if timings is None or not proven.keys() <= timings.keys():
        timings = time_each({candidate: functions[SIGNATURES[candidate]] for candidate in proven}, device)
    times = dict(timings)
    fastest = min(proven, key=lambda candidate: times[candidate])
    restore = functions[SIGNATURES[fastest]]
    return _TensorFlowRestorer(version, fastest, device, times, proven[fastest], uncertain, restore)


def replay(
    restore: Callable[[Batch], Batch], golden: GoldenSample, manifest: Manifest, precision: Precision
) -> Deviation:
    """Runs the golden image and returns how the answer deviates.

    Raises:
        RefusedVersion: more than the manifest allows in this precision, or in another shape.
    """
    ref = f"{manifest.name}@{manifest.version}"
    found = _deviation(restore(golden.image), golden.restored, ref)
    check = check_float32 if precision == "float32" else check_reduced
    check(found, manifest.golden, ref)
    return found


def replay_uncertain(
    answer: Callable[[Batch], dict[str, Batch]], golden: GoldenSample, manifest: Manifest
) -> dict[str, Deviation]:
    """As `replay`, of every output of `with_uncertainty`, each within the bound of float32.

    Raises:
        RefusedVersion: an output deviates by more, or has another shape; the message names it.
    """
    ref = f"{manifest.name}@{manifest.version}"
    answers = answer(golden.image)
    found = {name: _deviation(answers[name], stored, f"{ref}: {name}") for name, stored in golden.answers.items()}
    for name, each in found.items():
        check_float32(each, manifest.golden, f"{ref}: {name} of {UNCERTAINTY}")
    return found


def _deviation(answer: Batch, stored: Batch, what: str) -> Deviation:
    if answer.shape != stored.shape:
        raise RefusedVersion(f"{what} answers the golden image {stored.shape} with shape {answer.shape}")
    return deviation(answer, stored)


def available_devices() -> tuple[str, ...]:
    """What models can run on, as in `GPU:0`: all GPUs that TensorFlow sees, then the CPU.

    Raises:
        ModelStoreError: TensorFlow is not installed.
    """
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Fails when this process already uses the GPU, in training say; then it is too late to choose.
        with contextlib.suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    if gpus:
        # TensorFloat-32 keeps 10 of 23 bits, so float32 would not be what the manifest's tolerance is about.
        tf.config.experimental.enable_tensor_float_32_execution(False)
    devices = [*tf.config.list_logical_devices("GPU"), *tf.config.list_logical_devices("CPU")]
    return tuple(device.name.removeprefix("/device:") for device in devices)


def memory_bytes(device: str, kind: MemoryKind) -> float:
    """What TensorFlow has given out of a device's memory, now or at most; NaN where it does not tell, as of a CPU."""
    tf = import_tensorflow()
    try:
        return float(tf.config.experimental.get_memory_info(device)[kind])
    except ValueError:
        return math.nan


def _load(
    version: ModelVersion, device: str
) -> tuple[dict[str, Callable[[Batch], Batch]], Callable[[Batch], dict[str, Batch]] | None]:
    """The signatures that only restore as functions on arrays; and `with_uncertainty`, if there is one."""
    tf = import_tensorflow()
    try:
        with tf.device(device):
            model = tf.saved_model.load(str(version.path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise RefusedVersion(f"TensorFlow cannot load {version.ref}: {error}") from error
    check_signatures(model.signatures, version.manifest)
    signatures = version.manifest.signatures

    # All go through `model`, so that the function keeps the variables alive: a signature alone does not.

    def run(name: str, batch: Batch) -> dict[str, Any]:
        try:
            with tf.device(device):
                answers: dict[str, Any] = model.signatures[name](image=tf.constant(batch))
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfDeviceMemory(f"{device} has not the memory to restore {batch.shape}") from error
        return answers

    def restorer_of(name: str) -> Callable[[Batch], Batch]:
        def restore(batch: Batch) -> Batch:
            answer: Batch = np.asarray(run(name, batch)["restored"])  # without a copy where the device is the CPU
            return answer

        return restore

    def answer_all(batch: Batch) -> dict[str, Batch]:
        answers = run(UNCERTAINTY, batch)
        return {name: np.asarray(answers[name]) for name in signatures[UNCERTAINTY].outputs}  # TensorFlow sorts them

    _check_placement(version, device, run)
    functions = {name: restorer_of(name) for name in (FLOAT32, BFLOAT16) if name in signatures}
    return functions, answer_all if UNCERTAINTY in signatures else None


def _check_placement(version: ModelVersion, device: str, run: Callable[[str, Batch], dict[str, Any]]) -> None:
    """TensorFlow computes elsewhere, and says nothing, where a device cannot do what is asked.

    Raises:
        RefusedVersion: it does.
    """
    side = version.manifest.size_multiple
    for name in version.manifest.signatures:
        for answer in run(name, np.zeros((1, side, side, 1), np.float32)).values():
            found = answer.device.rpartition("device:")[2]
            if found != device:
                raise RefusedVersion(f"{version.ref} was to run on {device}, and TensorFlow runs it on {found}")


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
