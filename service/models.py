"""Loaded model versions: leased per request, loaded once, swapped without a gap, the longest idle one evicted.

    ModelVersion --lease--> loaded? --yes--> Restorer, in use until the lease ends
                              |no
                              +--> loader thread: load, prove, warm every size --> Restorer
                                   RefusedVersion (remembered)    NotReady (still loading at the deadline)

All state is touched in the event loop only, so there are no locks. Loading happens on a thread of its own: a version
that loads never takes the device's or the codecs' turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import structlog

from imaging.image import AIR_HU, Unit
from model_store.errors import ModelStoreError, RefusedVersion
from model_store.refs import parse_ref
from model_store.restorer import Batch, Restorer, load_restorer
from model_store.store import ModelStore, ModelVersion
from service.errors import NoSuchOutput, NotReady
from service.settings import Settings, environment_name
from service.telemetry import Instruments, log_defect

Load = Callable[[ModelVersion], Restorer]

LOAD_RETRY_SECONDS = 5
"""After which a client should ask again for a version that is still loading."""


def load_by(settings: Settings) -> Load:
    """The loader that the settings describe: precision and device."""

    def load(version: ModelVersion) -> Restorer:
        if settings.device == "cpu":
            # Read by TensorFlow when it first looks for devices.
            os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        return load_restorer(version, precision=settings.precision)

    return load


def resolve_standing(store: ModelStore, ref: str, standing: Mapping[str, ModelVersion]) -> ModelVersion:
    """What a ref means now; where that is damaged (half copied, say), what it meant before.

    Args:
        store: to look into.
        ref: a model ref.
        standing: from `LoadedVersions.standing`.

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


def restores(restorer: Restorer, outputs: Sequence[str]) -> Callable[[Batch], Batch]:
    """(N, H, W, 1) -> (N, H, W, C) with a channel for each of `outputs`, which its version must give.

    Whatever the restorer's precision, more than `restored` is computed in float32.
    """
    if len(outputs) == 1:
        return restorer
    answer = restorer.with_uncertainty
    assert answer is not None  # noqa: S101 - the caller looked into the manifest, which the loader holds it to

    def restore(batch: Batch) -> Batch:
        answers = answer(batch)
        return np.concatenate([answers[name] for name in outputs], axis=-1)

    return restore


@dataclass(eq=False)
class _Entry:
    loading: asyncio.Future[Restorer]
    leases: int = 0
    idle_since: float = 0.0

    def restorer(self) -> Restorer | None:
        done = self.loading.done() and not self.loading.cancelled() and self.loading.exception() is None
        return self.loading.result() if done else None


class LoadedVersions:
    """The versions in memory.

    Args:
        load: from version to proven restorer; runs on the loader thread.
        warm_shapes: (N, H, W) of the batches to run before a version serves.
        max_loaded: how many versions may be in memory.
        instruments: where their number is shown.
    """

    def __init__(
        self, load: Load, *, warm_shapes: Sequence[tuple[int, int, int]], max_loaded: int, instruments: Instruments
    ) -> None:
        self._load = load
        self._warm_shapes = warm_shapes
        self._max_loaded = max_loaded
        self._instruments = instruments
        self._entries: dict[str, _Entry] = {}
        self._meant: dict[str, ModelVersion] = {}
        self._refused: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loader")

    @contextlib.asynccontextmanager
    async def lease(self, version: ModelVersion, *, deadline: float) -> AsyncIterator[Restorer]:
        """The restorer of a version, which stays loaded inside the context.

        Raises:
            RefusedVersion: its files, signatures or golden sample are wrong; asked again, it is not tried again.
            NotReady: it was still loading at the deadline (`time.monotonic()` seconds), or all places are in use.
        """
        entry = self._entry(version)
        entry.leases += 1
        try:
            yield await self._loaded(entry, version.ref, deadline)
        finally:
            entry.leases -= 1
            entry.idle_since = time.monotonic()

    def swap(self, ref: str, version: ModelVersion, outputs: Sequence[str]) -> ModelVersion:
        """The version to use for a ref: what it means now once that is in memory, and until then what it meant before.

        So nobody waits, or fails, when a label moves or a new version appears under a bare name: it is loaded beside.
        One that is refused is never taken; the log and `refused` say why.

        Args:
            ref: as asked for.
            version: what it means by the store.
            outputs: what it is to give.
        """
        before = self.standing().get(ref)
        if before is not None and before.ref != version.ref and version.ref not in self.loaded():
            with contextlib.suppress(RefusedVersion, NotReady):
                self._entry(version)
            alike = before.manifest.unit == version.manifest.unit
            gives = {"restored", *before.manifest.spread_outputs}
            if before.ref in self._entries and alike and gives.issuperset(outputs):
                return before
        self._meant[ref] = version
        return version

    def standing(self) -> dict[str, ModelVersion]:
        """Ref -> the version in memory that it last meant."""
        loaded = self.loaded()
        return {ref: version for ref, version in self._meant.items() if version.ref in loaded}

    def loaded(self) -> dict[str, Restorer]:
        """Ref -> restorer of every version that is in memory and ready."""
        found = {ref: entry.restorer() for ref, entry in self._entries.items()}
        return {ref: restorer for ref, restorer in found.items() if restorer is not None}

    def loading(self) -> set[str]:
        """Refs of the versions that are being loaded now."""
        return {ref for ref, entry in self._entries.items() if not entry.loading.done()}

    def refused(self) -> dict[str, str]:
        """Ref -> reason of every version that was tried and refused since the start."""
        return dict(self._refused)

    def unload(self, name: str, version: int | None = None) -> list[str]:
        """Forgets a version of a model, or all; one in use, or still loading, goes when its last request is done.

        Returns:
            The refs, perhaps none.
        """
        of_name = {ref: parse_ref(ref) for ref in self._entries if parse_ref(ref).name == name}
        refs = [ref for ref, parsed in of_name.items() if version in (None, parsed.version)]
        for ref in refs:
            del self._entries[ref]
            structlog.get_logger("clearslice").info("unloaded", model=ref)
        self._instruments.loaded.set(len(self.loaded()))
        return refs

    def close(self) -> None:
        """Starts no more loading."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _entry(self, version: ModelVersion) -> _Entry:
        ref = version.ref
        if ref in self._refused:
            raise RefusedVersion(f"{self._refused[ref]}; repair or replace the version, then restart the server")
        if ref not in self._entries:
            self._make_room()
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._thread, self._load_and_warm, version)
            self._entries[ref] = entry = _Entry(future)
            future.add_done_callback(lambda done: self._settle(ref, entry, done))
        return self._entries[ref]

    def _make_room(self) -> None:
        while len(self._entries) >= self._max_loaded:
            idle = {
                ref: entry.idle_since
                for ref, entry in self._entries.items()
                if entry.leases == 0 and entry.loading.done()
            }
            if not idle:
                raise NotReady(
                    f"all {self._max_loaded} places for loaded models are in use"
                    f" ({environment_name('max_loaded')}); try again later",
                    retry_after=LOAD_RETRY_SECONDS,
                )
            oldest = min(idle, key=lambda ref: idle[ref])
            del self._entries[oldest]
            structlog.get_logger("clearslice").info("evicted", model=oldest)

    def _settle(self, ref: str, entry: _Entry, done: asyncio.Future[Restorer]) -> None:
        error = None if done.cancelled() else done.exception()
        if (done.cancelled() or error is not None) and self._entries.get(ref) is entry:
            del self._entries[ref]
        if isinstance(error, RefusedVersion):
            self._refused[ref] = str(error)
            structlog.get_logger("clearslice").error("refused", model=ref, reason=str(error))
        elif error is not None:
            log_defect(error)
        self._instruments.loaded.set(len(self.loaded()))

    async def _loaded(self, entry: _Entry, ref: str, deadline: float) -> Restorer:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                # Shielded: this client's deadline must not stop the loading that others wait for.
                return await asyncio.shield(entry.loading)
        except TimeoutError:
            raise NotReady(
                f"model {ref} is still being loaded; try again later", retry_after=LOAD_RETRY_SECONDS
            ) from None

    def _load_and_warm(self, version: ModelVersion) -> Restorer:
        begin = time.monotonic()
        restorer = self._load(version)
        empty = AIR_HU if version.manifest.unit == "HU" else 0.0
        for count, height, width in self._warm_shapes:
            restorer(np.full((count, height, width, 1), empty, np.float32))
        structlog.get_logger("clearslice").info(
            "loaded",
            model=version.ref,
            precision=restorer.precision,
            device=restorer.device,
            seconds=round(time.monotonic() - begin, 3),
        )
        return restorer
