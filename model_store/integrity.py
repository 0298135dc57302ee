"""Are the files of a version exactly those that were published?

    folder --list_files--> names --hash_file--> compare with manifest.files --> fine, or RefusedVersion naming the file

Nothing is ignored: a hidden file, an empty folder or a symlink was not published, so it is refused. The manifest
cannot hold its own hash; it is the statement that all others are checked against.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from model_store.errors import RefusedVersion
from model_store.manifest import Manifest
from model_store.version import MANIFEST_FILE, SAVED_MODEL_FILE


def list_files(path: Path) -> list[str]:
    """The POSIX relative paths of all files below `path`, sorted.

    Raises:
        RefusedVersion: there is a symlink, a special file, or no folder at `path`.
    """
    return sorted(name for name, is_file in _entries(path) if is_file)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal.

    Raises:
        RefusedVersion: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RefusedVersion(f"the file {path.name!r} cannot be read: {error.strerror}") from error


def verify_files(path: Path, manifest: Manifest) -> None:
    """Checks that the folder `path` holds exactly the files of `manifest`, unchanged, beside the manifest itself.

    Raises:
        RefusedVersion: names the first file that is missing, unexpected, changed, or a symlink.
    """
    ref = f"{manifest.name}@{manifest.version}"
    for required in (SAVED_MODEL_FILE, manifest.golden.file):
        if required not in manifest.files:
            raise RefusedVersion(f"{ref}: the manifest lists no {required!r}, which every version has")
    entries = dict(_entries(path))
    files = {name for name, is_file in entries.items() if is_file} - {MANIFEST_FILE}
    for name in sorted(set(manifest.files) - files):
        raise RefusedVersion(f"{ref}: the file {name!r} is missing; copy the version again from where it was published")
    for name in sorted(files - set(manifest.files)):
        raise RefusedVersion(f"{ref}: the file {name!r} was not published with this version; remove it")
    for name in sorted(set(entries) - files - {MANIFEST_FILE}):
        if not any(file.startswith(f"{name}/") for file in files):
            raise RefusedVersion(f"{ref}: the empty folder {name!r} was not published with this version; remove it")
    for name, expected in sorted(manifest.files.items()):
        found = hash_file(path / name)
        if found != expected:
            raise RefusedVersion(
                f"{ref}: the file {name!r} was changed: SHA-256 {found[:12]}..., when published {expected[:12]}..."
            )


def _entries(folder: Path, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """(relative path, is it a file) of all entries below `folder`, without ever following a symlink."""
    if folder.is_symlink():
        raise RefusedVersion(f"the folder {folder.name!r} is a symlink; a version holds its own files")
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise RefusedVersion(f"the folder {folder.name!r} cannot be listed: {error.strerror}") from error
    for child in children:
        name = f"{prefix}{child.name}"
        if child.is_symlink():
            raise RefusedVersion(f"the file {name!r} is a symlink; a version holds its own files")
        if child.is_dir():
            yield name, False
            yield from _entries(child, f"{name}/")
        elif child.is_file():
            yield name, True
        else:
            raise RefusedVersion(f"{name!r} is neither a file nor a folder; a version holds only files")
