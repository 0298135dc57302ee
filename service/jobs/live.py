"""A job as it is known in memory, and what clients are told of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from service.jobs.pack import described
from service.jobs.record import Job, Outcome, State
from service.jobs.spool import Entry

NAMESPACE = uuid.UUID("0b1f5a0e-53a5-5c0e-8f5e-7d5b8f4a7c21")
"""Of job ids that follow from an idempotency key."""


@dataclass(eq=False)
class Live:
    """A job as it is known in memory.

    Attributes:
        job, entry: what was accepted, and where it is.
        outcome: how it ended, or None.
        done: instances that are finished.
        work: the task that runs it, or None.
        removed: whether it is being removed.
        changed: set, and replaced, whenever one of these changes.
    """

    job: Job
    entry: Entry
    outcome: Outcome | None = None
    done: int = 0
    work: asyncio.Task[Any] | None = None
    removed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wakes everybody who listens."""
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def state(self) -> State:
        """Of the job."""
        if self.outcome is not None:
            return self.outcome.state
        return "queued" if self.work is None else "running"


def describe(live: Live, *, retention: float) -> dict[str, Any]:
    """What a client is told of a job, which is kept for `retention` seconds after its end."""
    job, outcome = live.job, live.outcome
    path = f"/v1/jobs/{job.id}"
    document: dict[str, Any] = {
        "id": job.id,
        "state": live.state,
        "created": job.created.isoformat(),
        **described(job),
        "progress": {"done": job.instances if live.state == "done" else live.done, "total": job.instances},
        "links": {"self": path, "events": f"{path}/events"},
    }
    if outcome is not None:
        expires = outcome.finished + timedelta(seconds=retention)
        document |= {"finished": outcome.finished.isoformat(), "expires": expires.isoformat()}
        if outcome.problem is None:
            document |= {"precision": outcome.precision, "reencoded": outcome.reencoded}
            document |= {"clipped": outcome.clipped, "warned": outcome.warned}
            document["links"]["result"] = f"{path}/result"
        else:
            document["problem"] = outcome.problem
    return document


def job_id_of(owner: str, key: str) -> str:
    """The id of the job that a client's Idempotency-Key belongs to."""
    return uuid.uuid5(NAMESPACE, f"{owner}\n{key}").hex


def request_digest(upload_sha256: str, model: str | None, strength: float) -> str:
    """SHA-256 of all that a request asks."""
    return hashlib.sha256(json.dumps([upload_sha256, model, strength]).encode()).hexdigest()
