"""Prefetch: the next batches are made in a thread while the network works on this one.

    items --thread--> at most `ahead` waiting --> the loop
          an error in the thread is raised in the loop, at its place

Order and content are those of the iterator itself, so results do not depend on it. What it hides is mostly waiting:
reading a memory-mapped series that is not in memory, during which the cores would idle.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")

AHEAD = 4
"""Batches: enough for a slow read now and then, and a few MB."""


@contextmanager
def prefetched(items: Iterator[T], ahead: int = AHEAD) -> Iterator[Iterator[T]]:
    """The same items, made up to `ahead` of them before they are asked for; the thread has ended when the block does.

    Args:
        items: used by the thread alone until the block ends.
        ahead: how many may wait.
    """
    made: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    room, stopped = Semaphore(ahead), Event()

    def make() -> None:
        try:
            while room.acquire() and not stopped.is_set():
                made.put((next(items),))
        except StopIteration:
            made.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the item was asked for
            made.put(error)

    def take() -> Iterator[T]:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item[0]

    thread = Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        room.release()
        thread.join()
