"""The part of a lock that is for this platform and Python: `python requirements/here.py requirements/cpu.txt`.

    universal lock --environment markers--> lock without them --> `make audit`'s SBOM

A universal lock names some packages twice, for different versions of Python; a bill of materials must not.
"""

# ruff: noqa: INP001 - a script beside the files that it reads

from __future__ import annotations

import re
import sys
from pathlib import Path

from packaging.requirements import Requirement


def here(lock: str) -> str:
    """Keeps the requirements, with their hashes, whose markers hold here."""
    entries = re.findall(r"^[A-Za-z0-9].*(?:\n +.*)*", lock, re.MULTILINE)
    kept = []
    for entry in entries:
        first, _, hashes = entry.partition("\n")
        requirement = Requirement(first.removesuffix("\\"))
        if requirement.marker is None or requirement.marker.evaluate():
            requirement.marker = None
            kept.append(f"{requirement} \\\n{hashes}\n")
    return "".join(kept)


if __name__ == "__main__":
    sys.stdout.write(here(Path(sys.argv[1]).read_text(encoding="utf-8")))
