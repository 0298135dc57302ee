"""The few threads that read and write files beside the event loop.

    run(deadline, work) --(a thread free?)--> thread --> result
                            DeadlinePassed              what the work raises

Who waits, waits in the event loop: a request that is given up leaves nothing behind, where the pool's own queue would
keep its image until a thread came to it. Work that has begun cannot be stopped; its result is then dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from service.errors import DeadlinePassed
from service.telemetry import Instruments

P = ParamSpec("P")
T = TypeVar("T")

NO_DEADLINE = math.inf


class Codecs:
    """A pool of threads for decoding and encoding.

    Args:
        threads: how many.
        instruments: where passed deadlines are counted.
    """

    def __init__(self, *, threads: int, instruments: Instruments) -> None:
        self._instruments = instruments
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="codec")
        self._free = asyncio.Semaphore(threads)

    async def run(self, deadline: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`, called on one of the threads.

        Raises:
            DeadlinePassed: `deadline` (`time.monotonic()` seconds, or `NO_DEADLINE`) came first.
        """
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()  # so that log lines of the thread carry the request id
        try:
            async with asyncio.timeout(None if deadline == NO_DEADLINE else deadline - time.monotonic()):
                await self._free.acquire()
                running = self._threads.submit(context.run, functools.partial(work, *args, **kwargs))
                running.add_done_callback(lambda _: self._done(loop))
                return await asyncio.wrap_future(running)
        except TimeoutError:
            self._instruments.expired.inc()
            raise DeadlinePassed(
                "the request's time was over before its image was read and written; ask for more with"
                " X-Request-Timeout, or try again when the service is less busy"
            ) from None

    def close(self) -> None:
        """Ends the threads after their present work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by the thread, perhaps after the loop has ended."""
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._free.release)
