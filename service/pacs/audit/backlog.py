"""Audit messages that wait: the work puts them down and goes on, a thread takes them to a sink.

    put --(room?)--> waiting, in order --thread--> Sink.write --(OSError?)--> again, after a pause that grows
          lost                                                  Unsendable: lost

What is lost is counted and logged, without its content.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque

import structlog

from service.pacs.audit.facts import Record
from service.pacs.audit.sinks import Sink, Unsendable
from service.telemetry import log_defect

MOST = 10_000
"""Messages that wait. One has about 2 KB: 20 MB, and hours of a busy node during which its collector may be down."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
"""Between two attempts; doubled each time."""

CLOSE_SECONDS = 5.0
"""So long `close` waits for messages to leave; service managers wait longer before they kill."""


class Backlog:
    """Takes messages to a sink, in order, on a thread of its own.

    Args:
        sink: where to; is closed with this.
        most: messages that wait; what comes when so many do is lost, since the older ones say how it began.
        pauses: the first and the longest, in seconds.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        most: int = MOST,
        pauses: tuple[float, float] = (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
    ) -> None:
        self._sink = sink
        self._most = most
        self._pauses = pauses
        self._waiting: deque[Record] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._last = False
        self._lost = 0
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Messages that did not reach the sink, and will not."""
        return self._lost

    @property
    def waiting(self) -> int:
        """Messages that have not reached the sink yet."""
        return len(self._waiting)

    def put(self, record: Record) -> None:
        """Puts a message down. Neither waits for the sink nor raises."""
        with self._changed:
            room = not self._closing and len(self._waiting) < self._most
            if room:
                self._waiting.append(record)
                self._changed.notify_all()
        if not room:
            self._lose(1)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Lets what waits leave, for at most so many seconds, or until the sink fails; the rest is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        with self._changed:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            self._lose(left, always=True)

    def _run(self) -> None:
        while (record := self._next()) is not None:
            if not self._attempt(record) and not self._pause():
                break
        with contextlib.suppress(OSError):
            self._sink.close()

    def _next(self) -> Record | None:
        """The oldest message, which stays; None: there are none, and there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._last = self._closing
            return self._waiting[0] if self._waiting else None

    def _attempt(self, record: Record) -> bool:
        """Whether the message has left, or is lost; else it is to be tried again."""
        lost = 0
        try:
            self._sink.write(record)
        except Unsendable as error:
            structlog.get_logger("clearslice").error("audit_unsendable", reason=str(error))
            lost = 1
        except OSError as error:
            self._failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - a defect costs one message, and not all that follow
            log_defect(error)
            lost = 1
        else:
            self._worked()
        with self._changed:
            if self._waiting:  # else `close` has given up
                self._waiting.popleft()
        if lost:
            self._lose(lost)
        return True

    def _failed(self, error: OSError) -> None:
        if self._failures == 0:
            reason = str(error) or type(error).__name__
            structlog.get_logger("clearslice").warning("audit_waits", reason=reason, waiting=len(self._waiting))
        self._failures += 1

    def _worked(self) -> None:
        if self._failures:
            structlog.get_logger("clearslice").info("audit_goes_on", attempts=self._failures, lost=self._lost)
        self._failures = 0

    def _pause(self) -> bool:
        """Waits before the next attempt; False: there is to be none. The last one begins after `close` was called."""
        first, longest = self._pauses
        with self._changed:
            if self._last:
                return False
            seconds = min(first * 2.0 ** min(self._failures - 1, 30), longest)
            self._changed.wait_for(lambda: self._closing, seconds)
        return True

    def _lose(self, count: int, *, always: bool = False) -> None:
        """Counts; logs the 1st, 2nd, 4th ... loss, so that a long outage does not fill the log."""
        with self._changed:
            self._lost += count
            total = self._lost
        if always or total & (total - 1) == 0:
            structlog.get_logger("clearslice").error("audit_lost", lost=total)
