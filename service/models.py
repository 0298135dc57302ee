"""Loaded model versions: leased per request, loaded once, swapped without a gap, the longest idle one evicted.

    ModelVersion --lease--> loaded? --yes--> Replicas, in use until the lease ends
                              |no
                              +--> loader thread: on each device load, prove, warm every size --> Replicas
                                   RefusedVersion (remembered)    NotReady (still loading at the deadline)

All state is touched in the event loop only, so there are no locks. Loading happens on a thread of its own: a version
that loads never takes the device's or the codecs' turn, and yields to the others beside requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from model_store.errors import RefusedVersion
from model_store.refs import parse_ref
from model_store.restorer import KINDS_OF_MEMORY, Restorer, memory_bytes
from model_store.store import ModelVersion
from service.errors import NotReady
from service.memory import give_back, hand_over, resident_bytes
from service.replicas import Replicas
from service.settings import environment_name
from service.telemetry import Instruments, log_defect
from service.turns import until
from service.warming import warm, warm_again

Load = Callable[[ModelVersion], Sequence[Restorer]]
"""From a version to proven restorers, each on another device."""

LOAD_RETRY_SECONDS = 5
"""After which a client should ask again for a version that is still loading."""

NICENESS = 5
"""Of the loader's thread beside requests, above the process's: where there is not enough for both it gets a third of
what theirs get. Most of a load is its work, on one core, and a run on all cores waits for the slowest; proofs and warm
runs are TensorFlow's threads' work, like any. No more than 5: who loads holds Python's lock, and a request waits for it
(at 10 the slowest became slower again)."""


@dataclass(eq=False)
class _Entry:
    loading: asyncio.Future[Replicas]
    leases: int = 0
    idle_since: float = 0.0

    def loaded(self) -> Replicas | None:
        done = self.loading.done() and not self.loading.cancelled() and self.loading.exception() is None
        return self.loading.result() if done else None


class LoadedVersions:
    """The versions in memory.

    Args:
        load: from version to proven restorers; runs on the loader thread.
        warm_shapes: (N, H, W) of the batches to run before a version serves.
        max_loaded: how many versions may be in memory.
        memory_budget: bytes that this process may use before idle versions make room, or None.
        instruments: where their number is shown.
    """

    def __init__(
        self,
        load: Load,
        *,
        warm_shapes: Sequence[tuple[int, int, int]],
        max_loaded: int,
        memory_budget: int | None,
        instruments: Instruments,
    ) -> None:
        self._load = load
        self._warm_shapes = warm_shapes
        self._paying: dict[tuple[str, str, str], int | None] = {}  # by weights, device and precision
        self._max_loaded = max_loaded
        self._memory_budget = memory_budget
        self._instruments = instruments
        self._entries: dict[str, _Entry] = {}
        self._refused: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loader")

    @contextlib.asynccontextmanager
    async def lease(self, version: ModelVersion, *, deadline: float) -> AsyncIterator[Replicas]:
        """A version that stays loaded inside the context.

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

    def begin(self, version: ModelVersion) -> None:
        """Begins to load a version, for when it is leased.

        Raises:
            RefusedVersion: it was tried and refused.
            NotReady: all places are in use.
        """
        self._entry(version)

    def loaded(self) -> dict[str, Replicas]:
        """Ref -> every version that is in memory and ready."""
        found = {ref: entry.loaded() for ref, entry in self._entries.items()}
        return {ref: replicas for ref, replicas in found.items() if replicas is not None}

    def loading(self) -> set[str]:
        """Refs of the versions that are being loaded now."""
        return {ref for ref, entry in self._entries.items() if not entry.loading.done()}

    def refused(self) -> dict[str, str]:
        """Ref -> reason of every version that was tried and refused since the store last changed."""
        return dict(self._refused)

    def forgive(self) -> None:
        """Lets every refused version be tried again, because the store has changed."""
        self._refused.clear()
        self._instruments.refused.set(0)

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
        if refs:
            self._give_back()
        self._instruments.loaded.set(len(self.loaded()))
        return refs

    def close(self) -> None:
        """Starts no more loading."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _entry(self, version: ModelVersion) -> _Entry:
        ref = version.ref
        if ref in self._refused:
            raise RefusedVersion(f"{self._refused[ref]}; repair or replace the version, and it is tried again")
        if ref not in self._entries:
            self._make_room()
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._thread, self._load_and_warm, version)
            self._entries[ref] = entry = _Entry(future)
            future.add_done_callback(lambda done: self._settle(ref, entry, done))
        return self._entries[ref]

    def _make_room(self) -> None:
        """A place for one more.

        Raises:
            NotReady: all are in use.
        """
        while len(self._entries) >= self._max_loaded:
            if self._evict() is None:
                raise NotReady(
                    f"all {self._max_loaded} places for loaded models are in use"
                    f" ({environment_name('max_loaded')}); try again later",
                    retry_after=LOAD_RETRY_SECONDS,
                )

    def _keep_budget(self, newest: str) -> None:
        """Evicts idle versions, but not the newest, one after the other, as long as that is needed to be in budget."""
        if self._memory_budget is None or resident_bytes() <= self._memory_budget:
            return
        hand_over()  # what is only kept is no reason
        if resident_bytes() <= self._memory_budget:
            return
        freeing = self._evict(keep=newest)
        if freeing is None:
            structlog.get_logger("clearslice").warning(
                "memory_budget", resident=resident_bytes(), budget=self._memory_budget
            )
            return
        loop = asyncio.get_running_loop()  # again when its memory is free, and not before

        def look_again(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._keep_budget, newest)

        freeing.add_done_callback(look_again)

    def _evict(self, keep: str = "") -> Future[None] | None:
        """Forgets the version that was idle longest, whose memory is then given back; None where none is idle."""
        idle = {
            ref: entry.idle_since
            for ref, entry in self._entries.items()
            if entry.leases == 0 and entry.loading.done() and ref != keep
        }
        if not idle:
            return None
        oldest = min(idle, key=lambda ref: idle[ref])
        del self._entries[oldest]
        self._instruments.evicted.inc()
        structlog.get_logger("clearslice").info("evicted", model=oldest)
        return self._give_back()

    def _give_back(self) -> Future[None]:
        """On the loader's thread. A version that is still in use is freed with the next one that goes."""
        return self._thread.submit(give_back)

    def _settle(self, ref: str, entry: _Entry, done: asyncio.Future[Replicas]) -> None:
        error = None if done.cancelled() else done.exception()
        if (done.cancelled() or error is not None) and self._entries.get(ref) is entry:
            del self._entries[ref]
        if isinstance(error, RefusedVersion):
            self._refused[ref] = str(error)
            self._instruments.refused.set(len(self._refused))
            structlog.get_logger("clearslice").error("refused", model=ref, reason=str(error))
        elif error is not None:
            log_defect(error)
        elif not done.cancelled():
            self._show_memory(done.result())
            self._keep_budget(ref)
        self._instruments.loaded.set(len(self.loaded()))

    def _show_memory(self, replicas: Replicas) -> None:
        """In the figures, of the devices that have their own."""
        for device in replicas.devices:
            for kind in KINDS_OF_MEMORY if device.startswith("GPU") else ():
                shown = self._instruments.device_memory.labels(device, kind)
                shown.set_function(functools.partial(memory_bytes, device, kind))

    async def _loaded(self, entry: _Entry, ref: str, deadline: float) -> Replicas:
        try:
            async with until(deadline):
                # Shielded: this client's deadline must not stop the loading that others wait for.
                return await asyncio.shield(entry.loading)
        except TimeoutError:
            raise NotReady(
                f"model {ref} is still being loaded; try again later", retry_after=LOAD_RETRY_SECONDS
            ) from None

    def _load_and_warm(self, version: ModelVersion) -> Replicas:
        begin = time.monotonic()
        if self._paying:  # not with the first: TensorFlow's threads, which it starts, would inherit it
            _let_others_first()
        restorers = tuple(self._load(version))
        paying = [pay for restorer in restorers if (pay := self._warm(restorer, version)) is not None]
        replicas = Replicas(restorers, shared_pixels=min(paying, default=None))
        structlog.get_logger("clearslice").info(
            "loaded",
            model=version.ref,
            precision=replicas.precision,
            devices=replicas.devices,
            shared_pixels=replicas.shared_pixels,
            seconds=round(time.monotonic() - begin, 3),
        )
        return replicas

    def _warm(self, restorer: Restorer, version: ModelVersion) -> int | None:
        """Pixels that pay to be restored together; of weights that were loaded before, as it was found then."""
        what = (version.weights_sha256, restorer.device, restorer.precision)
        if what in self._paying:
            warm_again(restorer, version, self._warm_shapes, self._paying[what])
        else:
            self._paying[what] = warm(restorer, version, self._warm_shapes)
        return self._paying[what]


def _let_others_first() -> None:
    """This thread yields to the others of this process."""
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        niceness = min(19, os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS)
        with contextlib.suppress(OSError):  # where it may not, it loads all the same
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
