"""Bringing a derived series to one peer: sent, asked for, and tried again until the peer has it or will never have it.

    waiting --send--> sent --asked whether it keeps them--> verified        (delivered, where nobody is asked)
       ^  |             |
       |  +-- later: backoff, up to `give_up_seconds` --> dead letter <-- refused for good
       +--------------- does not keep some: these once more

Sent means that the peer said so of each instance. What was derived is kept as it is, and sent again, never made again.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
from pydicom import dcmread

from service.errors import RuleViolated
from service.pacs.audit.codes import Outcome
from service.pacs.audit.facts import Party
from service.pacs.audit.trail import Trail
from service.pacs.commitment import CommitmentReport
from service.pacs.configuration import Peer
from service.pacs.errors import NotDelivered
from service.pacs.live import LiveJob
from service.pacs.outgoing import Outgoing, Preparation, prepare
from service.pacs.peers import PeerClient, PeerError, PeerRefused, PeerUnavailable, Said
from service.pacs.record import Delivery
from service.pacs.transfers import patient_of, study_of
from service.telemetry import log_defect
from service.wholly import whole

T = TypeVar("T")

LONGEST_PAUSE = 3600.0
"""Seconds between two attempts, however often it has failed."""

MAX_RESENDS = 3
"""Of instances that a peer took and did not keep: then it never will."""

VERIFY_PAUSES = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds before a peer is asked again whether it keeps what it took: some need a while to know."""


class _Stopped(Exception):
    """The process is about to end."""


class _Heard:
    """What a peer has said of the instances of one attempt; called from the thread that sends."""

    def __init__(self, live: LiveJob, peer: str, numbers: Mapping[Path, int], stopping: threading.Event) -> None:
        self._live = live
        self._stopping = stopping
        self._peer = peer
        self._numbers = numbers
        self.refused: dict[int, str] = {}
        self.later: dict[int, str] = {}
        self.warnings: dict[int, str] = {}

    def told(self, path: Path, said: Said) -> None:
        """Of one instance."""
        number = self._numbers[path]
        if said.verdict == "taken":
            self._live.folder.note_taken(self._peer, number)
            if said.reason:
                self.warnings[number] = said.reason
        else:
            (self.refused if said.verdict == "refused" else self.later)[number] = said.reason
        if self._stopping.is_set():
            raise _Stopped


class Outbox:
    """Delivers to one peer.

    Args:
        name, peer: of the configuration.
        client: reaches it.
        ask: SOPInstanceUIDs that it keeps of a study and series; blocking, raises PeerError.
        preparation: how what it is sent differs from what was derived.
        clock: the present moment, aware.
        trail: where it is told what was sent.
        threads: where it waits for the peer.
    """

    def __init__(
        self,
        name: str,
        peer: Peer,
        *,
        client: PeerClient,
        ask: Callable[[str, str], frozenset[str]] | None,
        preparation: Preparation,
        clock: Callable[[], datetime],
        trail: Trail,
        threads: Executor,
    ) -> None:
        self.name = name
        self._peer = peer
        self._client = client
        self._ask = ask
        self._preparation = preparation
        self._clock = clock
        self._trail = trail
        self._threads = threads
        self._stopping = threading.Event()
        self._party = Party(user=peer.aet or peer.url or name, aet=peer.aet or "", host=_host_of(peer), name=name)
        self._log = structlog.get_logger("clearslice")

    def stop(self) -> None:
        """What is being sent ends after the present instance; it goes on after the restart."""
        self._stopping.set()

    async def run(self, live: LiveJob) -> None:
        """One attempt: as far as it goes now."""
        try:
            if live.deliveries[self.name].state == "waiting":
                await self._send(live)
            if live.deliveries[self.name].state == "sent":
                await self._verify(live)
        except _Stopped:
            return
        except PeerRefused as error:
            await self._give_up(live, str(error))
        except PeerUnavailable as error:
            await self._later(live, str(error), pause=error.retry_after)
        except RuleViolated as error:
            await self._give_up(live, str(error))
        except OSError as error:
            await self._later(live, f"the spool's disk failed: {error.strerror}")
        except Exception as error:  # noqa: BLE001 - a defect must not end in a loop without a pause
            log_defect(error)
            await self._later(live, "the node failed; its log says more")

    async def _send(self, live: LiveJob) -> None:
        outgoing = await whole(asyncio.to_thread(prepare, live, self.name, self._preparation))
        taken = await asyncio.to_thread(live.folder.taken, self.name)
        todo = [each for each in outgoing if each.number not in taken]
        heard = _Heard(live, self.name, {each.path: each.number for each in todo}, self._stopping)
        if todo:
            # cancelled, it goes on to its end: what the peer takes must be noted
            await self._on_thread(self._send_all, todo, heard)
        if heard.refused:
            number, reason = next(iter(heard.refused.items()))
            await self._give_up(
                live, f"{len(heard.refused)} of {len(outgoing)} instances, as number {number}: {reason}"
            )
            return
        taken = await asyncio.to_thread(live.folder.taken, self.name)
        missing = [each.number for each in outgoing if each.number not in taken]
        if missing:
            reason = heard.later.get(missing[0], "it said nothing of it")
            await self._later(live, f"{len(missing)} of {len(outgoing)} instances, as number {missing[0]}: {reason}")
            return
        warning = next(iter(heard.warnings.values()), "")
        asked = self._peer.verification != "none"
        await self._write(
            live, state="sent" if asked else "delivered", attempts=0, since=None, due=None, reason=warning
        )
        self._log.info("series_sent", peer=self.name, job=live.job.id, instances=len(outgoing))

    def _send_all(self, todo: list[Outgoing], heard: _Heard) -> None:
        """Sends, and tells the audit trail."""
        patient = patient_of(dcmread(todo[0].path, specific_tags=["PatientID", "PatientName"], stop_before_pixels=True))
        study = study_of(todo[0].study, {todo[0].sop_class: len(todo)})
        self._trail.sending(self._party, study, patient, anonymized=self._peer.deidentify)
        reason = ""
        try:
            self._client.send([each.path for each in todo], heard.told)
        except (PeerError, _Stopped) as error:
            reason = str(error) or "the node was stopped"
            raise
        finally:
            taken = len(todo) - len(heard.later) - len(heard.refused) if not reason else 0
            outcome = Outcome.SUCCESS if taken == len(todo) else Outcome.SERIOUS
            self._trail.sent(
                self._party,
                study,
                patient,
                outcome=outcome,
                reason=reason or next(iter((heard.refused | heard.later).values()), ""),
                anonymized=self._peer.deidentify,
            )

    async def _verify(self, live: LiveJob) -> None:
        outgoing = await whole(asyncio.to_thread(prepare, live, self.name, self._preparation))
        if self._peer.verification == "count":
            assert self._ask is not None  # noqa: S101 - the configuration says so
            first = outgoing[0]
            there = await self._on_thread(self._ask, first.study, first.series)
            missing = {each.number for each in outgoing if each.uid not in there}
            await self._judge(live, missing, f"it does not list {len(missing)} of {len(outgoing)} instances")
            return
        await self._ask_commitment(live, outgoing)

    async def _on_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """On one of the threads that may wait for peers, to its end."""
        return await whole(asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments))

    async def _ask_commitment(self, live: LiveJob, outgoing: list[Outgoing]) -> None:
        delivery, now = live.deliveries[self.name], self._clock()
        asked = delivery.asked or now
        if now - asked > timedelta(seconds=self._peer.verify_seconds):
            await self._give_up(live, "it never said whether it keeps what it took (storage commitment)")
            return
        transaction = f"2.25.{uuid.uuid4().int}"
        pause = self._peer.verify_seconds / 4
        # written before it is asked: the report may be faster than the answer
        told, due = (*delivery.transactions, transaction), now + timedelta(seconds=pause)
        await self._write(live, transactions=told, due=due)
        commit: Callable[..., CommitmentReport | None] = self._client.commit  # type: ignore[attr-defined]
        pairs = [(each.sop_class, each.uid) for each in outgoing]
        report = await self._on_thread(commit, pairs, transaction)
        await self._write(live, asked=asked, attempts=0, since=None)
        if report is not None:
            await self.committed(live, report)

    async def committed(self, live: LiveJob, report: CommitmentReport) -> bool:
        """A peer says what it keeps.

        Returns:
            Whether this was asked here.
        """
        delivery = live.deliveries[self.name]
        if report.transaction_uid not in delivery.transactions or delivery.state != "sent":
            return False
        outgoing = await whole(asyncio.to_thread(prepare, live, self.name, self._preparation))
        missing = {each.number for each in outgoing if each.uid not in report.committed}
        why = next(iter(report.failed.values()), "it does not name them")
        await self._judge(
            live, missing, f"it does not keep {len(missing)} of {len(outgoing)} instances: {why}", now=True
        )
        return True

    async def _judge(self, live: LiveJob, missing: set[int], reason: str, *, now: bool = False) -> None:
        """Verified; or asked once more; or what is missing sent again, a few times."""
        delivery, moment = live.deliveries[self.name], self._clock()
        if not missing:
            await self._write(live, state="verified", due=None, reason=delivery.reason, attempts=0, since=None)
            self._log.info("series_verified", peer=self.name, job=live.job.id)
            return
        asked = delivery.asked or moment
        if not now and delivery.attempts < len(VERIFY_PAUSES):
            due = moment + timedelta(seconds=VERIFY_PAUSES[delivery.attempts])
            await self._write(live, asked=asked, attempts=delivery.attempts + 1, due=due, reason=reason)
            return
        if delivery.resent >= MAX_RESENDS:
            await self._give_up(live, reason)
            return
        await whole(asyncio.to_thread(live.folder.forget_taken, self.name, missing))
        await self._write(
            live, state="waiting", resent=delivery.resent + 1, attempts=0, asked=None, transactions=(), due=moment
        )

    async def _later(self, live: LiveJob, reason: str, *, pause: float | None = None) -> None:
        delivery, now = live.deliveries[self.name], self._clock()
        since = delivery.since or now
        if now - since >= timedelta(seconds=self._peer.give_up_seconds):
            await self._give_up(live, reason)
            return
        usual = min(LONGEST_PAUSE, self._peer.retry_seconds * 2 ** min(delivery.attempts, 20))
        due = now + timedelta(seconds=max(usual, min(pause or 0.0, LONGEST_PAUSE)))
        await self._write(live, attempts=delivery.attempts + 1, since=since, due=due, reason=reason)
        self._log.warning(
            "delivery_waits", peer=self.name, job=live.job.id, attempts=delivery.attempts + 1, reason=reason
        )

    async def _give_up(self, live: LiveJob, reason: str) -> None:
        await self._write(live, state="dead", due=None, reason=reason)
        self._log.warning("delivery_dead", peer=self.name, job=live.job.id, reason=reason)

    async def _write(self, live: LiveJob, **changes: Any) -> None:
        changed: Delivery = live.deliveries[self.name].model_copy(update=changes)
        try:
            await whole(asyncio.to_thread(live.folder.write_delivery, changed))
        finally:
            live.deliveries[self.name] = changed  # what the disk refuses to remember counts until the restart


def _host_of(peer: Peer) -> str:
    return peer.host or (urlsplit(peer.url).hostname if peer.url else None) or ""


def not_delivered(live: LiveJob) -> NotDelivered:
    """Why a job is dead."""
    dead = [f"{each.peer}: {each.reason}" for each in live.deliveries.values() if each.state == "dead"]
    return NotDelivered("; ".join(dead))


def is_over(delivery: Delivery) -> bool:
    """Whether nothing more is done about it."""
    return delivery.state in ("delivered", "verified", "dead")


def is_due(delivery: Delivery, now: datetime) -> bool:
    """Whether something is to be done about it now."""
    return not is_over(delivery) and (delivery.due is None or delivery.due <= now)
