"""Files and folders restored without a server.

    IN --plan--> jobs (from, to) --read--> decode --> restore --> encode --write_new--> Outcome
                                   |
                                   +-- no image, or no CT slice: skipped      error: failed

    outcomes --unequal--> jobs of series in which some slices left the source's encoding, once more, all as HU

Every output is written beside its place, flushed to the disk and renamed, so that a file is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.uid import CTImageStorage

from imaging import formats
from imaging.dicom_attributes import text
from imaging.dicom_pixels import MULTI_FRAME_CT, is_localizer, read_dicom
from imaging.errors import ImagingError, NotAnImage, UnsuitableImage, UnsupportedFormat
from imaging.formats import Limits
from imaging.image import Format, Image, Rescale, Unit
from imaging.limits import check_bytes
from imaging.noise.reading import MOST_IMAGES
from model_store.restorer import Restorer
from service import pipeline
from service.errors import ServiceError
from service.files import write_file
from service.intake import take_in
from service.scores import score_frames
from service.settings import SiteConventions

SUFFIXES: dict[str, Format] = {
    ".dcm": "dicom",
    ".dicom": "dicom",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".npy": "npy",
}
"""What the name of a single output asks for; other names keep the format of the input."""

MEDIA_DIRECTORY = "DICOMDIR"


class OutputExists(Exception):
    """The output is there already, and was not to be overwritten."""


class WrongPlace(Exception):
    """Input and output that do not go together: the output inside the input, or a format that cannot be written."""


@dataclass(frozen=True)
class FileJob:
    """One file to restore: where from, where to, and in which format (None: its own)."""

    source: Path
    target: Path
    wanted: Format | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        reason: why it was skipped or failed.
        scores: when there was a reference.
        series: SeriesInstanceUID of a DICOM source that was restored.
        reencoded: as `pipeline.Encoded` says.
        warnings: what the guard found (`pipeline.warnings_of`).
    """

    job: FileJob
    status: Literal["restored", "skipped", "failed"]
    reason: str = ""
    scores: list[dict[str, Any]] | None = None
    series: str = ""
    reencoded: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Treatment:
    """How every file of a run is treated.

    Attributes:
        restorer: the loaded model.
        strength: 0 to 1.
        rescale: for PNG, TIFF and NPY, or None.
        limits: of one file.
        tile_pixels: larger images are restored in tiles.
        conventions: of derived DICOM instances.
        begun: SeriesDate and SeriesTime of all derived series, aware.
        overwrite: whether outputs may be replaced.
        models_taking: names of models by unit, for messages.
        as_hounsfield: as `pipeline.SeriesContext` says.
    """

    restorer: Restorer
    strength: float
    rescale: Rescale | None
    limits: Limits
    tile_pixels: int
    conventions: SiteConventions
    begun: datetime
    overwrite: bool
    models_taking: Callable[[Unit], list[str]]
    as_hounsfield: bool = False


def plan(source: Path, target: Path) -> list[FileJob]:
    """The jobs of a run: one for a file, one per file below a folder, in the order of their names.

    Raises:
        WrongPlace: the input is neither, or the output is the input or lies inside of it.
    """
    if source.is_file():
        place = target / source.name if target.is_dir() else target
        if place.resolve() == source.resolve():
            raise WrongPlace(f"the output {place} is the input; name another file")
        return [FileJob(source, place, SUFFIXES.get(place.suffix.lower()))]
    if not source.is_dir():
        raise WrongPlace(f"{source} is neither a file nor a folder")
    if target.resolve().is_relative_to(source.resolve()):
        raise WrongPlace(f"the output {target} lies inside the input {source}; name a folder outside of it")
    if target.is_file():
        raise WrongPlace(f"the output {target} is a file, and the input a folder; name a folder")
    return [FileJob(path, target / path.relative_to(source)) for path in _files_below(source)]


def images_to_choose_by(jobs: Sequence[FileJob], limits: Limits, rescale: Rescale | None) -> list[Image]:
    """Images by whose noise `auto` chooses for all jobs: of some files, spread evenly, that can be read; one unit."""
    found: list[Image] = []
    for place in dict.fromkeys(round(each) for each in np.linspace(0, len(jobs) - 1, 4 * MOST_IMAGES)):
        if len(found) >= MOST_IMAGES or not jobs:
            break
        with contextlib.suppress(ImagingError, OSError):
            data = _read(jobs[place].source, limits)
            stated = formats.sniff(data) == "dicom"
            frames = formats.decode(data, limits=limits, rescale=None if stated else rescale)
            found += [image for image in frames if not found or image.unit == found[0].unit]
    return found


def run_job(job: FileJob, treatment: Treatment, reference: bytes | None = None) -> Outcome:
    """Restores one file; what is wrong with it becomes the outcome, never an exception."""
    try:
        if job.target.exists() and not treatment.overwrite:
            return Outcome(job, "skipped", "the output exists; --overwrite replaces it")
        data = _read(job.source, treatment.limits)
        why = _no_slice(job.source, data)
        if why is not None:
            return Outcome(job, "skipped", why)
        outcome, encoded = _restore(job, data, treatment, reference)
        write_new(job.target, encoded, overwrite=treatment.overwrite)
    except UnsuitableImage as error:
        status: Literal["skipped", "failed"] = "skipped" if _not_a_ct_slice(job.source, treatment.limits) else "failed"
        return Outcome(job, status, str(error))
    except (ImagingError, ServiceError, OutputExists, WrongPlace) as error:
        return Outcome(job, "failed", str(error))
    except OSError as error:
        return Outcome(job, "failed", f"{error.strerror or error}")
    return outcome


def unequal(outcomes: Sequence[Outcome]) -> list[int]:
    """Indices of the DICOM slices that kept their encoding while others of their series could not."""
    wide = {outcome.series for outcome in outcomes if outcome.reencoded}
    return [index for index, outcome in enumerate(outcomes) if outcome.series in wide and not outcome.reencoded]


def as_hounsfield(treatment: Treatment) -> Treatment:
    """The treatment by which those are made again."""
    return replace(treatment, as_hounsfield=True, overwrite=True)


def _restore(job: FileJob, data: bytes, treatment: Treatment, reference: bytes | None) -> tuple[Outcome, bytes]:
    """What becomes of a job, and the restored file.

    Raises:
        ImagingError, ServiceError: as `take_in` and the steps of `service.pipeline`.
        WrongPlace: DICOM is wanted of an image that is none, or a format for one image of several frames.
    """
    version, restorer, wanted = treatment.restorer.version, treatment.restorer, job.wanted
    frames, truth = take_in(
        data,
        reference,
        # a folder may hold both kinds of files
        rescale=None if reference is None and formats.sniff(data) == "dicom" else treatment.rescale,
        manifest=version.manifest,
        limits=treatment.limits,
        conventions=treatment.conventions,
        models_taking=treatment.models_taking,
    )
    if wanted == "dicom" and frames.format != "dicom":
        raise WrongPlace(f"a {frames.format.upper()} file cannot become DICOM; name the output .{frames.format}")
    if wanted in pipeline.ONE_IMAGE and len(frames) > 1:
        raise WrongPlace(f"the input has {len(frames)} frames, and {wanted.upper()} holds one; name the output .tif")
    restored = pipeline.restore_all(frames, restorer, version, tile_pixels=treatment.tile_pixels)
    warnings = pipeline.warnings_of(frames, restored, version)
    pixels = [pipeline.blend(image, plane, treatment.strength) for image, plane in zip(frames, restored, strict=True)]
    encoded = pipeline.encode(
        frames,
        pixels,
        wanted or frames.format,
        derivation=pipeline.derivation_of(version, treatment.strength, warnings, precision=restorer.precision),
        conventions=treatment.conventions,
        series=pipeline.SeriesContext(datetime.now(UTC).astimezone(), treatment.begun, treatment.as_hounsfield),
    )
    dataset = frames.first.dataset
    series = "" if dataset is None or encoded.format != "dicom" else text(dataset, "SeriesInstanceUID")
    images = {"restored": pixels, "degraded": [image.pixels for image in frames]}
    scores = None if truth is None else score_frames(images, [image.pixels for image in truth], unit=frames.unit)
    outcome = Outcome(job, "restored", scores=scores, series=series, reencoded=encoded.reencoded, warnings=warnings)
    return outcome, encoded.data


def write_new(target: Path, data: bytes, *, overwrite: bool) -> None:
    """Writes a file that is there whole or not at all, also after a crash.

    Raises:
        OutputExists: the file is there and `overwrite` is false, even when it appeared this very moment.
        OSError: the folder cannot be written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_file(target, data, replace=overwrite)
    except FileExistsError:
        raise OutputExists(f"{target} exists; --overwrite replaces it") from None


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path


def _read(path: Path, limits: Limits) -> bytes:
    check_bytes(path.stat().st_size, max_bytes=limits.max_bytes)
    return path.read_bytes()


def _no_slice(path: Path, data: bytes) -> str | None:
    """Why a file is no image at all, or None."""
    if path.name.upper() == MEDIA_DIRECTORY:
        return "the file is the directory of a medium"
    try:
        formats.sniff(data)
    except (NotAnImage, UnsupportedFormat) as error:
        return str(error)
    return None


def _not_a_ct_slice(path: Path, limits: Limits) -> bool:
    """Whether an unsuitable file is a DICOM instance that belongs into a study beside its CT slices."""
    data = _read(path, limits)
    if formats.sniff(data) != "dicom":
        return False
    dataset = read_dicom(data, limits=limits)
    return text(dataset, "SOPClassUID") not in (CTImageStorage, *MULTI_FRAME_CT) or is_localizer(dataset)
