"""Publishing: how a version comes to exist, all of it or nothing.

    staged folder --copy--> <store>/<name>/.staging-x --hash--> manifest.json --fsync--> verifier (a fresh process)
                                                                                            |
                                      <store>/<name>/<number>  <--rename, once, last--------+

The caller holds the model's lock from the choice of the number to the rename. Whoever dies on the way leaves a
`.staging-*` folder that no reader sees; since nobody else can hold the lock, the next publish knows that it is stale.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from model_store.errors import RefusedVersion
from model_store.integrity import hash_file, list_files
from model_store.labels import LABELS_LOCK, fsync, lock
from model_store.manifest import Manifest, ManifestDraft
from model_store.version import CARD_FILE, MANIFEST_FILE, SAVED_MODEL_FILE, explain, read_version

ASIDE_PREFIX = ".staging-"
"""Not an integer, so neither we nor TensorFlow Serving take such a folder for a version."""

Verifier = Callable[[Path], None]
"""Raises RefusedVersion, with the reason, unless the finished version folder can be served."""


def stage(staged: Path, draft: ManifestDraft, number: int, aside: Path) -> None:
    """Copies the exporter's folder to `aside`, and writes the manifest of version `number` into it, on disk for good.

    Raises:
        RefusedVersion: `staged` lacks a file that every version has, holds a manifest or a symlink, or the draft
            cannot be written as JSON and read again.
    """
    names = list_files(staged)
    for required in (SAVED_MODEL_FILE, draft.golden.file, CARD_FILE):
        if required not in names:
            raise RefusedVersion(f"the staged folder has no {required!r}, which every version has; export it first")
    if MANIFEST_FILE in names:
        raise RefusedVersion(f"the staged folder already holds {MANIFEST_FILE!r}; publishing writes it")
    for name in names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(staged / name, aside / name)
    fields = {field: getattr(draft, field) for field in ManifestDraft.model_fields}
    try:
        manifest = Manifest(**fields, version=number, files={name: hash_file(aside / name) for name in names})
    except ValidationError as error:
        raise RefusedVersion(f"the staged folder and its draft make no manifest: {explain(error)}") from error
    (aside / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    read_version(aside)
    for path in (aside, *aside.rglob("*")):
        fsync(path)


@contextlib.contextmanager
def staging(model_folder: Path) -> Iterator[Path]:
    """An empty folder aside in the model's folder; what is left of it at the end is removed.

    Removes what killed publishes left, so the caller must hold the model's lock. A model's folder that was made here
    and stayed empty is removed too.
    """
    model_folder.mkdir(parents=True, exist_ok=True)
    clean(model_folder)
    aside = model_folder / f"{ASIDE_PREFIX}{secrets.token_hex(6)}"
    aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        # Under the lock of the labels, or a label could be on its way into the folder that goes.
        with lock(model_folder.parent, LABELS_LOCK), contextlib.suppress(OSError):  # not empty: versions or labels
            model_folder.rmdir()


def clean(model_folder: Path) -> None:
    """Removes folders that killed publishes and removals left; the caller must hold the model's lock."""
    for stale in model_folder.glob(f"{ASIDE_PREFIX}*"):
        shutil.rmtree(stale, ignore_errors=True)
