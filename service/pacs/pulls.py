"""Series that are fetched from a peer because somebody asked for it, instead of being sent.

    POST /v1/pacs/pulls --accept--> pulls/<id>.json --durable: "pull"--> WADO-RS, instance by instance --> arrivals
                                         |  the peer is down: again later, up to `give_up_seconds` --> failed
                                         +--> done: what happens then, the rules say

A pull that is asked for again under the same key is the same, and tried again if it has failed; what was fetched before
is known, and not kept twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict

from imaging.errors import ImagingError
from service.errors import InvalidField, KeyReused, NoSuchJob
from service.files import write_file
from service.pacs.arrivals import Arrivals
from service.pacs.audit.codes import Outcome
from service.pacs.audit.facts import Party
from service.pacs.audit.trail import Trail
from service.pacs.configuration import Configuration
from service.pacs.errors import NoRoom, NotTaken
from service.pacs.outbox import LONGEST_PAUSE
from service.pacs.peers import PeerError, PeerRefused, PeerUnavailable
from service.pacs.peers.dicomweb import WebPeer
from service.pacs.series_folder import OWNER_ONLY, is_file_name
from service.pacs.visit import Visit
from service.settings import Settings
from service.telemetry import log_defect
from service.wholly import whole

NAMESPACE = uuid.UUID("b2f0f6a4-7d0a-5d59-8ac2-3c1a6c1f9a02")
"""Of the ids of pulls that follow from an idempotency key."""


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
    ) -> None:
        self._arrivals = arrivals
        self._configuration = configuration
        self._settings = settings
        self._clock = clock
        self._trail = trail
        self._told = told
        self._folder = folder_of(arrivals.folder)
        self._pulls: dict[str, Pull] = {}
        self._busy: set[str] = set()

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
        """
        self._check(peer, study, series)
        identity = uuid.uuid4().hex if key is None else uuid.uuid5(NAMESPACE, f"{owner}\n{key}").hex
        before = self._pulls.get(identity)
        if before is not None:
            if (before.peer, before.series) != (peer, series):
                raise KeyReused(
                    "the Idempotency-Key was used before, for another series; a new request needs a new key"
                )
            if before.state == "failed":  # asked for again, it is tried again
                before = before.model_copy(update={**_FRESH, "created": self._clock()})
                await self._write(before)
            return before, True
        pull = Pull(id=identity, owner=owner, peer=peer, study=study, series=series, created=self._clock())
        self._pulls[identity] = pull
        await self._write(pull)
        return pull, False

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

    def due(self) -> list[str]:
        """Ids of those that somebody should be at."""
        now = self._clock()
        return [
            pull.id
            for pull in self._pulls.values()
            if pull.state == "waiting" and pull.id not in self._busy and (pull.due is None or pull.due <= now)
        ]

    async def run(self, identity: str) -> None:
        """One attempt; what the durable engine calls."""
        if identity not in self.due():
            return
        pull = self._pulls[identity]
        self._busy.add(identity)
        try:
            await self._attempt(pull)
        except Exception as error:  # noqa: BLE001 - a defect must not end in a loop without a pause
            log_defect(error)
            await self._later(pull, "the node failed; its log says more")
        finally:
            self._busy.discard(identity)

    async def _attempt(self, pull: Pull) -> None:
        if pull.peer not in self._configuration.peers:
            await self._end(pull, "failed", reason="the peer is not configured any more")
            return
        try:
            fetched, refused, why = await whole(asyncio.to_thread(self._fetch, pull))
        except PeerRefused as error:
            await self._end(pull, "failed", reason=str(error))
        except (PeerUnavailable, NoRoom) as error:
            await self._later(pull, str(error), pause=getattr(error, "retry_after", None))
        else:
            await self._end(pull, "done", fetched=fetched, refused=refused, reason=why)

    def _fetch(self, pull: Pull) -> tuple[int, int, str]:
        """How many instances were taken, how many not, and why the first of these not."""
        peer = WebPeer(pull.peer, self._configuration.peers[pull.peer])
        party = Party(user=pull.peer, host=self._configuration.peers[pull.peer].url or "", name=pull.peer)
        visit = Visit(self._arrivals, pull.peer, told=self._told)
        fetched, reasons = 0, []
        try:
            study = pull.study or _study_of(peer, pull.series)
            for data in peer.fetch(study, pull.series, max_bytes=self._settings.max_upload_bytes):
                try:
                    visit.take(data, study)
                except NoRoom:
                    raise
                except (ImagingError, NotTaken) as error:
                    reasons.append(str(error))
                else:
                    fetched += 1
        except PeerError as error:
            self._trail.queried(party, party.host, outcome=Outcome.SERIOUS, reason=str(error))
            raise
        finally:
            visit.leave(self._trail, party, pulled=True)
        if not fetched and not reasons:
            raise PeerRefused("it has no such series, or nothing in it")
        return fetched, len(reasons), next(iter(reasons), "")

    async def _later(self, pull: Pull, reason: str, *, pause: float | None = None) -> None:
        peer, now = self._configuration.peers[pull.peer], self._clock()
        since = pull.since or now
        if now - since >= timedelta(seconds=peer.give_up_seconds):
            await self._end(pull, "failed", reason=reason)
            return
        usual = min(LONGEST_PAUSE, peer.retry_seconds * 2 ** min(pull.attempts, 20))
        due = now + timedelta(seconds=max(usual, min(pause or 0.0, LONGEST_PAUSE)))
        await self._write(
            pull.model_copy(update={"attempts": pull.attempts + 1, "since": since, "due": due, "reason": reason})
        )

    async def _end(self, pull: Pull, state: str, **changes: Any) -> None:
        ended = pull.model_copy(update={"state": state, "finished": self._clock(), "due": None, **changes})
        await self._write(ended)
        log = structlog.get_logger("clearslice")
        tell = log.warning if state == "failed" else log.info
        tell("pull_ended", pull=pull.id, peer=pull.peer, state=state, fetched=ended.fetched, reason=ended.reason)

    async def _write(self, pull: Pull) -> None:
        place = self._place(pull.id)
        await whole(asyncio.to_thread(write_file, place, pull.model_dump_json().encode(), replace=True))
        self._pulls[pull.id] = pull

    def tidy(self, now: datetime, kept: timedelta) -> None:
        """Forgets those that ended long ago; blocking."""
        for pull in list(self._pulls.values()):
            if pull.finished is not None and now - pull.finished >= kept:
                self._place(pull.id).unlink(missing_ok=True)
                self._pulls.pop(pull.id, None)

    def _place(self, identity: str) -> Path:
        return self._folder / f"{identity}.json"


def _study_of(peer: WebPeer, series: str) -> str:
    found = peer.find_series(series=series)
    if not found:
        raise PeerRefused("it has no such series")
    return found[0][0]


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
