"""Others ask this node to keep what they sent (storage commitment), and get an honest answer.

    N-ACTION --keep--> commitments/<id>.json --does the archive list them?--> N-EVENT-REPORT to who asked
                            ^                    |  0112: it does not           |
                            +-- a little later --+-- still coming, or unknown   +-- not reached: again after a pause

This node is no archive: what it was sent goes in the end. So it commits to an instance only when the archive of the
site (`commit_by`), asked by QIDO-RS, has it. Without one it commits to nothing. Who asks while instances are on their
way, to this node or to the archive, is answered when they are there, or after `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel, ConfigDict

from service.files import write_file
from service.pacs.commitment import CommitmentRequest, Reference, event_for
from service.pacs.configuration import Configuration
from service.pacs.peers import PeerError
from service.pacs.peers.asking import asker_of
from service.pacs.peers.reporting import report_to
from service.pacs.series_folder import OWNER_ONLY
from service.telemetry import log_defect
from service.wholly import whole

if TYPE_CHECKING:  # it knows jobs, which a process that only receives does not
    from service.pacs.overview import Place

NO_SUCH_INSTANCE = 0x0112
"""FailureReason (PS3.3 C.14.1.1)."""

PAUSES = (1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0)
"""Seconds before an answer that failed is tried again; after the last it is given up, and asked for again."""

PATIENCE_SECONDS = 600.0
"""After a request, until what has not come by then is said to be missing; a series is complete long before."""

LOOK_AGAIN_SECONDS = 10.0
"""Between two looks for what is still on its way; each asks the archive."""

Whereabouts = Callable[[Collection[str]], "Mapping[str, Place]"]
"""SOPInstanceUIDs -> where they belong, of those that have come to this node; blocking, called on a thread."""


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    aet: str
    transaction: str
    instances: tuple[Reference, ...]


class CommitmentRequests:
    """What others asked, between the process that receives it and the one that answers.

    Args:
        folder: `pacs/` in the spool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "commitments"
        self._folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)

    def keep(self, aet: str, request: CommitmentRequest) -> None:
        """Keeps one until it is answered; on the disk when this returns."""
        name = hashlib.sha256(f"{aet}\n{request.transaction_uid}".encode()).hexdigest()[:32]
        asked = _Asked(aet=aet, transaction=request.transaction_uid, instances=request.instances)
        write_file(self._folder / f"{name}.json", asked.model_dump_json().encode(), replace=True)

    def paths(self) -> list[Path]:
        """Files of those that are not answered yet."""
        return sorted(self._folder.glob("*.json"))

    def waiting(self) -> dict[Path, _Asked]:
        """Those that are not answered yet."""
        found = {}
        for path in self.paths():
            with contextlib.suppress(OSError, ValueError):
                found[path] = _read(path)
        return found


class Commitments:
    """Answers them, one after the other, in a task of its own.

    Args:
        requests: what was asked.
        configuration: of the node: who may be told, and who is asked.
        whereabouts: of instances that came here.
        threads: where the network is waited for; without, where the event loop has its threads.
    """

    def __init__(
        self,
        requests: CommitmentRequests,
        configuration: Configuration,
        whereabouts: Whereabouts,
        *,
        threads: Executor | None = None,
    ) -> None:
        self._requests = requests
        self._configuration = configuration
        self._whereabouts = whereabouts
        self._threads = threads
        self._tried: dict[Path, tuple[int, float]] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._log = structlog.get_logger("clearslice")

    async def answer_due(self) -> None:
        """Begins to answer those whose time has come, unless it is at it; does not wait for peers."""
        if not self._stopping and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._answer_all())

    async def stop(self) -> None:
        """Waits for the answer that is just being given; the next process gives the others."""
        self._stopping = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _answer_all(self) -> None:
        try:
            paths = await asyncio.to_thread(self._requests.paths)
        except OSError as error:  # the next sweep tries again
            log_defect(error)
            return
        for gone in self._tried.keys() - set(paths):
            self._tried.pop(gone)
        for path in paths:
            tried, due = self._tried.get(path, (0, 0.0))
            if not self._stopping and time.monotonic() >= due:
                await self._attempt(path, tried)

    async def _attempt(self, path: Path, tried: int) -> None:
        """One request; whatever goes wrong with it delays no other."""
        try:
            if not await self._on_thread(self._answer, path):
                self._tried[path] = (tried, time.monotonic() + LOOK_AGAIN_SECONDS)
                return
        except PeerError as error:
            self._log.warning("commitment_not_told", reason=str(error), tried=tried + 1)
        except Exception as error:  # noqa: BLE001 - a defect must neither stop the others nor come again at once
            log_defect(error)
        else:
            self._tried.pop(path, None)
            return
        self._tried[path] = (tried + 1, time.monotonic() + PAUSES[min(tried, len(PAUSES) - 1)])
        if tried >= len(PAUSES):
            try:
                await self._on_thread(_remove, path)
            except OSError as error:
                log_defect(error)

    async def _on_thread(self, work: Callable[[Path], bool], path: Path) -> bool:
        return await whole(asyncio.get_running_loop().run_in_executor(self._threads, work, path))

    def _answer(self, path: Path) -> bool:
        """Whether it has been answered; if not, it is too early."""
        try:
            asked, came = _read(path), path.stat().st_mtime
        except (FileNotFoundError, ValueError):  # it has gone, or nobody can read it
            return False
        name = self._who(asked.aet)
        places = self._whereabouts([uid for _, uid in asked.instances])
        committed, failed = self._judge(asked.instances, places)
        coming = any(uid not in places or places[uid].arriving for _, uid in failed)
        # a clock that was set back makes nobody wait for longer
        early = 0 <= time.time() - came < PATIENCE_SECONDS
        if coming and early and self._configuration.node.commit_by is not None:
            return False
        event_type, told = event_for(asked.transaction, committed, failed)
        report_to(name, self._configuration.peers[name], self._configuration.node, event_type, told)
        self._log.info("commitment_told", peer=name, committed=len(committed), failed=len(failed))
        return _remove(path)

    def _who(self, aet: str) -> str:
        for name, peer in self._configuration.peers.items():
            if peer.aet == aet and peer.port is not None:
                return name
        raise PeerError(f"there is no peer with the AE title {aet} that has a port to be told on")

    def _judge(
        self, instances: tuple[Reference, ...], places: Mapping[str, Place]
    ) -> tuple[list[Reference], Mapping[Reference, int]]:
        keeper = self._configuration.node.commit_by
        ask = None if keeper is None else asker_of(keeper, self._configuration)
        by_series: dict[tuple[str, str], set[str]] = {}
        for uid, place in places.items():
            by_series.setdefault((place.study, place.series), set()).add(uid)
        kept: set[str] = set()
        if ask is not None:
            for (study, series), uids in by_series.items():
                kept |= uids & ask(study, series)
        committed = [each for each in instances if each[1] in kept]
        return committed, {each: NO_SUCH_INSTANCE for each in instances if each[1] not in kept}


def _read(path: Path) -> _Asked:
    return _Asked.model_validate(json.loads(path.read_bytes()))


def _remove(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True
