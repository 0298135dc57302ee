"""The work on a series: each source instance through the engine, until all are derived, in one encoding.

    source/ --those not derived yet, a few at once--> engine --> derived/ --(one encoding?)--> facts of each
                                                                   |no
                                                                   +--> the others once more, as HU

Whatever stops it, it goes on with what is on the disk, and does nothing twice that is finished. Memory holds a few
slices, however long the series is.
"""

from __future__ import annotations

import asyncio
import functools
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from imaging.dicom_attributes import text
from imaging.errors import ImagingError
from model_store.errors import ModelStoreError, StoreConflict
from model_store.store import ModelVersion
from service.codecs import NO_DEADLINE
from service.engine import Engine
from service.errors import NotReady, ServiceError
from service.jobs.record import Slice
from service.pipeline import SeriesContext
from service.replicas import Replicas
from service.task import Task, prepare
from service.wholly import whole


class SeriesJob(Protocol):
    """What was settled for a series, before its work begins.

    Attributes:
        model: ref of the version, as in `ct-l2@3`.
        weights_sha256: of the version.
        precision: in which every instance is computed.
        strength: 0 to 1.
    """

    @property
    def model(self) -> str: ...

    @property
    def weights_sha256(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def strength(self) -> float: ...

    @property
    def series_begun(self) -> datetime:
        """SeriesDate and SeriesTime of the derived series."""

    @property
    def count(self) -> int:
        """How many instances."""

    @property
    def revision(self) -> int:
        """How often the whole series was made anew."""

    def model_copy(self, *, update: dict[str, Any]) -> Self:
        """With other values."""


class SeriesFiles(Protocol):
    """Where the instances of a series lie; numbers begin with 1."""

    def source(self, number: int) -> Path:
        """A source instance."""

    def finished(self) -> dict[int, Slice]:
        """Number -> what is to be said of it, of those that are derived and whole."""

    def write_derived(self, number: int, data: bytes, facts: Slice) -> None:
        """A derived instance, by which it is finished."""

    def forget_derived(self) -> None:
        """As if nothing had been derived yet."""

    def write_job(self, job: Any) -> None:
        """Writes down what was settled anew."""


J = TypeVar("J", bound=SeriesJob)


class SeriesWork(Generic[J]):
    """The work on one series.

    Args:
        files: of the series.
        job: what was settled; afterwards with the precision that it was computed in.
        engine: restores.
        progress: told how many instances are finished, whenever that changes.
        as_hounsfield: whether all are to be HU from the beginning, since others of the derived series are.
    """

    def __init__(
        self,
        files: SeriesFiles,
        job: J,
        *,
        engine: Engine,
        progress: Callable[[int], object],
        as_hounsfield: bool = False,
    ) -> None:
        self.job = job
        self._files = files
        self._engine = engine
        self._progress = progress
        self._as_hounsfield = as_hounsfield
        self._facts: dict[int, Slice] = {}

    async def run(self) -> dict[int, Slice]:
        """Restores what is not restored yet.

        Returns:
            What is to be said of each instance, by their numbers, ascending.

        Raises:
            ImagingError, ServiceError, ModelStoreError: of an instance, with its number; the job cannot be done.
            NotReady, OutOfDeviceMemory, OSError: something is missing that may be there later.
        """
        version = await self._engine.codecs.run(NO_DEADLINE, self._engine.store.resolve, self.job.model)
        if version.weights_sha256 != self.job.weights_sha256:
            raise StoreConflict(f"{self.job.model} is not the version any more that the job was accepted for")
        # leased from the first instance to the last, so that all are computed alike
        async with self._engine.versions.lease(version, deadline=NO_DEADLINE) as replicas:
            await whole(asyncio.to_thread(self._keep_precision, replicas))
            await self._derive_all(version)
        return dict(sorted(self._facts.items()))

    def _keep_precision(self, replicas: Replicas) -> None:
        """Begins again where an earlier run, before a restart, computed otherwise: a series is all of one kind."""
        if replicas.precision != self.job.precision:
            self._files.forget_derived()
            self.job = self.job.model_copy(update={"precision": replicas.precision})
            self._files.write_job(self.job)

    async def _derive_all(self, version: ModelVersion) -> None:
        everything = range(1, self.job.count + 1)
        self._facts = await asyncio.to_thread(self._files.finished)
        self._progress(len(self._facts))
        missing = sorted(set(everything) - set(self._facts))
        await self._derive(missing, version, as_hounsfield=self._as_hounsfield)
        kept = [number for number in everything if not self._facts[number].reencoded]
        if len(kept) < len(everything):
            await self._derive(kept, version, as_hounsfield=True)

    async def _derive(self, numbers: Sequence[int], version: ModelVersion, *, as_hounsfield: bool) -> None:
        """Several at a time; the first that fails stops the others."""
        waiting = iter(numbers)

        async def work_off() -> None:
            for number in waiting:
                await self._derive_one(number, version, as_hounsfield=as_hounsfield)
                self._progress(len(self._facts))

        abreast = min(len(numbers), self._engine.abreast(version))
        workers = [asyncio.ensure_future(work_off()) for _ in range(abreast)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _derive_one(self, number: int, version: ModelVersion, *, as_hounsfield: bool) -> None:
        begin, engine = time.monotonic(), self._engine
        try:
            data = await asyncio.to_thread(self._files.source(number).read_bytes)
            task = task_of(data, version.ref, self.job.strength)
            read = functools.partial(prepare, task, engine.store, engine.settings, {}, canaries=False)
            prepared = await engine.codecs.run(NO_DEADLINE, read)
            source = prepared.frames.first.dataset
            assert source is not None  # noqa: S101 - what was accepted is DICOM
            series = SeriesContext(
                now=engine.clock(),
                begun=self.job.series_begun,
                as_hounsfield=as_hounsfield,
                revision=self.job.revision,
            )
            answer = await engine.run(task, prepared, begin, series=series, deadline=NO_DEADLINE, admitted=True)
        except (ImagingError, ServiceError, ModelStoreError) as error:
            error.args = (f"instance {number} of {self.job.count}: {error}", *error.args[1:])
            raise
        if answer.precision != self.job.precision:
            raise NotReady("the model was loaded anew meanwhile, and computes otherwise now", retry_after=1)
        made = answer.encoded
        facts = Slice(
            reencoded=as_hounsfield or made.reencoded,
            clipped=made.clipped,
            warnings=answer.warnings,
            crc32=zlib.crc32(made.data),
            source=text(source, "SOPInstanceUID"),
        )
        await whole(asyncio.to_thread(self._files.write_derived, number, made.data, facts))
        self._facts[number] = facts


def task_of(data: bytes, model: str | None, strength: float) -> Task:
    """One instance of a series, DICOM in and out."""
    return Task(
        image=data,
        reference=None,
        model=model,
        outputs=("restored",),
        strength=strength,
        metrics=(),
        rescale=None,
        choose_format=lambda native, _: native,
    )
