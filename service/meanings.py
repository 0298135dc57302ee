"""What model refs mean to this server: what the store says, once that is in memory, and until then what it said before.

    ref --store--> version --(in memory?)--> it                              moved label, new version: loaded beside
                      |          |no, and another one stood for the ref
                      |          +---------------------------> that one      damaged or refused: that one stays
                      +--(a bare name, a canary with a weight, a series drawn)--> name@canary

So nobody waits, or fails, when a label moves. A series is drawn by a hash of its SeriesInstanceUID, so that all of its
slices go through one model, whenever and in which order they come.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence

import structlog

from imaging.frames import Frames
from imaging.image import Unit
from model_store.errors import ModelStoreError, RefusedVersion, UnknownModel
from model_store.refs import parse_ref
from model_store.store import CANARY, STABLE, ModelStore, ModelVersion
from service.errors import NoSuchOutput, NotReady
from service.models import LoadedVersions


class Meanings:
    """Refs and the versions that stand for them; used in the event loop only.

    Args:
        versions: in memory.
    """

    def __init__(self, versions: LoadedVersions) -> None:
        self._versions = versions
        self._meant: dict[str, ModelVersion] = {}

    def standing(self) -> dict[str, ModelVersion]:
        """Ref -> the version in memory that it last meant."""
        loaded = self._versions.loaded()
        return {ref: version for ref, version in self._meant.items() if version.ref in loaded}

    def swap(self, ref: str, version: ModelVersion, outputs: Sequence[str]) -> ModelVersion:
        """The version to use for a ref now.

        One that is refused is never taken; the log and `LoadedVersions.refused` say why.

        Args:
            ref: as asked for.
            version: what it means by the store.
            outputs: what it is to give.
        """
        before = self.standing().get(ref)
        if before is not None and before.ref != version.ref and version.ref not in self._versions.loaded():
            with contextlib.suppress(RefusedVersion, NotReady):
                self._versions.begin(version)
            alike = before.manifest.unit == version.manifest.unit
            gives = {"restored", *before.manifest.spread_outputs}
            if before.ref in self._versions.loaded() and alike and gives.issuperset(outputs):
                return before
        self._meant[ref] = version
        return version

    def follow(self, meant: Mapping[str, ModelVersion]) -> None:
        """Begins to load what refs mean by a store that has changed.

        Args:
            meant: from `meant_by`.
        """
        for ref, version in meant.items():
            self.swap(ref, version, ("restored",))


def meant_by(store: ModelStore, refs: Sequence[str]) -> tuple[dict[str, ModelVersion], set[str]]:
    """What refs mean by the store, and those that it has no more; damaged ones are in neither."""
    found, gone = {}, set()
    for ref in refs:
        try:
            found[ref] = store.resolve(ref)
        except UnknownModel:
            gone.add(ref)
        except ModelStoreError as error:
            structlog.get_logger("clearslice").error("refused", model=ref, reason=str(error))
    return found, gone


def resolve_standing(store: ModelStore, ref: str, standing: Mapping[str, ModelVersion]) -> ModelVersion:
    """What a ref means now; where that is damaged (half copied, say), what it meant before.

    Args:
        store: to look into.
        ref: a model ref.
        standing: from `Meanings.standing`.

    Raises:
        ModelStoreError: as `ModelStore.resolve`, and nothing stands.
    """
    try:
        return store.resolve(ref)
    except RefusedVersion as error:
        if ref not in standing:
            raise
        structlog.get_logger("clearslice").error("refused", model=ref, reason=str(error), instead=standing[ref].ref)
        return standing[ref]


def drawn_canary(store: ModelStore, asked: str | None, frames: Frames, stable: ModelVersion) -> ModelVersion | None:
    """The canary version of a model, where the images' series is one of those that it gets; else None.

    Args:
        store: to look into.
        asked: the ref as the client wrote it; a label or a number always means itself.
        frames: DICOM; other files belong to no series.
        stable: what the ref means otherwise.
    """
    source = frames.first.dataset
    if source is None or not _is_open(store, asked):
        return None
    name = stable.name
    with contextlib.suppress(ModelStoreError):  # of a damaged model what stands goes on
        if not draws(str(source.get("SeriesInstanceUID", "")), name, store.canary_weight(name)):
            return None
        canary = store.resolve(f"{name}@{CANARY}")
        same = canary.manifest.unit == stable.manifest.unit
        if same and set(stable.manifest.spread_outputs) <= set(canary.manifest.spread_outputs):
            return canary
    return None


def draws(series_uid: str, name: str, weight: float) -> bool:
    """Whether a series is among the share `weight`, 0 to 1, of them; a larger share holds all of a smaller one."""
    digest = hashlib.sha256(f"{name}\n{series_uid}".encode()).digest()
    return int.from_bytes(digest[:8]) < weight * 2**64


def _is_open(store: ModelStore, asked: str | None) -> bool:
    """Whether the client left it to the server which version of the model is used."""
    parsed = parse_ref(store.default_ref() if asked is None else asked)
    return parsed.version is None and parsed.label in ((None, STABLE) if asked is None else (None,))


def names_taking(store: ModelStore, unit: Unit) -> list[str]:
    """Names of the models whose present version takes images in a unit; unusable ones are left out."""
    found = []
    for name in store.names():
        with contextlib.suppress(ModelStoreError):
            if store.resolve(name).manifest.unit == unit:
                found.append(name)
    return found


def no_such_output(store: ModelStore, version: ModelVersion, missing: Sequence[str]) -> NoSuchOutput:
    """The error for a version that does not give some outputs; it names the models that do."""
    giving = []
    for name in store.names():
        with contextlib.suppress(ModelStoreError):
            if set(missing) <= set(store.resolve(name).manifest.spread_outputs):
                giving.append(name)
    instead = f"models that do: {', '.join(giving)}" if giving else "no model in the store does"
    return NoSuchOutput(f"{version.ref} does not give {' and '.join(missing)}; {instead}", models=tuple(giving))
