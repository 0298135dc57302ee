"""A folder that series are dropped into, for batches and tries: what lies still in it is taken as if it had been sent.

drop/**/file --(unchanged since the last look?)--> arrivals --> removed
                                                      |  not taken, and never will be
                                                      +--> drop/.refused/<name>, and beside it why
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
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

REFUSED = ".refused"
AT_ONCE = 200
"""Files in one sweep, so that others have their turn."""


class Drop:
    """Of one node.

    Args:
        folder: where files are put.
        arrivals: where instances go.
        settings: of the app: how large a file may be.
        trail: where it is told what came.
        told: of each instance, what was said of it.

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
    ) -> None:
        if not folder.is_dir():
            raise InvalidConfiguration(f"node.drop names {folder}, and there is no such folder")
        self._folder = folder
        self._arrivals = arrivals
        self._most = settings.max_upload_bytes
        self._trail = trail
        self._told = told
        self._seen: dict[Path, tuple[int, int]] = {}

    async def take(self) -> None:
        """Takes what lies still."""
        await whole(asyncio.to_thread(self._take))

    def _take(self) -> None:
        seen, still = {}, []
        for path in self._files():
            found = path.stat()
            seen[path] = (found.st_size, found.st_mtime_ns)
            if self._seen.get(path) == seen[path]:
                still.append(path)
        self._seen = seen
        if not still:
            return
        visit = Visit(self._arrivals, SENDER, told=self._told)
        try:
            for path in still[:AT_ONCE]:
                self._take_one(visit, path)
        except NoRoom as error:
            structlog.get_logger("clearslice").warning("drop_waits", reason=str(error))
        finally:
            visit.leave(self._trail, Party(user=SENDER, name="dropped files"))

    def _files(self) -> list[Path]:
        found = []
        for parent, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
        return [path for path in found if path.is_file() and not path.is_symlink()]

    def _take_one(self, visit: Visit, path: Path) -> None:
        try:
            if path.stat().st_size > self._most:
                self._refuse(path, f"it has more than {self._most} bytes")
                return
            visit.take(path.read_bytes())
        except NoRoom:
            raise
        except (ImagingError, NotTaken) as error:
            self._refuse(path, str(error))
        except Exception as error:  # noqa: BLE001 - one file fails, the others go on
            log_defect(error)
            self._refuse(path, "the node failed; its log says more")
        else:
            path.unlink()

    def _refuse(self, path: Path, reason: str) -> None:
        place = self._folder / REFUSED / path.relative_to(self._folder)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(place)
        write_file(place.with_name(f"{place.name}.txt"), f"{reason}\n".encode(), replace=True)
        structlog.get_logger("clearslice").warning("dropped_file_refused", reason=reason)
