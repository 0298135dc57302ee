"""Series that are fetched from a peer because somebody asked for it, instead of being sent.

    POST /v1/pacs/pulls --accept--> pulls/<id>.json --durable: "pull"--> `Fetching`, instance by instance --> arrivals
                                         |  the peer is down: again later, up to `give_up_seconds` --> failed
                                         +--> done: what happens then, the rules say

A pull that is asked for again under the same key is the same, and tried again if it has failed; what was fetched before
is known, and not kept twice. While it waits or runs, its series is still coming; when it fails half way, the series
has a hole that says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict

from service.errors import InvalidField, KeyReused, NoSuchJob
from service.files import write_file
from service.pacs.arrivals import Arrivals
from service.pacs.audit.trail import Trail
from service.pacs.configuration import Configuration
from service.pacs.errors import NoRoom
from service.pacs.fetching import Fetching, Stopped
from service.pacs.outbox import LONGEST_PAUSE
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.series_folder import OWNER_ONLY, is_file_name
from service.settings import Settings
from service.telemetry import log_defect
from service.wholly import whole

T = TypeVar("T")

NAMESPACE = uuid.UUID("b2f0f6a4-7d0a-5d59-8ac2-3c1a6c1f9a02")
"""Of the ids of pulls that follow from an idempotency key."""

NODE_FAILED = "the node failed; its log says more"

_FRESH = {"state": "waiting", "attempts": 0, "since": None, "due": None, "reason": "", "finished": None}


class Pull(BaseModel):
    """A series to be fetched.

    Attributes:
        id: 32 hexadecimal digits.
        owner: name of the key that asked.
        peer: its name.
        study: StudyInstanceUID; empty: the peer is asked.
        series: SeriesInstanceUID.
        created: when it was accepted.
        state: waiting, done or failed.
        attempts, since, due: as of `service.pacs.record.Delivery`.
        reason: of the last failure.
        fetched, refused: instances, of the last attempt.
        finished: when.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    owner: str
    peer: str
    study: str
    series: str
    created: AwareDatetime
    state: Literal["waiting", "done", "failed"] = "waiting"
    attempts: int = 0
    since: AwareDatetime | None = None
    due: AwareDatetime | None = None
    reason: str = ""
    fetched: int = 0
    refused: int = 0
    finished: AwareDatetime | None = None

    def described(self, *, busy: bool) -> dict[str, Any]:
        """What a client is told."""
        document = self.model_dump(mode="json", exclude={"owner", "since"}, exclude_none=True)
        path = f"/v1/pacs/pulls/{self.id}"
        return document | {"state": "running" if busy else self.state, "links": {"self": path}}


class Pulls:
    """Of one node.

    Args:
        arrivals: where instances go.
        configuration: of the node: which peers there are.
        settings: of the app: how large an instance may be.
        clock: the present moment, aware.
        trail: where it is told what was fetched.
        told: of each instance, what was said of it.
        threads: where it waits for peers; without, where the event loop has its threads.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        configuration: Configuration,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        trail: Trail,
        told: Callable[[str], object],
        threads: Executor | None = None,
    ) -> None:
        self._arrivals = arrivals
        self._configuration = configuration
        self._fetching = Fetching(arrivals, configuration, settings, trail=trail, told=told)
        self._clock = clock
        self._threads = threads
        self._folder = folder_of(arrivals.folder)
        self._pulls: dict[str, Pull] = {}
        self._busy: set[str] = set()
        self._accepting = asyncio.Lock()

    def load(self) -> None:
        """Reads what was accepted; blocking."""
        self._folder.mkdir(mode=OWNER_ONLY, exist_ok=True)
        self._pulls = {pull.id: pull for pull in read_pulls(self._arrivals.folder)}

    async def accept(self, peer: str, study: str, series: str, *, owner: str, key: str | None) -> tuple[Pull, bool]:
        """Takes the order to fetch a series; on the disk when this returns.

        Returns:
            The pull, and whether the same had been asked for before.

        Raises:
            InvalidField: no such DICOMweb peer, or no UIDs.
            KeyReused: the key came with another request.
            OSError: the disk refuses it, and nothing is fetched.
        """
        self._check(peer, study, series)
        identity = uuid.uuid4().hex if key is None else uuid.uuid5(NAMESPACE, f"{owner}\n{key}").hex
        async with self._accepting:  # the same key may come twice at once
            before = self._pulls.get(identity)
            if before is None:
                pull = Pull(id=identity, owner=owner, peer=peer, study=study, series=series, created=self._clock())
                return await self._accepted(pull), False
            if (before.peer, before.study, before.series) != (peer, study, series):
                raise KeyReused(
                    "the Idempotency-Key was used before, for another series; a new request needs a new key"
                )
            if before.state != "failed":
                return before, True
            # asked for again, it is tried again
            return await self._accepted(before.model_copy(update={**_FRESH, "created": self._clock()})), True

    async def _accepted(self, pull: Pull) -> Pull:
        await self._keep(pull)
        self._pulls[pull.id] = pull  # not before it is on the disk: what was not accepted must not run
        return pull

    def _check(self, peer: str, study: str, series: str) -> None:
        known = [name for name, each in self._configuration.peers.items() if each.kind == "dicomweb"]
        wrong = {}
        if peer not in known:
            wrong["peer"] = f"must be a DICOMweb peer of pacs.toml: {', '.join(known) or 'there is none'}"
        if not is_file_name(series):
            wrong["series"] = "must be a SeriesInstanceUID"
        if study and not is_file_name(study):
            wrong["study"] = "must be a StudyInstanceUID, or left out"
        if wrong:
            raise InvalidField("; ".join(f"{name} {what}" for name, what in wrong.items()), fields=wrong)

    def find(self, identity: str, owner: str) -> Pull:
        """One of them.

        Raises:
            NoSuchJob: there is none, or it is somebody else's.
        """
        pull = self._pulls.get(identity)
        if pull is None or pull.owner != owner:
            raise NoSuchJob("there is no pull with this id; it may have been forgotten since")
        return pull

    def all(self) -> list[Pull]:
        """The newest first, whoever asked."""
        return sorted(self._pulls.values(), key=lambda pull: pull.created, reverse=True)

    def describe(self, pull: Pull) -> dict[str, Any]:
        """What a client is told."""
        return pull.described(busy=pull.id in self._busy)

    def series_coming(self) -> frozenset[str]:
        """SeriesInstanceUIDs of which more may come, since a pull of them is not over: they are not complete."""
        return frozenset(pull.series for pull in self._pulls.values() if pull.state == "waiting")

    def stop(self) -> None:
        """What is being fetched ends with the instance that is on its way; the next process goes on."""
        self._fetching.stop()

    def due(self) -> list[str]:
        """Ids of those that somebody should be at; none after `stop`."""
        now = self._clock()
        return [
            pull.id
            for pull in self._pulls.values()
            if not self._fetching.stopped
            and pull.state == "waiting"
            and pull.id not in self._busy
            and (pull.due is None or pull.due <= now)
        ]

    async def run(self, identity: str) -> None:
        """One attempt; what the durable engine calls."""
        if identity not in self.due():
            return
        pull = self._pulls[identity]
        self._busy.add(identity)
        try:
            await self._attempt(pull)
        except Stopped:
            return  # it is no failed attempt
        except Exception as error:  # noqa: BLE001 - a defect must not end in a loop without a pause
            log_defect(error)
            await self._later(pull, NODE_FAILED)
        finally:
            self._busy.discard(identity)

    async def _attempt(self, pull: Pull) -> None:
        if pull.peer not in self._configuration.peers:
            await self._give_up(pull, "the peer is not configured any more")
            return
        try:
            fetched = await self._on_thread(lambda: self._fetching.fetch(pull.peer, pull.study, pull.series))
        except PeerRefused as error:
            await self._end(pull, "failed", reason=str(error))
        except (PeerUnavailable, NoRoom) as error:
            await self._later(pull, str(error), pause=getattr(error, "retry_after", None))
        else:
            why = next(iter(fetched.reasons), "")
            await self._end(pull, "done", fetched=fetched.taken, refused=len(fetched.reasons), reason=why)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        """Cancelled, it goes on to its end: what came must be noted."""
        return await whole(asyncio.get_running_loop().run_in_executor(self._threads, work))

    async def _later(self, pull: Pull, reason: str, *, pause: float | None = None) -> None:
        peer, now = self._configuration.peers.get(pull.peer), self._clock()
        if peer is None or now - (pull.since or now) >= timedelta(seconds=peer.give_up_seconds):
            await self._give_up(pull, reason)
        else:
            await self._wait(pull, reason, pause=pause)

    async def _give_up(self, pull: Pull, reason: str) -> None:
        """Fails, once the series has its holes."""
        try:
            await self._on_thread(lambda: self._fetching.give_up(pull.peer, pull.study, pull.series, reason))
        except NoRoom as error:
            await self._wait(pull, str(error))
        except Exception as error:  # noqa: BLE001 - as above; and a series without its holes would look whole
            log_defect(error)
            await self._wait(pull, NODE_FAILED)
        else:
            await self._end(pull, "failed", reason=reason)

    async def _wait(self, pull: Pull, reason: str, *, pause: float | None = None) -> None:
        peer, now = self._configuration.peers.get(pull.peer), self._clock()
        doubled = LONGEST_PAUSE if peer is None else peer.retry_seconds * 2 ** min(pull.attempts, 20)
        due = now + timedelta(seconds=min(LONGEST_PAUSE, max(doubled, pause or 0.0)))
        changes = {"attempts": pull.attempts + 1, "since": pull.since or now, "due": due, "reason": reason}
        await self._write(pull.model_copy(update=changes))

    async def _end(self, pull: Pull, state: str, **changes: Any) -> None:
        ended = pull.model_copy(update={"state": state, "finished": self._clock(), "due": None, **changes})
        await self._write(ended)
        log = structlog.get_logger("clearslice")
        tell = log.warning if state == "failed" else log.info
        tell("pull_ended", pull=pull.id, peer=pull.peer, state=state, fetched=ended.fetched, reason=ended.reason)

    async def _write(self, pull: Pull) -> None:
        """Remembers what became of one; what the disk refuses to remember counts until the restart."""
        try:
            await self._keep(pull)
        except OSError as error:
            structlog.get_logger("clearslice").warning("pull_not_written", pull=pull.id, reason=error.strerror)
        finally:
            self._pulls[pull.id] = pull

    async def _keep(self, pull: Pull) -> None:
        data = pull.model_dump_json().encode()
        await whole(asyncio.to_thread(write_file, self._place(pull.id), data, replace=True))

    def tidy(self, now: datetime, kept: timedelta) -> None:
        """Forgets those that ended long ago; blocking."""
        for pull in list(self._pulls.values()):
            if pull.finished is not None and now - pull.finished >= kept:
                self._place(pull.id).unlink(missing_ok=True)
                self._pulls.pop(pull.id, None)

    def _place(self, identity: str) -> Path:
        return self._folder / f"{identity}.json"


def folder_of(node: Path) -> Path:
    """Where pulls lie, in `pacs/` of the spool."""
    return node / "pulls"


def read_pulls(node: Path) -> list[Pull]:
    """Those that lie in the spool.

    Args:
        node: `pacs/` in it.
    """
    found = []
    for path in sorted(folder_of(node).glob("*.json")):
        with contextlib.suppress(OSError, ValueError):
            found.append(Pull.model_validate_json(path.read_bytes()))
    return found
