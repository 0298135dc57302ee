"""Others ask this node to keep what they sent (storage commitment), and get an honest answer.

    N-ACTION --keep--> commitments/<id>.json --run: does the archive list them?--> N-EVENT-REPORT to who asked
                                                  0112: it does not                again, a little later

This node is no archive: what it was sent goes in the end. So it commits to an instance only when the archive of the
site (`commit_by`), asked by QIDO-RS, has it. Without one it commits to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict

from service.files import write_file
from service.pacs.commitment import CommitmentRequest, Reference, event_for
from service.pacs.configuration import Configuration
from service.pacs.peers import PeerError
from service.pacs.peers.asking import Asker, asker_of
from service.pacs.peers.reporting import report_to
from service.pacs.series_folder import OWNER_ONLY
from service.wholly import whole

NO_SUCH_INSTANCE = 0x0112
"""FailureReason (PS3.3 C.14.1.1)."""

PAUSES = (1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0)
"""Seconds before a report that could not be sent is tried again; after the last it is given up, and asked for again."""

Whereabouts = Callable[[str], tuple[str, str] | None]
"""SOPInstanceUID -> study and series, of what has come to this node."""


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

    def waiting(self) -> dict[Path, _Asked]:
        """Those that are not answered yet."""
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                found[path] = _Asked.model_validate(json.loads(path.read_bytes()))
        return found


class Commitments:
    """Answers them.

    Args:
        requests: what was asked.
        configuration: of the node: who may be told, and who is asked.
        whereabouts: of instances that came here.
    """

    def __init__(self, requests: CommitmentRequests, configuration: Configuration, whereabouts: Whereabouts) -> None:
        self._requests = requests
        self._configuration = configuration
        self._whereabouts = whereabouts
        self._tried: dict[Path, tuple[int, float]] = {}
        self._log = structlog.get_logger("clearslice")

    async def answer_due(self) -> None:
        """Answers those whose time has come."""
        for path, asked in (await asyncio.to_thread(self._requests.waiting)).items():
            tried, due = self._tried.get(path, (0, 0.0))
            if time.monotonic() < due:
                continue
            try:
                await whole(asyncio.to_thread(self._answer, asked))
            except PeerError as error:
                self._log.warning("commitment_not_told", aet=asked.aet, reason=str(error))
                if tried < len(PAUSES):
                    self._tried[path] = (tried + 1, time.monotonic() + PAUSES[tried])
                    continue
            self._tried.pop(path, None)
            await asyncio.to_thread(path.unlink)

    def _answer(self, asked: _Asked) -> None:
        committed, failed = self._judge(asked.instances)
        name = next(
            (
                name
                for name, peer in self._configuration.peers.items()
                if peer.aet == asked.aet and peer.port is not None
            ),
            None,
        )
        if name is None:
            raise PeerError(f"there is no peer with the AE title {asked.aet} that has a port to be told on")
        event_type, told = event_for(asked.transaction, committed, failed)
        report_to(name, self._configuration.peers[name], self._configuration.node, event_type, told)
        self._log.info("commitment_told", peer=name, committed=len(committed), failed=len(failed))

    def _judge(self, instances: tuple[Reference, ...]) -> tuple[list[Reference], Mapping[Reference, int]]:
        keeper = self._configuration.node.commit_by
        ask = None if keeper is None else asker_of(keeper, self._configuration)
        kept = {} if ask is None else self._listed(ask, instances)
        committed = [each for each in instances if each[1] in kept.get(self._whereabouts(each[1]), ())]
        return committed, {each: NO_SUCH_INSTANCE for each in instances if each not in committed}

    def _listed(self, ask: Asker, instances: tuple[Reference, ...]) -> dict[tuple[str, str] | None, frozenset[str]]:
        """Study and series -> what the archive has of it."""
        places = {self._whereabouts(uid) for _, uid in instances}
        return {place: ask(*place) for place in places if place is not None}
