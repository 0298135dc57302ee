"""WatchedStore: a model store that remembers what it read, until the folders change.

    resolve, names ... --remembered?--> answer           refresh() every second or so: what do the folders look like?
                             |no                            changed, and the same twice in a row --> all is forgotten
                             +--> ModelStore, from disk

Whoever serves asks the same for every request, and must not wait for a disk, which may be another machine's. Folders
are polled, because no notice of a change crosses a network file system. A copy that is still under way looks different
each time, so that nothing is taken before it is complete.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from model_store.evidence import Evidence
from model_store.refs import check_name
from model_store.store import PUBLISHED, ModelStore
from model_store.version import ModelVersion

T = TypeVar("T")

_DEPTH = 4
"""Store, model, version, files of the version, and variables: below that nothing belongs to a version."""

Look = dict[str, tuple[int, int, int]]
"""Path -> inode, size and time of change, of all that a store holds."""


class WatchedStore(ModelStore):
    """A store for one process that reads often. Writing through it is seen at once; errors are never remembered.

    Call `refresh` before reading, so that nothing that changes later is missed.
    """

    def __init__(self, writable: Path | None = None, published: Path | None = PUBLISHED) -> None:
        super().__init__(writable, published)
        self._known: dict[Hashable, Any] = {}
        self._last: Look | None = None
        self._there: set[Path] = set()
        self._settled = True
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._writers = 0

    def refresh(self) -> bool:
        """Looks at the folders; True where they have changed, and look the same as the last time.

        While a folder that was there is gone, a network's say, what is remembered stays; while the folders change,
        nothing more is remembered.
        """
        with self._looking:
            there = {layer for layer in self._layers if layer.is_dir()}
            if self._there - there:
                self._settled = False
                return False
            self._there = there
            look = {path: seen for layer in self._layers for path, seen in _look(layer)}
            before, self._last = self._last, look
            if before is None:  # what was read before the first look may be older than that
                self.forget()
                return False
            if look != before:
                self._settled = False
                return False
            changed, self._settled = not self._settled, True
            if changed:
                self.forget()
            return changed

    def forget(self) -> None:
        """Reads everything again when it is next asked for."""
        with self._lock:
            self._known = {}

    def names(self) -> list[str]:
        """As `ModelStore.names`."""
        return list(self._remembered(("names",), super().names))

    def versions(self, name: str) -> list[int]:
        """As `ModelStore.versions`."""
        read = super().versions
        return list(self._of_model("versions", name, read))

    def labels(self, name: str) -> dict[str, int]:
        """As `ModelStore.labels`."""
        read = super().labels
        return dict(self._of_model("labels", name, read))

    def canary_weight(self, name: str) -> float:
        """As `ModelStore.canary_weight`."""
        read = super().canary_weight
        return self._of_model("canary", name, read)

    def default_ref(self) -> str:
        """As `ModelStore.default_ref`."""
        return self._remembered(("default",), super().default_ref)

    def evidence(self) -> Evidence | None:
        """As `ModelStore.evidence`."""
        return self._remembered(("evidence",), super().evidence)

    def resolve(self, ref: str) -> ModelVersion:
        """As `ModelStore.resolve`."""
        read = super().resolve
        return self._remembered(("resolve", ref), lambda: read(ref))

    def resolved(self, ref: str) -> ModelVersion | None:
        """What `resolve` would return without a look at the folders; None where it has to look."""
        found: ModelVersion | None = self._known.get(("resolve", ref))
        return found

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Path]:
        """Whoever changes something reads, and lets read, what is there now."""
        self._change_writers(1)
        try:
            with super()._writing() as store:
                yield store
        finally:
            self._change_writers(-1)

    def _change_writers(self, by: int) -> None:
        with self._lock:
            self._writers += by
            self._known = {}

    def _of_model(self, what: str, name: str, read: Callable[[str], T]) -> T:
        """Nothing is remembered of names that are no model's: there is no end to what clients may ask for."""
        key = (what, check_name(name))
        known = key in self._known or any((layer / name).is_dir() for layer in self._layers)
        return self._remembered(key, lambda: read(name)) if known else read(name)

    def _remembered(self, what: Hashable, read: Callable[[], T]) -> T:
        known = self._known
        if what in known:
            found: T = known[what]
            return found
        found = read()
        with self._lock:
            # nothing was changed, or forgotten, while it was read
            if known is self._known and not self._writers and self._settled:
                known[what] = found
        return found


def _look(folder: Path, depth: int = _DEPTH) -> Iterator[tuple[str, tuple[int, int, int]]]:
    try:
        with os.scandir(folder) as children:
            for child in children:
                try:
                    seen = child.stat()
                except OSError:  # gone in between, or a link to nowhere
                    continue
                yield child.path, (seen.st_ino, seen.st_size, seen.st_mtime_ns)
                if depth and child.is_dir():
                    yield from _look(Path(child.path), depth - 1)
    except OSError:
        return  # gone, or not readable: that is how it looks
