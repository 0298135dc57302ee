"""The engine: all that lives as long as the app, and the path of one request through it.

    admit --> prepare --> lease --> restore --> finish --> Answer
      |       codecs      loader    device      codecs
    TooBusy  4xx          503       429 504     500
    NotReady

Every step holds to the request's one deadline. Files are decoded and encoded on a few threads beside the event loop,
the model runs on the executor's one, for all who wait at once, and loading has its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import structlog

from imaging.frames import Frames
from imaging.image import Rescale, Unit
from model_store.errors import ModelStoreError
from model_store.refs import parse_ref
from model_store.store import ModelVersion
from model_store.watched import WatchedStore
from service.answer import Answer
from service.codecs import NO_DEADLINE, Codecs
from service.device_work import Ran
from service.errors import NotReady, ServiceError, TooBusy
from service.executor import Executor
from service.intake import decode_pair
from service.meanings import Meanings, meant_by
from service.models import Load, LoadedVersions
from service.pipeline import SeriesContext
from service.restoring import Restoring, warm_shapes
from service.scores import score_frames
from service.settings import Settings
from service.shadow import Shadow
from service.task import Prepared, Task, finish, prepare, prepare_several
from service.telemetry import Instruments, log_defect
from service.tracing import Traces

START_RETRY_SECONDS = 5
DRAIN_RETRY_SECONDS = 10
"""After which another instance, or this one, is likely to take requests."""

MIN_RETRY_SECONDS = 1
BUSY_SIZE = (512, 512)
"""Of most CT slices."""

PRELOAD_SECONDS = 3600.0
"""Deadline of loading at the start: generous, since a slow disk is no reason to give up."""


class Engine:
    """Store, loaded versions, device, codecs and readiness of one app.

    Args:
        settings: of the app.
        store: where versions come from.
        load: from version to restorer.
        clock: the present moment, aware, for derived DICOM instances.
        instruments, traces: of the app.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: WatchedStore,
        load: Load,
        clock: Callable[[], datetime],
        instruments: Instruments,
        traces: Traces,
    ) -> None:
        self.settings = settings
        self.store = store
        self.instruments = instruments
        self.traces = traces
        self._executor = Executor(
            max_queue=settings.max_queue, batch_pixels=settings.batch_pixels, instruments=instruments
        )
        self.versions = LoadedVersions(
            load,
            warm_shapes=warm_shapes(settings.warm_sizes, self._executor),
            max_loaded=settings.max_loaded,
            memory_budget=settings.memory_budget or None,
            instruments=instruments,
        )
        self.meanings = Meanings(self.versions)
        self._restoring = Restoring(self.versions, self._executor, tile_pixels=settings.tile_pixels)
        self.clock = clock
        self.codecs = Codecs(threads=settings.codec_threads, instruments=instruments)
        self._shadow: Shadow | None = None
        if settings.shadow:
            self._shadow = Shadow(
                settings.shadow,
                store=store,
                restoring=self._restoring,
                executor=self._executor,
                codecs=self.codecs,
                instruments=instruments,
            )
        self._in_progress = 0
        self._state: Literal["starting", "ready", "draining", "failed"] = "starting"
        self._reason = "models are being loaded"
        instruments.ready.set_function(lambda: float(self.readiness()[0]))

    async def start(self) -> None:
        """Loads, proves and warms the versions to preload; ready afterwards, or failed with a reason."""
        try:
            await self.codecs.run(NO_DEADLINE, self.store.refresh)
            refs = self.settings.preload or (await self.codecs.run(NO_DEADLINE, self.store.default_ref),)
            for ref in refs:
                version = await self.codecs.run(NO_DEADLINE, self.store.resolve, ref)
                async with self.versions.lease(version, deadline=time.monotonic() + PRELOAD_SECONDS):
                    self.meanings.swap(ref, version, ("restored",))
        except (ModelStoreError, ServiceError) as error:
            self._fail(f"{error}; when that is repaired, restart the server")
        except Exception as error:  # noqa: BLE001 - a task nobody awaits: the reason must not vanish
            log_defect(error)
            self._fail("the models could not be loaded; the log says more")
        else:
            if self._state == "starting":
                self._state, self._reason = "ready", ""
                structlog.get_logger("clearslice").info("ready", models=sorted(self.versions.loaded()))

    async def watch_store(self) -> None:
        """Takes up what others change in the store; a task that never ends."""
        while True:
            await asyncio.sleep(self.settings.store_poll_seconds)
            try:
                if await asyncio.to_thread(self.store.refresh):
                    await self._follow_store()
            except Exception as error:  # noqa: BLE001 - were this the end, changes would go unseen
                log_defect(error)

    async def _follow_store(self) -> None:
        structlog.get_logger("clearslice").info("store_changed")
        self.versions.forgive()
        asked, loaded = list(self.meanings.standing()), list(self.versions.loaded())
        found, gone = await self.codecs.run(NO_DEADLINE, meant_by, self.store, [*asked, *loaded])
        self.meanings.follow({ref: found[ref] for ref in asked if ref in found})
        for ref in gone.intersection(loaded):
            self.versions.unload(parse_ref(ref).name, parse_ref(ref).version)

    def drain(self) -> None:
        """Takes no more requests; those in progress go on. Safe in a signal handler: it takes no lock."""
        self._state, self._reason = "draining", "the service is shutting down"

    def draining(self) -> bool:
        """Whether the end has begun."""
        return self._state == "draining"

    def close(self) -> None:
        """Ends all threads after their present work."""
        self.drain()
        self._executor.close()
        self.versions.close()
        self.codecs.close()

    def readiness(self) -> tuple[bool, str]:
        """Whether requests are taken, and else the reason."""
        stuck = self._executor.running_seconds()
        if stuck > self.settings.stall_seconds:
            return False, f"the device has been busy with one run for {stuck:.0f} seconds"
        return self._state == "ready", self._reason

    @contextlib.contextmanager
    def admit(self, needs: Literal["nothing", "model", "device"] = "device") -> Iterator[None]:
        """A place for one request, from before its upload to its answer.

        Args:
            needs: a `device`, soon, so that it is sent away before its upload when the line before that is full, even
                if it might be shorter after it; a `model`, sooner or later; or `nothing` but that the service goes on.

        Raises:
            NotReady: starting, failed or draining.
            TooBusy: `max_requests` are in progress, or as many images as may already wait for the device.
        """
        ready, reason = self.readiness()
        if self._state == "draining" or (needs != "nothing" and not ready):
            seconds = DRAIN_RETRY_SECONDS if self._state == "draining" else START_RETRY_SECONDS
            raise NotReady(f"no requests are taken now: {reason}", retry_after=seconds)
        if self._in_progress >= self.settings.max_requests:
            self.instruments.shed.labels("service").inc()
            raise TooBusy(
                f"{self._in_progress} requests are in progress, and no more may be; try again later",
                retry_after=MIN_RETRY_SECONDS,
            )
        if needs == "device":
            self._executor.check_place()
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1

    async def reconstruct(self, task: Task, *, deadline: float) -> Answer:
        """Runs one task.

        Args:
            task: what to do.
            deadline: until when, in `time.monotonic()` seconds.

        Raises:
            ImagingError, ModelStoreError, ServiceError: as the steps say.
        """
        begin = time.monotonic()
        standing = self.meanings.standing()
        prepared = await self.codecs.run(deadline, prepare, task, self.store, self.settings, standing)
        return await self._reconstruct(task, prepared, begin, deadline=deadline)

    async def compare(self, task: Task, refs: Sequence[str], *, deadline: float) -> list[Answer]:
        """Runs one task with several models, each once, on images that are decoded once; arguments as `reconstruct`.

        A model after the first waits for its turn in any case, since what the others did would be lost.
        """
        begin = time.monotonic()
        standing = self.meanings.standing()
        several = await self.codecs.run(deadline, prepare_several, task, refs, self.store, self.settings, standing)
        answers: list[Answer] = []
        for prepared in several:
            answers.append(await self._reconstruct(task, prepared, begin, deadline=deadline, admitted=bool(answers)))
            begin = time.monotonic()
        return answers

    async def _reconstruct(
        self, task: Task, prepared: Prepared, begin: float, *, deadline: float, admitted: bool = False
    ) -> Answer:
        prepared = await self.settled(task, prepared, deadline=deadline)
        series = SeriesContext(now=self.clock())
        return await self.run(task, prepared, begin, series=series, deadline=deadline, admitted=admitted)

    async def settled(self, task: Task, prepared: Prepared, *, deadline: float) -> Prepared:
        """With the version that restores it: one that is in memory or can be loaded."""
        prepared = await self._proven(prepared, deadline)
        return replace(prepared, version=self.meanings.swap(prepared.ref, prepared.version, task.outputs))

    async def run(
        self,
        task: Task,
        prepared: Prepared,
        begin: float,
        *,
        series: SeriesContext,
        deadline: float,
        admitted: bool,
    ) -> Answer:
        """Restores the images of a settled task, and makes files of them; raises as `reconstruct`.

        Args:
            task, prepared: from `settled`.
            begin: when its decoding began, in `time.monotonic()` seconds.
            series: for derived instances.
            deadline: until when.
            admitted: as `Executor.restore`.
        """
        version, frames = prepared.version, prepared.frames
        wanted = task.choose_format(frames.format, len(frames))
        decoded = time.monotonic()
        ran = await self.restore(version, frames, task.outputs, deadline=deadline, admitted=admitted)
        encode_begin = time.monotonic()
        work = functools.partial(finish, settings=self.settings, series=series, precision=ran.precision)
        finished = await self.codecs.run(deadline, work, task, prepared, wanted, ran.batches)
        seconds = {
            "decode": decoded - begin,
            "queue": encode_begin - decoded - ran.infer_seconds,
            "infer": ran.infer_seconds,
            "encode": time.monotonic() - encode_begin,
        }
        self.observe(version.ref, frames.format, wanted, seconds, warned=bool(finished.warnings))
        if self._shadow is not None:
            self._shadow.see(version, frames, ran.batches)
        if finished.encoded.notes:
            structlog.get_logger("clearslice").info("tolerated", notes=finished.encoded.notes)
        return Answer(
            encoded=finished.encoded,
            others=finished.others,
            warnings=finished.warnings,
            chosen=prepared.chosen,
            native=frames.format,
            frames=len(frames),
            shape=frames.shape,
            unit=frames.unit,
            version=version,
            precision=ran.precision,
            device=ran.device,
            strength=task.strength,
            scores=finished.scores,
            seconds=seconds,
        )

    def abreast(self, version: ModelVersion) -> int:
        """How many images of a series to have in progress, so that none of the devices that have its model ever waits
        for them: those of a run, and as many that are read and written meanwhile. Others' requests wait behind no more
        than these."""
        loaded = self.versions.loaded().get(version.ref)
        devices = 1 if loaded is None else len(loaded.devices)
        return min(2 * self._executor.images_at_once(BUSY_SIZE) * devices, max(2, self.settings.max_queue))

    async def _proven(self, prepared: Prepared, deadline: float) -> Prepared:
        """A canary that cannot be loaded, or not in time, leaves its series to the version before it."""
        if prepared.instead is None:
            return prepared
        try:
            async with self.versions.lease(prepared.version, deadline=_halfway(deadline)):
                return prepared
        except (ModelStoreError, NotReady) as error:
            structlog.get_logger("clearslice").warning("canary_passed_over", reason=str(error))
            return replace(prepared, ref=prepared.instead.ref, version=prepared.instead, instead=None)

    async def restore(
        self, version: ModelVersion, frames: Frames, outputs: Sequence[str], *, deadline: float, admitted: bool = False
    ) -> Ran:
        """Runs a version on every image; arguments and errors as `service.restoring.Restoring.restore`."""
        return await self._restoring.restore(version, frames, outputs, deadline=deadline, admitted=admitted)

    async def measure(
        self, image: bytes, reference: bytes, *, rescale: Rescale | None, metrics: tuple[str, ...], deadline: float
    ) -> tuple[Unit, int, list[dict[str, Any]]]:
        """Unit, frames and metrics of an image against a reference, without a model; raises as `reconstruct`."""

        def work() -> tuple[Unit, int, list[dict[str, Any]]]:
            left, right = decode_pair(image, reference, limits=self.settings.limits(), rescale=rescale)
            assert right is not None  # noqa: S101 - decode_pair gives what it was given
            images = {"image": [image.pixels for image in left]}
            truth = [image.pixels for image in right]
            return left.unit, len(left), score_frames(images, truth, unit=left.unit, metrics=metrics)

        return await self.codecs.run(deadline, work)

    def observe(self, ref: str, came: str, went: str, seconds: dict[str, float], *, warned: bool) -> None:
        """Counts and traces an answer: by its version, the formats it came and went in, and its steps."""
        if warned:
            self.instruments.warned.labels(ref).inc()
        self.instruments.decode_seconds.labels(came).observe(seconds["decode"])
        self.instruments.queue_seconds.labels(ref).observe(seconds["queue"])
        self.instruments.infer_seconds.labels(ref).observe(seconds["infer"])
        self.instruments.encode_seconds.labels(went).observe(seconds["encode"])
        self.traces.steps(seconds, model=ref, came=came, went=went)

    def _fail(self, reason: str) -> None:
        if self._state == "starting":
            self._state, self._reason = "failed", reason
        structlog.get_logger("clearslice").error("not_ready", reason=reason)


def _halfway(deadline: float) -> float:
    """To a deadline, so that there is time for something else."""
    return (time.monotonic() + deadline) / 2
