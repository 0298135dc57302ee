"""Provenance: what a run was made of, so that it can be made again and a difference explained.

    prepared series --sha256--> data         \\
    git, importlib.metadata --> revision, versions --record--> RUN/provenance.json --differences--> words
    the machine --> processor, threads       /

Settings and seeds are in settings.json; this file has the rest. A run that is resumed under another revision or on
another machine gets an entry for each, with the epoch that it began with. Runs that are older than this file have none.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from training.data.pairs import PreparedSeries
from training.run_files import write_json

FILE = "provenance.json"

PACKAGES = ("clearslice", "keras", "numpy", "scipy", "scikit-image")
"""Beside the backend: all whose code decides about a pixel of the data or a digit of the weights."""

_DISTRIBUTIONS = {"tensorflow": ("tensorflow", "tensorflow-cpu")}
"""Backend -> the names under which it may be installed, where these are not its own."""


def revision() -> str:
    """The commit of the code, with `-dirty` when it differs; `unknown` outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    return answer.stdout.strip() or "unknown"


def versions() -> dict[str, str]:
    """Python's and those of `PACKAGES` and of Keras' backend, as installed."""
    backend = keras.backend.backend()
    found = {"python": platform.python_version(), **{package: installed_version(package) for package in PACKAGES}}
    for name in _DISTRIBUTIONS.get(backend, (backend,)):
        with contextlib.suppress(PackageNotFoundError):
            found[backend] = installed_version(name)
    return found


def machine() -> dict[str, Any]:
    """The processor, how many of its cores Keras' backend may use, and the device that computes."""
    found: dict[str, Any] = {"processor": processor(), "cores": len(os.sched_getaffinity(0))}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - Keras has loaded it; the laboratory runs without it too

        found["threads"] = [
            tf.config.threading.get_intra_op_parallelism_threads(),  # 0: as many as there are cores
            tf.config.threading.get_inter_op_parallelism_threads(),
        ]
        found["devices"] = [
            tf.config.experimental.get_device_details(device).get("device_name", device.device_type)
            for device in tf.config.list_physical_devices()
        ]
    return found


def processor() -> str:
    """Its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def make_deterministic() -> None:
    """From now on the same input gives the same bits, on one machine with one number of threads.

    TensorFlow's documented switch; it costs nothing measurable on processors (docs/training.md) and some speed on
    GPUs, where sums are otherwise added in the order in which they happen to be ready. JAX needs none on processors.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - as above

        tf.config.experimental.enable_op_determinism()


def data_hashes(series: Sequence[PreparedSeries]) -> list[dict[str, str]]:
    """`series`, and `sha256` of its pixels and of what their noise is made of.

    Cached unit noise is many times larger than the pixels and follows from them; the deviations that were divided out
    of it stand for it: noise that differs has others.
    """
    return [{"series": each.name, "sha256": _sha256(each)} for each in series]


def _sha256(series: PreparedSeries) -> str:
    noise = series.unit_noise
    arrays = [series.images, *((noise.quantum_sd, noise.electronic_sd) if noise else ())]
    digest = hashlib.sha256(json.dumps([series.unit, series.spacing, [each.shape for each in arrays]]).encode())
    for array in arrays:
        for part in array:  # memory-mapped: one slice at a time
            digest.update(np.ascontiguousarray(part, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def record(
    run: Path,
    data: Mapping[str, Sequence[PreparedSeries]],
    *,
    epoch: int,
    source: str | None = None,
) -> None:
    """Writes RUN/provenance.json, or adds an entry where code or machine differ from what it says.

    Args:
        run: an existing folder.
        data: role -> series.
        epoch: that is trained next, from 1.
        source: where the series were read from, for `clearslice reproduce`.
    """
    here = {"revision": revision(), "versions": versions(), "machine": machine(), "backend": keras.backend.backend()}
    known = read(run) or {"source": source, "data": {}, "trained": []}
    known["data"] = {role: data_hashes(series) for role, series in data.items()}
    last = known["trained"][-1] if known["trained"] else {}
    if any(last.get(key) != value for key, value in here.items()):
        now = dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat()
        known["trained"].append({"from_epoch": epoch, "started": now, **here})
    write_json(run / FILE, known)


def read(run: Path) -> dict[str, Any] | None:
    """What `record` wrote; None for runs older than it."""
    file = run / FILE
    return json.loads(file.read_text()) if file.is_file() else None


def differences(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    """What differs between two provenances, one line each: data, code, versions, machine."""
    lines = []
    for role in dict.fromkeys((*one["data"], *two["data"])):
        ours, theirs = ({each["series"]: each["sha256"] for each in of["data"].get(role, [])} for of in (one, two))
        lines += [f"{role} series {name}: only in one of them" for name in sorted(ours.keys() ^ theirs.keys())]
        shared = sorted(ours.keys() & theirs.keys())
        lines += [f"{role} series {name}: other pixels" for name in shared if ours[name] != theirs[name]]
    first, second = one["trained"], two["trained"]
    if len(first) > 1:
        lines.append(f"the run was trained in {len(first)} parts, under different code or on different machines")
    here, there = _flat(first[-1]), _flat(second[-1])
    for key in dict.fromkeys((*here, *there)):
        if here.get(key) != there.get(key):
            lines.append(f"{key}: {here.get(key, 'none')} then, {there.get(key, 'none')} now")
    if any(part["revision"].endswith("-dirty") or part["revision"] == "unknown" for part in (*first, *second)):
        lines.append("code that is in no commit: whether it is the same cannot be told")
    return lines


def _flat(part: Mapping[str, Any]) -> dict[str, str]:
    named = {key: part[key] for key in ("revision", "backend") if key in part}
    nested = {**part.get("versions", {}), **part.get("machine", {})}
    return {key: str(value) for key, value in {**named, **nested}.items()}
