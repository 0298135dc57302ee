"""A job as it is known in memory, and what administrators are told of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from service.pacs.job_folder import JobFolder
from service.pacs.record import Delivery, Ended, PacsJob, Restored

State = Literal["waiting", "restoring", "delivering", "delivered", "kept", "failed", "dead", "discarded"]


@dataclass(eq=False)
class LiveJob:
    """One job.

    Attributes:
        folder: of it.
        restored, ended: how far it is, as on the disk.
        deliveries: peer -> how far it is there.
        done: instances that are derived.
        work: the task that restores it, or None.
        sending: peers at which a task is.
        not_before: when it may be taken up again, in `time.monotonic()` seconds.
    """

    folder: JobFolder
    restored: Restored | None = None
    ended: Ended | None = None
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    done: int = 0
    work: asyncio.Task[Any] | None = None
    sending: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    not_before: float = 0.0

    @property
    def job(self) -> PacsJob:
        """What was settled."""
        return self.folder.job

    @property
    def state(self) -> State:
        """How far it is; discarded: it had failed or was a dead letter, and its images were removed on demand."""
        ended = self.ended
        if ended is not None:
            gone = ended.tidied and ended.state in ("failed", "dead")
            return "discarded" if gone else ended.state
        if self.restored is not None:
            return "delivering"
        return "waiting" if self.work is None else "restoring"

    def slim(self) -> None:
        """Forgets in memory what nobody asks of a job whose images are gone: it may be remembered for months."""
        if self.restored is not None and self.ended is not None and self.ended.tidied:
            self.restored = self.restored.model_copy(update={"instances": {}})

    @classmethod
    def read(cls, folder: JobFolder) -> LiveJob:
        """As the disk has it."""
        live = cls(folder, restored=folder.restored(), ended=folder.ended())
        live.deliveries = {peer: folder.delivery(peer) for peer in folder.job.peers}
        live.done = folder.job.count if live.restored is not None else folder.count_derived()
        live.slim()
        return live


def describe(live: LiveJob) -> dict[str, Any]:
    """What an administrator is told of a job; no patient data. It may be called on a thread while the job goes on."""
    job, restored, ended = live.job, live.restored, live.ended
    document: dict[str, Any] = {
        "id": job.id,
        "state": live.state,
        "study": job.study,
        "series": job.series,
        "created": job.created.isoformat(),
        "rule": job.rule,
        "sender": job.sender,
        "model": job.model,
        "strength": job.strength,
        "instances": job.count,
        "left_out": len(job.left_out),
        "done": live.done,
        "revision": job.revision,
        **({"joins": job.joins} if job.joins else {}),
        **({"chosen": job.chosen} if job.chosen else {}),
    }
    if restored is not None:
        document |= {
            "derived_series": restored.series,
            "precision": restored.precision,
            "reencoded": restored.reencoded,
            "clipped": restored.clipped,
            "warned": restored.warned,
        }
    document["deliveries"] = [
        {
            "peer": delivery.peer,
            "state": delivery.state,
            "attempts": delivery.attempts,
            **({"reason": delivery.reason} if delivery.reason else {}),
            **({"due": delivery.due.isoformat()} if delivery.due is not None else {}),
        }
        for delivery in list(live.deliveries.values())
    ]
    if ended is not None:
        document["finished"] = ended.finished.isoformat()
        if ended.problem is not None:
            document["problem"] = ended.problem
    return document
