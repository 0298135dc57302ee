"""The golden sample: an input and its answer, stored with a version, that every device must reproduce.

    golden.npz --read_golden--> GoldenSample --(replay)--> answer --deviation--> Deviation --check_*--> fine
               RefusedVersion                                                           RefusedVersion

It has an array for the image and one for every output of the version's signatures.

float32 is held to a bound on every pixel. Reduced precision is held to bounds on the root mean square, the 99.9th
percentile and the mean, all against the stored float32 answer. The bounds stand in the manifest, in the model's unit.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.errors import RefusedVersion
from model_store.manifest import Golden, Manifest

MAX_GOLDEN_BYTES = 64 * 1024 * 1024
"""A golden sample is one image and its answer, under 1 MB each at 512 x 512; more is not read into memory."""

TAIL_PERCENT = 99.9


@dataclass(frozen=True, eq=False)
class GoldenSample:
    """An input and its float32 answers, each (1, H, W, 1) float32, finite, in the model's unit.

    Attributes:
        image: the input.
        answers: output -> answer: `restored`, and what `with_uncertainty` gives beside it.
    """

    image: NDArray[np.float32]
    answers: dict[str, NDArray[np.float32]]

    @property
    def restored(self) -> NDArray[np.float32]:
        """The answer of the signatures that only restore."""
        return self.answers["restored"]


@dataclass(frozen=True)
class Deviation:
    """How an answer differs from the stored one, in the model's unit; NaN where the answer is not finite.

    Attributes:
        max_abs: the largest absolute difference.
        rms: the root mean square of the differences.
        p999: the 99.9th percentile of the absolute differences (linear interpolation).
        mean: the mean of answer - stored, with its sign.
        worst: (row, column) of the pixel with the largest absolute difference, or of the first that is not finite.
        answer, stored: the two values at that pixel.
    """

    max_abs: float
    rms: float
    p999: float
    mean: float
    worst: tuple[int, int]
    answer: float
    stored: float


def read_golden(path: Path, manifest: Manifest) -> GoldenSample:
    """The golden sample of the version in folder `path`.

    Raises:
        RefusedVersion: the file is missing, too large, no NPZ, or its arrays are not as `GoldenSample` says.
    """
    file, where = path / manifest.golden.file, f"{manifest.name}@{manifest.version}: {manifest.golden.file}"
    outputs = ("restored", *manifest.spread_outputs)
    try:
        if file.stat().st_size > MAX_GOLDEN_BYTES:
            raise RefusedVersion(f"{where} is larger than {MAX_GOLDEN_BYTES} bytes, which no golden sample is")
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            sample = GoldenSample(arrays["image"], {name: arrays[name] for name in outputs})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        named = " and ".join(repr(name) for name in ("image", *outputs))
        raise RefusedVersion(f"{where} does not hold the arrays {named}: {error}") from error
    for name, array in {"image": sample.image, **sample.answers}.items():
        if array.dtype != np.float32 or array.ndim != 4 or array.shape[0] != 1 or array.shape[3] != 1:  # noqa: PLR2004 - NHWC
            raise RefusedVersion(f"{where}: {name!r} is {array.shape} {array.dtype}, not (1, H, W, 1) float32")
        if array.size == 0 or not np.isfinite(array).all():
            raise RefusedVersion(f"{where}: {name!r} is empty or holds values that are not finite")
        if sample.image.shape != array.shape:
            raise RefusedVersion(f"{where}: 'image' is {sample.image.shape}, {name!r} {array.shape}")
    return sample


def deviation(answer: NDArray[np.floating[Any]], stored: NDArray[np.floating[Any]]) -> Deviation:
    """How `answer` differs from `stored`, both (1, H, W, 1) in the model's unit; computed in float64.

    Raises:
        ValueError: the shapes differ.
    """
    if answer.shape != stored.shape:
        raise ValueError(f"the answer has shape {answer.shape}, the stored one {stored.shape}")
    difference = answer.astype(np.float64) - stored.astype(np.float64)
    # An infinite answer would give percentiles that look finite; as NaN it fails every bound.
    difference[~np.isfinite(difference)] = np.nan
    size = np.abs(difference)
    worst = np.unravel_index(int(np.argmax(size)), size.shape)  # the first NaN, if there is one
    return Deviation(
        max_abs=float(size.max()),
        rms=float(np.sqrt(np.mean(difference**2))),
        p999=float(np.percentile(size, TAIL_PERCENT)),
        mean=float(difference.mean()),
        worst=(int(worst[1]), int(worst[2])),
        answer=float(answer[worst]),
        stored=float(stored[worst]),
    )


def check_float32(found: Deviation, golden: Golden, ref: str) -> None:
    """Raises RefusedVersion, naming the worst pixel, unless every pixel is within `golden.max_abs`."""
    _check(found, {"largest deviation": (found.max_abs, golden.max_abs)}, f"{ref} in float32")


def check_reduced(found: Deviation, golden: Golden, ref: str) -> None:
    """Raises RefusedVersion, naming the worst pixel, unless rms, 99.9th percentile and mean are within bounds."""
    bounds = {
        "root mean square deviation": (found.rms, golden.reduced_rms),
        "99.9th percentile of the deviation": (found.p999, golden.reduced_p999),
        "mean deviation": (abs(found.mean), golden.reduced_mean),
    }
    _check(found, bounds, f"{ref} in reduced precision")


def _check(found: Deviation, bounds: dict[str, tuple[float, float]], what: str) -> None:
    for measure, (value, allowed) in bounds.items():
        if not value <= allowed:  # so that NaN fails
            row, column = found.worst
            raise RefusedVersion(
                f"{what} does not reproduce its golden sample: {measure} {value:.4g}, allowed {allowed:.4g};"
                f" worst pixel row {row}, column {column}: {found.answer:.6g} instead of {found.stored:.6g}"
            )
