"""Labels, removed numbers and the default: the only files of a store that change.

    read_labels / read_default                            a reader sees the old file or the new one, never a part
    lock -> read -> change -> write aside, fsync, rename  writers take turns

`<store>/<name>/labels.json` and `<store>/store.json`; TensorFlow Serving reads neither.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from model_store.errors import RefusedVersion
from model_store.refs import LABEL_PATTERN
from model_store.version import explain

LABELS_FILE = "labels.json"
STORE_FILE = "store.json"
LOCKS_FOLDER = ".locks"
LABELS_LOCK = "labels"

MAX_BYTES = 1024 * 1024
"""Thousands of labels; more is damage."""

Number = Annotated[int, Field(ge=1)]
Label = Annotated[str, Field(pattern=f"^{LABEL_PATTERN}$")]


class Labels(BaseModel):
    """What `labels.json` holds.

    Attributes:
        labels: label -> version. `null` hides a label that ships with the project.
        removed: numbers that were used and removed; never given again, and never looked up.
        canary_weight: the share of series, 0 to 1, that the label `canary` gets of those that name no version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    labels: dict[Label, Number | None] = {}
    removed: tuple[Number, ...] = ()
    canary_weight: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0

    @model_serializer(mode="wrap")
    def _without_zero(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Programs that do not know of canaries refuse the field; so only who uses one writes it."""
        written: dict[str, Any] = write(self)
        if not self.canary_weight:
            del written["canary_weight"]
        return written


class StoreFile(BaseModel):
    """What `store.json` holds: the ref of the model used when a request names none."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_version: Literal[1] = 1
    default: str


Content = TypeVar("Content", bound=BaseModel)


def read_labels(model_folder: Path) -> Labels:
    """The labels in a model's folder; none when it has no `labels.json`.

    Raises:
        RefusedVersion: the file is there and damaged.
    """
    return read_whole(model_folder / LABELS_FILE, Labels) or Labels()


def read_default(store: Path) -> str | None:
    """The default ref that a store names, or None.

    Raises:
        RefusedVersion: the file is there and damaged.
    """
    found = read_whole(store / STORE_FILE, StoreFile)
    return None if found is None else found.default


def read_whole(path: Path, kind: type[Content]) -> Content | None:
    """What a file of a store holds, or None where there is none; raises `RefusedVersion` where it is damaged."""
    where = f"{path.parent.name}/{path.name}"
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RefusedVersion(f"{where} cannot be read: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise RefusedVersion(f"{where} is larger than {MAX_BYTES} bytes")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise RefusedVersion(f"{where} is damaged: {explain(error)}") from error


def write_whole(path: Path, content: BaseModel) -> None:
    """Replaces `path` by `content` in one step: after a crash the old file is there, or the new one."""
    aside = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    try:
        aside.write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
        fsync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Asks the disk to have a file's bytes, or a folder's entries, before anything that follows."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(store: Path, name: str) -> Iterator[None]:
    """Holds the store's lock `name` against all threads and processes; the system frees it when a process dies."""
    folder = store / LOCKS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
