"""ModelVersion: a version folder together with its manifest.

    folder --read_version--> ModelVersion --integrity, golden (restorer.py)--> Restorer
             RefusedVersion

    ModelVersion --read_card--> markdown
                  UnknownModel, RefusedVersion

Reading a version trusts nothing but the manifest's own form; its files are checked before they are loaded.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from model_store.errors import RefusedVersion, UnknownModel
from model_store.manifest import Manifest

MANIFEST_FILE = "manifest.json"
SAVED_MODEL_FILE = "saved_model.pb"
CARD_FILE = "README.md"
VARIABLES = "variables/"

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""Hundreds of training series fit in a tenth of it; more is damage or an attack on memory."""

MAX_CARD_BYTES = 1024 * 1024
"""Fifty times what a card has here."""


@dataclass(frozen=True)
class ModelVersion:
    """One version of one model.

    Attributes:
        name: the model's name, as in the manifest.
        version: its number, at least 1.
        path: the version folder.
        manifest: what the version says of itself.
    """

    name: str
    version: int
    path: Path
    manifest: Manifest

    @property
    def ref(self) -> str:
        """The ref that always means this version, as in `ct-l2@3`."""
        return f"{self.name}@{self.version}"

    @functools.cached_property
    def weights_sha256(self) -> str:
        """One SHA-256 for all weights: over a line `<hash>  <path>` per file below `variables/`, sorted by path."""
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.manifest.files.items()) if _is_weights(name)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _is_weights(name: str) -> bool:
    return name.startswith(VARIABLES)


def read_version(path: Path) -> ModelVersion:
    """The version whose folder is `path`, as its manifest names it (the folder's own name is not looked at).

    Raises:
        RefusedVersion: the manifest is missing, larger than `MAX_MANIFEST_BYTES`, or not a manifest.
    """
    where = f"{path.parent.name}/{path.name}/{MANIFEST_FILE}"
    try:
        with (path / MANIFEST_FILE).open("rb") as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise RefusedVersion(f"{where} cannot be read: {error.strerror}") from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise RefusedVersion(f"{where} is larger than {MAX_MANIFEST_BYTES} bytes, which no manifest is")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise RefusedVersion(f"{where} is not a manifest of this program: {explain(error)}") from error
    return ModelVersion(manifest.name, manifest.version, path, manifest)


def read_card(version: ModelVersion) -> str:
    """The model card of a version, markdown.

    Raises:
        UnknownModel: the version has none.
        RefusedVersion: it cannot be read, or is larger than `MAX_CARD_BYTES`.
    """
    path = version.path / CARD_FILE
    if path.is_symlink() or not path.is_file():
        raise UnknownModel(f"{version.ref} has no model card: there is no file {CARD_FILE} in it")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CARD_BYTES + 1)
    except OSError as error:
        raise RefusedVersion(f"{version.ref}: the file {CARD_FILE!r} cannot be read: {error.strerror}") from error
    if len(data) > MAX_CARD_BYTES:
        raise RefusedVersion(f"{version.ref}: the file {CARD_FILE!r} is larger than {MAX_CARD_BYTES} bytes")
    return data.decode("utf-8", errors="replace")


def explain(error: ValidationError) -> str:
    """The first problem of a validation error on one line, with the field's path and how many more there are."""
    first, *others = error.errors(include_url=False, include_input=False, include_context=False)
    field = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"{field}: {first['msg']}" + (f" (and {len(others)} more)" if others else "")
