"""The folder of one job in that of its series; paths below it are made here and nowhere else.

series/<UID>/jobs/<id>/
    job.json, restored.json, ended.json      `service.pacs.record`
    derived/00001.dcm and .json              as of `service.jobs.spool.Entry`
    deliveries/<peer>.json                   `Delivery`
    deliveries/<peer>.taken                  numbers of the instances that the peer has taken, one a line
    deliveries/<peer>/00001.dcm              what it is sent, where that is not the derived instance itself
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TypeVar

import structlog

from service.files import flush_folder, write_file
from service.jobs.record import Slice
from service.jobs.spool import Entry
from service.pacs.record import Delivery, Ended, PacsJob, Restored, _Record
from service.pacs.series_folder import OWNER_ONLY, SeriesFolder

R = TypeVar("R", bound=_Record)

_DIGITS = 8
"""Of a number in `deliveries/<peer>.taken`: a shorter one was cut off."""


class JobFolder:
    """Of one job.

    Args:
        series: of its source.
        job: what was settled.
    """

    def __init__(self, series: SeriesFolder, job: PacsJob) -> None:
        self.series = series
        self.job = job
        self.folder = series.jobs / job.id
        self._entry = Entry(self.folder)

    # as `service.jobs.work.SeriesFiles`

    def source(self, number: int) -> Path:
        """A source instance; numbers begin with 1."""
        return self.series.source(self.job.uids[number - 1])

    def derived(self, number: int) -> Path:
        """Its derived instance."""
        return self._entry.derived(number)

    def finished(self) -> dict[int, Slice]:
        """Number -> what is to be said of it, of those that are derived and whole."""
        return self._entry.finished()

    def write_derived(self, number: int, data: bytes, facts: Slice) -> None:
        """A derived instance, by which it is finished."""
        self._entry.write_derived(number, data, facts)

    def forget_derived(self) -> None:
        """As if nothing had been derived yet."""
        self._entry.forget_derived()

    def write_job(self, job: PacsJob) -> None:
        """Writes down what was settled anew."""
        write_file(self.folder / "job.json", job.model_dump_json().encode(), replace=True)
        self.job = job

    def attempt(self) -> int:
        """Counts one more run, and says how many there were that did not end in order."""
        return self._entry.attempt()

    def take_back(self) -> None:
        """The last run was stopped in order."""
        self._entry.take_back()

    def count_derived(self) -> int:
        """About how many instances are derived."""
        return self._entry.count_derived()

    # what became of it

    def restored(self) -> Restored | None:
        """What was derived; None as long as not all is."""
        return _read(Restored, self.folder / "restored.json")

    def write_restored(self, restored: Restored) -> None:
        """All is derived."""
        write_file(self.folder / "restored.json", restored.model_dump_json().encode(), replace=True)

    def ended(self) -> Ended | None:
        """How it ended; None as long as it has not."""
        return _read(Ended, self.folder / "ended.json")

    def write_ended(self, ended: Ended) -> None:
        """It has ended."""
        write_file(self.folder / "ended.json", ended.model_dump_json().encode(), replace=True)

    def reopen(self) -> None:
        """It has not ended after all."""
        (self.folder / "ended.json").unlink(missing_ok=True)
        (self.folder / "attempts").unlink(missing_ok=True)

    def delivery(self, peer: str) -> Delivery:
        """How far a peer has got it."""
        return _read(Delivery, self._deliveries / f"{peer}.json") or Delivery(peer=peer)

    def write_delivery(self, delivery: Delivery) -> None:
        """How far a peer has got it."""
        self._deliveries.mkdir(mode=OWNER_ONLY, exist_ok=True)
        write_file(self._deliveries / f"{delivery.peer}.json", delivery.model_dump_json().encode(), replace=True)

    def taken(self, peer: str) -> set[int]:
        """Numbers of the instances that a peer has taken."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self._deliveries / f"{peer}.taken").read_text(encoding="ascii", errors="replace").split("\n")
            return {int(line) for line in lines if len(line) == _DIGITS and line.isdecimal()}
        return set()

    def note_taken(self, peer: str, number: int) -> None:
        """A peer has taken an instance; after a crash of the machine it may be sent again, which changes nothing.

        A line that a full disk cut off is no number, and does not spoil the next one.
        """
        self._deliveries.mkdir(mode=OWNER_ONLY, exist_ok=True)
        with (self._deliveries / f"{peer}.taken").open("a", encoding="ascii") as file:
            file.write(_line(number))

    def forget_taken(self, peer: str, numbers: set[int]) -> None:
        """A peer did not keep instances that it took."""
        left = sorted(self.taken(peer) - numbers)
        text = "".join(_line(number) for number in left)
        write_file(self._deliveries / f"{peer}.taken", text.encode("ascii"), replace=True)

    def outgoing(self, peer: str, kind: str) -> Path:
        """Where what a peer is sent lies, if it is not what was derived; another place for each way to prepare it."""
        return self._deliveries / peer / kind

    def tidy(self) -> None:
        """Removes all images of it."""
        shutil.rmtree(self.folder / "derived", ignore_errors=True)
        for peer in self.job.peers:
            shutil.rmtree(self._deliveries / peer, ignore_errors=True)

    def remove(self, aside: Path) -> None:
        """Removes the job, whole or, after a crash, not at all.

        Args:
            aside: a new folder on the same disk.
        """
        with contextlib.suppress(FileNotFoundError):
            self.folder.rename(aside / self.job.id)
            flush_folder(self.series.jobs)
        shutil.rmtree(aside, ignore_errors=True)

    @property
    def _deliveries(self) -> Path:
        return self.folder / "deliveries"


def create_job(aside: Path, series: SeriesFolder, job: PacsJob, ended: Ended | None) -> JobFolder | None:
    """Makes a job, unless it is there; from now on it survives whatever happens.

    Args:
        aside: a new folder on the same disk.
        series: of its source.
        job: what was settled.
        ended: how it ended, if it did at once.

    Returns:
        Its folder; None where it was there before.
    """
    place = series.jobs / job.id
    if place.is_dir():
        aside.rmdir()
        return None
    write_file(aside / "job.json", job.model_dump_json().encode(), replace=True)
    if ended is not None:
        write_file(aside / "ended.json", ended.model_dump_json().encode(), replace=True)
    if not series.jobs.is_dir():
        series.jobs.mkdir(mode=OWNER_ONLY, exist_ok=True)
        flush_folder(series.folder)
    aside.rename(place)
    flush_folder(series.jobs)
    return JobFolder(series, job)


def read_job(series: SeriesFolder, job_id: str) -> JobFolder | None:
    """A job that is there; None where it cannot be read."""
    job = _read(PacsJob, series.jobs / job_id / "job.json")
    return None if job is None else JobFolder(series, job)


def jobs_of(series: SeriesFolder) -> list[JobFolder]:
    """All jobs of a series, the oldest first."""
    names = [path.name for path in series.jobs.iterdir()] if series.jobs.is_dir() else []
    found = [job for job in (read_job(series, name) for name in names) if job is not None]
    return sorted(found, key=lambda folder: (folder.job.created, folder.job.id))


def _line(number: int) -> str:
    return f"\n{number:0{_DIGITS}d}\n"


def _read(kind: type[R], place: Path) -> R | None:
    """A record; None where it is not there, or damaged, which is told.

    Raises:
        OSError: it is there and cannot be read: whatever it says must not be guessed.
    """
    try:
        return kind.model_validate_json(place.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        structlog.get_logger("clearslice").error("record_unreadable", record=place.name, folder=place.parent.name)
        return None
