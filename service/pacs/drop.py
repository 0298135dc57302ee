"""A folder that series are dropped into, for batches and tries: what lies still in it is taken as if it had been sent.

drop/**/file --(unchanged for `STILL_SECONDS`?)--> arrivals --> removed
                                                      |  not taken, and never will be
                                                      +--> drop/.refused/<name>, and beside it why

What cannot be removed is left where it is, and not looked at again before it changes or the program starts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from imaging.errors import ImagingError
from service.errors import InvalidConfiguration
from service.files import write_file
from service.pacs.arrivals import Arrivals
from service.pacs.audit.facts import Party
from service.pacs.audit.trail import Trail
from service.pacs.errors import NoRoom, NotTaken
from service.pacs.visit import Visit
from service.settings import Settings
from service.telemetry import log_defect
from service.wholly import whole

SENDER = "FOLDER"
"""As rules see it."""

STILL_SECONDS = 10.0
"""For which a file must not have changed: a copy may stall, with the size that it will have and zeros at its end."""

REFUSED = ".refused"
AT_ONCE = 200
"""Files in one sweep, so that others have their turn."""


_Stamp = tuple[int, int, int, int]
"""What tells whether a file has changed: which it is, its size, and when it and what is known of it was changed."""


@dataclass(frozen=True)
class _Seen:
    """A file as it was found, and since when it is so."""

    stamp: _Stamp
    since: float


class Drop:
    """Of one node.

    Args:
        folder: where files are put.
        arrivals: where instances go.
        settings: of the app: how large a file may be.
        trail: where it is told what came.
        told: of each instance, what was said of it.
        clock: seconds; dates of files are compared with each other only, since another machine may have written them.

    Raises:
        InvalidConfiguration: the folder is not there.
    """

    def __init__(
        self,
        folder: Path,
        arrivals: Arrivals,
        settings: Settings,
        *,
        trail: Trail,
        told: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not folder.is_dir():
            raise InvalidConfiguration(f"node.drop names {folder}, and there is no such folder")
        self._folder = folder
        self._arrivals = arrivals
        self._most = settings.max_upload_bytes
        self._trail = trail
        self._told = told
        self._clock = clock
        self._seen: dict[Path, _Seen] = {}
        self._left: dict[Path, _Stamp] = {}
        self._log = structlog.get_logger("clearslice")

    async def take(self) -> None:
        """Takes what lies still."""
        await whole(asyncio.to_thread(self._take))

    def _take(self) -> None:
        found, now = self._files(), self._clock()
        self._left = {path: stamp for path, stamp in self._left.items() if found.get(path) == stamp}
        before, self._seen = self._seen, {}
        for path, stamp in found.items():
            seen = before.get(path)
            self._seen[path] = seen if seen is not None and seen.stamp == stamp else _Seen(stamp, now)
        still = [
            path
            for path, seen in self._seen.items()
            if seen is before.get(path) and now - seen.since >= STILL_SECONDS and path not in self._left
        ]
        if not still:
            return
        visit = Visit(self._arrivals, SENDER, told=self._told)
        try:
            for path in still[:AT_ONCE]:
                self._take_one(visit, path, found[path])
        except NoRoom as error:
            self._log.warning("drop_waits", reason=str(error))
        finally:
            visit.leave(self._trail, Party(user=SENDER, name="dropped files"))

    def _files(self) -> dict[Path, _Stamp]:
        found = {}
        for parent, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                with contextlib.suppress(OSError):  # it is gone again, say
                    about = Path(parent, name).lstat()
                    if stat.S_ISREG(about.st_mode) and not name.startswith("."):
                        found[Path(parent, name)] = _stamp(about)
        return found

    def _take_one(self, visit: Visit, path: Path, stamp: _Stamp) -> None:
        try:
            if path.stat().st_size > self._most:
                self._refuse(path, stamp, f"it has more than {self._most} bytes")
                return
            data = path.read_bytes()
            if _stamp(path.stat()) != stamp:
                return  # it did not lie still after all
        except FileNotFoundError:
            return  # whoever put it here has taken it away
        except OSError as error:
            self._refuse(path, stamp, f"it cannot be read: {error.strerror}")
            return
        try:
            visit.take(data)
        except NoRoom:
            raise
        except (ImagingError, NotTaken) as error:
            self._refuse(path, stamp, str(error))
        except Exception as error:  # noqa: BLE001 - one file fails, the others go on
            log_defect(error)
            self._refuse(path, stamp, "the node failed; its log says more")
        else:
            self._remove(path, stamp)

    def _remove(self, path: Path, stamp: _Stamp) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._leave(path, stamp, error)

    def _refuse(self, path: Path, stamp: _Stamp, reason: str) -> None:
        self._log.warning("dropped_file_refused", reason=reason)
        try:
            folder = (self._folder / REFUSED / path.relative_to(self._folder)).parent
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            place = _free_place(folder, path)
            path.replace(place)
            write_file(_reason_of(place), f"{reason}\n".encode(), replace=True)
        except FileNotFoundError:
            return
        except OSError as error:
            self._leave(path, stamp, error)

    def _leave(self, path: Path, stamp: _Stamp, error: OSError) -> None:
        self._left[path] = stamp
        self._log.warning("dropped_file_not_removed", reason=error.strerror)


def _stamp(about: os.stat_result) -> _Stamp:
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _free_place(folder: Path, path: Path) -> Path:
    """For a refused file and its reason; the names of others are numbered."""
    names = itertools.chain([path.name], (f"{path.stem}-{number}{path.suffix}" for number in itertools.count(2)))
    places = (folder / name for name in names)
    return next(place for place in places if not os.path.lexists(place) and not os.path.lexists(_reason_of(place)))


def _reason_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.txt")
