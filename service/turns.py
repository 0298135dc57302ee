"""A line of work before some threads, whose callers wait in an event loop and hold no thread.

    caller: add --> turn --await--> result          (left, or late: dropped, and its place is free at once)
                     |
    thread:   first, more --> work --> settle

A thread takes its next turn by itself, without the event loop in between, and never one that nobody waits for any
more: what is given up leaves nothing behind. Work that has begun cannot be stopped; its result is then dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

W = TypeVar("W")
R = TypeVar("R")

NEVER = float("inf")
"""A deadline that does not come."""


def until(deadline: float) -> asyncio.Timeout:
    """A context that raises TimeoutError at a deadline in `time.monotonic()` seconds, or never."""
    return asyncio.timeout(None if deadline == NEVER else deadline - time.monotonic())


@dataclass(eq=False)
class Turn(Generic[W, R]):
    """One caller's place in the line; made in the event loop that it waits in.

    Attributes:
        work: what is to be done.
        deadline: until when, in `time.monotonic()` seconds, or `NEVER`.
    """

    work: W
    deadline: float
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _wanted: bool = True

    def __post_init__(self) -> None:
        self._answer: asyncio.Future[R] = self._loop.create_future()

    async def result(self) -> R:
        """What the thread settles it with.

        Raises:
            TimeoutError: the deadline came first.
            Exception: whatever the work raised.
        """
        async with until(self.deadline):
            return await self._answer

    def wanted(self) -> bool:
        """Whether somebody still waits, and in time."""
        return self._wanted and time.monotonic() < self.deadline

    def give_up(self) -> None:
        """Nobody waits any more; called in the loop."""
        self._wanted = False
        if not self._answer.cancel() and not self._answer.cancelled():
            self._answer.exception()  # looked at, or asyncio would tell of it

    def settle(self, result: R | BaseException) -> None:
        """Gives the caller the result; called by a thread, perhaps after the loop has ended."""
        if isinstance(result, StopIteration) or (
            isinstance(result, BaseException) and not isinstance(result, Exception)
        ):  # which no future takes, or which would end the loop
            result = RuntimeError(f"the work raised {type(result).__name__}")

        def wake() -> None:
            if self._answer.done():
                return
            if isinstance(result, Exception):
                self._answer.set_exception(result)
            else:
                self._answer.set_result(result)

        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(wake)


class Turns(Generic[W, R]):
    """The line; first come, first served.

    Args:
        changed: told how many wait, whenever that changes.
    """

    def __init__(self, changed: Callable[[int], object] = lambda _: None) -> None:
        self._changed = changed
        self._particular = False
        self._line: deque[Turn[W, R]] = deque()
        self._news = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._line)

    def works(self) -> list[W]:
        """Of all that wait, in their order."""
        with self._news:
            return [turn.work for turn in self._line]

    def add(self, turn: Turn[W, R]) -> None:
        """At the end of the line."""
        with self._news:
            if self._closed:
                turn.settle(RuntimeError("the threads have ended"))
                return
            self._line.append(turn)
            self._changed(len(self._line))
            if self._particular:
                self._news.notify_all()  # the one that can do it may be any
            else:
                self._news.notify()

    def drop(self, turn: Turn[W, R]) -> None:
        """Frees the place of a turn, if it still has one."""
        turn.give_up()
        with self._news:
            if turn in self._line:
                self._line.remove(turn)
                self._changed(len(self._line))

    def first(self, fits: Callable[[W], bool] | None = None) -> Turn[W, R] | None:
        """The first that is wanted, waiting for one if need be; None after the end.

        Args:
            fits: whether the thread that asks can do a work; None if it can do all.
        """
        with self._news:
            self._particular |= fits is not None
            while not self._closed:
                turn = self._next(fits)
                if turn is not None:
                    return turn
                self._news.wait()
        return None

    def _next(self, fits: Callable[[W], bool] | None) -> Turn[W, R] | None:
        """As `first`, of those that wait now; a method of its own, so that who waits holds on to none of them."""
        for turn in list(self._line):
            if turn.wanted() and fits is not None and not fits(turn.work):
                continue
            self._line.remove(turn)
            self._changed(len(self._line))
            if turn.wanted():
                return turn
        return None

    def more(self, fits: Callable[[W], bool], take: Callable[[int], int]) -> list[Turn[W, R]]:
        """The first ones that are wanted and whose work `fits`, of those that wait now; others keep their places.

        Args:
            fits: whether a work may go.
            take: from how many fit to how many of them go.
        """
        with self._news:
            fitting = [turn for turn in self._line if turn.wanted() and fits(turn.work)]
            gone = fitting[: take(len(fitting))]
            for turn in gone:
                self._line.remove(turn)
            if gone:
                self._changed(len(self._line))
        return gone

    def close(self) -> None:
        """Ends the line: whoever waits for a turn gets None."""
        with self._news:
            self._closed = True
            self._news.notify_all()
