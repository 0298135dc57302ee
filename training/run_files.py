"""Files of runs and studies: written aside, then renamed, so that a kill leaves a whole file or none."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from training.errors import IncompatibleRun


def write_json(file: Path, plain: Any) -> None:
    """Plain values into `file`, replacing it; makes its folder.

    Raises:
        ValueError: a number that JSON has no word for (NaN, infinity).
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(plain, indent=1, allow_nan=False) + "\n")


def json_like(plain: Any) -> Any:
    """As if written to JSON and read again: tuples become lists; NaN and infinity, which JSON has not, None."""
    if isinstance(plain, dict):
        return {key: json_like(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [json_like(value) for value in plain]
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def write_text(file: Path, text: str) -> None:
    """As `write_json`, of a text; its folder exists."""
    aside = file.with_name(f"{file.name}.aside")
    with aside.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)


def same_as_before(file: Path, asked: Any, what: str) -> None:
    """Keeps what a run was asked for, or compares it with what the file says.

    Args:
        file: of JSON in the run's folder; both are made when missing.
        asked: plain values.
        what: they are, for the message.

    Raises:
        IncompatibleRun: the file says something else.
    """
    if not file.exists():
        write_json(file, asked)
    elif json.loads(file.read_text()) != json.loads(json.dumps(asked)):
        raise IncompatibleRun(
            f"{file.parent} holds a run with other {what}; choose another folder with --run, or delete it"
        )
