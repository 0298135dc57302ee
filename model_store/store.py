"""ModelStore: list, resolve, publish, promote, remove.

    ref --parse_ref--> name, selector --labels--> number --folder, manifest--> ModelVersion
         InvalidRef                   UnknownModel       RefusedVersion

    staged folder --publish--> next number --promote--> label --remove_label, remove--> gone, its number never reused
                   RefusedVersion         UnknownModel                 StoreConflict

A store is two folders, one over the other: the published versions that ship with the project, read-only, and a
writable one, which holds all that is published, labelled and removed later. FORMAT.md draws what is inside.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from model_store.errors import RefusedVersion, StoreConflict, UnknownModel
from model_store.evidence import EVIDENCE_FILE, Evidence, read_evidence
from model_store.labels import (
    LABELS_FILE,
    LABELS_LOCK,
    STORE_FILE,
    Labels,
    StoreFile,
    fsync,
    lock,
    read_default,
    read_labels,
    write_whole,
)
from model_store.manifest import NAME_PATTERN, ManifestDraft
from model_store.publishing import ASIDE_PREFIX, Verifier, clean, stage, staging
from model_store.refs import VERSION_PATTERN, check_label, check_name, parse_ref
from model_store.verify import verify_in_fresh_process
from model_store.version import MANIFEST_FILE, SAVED_MODEL_FILE, ModelVersion, read_version

__all__ = ["PUBLISHED", "STABLE", "ModelStore", "ModelVersion"]

PUBLISHED = Path(__file__).parent / "published"
"""The versions that ship with the project; never written to by a running program."""

STABLE = "stable"
"""The label that a bare name means."""

CANARY = "canary"
"""The label that may get a share of the series whose senders name no version."""

NAMES_SHOWN = 20
"""How many names or numbers a message lists."""


class ModelStore:
    """The versions of a writable folder laid over the published ones.

    Reading needs no lock: versions and label files appear whole or not at all. Any number of threads and processes may
    use the same folders.
    """

    def __init__(self, writable: Path | None = None, published: Path | None = PUBLISHED) -> None:
        """A view of two folders, either of which may be absent; nothing is read or created yet."""
        self.writable = writable
        self.published = published
        self._layers = tuple(layer for layer in (writable, published) if layer is not None)

    def names(self) -> list[str]:
        """The names of all models that have a version, sorted.

        A model whose `labels.json` is damaged is listed too: whoever asks about it is told, and the others stay usable.
        """
        found: set[str] = set()
        for layer in self._layers:
            if layer.is_dir():
                found.update(child.name for child in layer.iterdir() if re.fullmatch(NAME_PATTERN, child.name))
        return sorted(name for name in found if self._has_versions(name))

    def versions(self, name: str) -> list[int]:
        """The numbers of all versions of a model, ascending; empty when there is none.

        Raises:
            InvalidRef: `name` is no model name.
            RefusedVersion: the model's `labels.json` is damaged.
        """
        removed = self._removed(name)
        return sorted({number for layer in self._layers for number in _numbers(layer / name)} - removed)

    def labels(self, name: str) -> dict[str, int]:
        """label -> version of a model: those that ship, changed by those of the writable folder.

        Raises:
            InvalidRef: `name` is no model name.
            RefusedVersion: the model's `labels.json` is damaged.
        """
        check_name(name)
        merged: dict[str, int | None] = {}
        for layer in reversed(self._layers):
            merged.update(read_labels(layer / name).labels)
        return {label: version for label, version in sorted(merged.items()) if version is not None}

    def canary_weight(self, name: str) -> float:
        """The share of series, 0 to 1, that a model's label `canary` gets; 0 where it has no such label.

        Raises:
            InvalidRef, RefusedVersion: as `labels`.
        """
        check_name(name)
        for layer in self._layers:
            own = read_labels(layer / name)
            if CANARY in own.labels:
                return own.canary_weight if own.labels[CANARY] is not None else 0.0
        return 0.0

    def default_ref(self) -> str:
        """The ref of the model used when nothing else is asked for, as in `ct-l2@stable`.

        Raises:
            UnknownModel: the store names none.
        """
        for layer in self._layers:
            ref = read_default(layer)
            if ref is not None:
                return ref
        raise UnknownModel("the store names no default model; name one with: clearslice models default REF")

    def evidence(self) -> Evidence | None:
        """How models scored under which noise, as the writable folder says, or else the published one; None if neither.

        Raises:
            RefusedVersion: the file is damaged.
        """
        for layer in self._layers:
            found = read_evidence(layer)
            if found is not None:
                return found
        return None

    def resolve(self, ref: str) -> ModelVersion:
        """The version that a ref means now: a bare name is label `stable`, or the highest version without that label.

        Raises:
            InvalidRef: `ref` is no model ref.
            UnknownModel: there is no such model, version or label; the message lists what there is.
            RefusedVersion: the version's manifest, or the label file, cannot be used.
        """
        parsed = parse_ref(ref)
        versions = self.versions(parsed.name)
        if not versions:
            raise UnknownModel(f"there is no model {parsed.name!r}; there is {_listed(self.names())}")
        if parsed.version is not None:
            return self._version(parsed.name, parsed.version, versions)
        labels = self.labels(parsed.name)
        label = parsed.label or STABLE
        if label in labels:
            return self._version(parsed.name, labels[label], versions)
        if parsed.label is None:
            return self._version(parsed.name, versions[-1], versions)
        raise UnknownModel(f"{parsed.name} has no label {label!r}; it has {_listed(labels)}")

    def publish(
        self, staged: Path, draft: ManifestDraft, *, verifier: Verifier = verify_in_fresh_process
    ) -> ModelVersion:
        """Makes the next version of model `draft.name` from an exporter's folder, which stays as it is.

        Args:
            staged: holds `saved_model.pb`, `variables/`, the golden sample and `README.md`, and no manifest.
            draft: what the exporter knows of the model.
            verifier: is given the finished folder before anyone can see it.

        Raises:
            RefusedVersion: the folder is incomplete, or the verifier refused it; nothing of it is left in the store.
            StoreConflict: the store cannot be written to.
        """
        with self._writing() as store, lock(store, _versions_lock(draft.name)):
            folder = store / draft.name
            number = self._next_number(draft.name)
            with staging(folder) as aside:
                stage(staged, draft, number, aside)
                verifier(aside)
                aside.rename(folder / str(number))
                fsync(folder)
                fsync(store)
        return self._version(draft.name, number, [number])

    def promote(self, name: str, label: str, version: int, *, weight: float | None = None) -> None:
        """Points a label at a version, in one step.

        Args:
            name, label, version: of what.
            weight: of the label `canary`, as `canary_weight`; None leaves it as it is.

        Raises:
            ValueError: a weight that is not 0 to 1, or of another label.
            InvalidRef: `name` or `label` breaks the grammar.
            UnknownModel: there is no such version.
            StoreConflict: the store cannot be written to.
        """
        check_name(name)
        check_label(label)
        if weight is not None and (label != CANARY or not 0 <= weight <= 1):
            raise ValueError(f"a weight is a number from 0 to 1 of the label {CANARY!r}, not {weight} of {label!r}")
        with self._changing_labels(name) as (folder, own):
            self._version(name, version, self.versions(name))
            changed = own
            if label == CANARY:
                kept = self.canary_weight(name) if weight is None else weight
                changed = own.model_copy(update={"canary_weight": kept})
            self._write(folder, changed, labels={**own.labels, label: version})

    def remove_label(self, name: str, label: str) -> None:
        """Takes a label away; one that ships with the project is hidden.

        Raises:
            InvalidRef: `name` or `label` breaks the grammar.
            UnknownModel: there is no such label.
            StoreConflict: the store cannot be written to.
        """
        check_label(label)
        with self._changing_labels(name) as (folder, own):
            present = self.labels(name)
            if label not in present:
                raise UnknownModel(f"{name} has no label {label!r}; it has {_listed(present)}")
            kept: dict[str, int | None] = {key: value for key, value in own.labels.items() if key != label}
            if self.published is not None and read_labels(self.published / name).labels.get(label) is not None:
                kept[label] = None
            changed = own.model_copy(update={"canary_weight": 0.0}) if label == CANARY else own
            self._write(folder, changed, labels=kept)

    def set_default(self, ref: str) -> None:
        """Names the model used when nothing else is asked for.

        Raises:
            InvalidRef, UnknownModel, RefusedVersion: as `resolve`.
            StoreConflict: the store cannot be written to.
        """
        with self._writing() as store, lock(store, LABELS_LOCK):
            self.resolve(ref)
            write_whole(store / STORE_FILE, StoreFile(default=ref))

    def set_evidence(self, evidence: Evidence) -> None:
        """Replaces what the writable folder knows; raises `StoreConflict` when it cannot be written to."""
        with self._writing() as store, lock(store, LABELS_LOCK):
            write_whole(store / EVIDENCE_FILE, evidence)

    def remove(self, name: str, version: int) -> None:
        """Removes a version from the writable folder; its number is never given again.

        Raises:
            InvalidRef: `name` breaks the grammar.
            UnknownModel: there is no such version.
            StoreConflict: it has a label, it is the default, it ships with the project, or the store cannot be
                written to.
        """
        check_name(name)
        with self._writing() as store, lock(store, _versions_lock(name)):
            doomed = store / name / f"{ASIDE_PREFIX}removed-{version}"
            with self._changing_labels(name) as (folder, own):
                # A damaged version may be removed too, so its manifest is not read.
                self._check_exists(name, version, self.versions(name))
                self._check_unused(name, version)
                if version not in _numbers(folder):
                    raise StoreConflict(f"{name}@{version} ships with the project, which is read-only")
                # The number first: a crash in between leaves an invisible folder, never a number that is free again.
                self._write(folder, own, removed=(*own.removed, version))
                (folder / str(version)).rename(doomed)
            shutil.rmtree(doomed)
            clean(folder)

    def _has_versions(self, name: str) -> bool:
        try:
            return bool(self.versions(name))
        except RefusedVersion:
            return any(_numbers(layer / name) for layer in self._layers)

    def _version(self, name: str, number: int, versions: list[int]) -> ModelVersion:
        """The version of that number, which must be among `versions`."""
        self._check_exists(name, number, versions)
        folders = [layer / name for layer in self._layers if number in _numbers(layer / name)]
        if not folders:  # it went in between
            raise UnknownModel(f"{name} has no version {number} any more")
        folder = folders[0]
        found = read_version(folder / str(number))
        if (found.name, found.version) != (name, number):
            raise RefusedVersion(
                f"the manifest of {name}@{number} says that it is {found.ref}; publish it, do not copy"
            )
        return found

    def _check_exists(self, name: str, number: int, versions: list[int]) -> None:
        if number not in versions:
            raise UnknownModel(f"{name} has no version {number}; it has {_listed(versions)}")

    def _check_unused(self, name: str, version: int) -> None:
        used = [label for label, target in self.labels(name).items() if target == version]
        if used:
            raise StoreConflict(f"{name}@{version} is {_listed(used)}; promote another version to that label first")
        with contextlib.suppress(UnknownModel, RefusedVersion):
            default = self.resolve(self.default_ref())
            if (default.name, default.version) == (name, version):
                raise StoreConflict(f"{name}@{version} is the default model; choose another default first")

    def _next_number(self, name: str) -> int:
        """One above all numbers that were ever given, and above all folders that look like one, complete or not."""
        taken = self._removed(name)
        for layer in self._layers:
            if (layer / name).is_dir():
                taken.update(
                    int(child.name) for child in (layer / name).iterdir() if re.fullmatch("[0-9]+", child.name)
                )
        return max(taken, default=0) + 1

    def _removed(self, name: str) -> set[int]:
        check_name(name)
        return {number for layer in self._layers for number in read_labels(layer / name).removed}

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Path]:
        """The writable folder, made if need be; what the system forbids becomes StoreConflict."""
        if self.writable is None:
            raise StoreConflict(
                "this store is read-only: name a folder to write to, with --store DIR or the variable CLEARSLICE_STORE"
            )
        try:
            self.writable.mkdir(parents=True, exist_ok=True)
            yield self.writable
        except OSError as error:
            raise StoreConflict(f"the store {self.writable} cannot be written to: {error.strerror}") from error

    @contextlib.contextmanager
    def _changing_labels(self, name: str) -> Iterator[tuple[Path, Labels]]:
        """The model's writable folder and its own labels, while no other writer changes labels."""
        check_name(name)
        with self._writing() as store, lock(store, LABELS_LOCK):
            yield store / name, read_labels(store / name)

    def _write(
        self,
        folder: Path,
        own: Labels,
        *,
        labels: dict[str, int | None] | None = None,
        removed: tuple[int, ...] | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        write_whole(
            folder / LABELS_FILE,
            Labels(
                labels=own.labels if labels is None else labels,
                removed=own.removed if removed is None else removed,
                canary_weight=own.canary_weight,
            ),
        )


def _numbers(model_folder: Path) -> set[int]:
    """The numbers of complete version folders: positive integers without leading zeros, with manifest and graph."""
    if not model_folder.is_dir():
        return set()
    return {
        int(child.name)
        for child in model_folder.iterdir()
        if re.fullmatch(VERSION_PATTERN, child.name)
        and (child / MANIFEST_FILE).is_file()
        and (child / SAVED_MODEL_FILE).is_file()
    }


def _versions_lock(name: str) -> str:
    return f"versions-{name}"


def _listed(what: Iterable[object]) -> str:
    """Names, labels or numbers for a message: the first `NAMES_SHOWN`, or "none"."""
    items = [str(item) for item in what]
    shown = ", ".join(items[:NAMES_SHOWN]) or "none"
    return f"{shown} and {len(items) - NAMES_SHOWN} more" if len(items) > NAMES_SHOWN else shown
