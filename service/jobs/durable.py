"""The durable engine (DBOS): which work is to be run, over restarts and crashes.

    enqueue(queue, ticket) --jobs.sqlite--> queue --(at most so many at once)--> its run(ticket) in the service's loop
                                          ^                                     |
                                          +---- the process ended before it ----+
    fate(queue, ticket): was it seen to wait, and has not begun since? --no--> jobs.sqlite

Found by trying DBOS 3.4: work is taken up again only by a program of the same `application_version`, which is therefore
ours and not made of the code; one process per SQLite file, which the spool's lock sees to; a workflow whose task is
cancelled, as at the end of the process, stays pending and is recovered by the next. Arguments are tickets, in JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from dbos import DBOS, SetWorkflowID
from dbos._serialization import Serializer

from service.errors import UnsafeConfiguration
from service.settings import environment_name

APPLICATION_VERSION = "1"
"""To be changed only when what was enqueued before can not be run any more: then nobody would run it."""

SEPARATOR = ":"
"""Between queue and ticket, as DBOS knows them; what has none is of the first queue there was."""

FIRST_QUEUE = "jobs"

POLL_SECONDS = 0.25
STOP_SECONDS = 0.1
"""After which the last of its threads sees that it is to end; it looks for messages as often, which are not used."""

FORGET_LOOKS, LOOK_SECONDS = 40, 0.05
"""Whether a run that has returned is written down as over, and between two looks."""

TRUST_SECONDS = 300.0
"""How long what was seen to wait, and has not begun in this process, is taken to wait without another look."""

TIDIED_AT_ONCE = 200
"""Workflows that are removed in one go; the database is locked meanwhile."""

Fate = Literal["waits", "runs", "over", "unknown"]

_OPEN: dict[str, Fate] = {"ENQUEUED": "waits", "DELAYED": "waits", "PENDING": "runs"}
_OVER = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

Run = Callable[[str], Awaitable[None]]
"""The work of a ticket."""


class _Json(Serializer):
    """Ids and nothing else, readable in the database; DBOS would pickle them."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=lambda other: type(other).__qualname__)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)

    def name(self) -> str:
        return "clearslice_json"


class _Waiting:
    """What was seen to wait in the database and has not begun since. To be used in the service's loop only.

    What waits is expected before the database is asked. So if it begins between its answer and `seen`, it is not
    expected any more, and not remembered.
    """

    def __init__(self) -> None:
        self._since: dict[str, float | None] = {}

    def known(self, named: str) -> bool:
        """Whether it waits without a look."""
        since = self._since.get(named)
        return since is not None and time.monotonic() - since < TRUST_SECONDS

    def expect(self, named: str) -> None:
        """The database is about to be asked."""
        self._since[named] = None

    def seen(self, named: str, *, waits: bool) -> None:
        """The database has answered."""
        if waits and named in self._since:
            self._since[named] = time.monotonic()
        elif not waits:
            self.gone(named)

    def gone(self, named: str) -> None:
        """It begins, or is removed."""
        self._since.pop(named, None)


class _Current:
    """Where workflows find what they are to run: DBOS knows functions by their names, in one registry per process."""

    queues: Mapping[str, Queue] = {}
    waiting: _Waiting | None = None
    loop: asyncio.AbstractEventLoop | None = None


# how often a job may end the process is counted where the work is: DBOS would count orderly restarts, too
@DBOS.workflow(name="clearslice.job", max_recovery_attempts=None)
async def _job(named: str) -> None:
    """Runs in DBOS's own event loop; what it runs, in the service's."""
    queue, ticket = _parts(named)
    loop = _Current.loop
    assert loop is not None  # noqa: S101 - set before anything is launched

    async def work() -> None:
        if _Current.waiting is not None:
            _Current.waiting.gone(named)
        if queue in _Current.queues:
            await _Current.queues[queue].run(ticket)
        # else of a peer that is configured no more; whoever owns the work sees that nobody does it

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), loop))


def _named(queue: str, ticket: str) -> str:
    return ticket if queue == FIRST_QUEUE else f"{queue}{SEPARATOR}{ticket}"


def _parts(named: str) -> tuple[str, str]:
    queue, separator, ticket = named.rpartition(SEPARATOR)
    return (queue, ticket) if separator else (FIRST_QUEUE, named)


@dataclass(frozen=True)
class Queue:
    """Work of one kind.

    Attributes:
        run: the work of a ticket; does nothing twice, raises nothing, and is cancelled at the end of the process.
        at_once: how many run at once.
    """

    run: Run
    at_once: int


class Durable:
    """Runs what is enqueued once each, whatever happens to the process. One at a time in a process.

    Args:
        database: the SQLite file; or, as text, the URL of a PostgreSQL database, which is made if need be.
        schema: in the latter, of the spool's own: what others enqueue there is none of ours.
    """

    def __init__(self, database: Path | str, *, schema: str = "dbos") -> None:
        self._database = database
        self._schema = schema
        self._queues: dict[str, Queue] = {}
        self._waiting = _Waiting()
        # what is seen to be over is not enqueued anew before it has been removed
        self._removing = threading.Lock()

    def add(self, name: str, queue: Queue) -> None:
        """A queue, before `start`."""
        self._queues[name] = queue

    async def start(self) -> None:
        """Takes up what was left, and what is enqueued from now on.

        Raises:
            UnsafeConfiguration: the database cannot be used.
        """
        if _Current.queues:
            raise RuntimeError("DBOS runs once in a process")
        _Current.queues, _Current.waiting, _Current.loop = self._queues, self._waiting, asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._launch)
        except UnsafeConfiguration:
            _Current.queues, _Current.loop = {}, None
            raise

    def _launch(self) -> None:
        log = logging.getLogger("dbos")
        log.addHandler(logging.NullHandler())  # or it would add one of its own, which prints text between our lines
        log.propagate = True
        DBOS(
            config={
                "name": "clearslice",
                "system_database_url": self._database
                if isinstance(self._database, str)
                else f"sqlite:///{self._database}",
                "dbos_system_schema": self._schema,
                "application_version": APPLICATION_VERSION,
                "executor_id": "local",
                "serializer": _Json(),
                "log_level": "ERROR",
                "enable_otlp": False,
                "notification_listener_polling_interval_sec": STOP_SECONDS,
                "max_executor_threads": 4 + 2 * sum(queue.at_once for queue in self._queues.values()),
            }
        )
        try:
            DBOS.launch()
        except Exception as error:  # noqa: BLE001 - whatever the library of the database raises
            DBOS.destroy()
            raise UnsafeConfiguration(
                f"the database of jobs cannot be used ({type(error).__name__}): is it there, and does it let this"
                f" server in ({environment_name('jobs_database')})?"
            ) from None
        for name, queue in self._queues.items():
            DBOS.register_queue(
                name, worker_concurrency=queue.at_once, polling_interval_sec=POLL_SECONDS, on_conflict="always_update"
            )

    async def enqueue(self, queue: str, ticket: str) -> None:
        """Has the work of a ticket run when its turn comes; asked again, nothing happens."""
        named = _named(queue, ticket)

        def enqueue() -> None:
            with self._removing, SetWorkflowID(named):
                DBOS.enqueue_workflow(queue, _job, named)

        await asyncio.to_thread(enqueue)

    async def fate(self, queue: str, ticket: str) -> Fate:
        """What becomes of a ticket: it waits or runs, it has run in some way, or nobody knows of it."""
        named = _named(queue, ticket)
        return "waits" if self._waiting.known(named) else await self._look(named)

    async def _look(self, named: str) -> Fate:
        found: Fate = "unknown"
        self._waiting.expect(named)
        try:
            status = await asyncio.to_thread(DBOS.get_workflow_status, named)
            if status is not None:
                found = _OPEN.get(status.status, "over")
        finally:
            self._waiting.seen(named, waits=found == "waits")
        return found

    async def forget(self, queue: str, ticket: str) -> None:
        """What is not to be run any more; `run` has returned if it was called, and would return at once."""
        named = _named(queue, ticket)
        for _ in range(FORGET_LOOKS):
            if await self._look(named) != "runs":
                break
            await asyncio.sleep(LOOK_SECONDS)  # DBOS is about to write that it is over, and would miss the record

        def forget() -> None:
            DBOS.cancel_workflow(named)
            DBOS.delete_workflow(named)

        await asyncio.to_thread(forget)
        self._waiting.gone(named)

    async def tidy(self, older_than: timedelta) -> None:
        """Removes what is written down of work that is over: nobody needs it, and it would grow for ever.

        Args:
            older_than: how long it must have been over; its `fate` is unknown from then on, and it could be enqueued.
        """
        before = (datetime.now(UTC) - older_than).isoformat()

        def remove_some() -> int:
            with self._removing:
                over = DBOS.list_workflows(
                    status=_OVER, completed_before=before, limit=TIDIED_AT_ONCE, load_input=False, load_output=False
                )
                if over:
                    DBOS.delete_workflows([each.workflow_id for each in over])
            return len(over)

        while await asyncio.to_thread(remove_some) == TIDIED_AT_ONCE:
            pass

    async def stop(self) -> None:
        """Cancels what runs, which the next process takes up again."""
        await asyncio.to_thread(DBOS.destroy)
        _Current.queues, _Current.waiting, _Current.loop = {}, None, None
