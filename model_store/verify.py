"""The check that a version must pass before it exists: everything that serving will ask of it, in a fresh process.

    publish --verify_in_fresh_process--> python -m model_store.verify FOLDER --verify_version--> exit status, message
                  RefusedVersion

A fresh process has none of the exporter's Python objects, so it proves that the files alone are enough. It sees no
GPU: the exporter may hold all of its memory, and the CPU is the reference that the golden sample was made for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from model_store.errors import ModelStoreError, RefusedVersion
from model_store.golden import Deviation
from model_store.manifest import BFLOAT16, UNCERTAINTY
from model_store.restorer import Precision, load_restorer
from model_store.version import ModelVersion, read_version

TIMEOUT_S = 900
"""Importing TensorFlow takes seconds and a golden sample seconds more; a quarter of an hour means that it hangs."""

REFUSED_STATUS = 3
"""Exit status of a refusal; 1 and 2 are Python's own for a crash and for bad usage."""

REPORTED_CHARACTERS = 2000
"""The end of a crashed process's errors, where the cause is."""


def verify_version(version: ModelVersion) -> list[str]:
    """Checks hashes, signatures and the golden sample in every precision; one line per precision, and one per output
    of `with_uncertainty`, on how it went.

    Raises:
        RefusedVersion: the version must not be served.
    """
    precisions: list[Precision] = ["float32", "bfloat16"] if BFLOAT16 in version.manifest.signatures else ["float32"]
    lines = []
    for precision in precisions:
        restorer = load_restorer(version, precision=precision)
        lines.append(f"{precision} on {restorer.device}: {_told(restorer.deviation, version)}")
    if restorer.with_uncertainty:
        for name, found in restorer.with_uncertainty.deviations.items():
            lines.append(f"{UNCERTAINTY}, {name}, on {restorer.device}: {_told(found, version)}")
    return lines


def _told(found: Deviation, version: ModelVersion) -> str:
    return (
        f"largest deviation {found.max_abs:.3g} {version.manifest.unit},"
        f" root mean square {found.rms:.3g}, mean {found.mean:.3g}"
    )


def verify_in_fresh_process(path: Path) -> None:
    """Runs `verify_version` on the version folder `path` in a new interpreter.

    Raises:
        RefusedVersion: it was refused, with the reason; or the process crashed or hung, with the end of its errors.
    """
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    # -P: modules come from where this one came from, never from the folder that the user happens to stand in.
    command = [sys.executable, "-P", "-m", "model_store.verify", str(path)]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module, no shell
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RefusedVersion(f"verification in a fresh process did not end within {TIMEOUT_S} s") from error
    if done.returncode == REFUSED_STATUS:
        raise RefusedVersion(done.stdout.strip())
    if done.returncode != 0:
        reason = done.stderr.strip()[-REPORTED_CHARACTERS:]
        raise RefusedVersion(f"verification in a fresh process crashed with status {done.returncode}: {reason}")


def main(arguments: list[str]) -> int:
    """`python -m model_store.verify FOLDER`: status 0, or `REFUSED_STATUS` and the reason on standard output."""
    (folder,) = arguments
    try:
        lines = verify_version(read_version(Path(folder)))
    except ModelStoreError as error:
        sys.stdout.write(f"{error}\n")
        return REFUSED_STATUS
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
