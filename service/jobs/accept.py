"""From an uploaded archive to the source instances of one series, checked before anything is promised.

    upload --ct_files--> instances --(identified? may be derived? one patient, study, series? none twice?)--> source/
            left out: no DICOM, no CT, localizers     UnsuitableImage  DerivationRefused

Pixels are decoded when their turn comes, but those of a few slices, by which the model is settled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pydicom import Dataset
from pydicom.uid import CTImageStorage

from imaging import formats
from imaging.archive import ArchiveLimits
from imaging.ct_files import LeftOut, ct_files, located
from imaging.dicom_attributes import integer, text
from imaging.dicom_pixels import MULTI_FRAME_CT
from imaging.errors import UnsuitableImage
from imaging.noise.reading import MOST_IMAGES
from model_store.evidence import AUTO
from model_store.store import ModelStore, ModelVersion
from service import auto
from service.dicom.eligibility import check_source
from service.errors import ServiceError
from service.files import flush_folder
from service.jobs.spool import Entry
from service.settings import Settings
from service.task import Prepared, Task, prepare

KINDS = (CTImageStorage, *MULTI_FRAME_CT)

_ATTRIBUTES_BYTES = 16_384

_ONE = {"PatientID": "patients", "StudyInstanceUID": "studies", "SeriesInstanceUID": "series"}
"""What all instances of a job must have in common."""


@dataclass(frozen=True)
class Unpacked:
    """How many instances there are, what was left out, and about how many bytes the result will have."""

    instances: int
    left_out: dict[str, int]
    result_bytes: int


def unpack(entry: Entry, settings: Settings, *, wanted: Callable[[], bool] = lambda: True) -> Unpacked:
    """Takes the instances out of the upload, which is removed; every file is on the disk afterwards.

    Args:
        entry: with the upload.
        settings: of the app.
        wanted: asked now and then; when it says no, the work is given up.

    Raises:
        ImagingError, DerivationRefused: of a file, with its place in the archive.
        UnsuitableImage: no CT image; more than one patient, study or series; an instance twice.
        OSError: the disk is full.
    """
    limits = ArchiveLimits(
        max_entry_bytes=settings.max_upload_bytes,
        max_total_bytes=max(settings.max_job_bytes, settings.max_upload_bytes),
    )
    left_out, one, seen = LeftOut(), dict[str, str](), set[str]()
    entry.source(1).parent.mkdir(mode=0o700)
    decoded = 0
    for place, data, dataset in ct_files(entry.upload, limits, left_out, kinds=KINDS, wanted=wanted):
        decoded += _result_bytes(dataset)
        with located(place, ServiceError):
            _check(dataset, one, seen, settings)
        with entry.source(len(seen)).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    if not wanted():
        return Unpacked(0, {}, 0)
    if not seen:
        raise left_out.refusal()
    flush_folder(entry.source(1).parent)
    entry.upload.unlink()
    return Unpacked(len(seen), left_out.counts(), decoded)


def _result_bytes(dataset: Dataset) -> int:
    """About how large its derived instance will be: 16 bits a pixel, and attributes."""
    frames = integer(dataset, "NumberOfFrames", missing=1)
    return 2 * frames * integer(dataset, "Rows", missing=0) * integer(dataset, "Columns", missing=0) + _ATTRIBUTES_BYTES


def _check(dataset: Dataset, one: dict[str, str], seen: set[str], settings: Settings) -> None:
    check_source(dataset, settings.dicom)
    for keyword, what in _ONE.items():
        if one.setdefault(keyword, text(dataset, keyword)) != text(dataset, keyword):
            raise UnsuitableImage(
                f"the upload mixes {what} ({keyword}); a job is one series: send each as a job of its own"
            )
    uid = text(dataset, "SOPInstanceUID")
    if uid in seen:
        raise UnsuitableImage("an instance (SOPInstanceUID) is there twice; leave one of them out")
    seen.add(uid)


class Sources(Protocol):
    """Where the source instances of a series lie; numbers begin with 1."""

    def source(self, number: int) -> Path:
        """One of them."""


def settle(
    sources: Sources,
    instances: int,
    task: Task,
    *,
    store: ModelStore,
    settings: Settings,
    standing: Mapping[str, ModelVersion],
) -> Prepared:
    """The version for a series; the images are those of the slice in its middle.

    Args:
        sources: checked.
        instances: how many there are.
        task: as asked, but without an image.
        store, settings, standing: as `service.task.prepare`.

    Raises:
        ModelStoreError, ImagingError, ServiceError: as `service.task.prepare`.
    """
    middle = replace(task, image=sources.source((instances + 1) // 2).read_bytes())
    if task.model != AUTO:
        return prepare(middle, store, settings, standing)
    images = []
    for number in spread(instances, MOST_IMAGES):
        frames = formats.decode(sources.source(number).read_bytes(), limits=settings.limits())
        images.append(frames.images[len(frames) // 2].pixels)
    chosen = auto.choose_for(store, "HU", images)
    return replace(prepare(replace(middle, model=chosen.version.ref), store, settings, standing), chosen=chosen.reason)


def spread(instances: int, most: int) -> list[int]:
    """Up to `most` of the numbers 1 to `instances`, evenly from the first to the last."""
    if instances <= most:
        return list(range(1, instances + 1))
    return sorted({1 + round(step * (instances - 1) / (most - 1)) for step in range(most)})
