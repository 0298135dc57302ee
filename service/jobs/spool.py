"""The spool: a folder that holds every job until it is fetched or has expired.

    spool/            only for its owner, and for one process at a time (lock)
      lock
      identity        tells it from other spools
      jobs.sqlite     the durable engine's: which jobs are to be run (or a PostgreSQL database)
      incoming/<any>  what is not accepted yet, or being removed: worthless after a crash
      jobs/<id>/      job.json, source/00001.dcm ..., derived/00001.dcm and .json ..., result.zip, outcome.json

A job is there when its folder has been renamed from `incoming`, and has ended when its outcome is there; both survive a
crash of the machine. No name holds anything of a patient.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

from service.errors import UnsafeConfiguration
from service.files import flush_folder, write_file
from service.jobs.record import Job, Outcome, Slice, _Record
from service.settings import environment_name

R = TypeVar("R", bound=_Record)

_OWNER_ONLY = 0o700


class Entry:
    """The folder of one job; paths below it are made here and nowhere else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        """Of the job."""
        return self.folder.name

    @property
    def upload(self) -> Path:
        """The archive as it came, until it is unpacked."""
        return self.folder / "upload"

    @property
    def result(self) -> Path:
        """The archive that the client gets."""
        return self.folder / "result.zip"

    def source(self, number: int) -> Path:
        """A source instance; numbers begin with 1."""
        return self.folder / "source" / f"{number:05d}.dcm"

    def derived(self, number: int) -> Path:
        """Its derived instance."""
        return self.folder / "derived" / f"{number:05d}.dcm"

    def count_derived(self) -> int:
        """About how many instances are derived, without looking whether they are whole."""
        folder = self.folder / "derived"
        return sum(1 for _ in folder.glob("*.json")) if folder.is_dir() else 0

    def finished(self) -> dict[int, Slice]:
        """Number -> what is to be said of it, of the instances that are derived and whole, ascending."""
        folder = self.folder / "derived"
        paths = [path for path in sorted(folder.glob("*.json")) if path.stem.isdecimal()] if folder.is_dir() else []
        found = {int(path.stem): self._facts(path) for path in paths}
        return {number: facts for number, facts in found.items() if facts is not None}

    def write_derived(self, number: int, data: bytes, facts: Slice) -> None:
        """A derived instance, and then what is to be said of it, by which it is finished.

        Nothing is flushed to the disk: what a crash of the machine takes can be made again, and is seen to be missing.
        """
        place = self.derived(number)
        place.parent.mkdir(mode=_OWNER_ONLY, exist_ok=True)
        place.with_suffix(".json").unlink(missing_ok=True)
        place.write_bytes(data)
        place.with_suffix(".json").write_text(facts.model_dump_json(), encoding="utf-8")

    def _facts(self, path: Path) -> Slice | None:
        with contextlib.suppress(OSError, ValueError):
            facts, data = Slice.model_validate_json(path.read_bytes()), path.with_suffix(".dcm").read_bytes()
            if zlib.crc32(data) == facts.crc32:
                return facts
        return None

    def forget_derived(self) -> None:
        """As if nothing had been derived yet."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder / "derived")

    def attempt(self) -> int:
        """Counts one more run of the job, and says how many there were that did not end in order."""
        place = self.folder / "attempts"
        before = int(place.read_text()) if place.is_file() else 0
        write_file(place, str(before + 1).encode(), replace=True)
        return before + 1

    def take_back(self) -> None:
        """The last run was stopped in order."""
        with contextlib.suppress(OSError, ValueError):
            place = self.folder / "attempts"
            write_file(place, str(max(0, int(place.read_text()) - 1)).encode(), replace=True)

    def job(self) -> Job:
        """What was accepted."""
        return Job.model_validate_json((self.folder / "job.json").read_bytes())

    def outcome(self) -> Outcome | None:
        """How it ended; None as long as it has not, or where that cannot be read: then it is done again."""
        with contextlib.suppress(OSError, ValueError):
            return Outcome.model_validate_json((self.folder / "outcome.json").read_bytes())
        return None

    def write_job(self, job: Job) -> None:
        """Writes down what was accepted."""
        write_file(self.folder / "job.json", job.model_dump_json().encode(), replace=True)

    def end(self, outcome: Outcome) -> None:
        """Writes down how it ended, and removes what only the work needed."""
        write_file(self.folder / "outcome.json", outcome.model_dump_json().encode(), replace=True)
        self.tidy()

    def tidy(self) -> None:
        """Removes what a job that has ended does not need."""
        for name in ("source", "derived"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


class Spool:
    """All jobs of this server.

    Args:
        folder: made if need be; for its owner only from then on.

    Raises:
        UnsafeConfiguration: it cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._incoming, self._jobs = self.folder / "incoming", self.folder / "jobs"
        setting = environment_name("spool")
        try:
            for path in (self.folder, self._incoming, self._jobs):
                path.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
            self.folder.chmod(_OWNER_ONLY)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise UnsafeConfiguration(
                f"another process uses the spool {self.folder} ({setting}), and two would do the same jobs twice; end"
                " it, or give this one a spool of its own"
            ) from None
        except OSError as error:
            raise UnsafeConfiguration(f"the spool {self.folder} ({setting}) cannot be used: {error.strerror}") from None
        shutil.rmtree(self._incoming)
        self._incoming.mkdir(mode=_OWNER_ONLY)

    def close(self) -> None:
        """Lets another process have it."""
        os.close(self._lock)

    def identity(self) -> str:
        """What tells this spool from every other, wherever it is mounted: 32 hexadecimal digits, made once."""
        place = self.folder / "identity"
        if not place.is_file():
            write_file(place, uuid.uuid4().hex.encode(), replace=True)
        return place.read_text(encoding="ascii")

    def free_bytes(self) -> int:
        """Of its disk."""
        return shutil.disk_usage(self.folder).free

    def entries(self) -> Iterator[Entry]:
        """Of all jobs."""
        for path in sorted(self._jobs.iterdir()):
            yield Entry(path)

    def entry(self, job_id: str) -> Entry:
        """Of a job, whether it is there or not."""
        return Entry(self._jobs / job_id)

    def incoming(self) -> Entry:
        """A new folder for something that may become a job; `discard` or `commit` takes it."""
        entry = Entry(self._incoming / uuid.uuid4().hex)
        entry.folder.mkdir(mode=_OWNER_ONLY)
        return entry

    def discard(self, entry: Entry) -> None:
        """Removes what came in, unless it has become a job."""
        shutil.rmtree(entry.folder, ignore_errors=True)

    def commit(self, entry: Entry, job: Job) -> Entry:
        """Makes a job of what came in: from now on it survives whatever happens."""
        entry.write_job(job)
        place = self.entry(job.id)
        entry.folder.rename(place.folder)
        flush_folder(self._jobs)
        return place

    def remove(self, entry: Entry) -> None:
        """Removes a job, whole or, after a crash, not at all."""
        aside = self._incoming / uuid.uuid4().hex
        with contextlib.suppress(FileNotFoundError):
            entry.folder.rename(aside)
            flush_folder(self._jobs)
            shutil.rmtree(aside, ignore_errors=True)

    def expire_unknown(self, known: Collection[str], before: float) -> None:
        """Removes folders that are no known job and were not changed since a moment, in seconds of the epoch."""
        for entry in self.entries():
            if entry.id not in known and entry.folder.stat().st_mtime < before:
                self.remove(entry)
