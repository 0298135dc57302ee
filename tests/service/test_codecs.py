"""The threads beside the event loop: results, deadlines, and that a call given up leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time
import weakref
from contextlib import contextmanager

import pytest

from service.codecs import NO_DEADLINE, Codecs
from service.errors import DeadlinePassed
from service.telemetry import Instruments

pytestmark = pytest.mark.anyio

WHO = contextvars.ContextVar("WHO", default="nobody")


@contextmanager
def codecs(threads=1):
    made = Codecs(threads=threads, instruments=Instruments())
    try:
        yield made
    finally:
        made.close()


async def until(condition):
    while not condition():  # noqa: ASYNC110 - waits for the codecs' own state
        await asyncio.sleep(0)


async def test_results_exceptions_and_context_come_from_the_thread():
    def fail():
        raise ZeroDivisionError

    WHO.set("me")
    with codecs() as made:
        assert await made.run(NO_DEADLINE, divmod, 17, 5) == (3, 2)
        assert await made.run(time.monotonic() + 20, WHO.get) == "me"
        with pytest.raises(ZeroDivisionError):
            await made.run(NO_DEADLINE, fail)
        assert await made.run(NO_DEADLINE, lambda: threading.current_thread().name.startswith("codec"))


async def test_as_many_run_at_once_as_there_are_threads():
    together = threading.Barrier(3)
    with codecs(threads=3) as made:
        await asyncio.gather(*(made.run(NO_DEADLINE, together.wait, 20) for _ in range(9)))


async def test_a_deadline_counts_while_waiting_and_while_running():
    busy = threading.Event()
    with codecs() as made:
        for expired in (1, 2):  # the first runs, and the second waits for it
            with pytest.raises(DeadlinePassed, match="X-Request-Timeout"):
                await made.run(time.monotonic() + 0.02, busy.wait, 20)
            assert made._instruments.expired._value.get() == expired
        busy.set()
        assert await made.run(NO_DEADLINE, busy.is_set)


async def test_what_waits_is_freed_when_it_is_given_up():
    class Held:
        def __call__(self):
            raise AssertionError("the work was given up")

    busy = threading.Event()
    with codecs() as made:
        running = asyncio.ensure_future(made.run(NO_DEADLINE, busy.wait, 20))
        held = Held()
        gone = weakref.ref(held)
        waiting = asyncio.ensure_future(made.run(NO_DEADLINE, held))
        await until(lambda: len(made._turns) == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        del held, waiting
        await until(lambda: gc.collect() >= 0 and gone() is None)
        busy.set()
        assert await running


def test_a_thread_that_ends_after_the_loop_harms_nothing():
    busy = threading.Event()
    with codecs() as made:

        async def leave():
            with pytest.raises(DeadlinePassed):
                await made.run(time.monotonic() + 0.02, busy.wait, 20)

        asyncio.run(leave())
        busy.set()
