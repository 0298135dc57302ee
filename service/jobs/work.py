"""A job's work: each source instance through the engine, then all derived ones into one archive.

    source/ --those not derived yet, a few at once--> engine --> derived/ --(one encoding?)--> result.zip --> Outcome
                                                                   |no
                                                                   +--> the others once more, as HU

Whatever stops it, it goes on with what is on the disk, and does nothing twice that is finished. Memory holds a few
slices, however long the series is.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence

from imaging.dicom_attributes import text
from imaging.errors import ImagingError
from model_store.errors import ModelStoreError, StoreConflict
from model_store.restorer import Restorer
from model_store.store import ModelVersion
from service.codecs import NO_DEADLINE
from service.engine import Engine
from service.errors import NotReady, ServiceError
from service.files import flush_folder
from service.jobs.record import Job, Outcome, Slice
from service.jobs.spool import Entry
from service.pipeline import SeriesContext
from service.task import Task, prepare
from service.wholly import whole

REPORT = "report.json"
"""In the archive, beside the derived instances."""


class SeriesWork:
    """The work of one job.

    Args:
        entry: of the job.
        job: what was accepted; afterwards with the precision that it was computed in.
        engine: restores.
        progress: told how many instances are finished, whenever that changes.
    """

    def __init__(self, entry: Entry, job: Job, *, engine: Engine, progress: Callable[[int], object]) -> None:
        self.job = job
        self._entry = entry
        self._engine = engine
        self._progress = progress
        self._facts: dict[int, Slice] = {}

    async def run(self) -> Outcome:
        """Restores what is not restored yet, and packs it all.

        Raises:
            ImagingError, ServiceError, ModelStoreError: of an instance, with its number; the job cannot be done.
            NotReady, OutOfDeviceMemory, OSError: something is missing that may be there later.
        """
        version = await self._engine.codecs.run(NO_DEADLINE, self._engine.store.resolve, self.job.model)
        if version.weights_sha256 != self.job.weights_sha256:
            raise StoreConflict(f"{self.job.model} is not the version any more that the job was accepted for")
        # leased from the first instance to the last, so that all are computed alike
        async with self._engine.versions.lease(version, deadline=NO_DEADLINE) as restorer:
            await whole(asyncio.to_thread(self._keep_precision, restorer))
            await self._derive_all(version)
        return await whole(asyncio.to_thread(self._pack))

    def _keep_precision(self, restorer: Restorer) -> None:
        """Begins again where an earlier run, before a restart, computed otherwise: a series is all of one kind."""
        if restorer.precision != self.job.precision:
            self._entry.forget_derived()
            self.job = self.job.model_copy(update={"precision": restorer.precision})
            self._entry.write_job(self.job)

    async def _derive_all(self, version: ModelVersion) -> None:
        everything = range(1, self.job.instances + 1)
        self._facts = await asyncio.to_thread(self._entry.finished)
        self._progress(len(self._facts))
        await self._derive(sorted(set(everything) - set(self._facts)), version)
        kept = [number for number in everything if not self._facts[number].reencoded]
        if len(kept) < len(everything):
            await self._derive(kept, version, as_hounsfield=True)

    async def _derive(self, numbers: Sequence[int], version: ModelVersion, *, as_hounsfield: bool = False) -> None:
        """Several at a time; the first that fails stops the others."""
        waiting = iter(numbers)

        async def work_off() -> None:
            for number in waiting:
                await self._derive_one(number, version, as_hounsfield=as_hounsfield)
                if not as_hounsfield:
                    self._progress(len(self._facts))

        workers = [asyncio.ensure_future(work_off()) for _ in range(min(len(numbers), self._engine.abreast()))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _derive_one(self, number: int, version: ModelVersion, *, as_hounsfield: bool) -> None:
        begin, engine = time.monotonic(), self._engine
        try:
            data = await asyncio.to_thread(self._entry.source(number).read_bytes)
            task = task_of(data, version.ref, self.job.strength)
            read = functools.partial(prepare, task, engine.store, engine.settings, {}, canaries=False)
            prepared = await engine.codecs.run(NO_DEADLINE, read)
            source = prepared.frames.first.dataset
            assert source is not None  # noqa: S101 - what was accepted is DICOM
            series = SeriesContext(now=engine.clock(), begun=self.job.created, as_hounsfield=as_hounsfield)
            answer = await engine.run(task, prepared, begin, series=series, deadline=NO_DEADLINE, admitted=True)
        except (ImagingError, ServiceError, ModelStoreError) as error:
            error.args = (f"instance {number} of {self.job.instances}: {error}", *error.args[1:])
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
        await whole(asyncio.to_thread(self._entry.write_derived, number, made.data, facts))
        self._facts[number] = facts

    def _pack(self) -> Outcome:
        job, entry = self.job, self._entry
        facts = dict(sorted(self._facts.items()))
        outcome = Outcome(
            state="done",
            finished=self._engine.clock(),
            precision=job.precision,
            reencoded=any(each.reencoded for each in facts.values()),
            clipped=sum(each.clipped for each in facts.values()),
            warned=sum(bool(each.warnings) for each in facts.values()),
        )
        report = {
            **described(job),
            "reencoded": outcome.reencoded,
            "files": [
                {
                    "file": entry.derived(number).name,
                    **each.model_dump(mode="json", include={"source", "clipped", "warnings"}),
                }
                for number, each in facts.items()
            ],
        }
        aside = entry.result.with_suffix(".part")
        # stored, not deflated: noise hardly shrinks, and the time would be a third of the network's
        with aside.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for number in facts:
                    archive.write(entry.derived(number), entry.derived(number).name)
                archive.writestr(REPORT, json.dumps(report, indent=1, ensure_ascii=False))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(entry.result)
        flush_folder(entry.folder)
        return outcome


def described(job: Job) -> dict[str, object]:
    """What clients are told of a job from its acceptance on."""
    return {
        "model": job.model,
        "weights_sha256": job.weights_sha256,
        "precision": job.precision,
        **({"chosen": job.chosen} if job.chosen else {}),
        "strength": job.strength,
        "left_out": job.left_out,
    }


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
