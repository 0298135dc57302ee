"""The few threads that read and write files beside the event loop.

run(deadline, work) --(a thread free?)--> thread --> result
                        DeadlinePassed              what the work raises
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from service.errors import DeadlinePassed
from service.telemetry import Instruments
from service.turns import NEVER, Turn, Turns

P = ParamSpec("P")
T = TypeVar("T")

NO_DEADLINE = NEVER


class Codecs:
    """A pool of threads for decoding and encoding.

    Args:
        threads: how many.
        instruments: where passed deadlines are counted.
    """

    def __init__(self, *, threads: int, instruments: Instruments) -> None:
        self._instruments = instruments
        self._turns: Turns[Callable[[], Any], Any] = Turns()
        for number in range(threads):
            # Daemons: accepted requests are finished before the process ends, and nothing else is worth waiting for.
            threading.Thread(target=self._serve, name=f"codec-{number}", daemon=True).start()

    async def run(self, deadline: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `work`, called on one of the threads.

        Raises:
            DeadlinePassed: `deadline` (`time.monotonic()` seconds, or `NO_DEADLINE`) came first.
        """
        context = contextvars.copy_context()  # so that log lines of the thread carry the request id
        turn = Turn[Callable[[], Any], Any](
            functools.partial(context.run, functools.partial(work, *args, **kwargs)), deadline
        )
        self._turns.add(turn)
        try:
            return cast("T", await turn.result())
        except TimeoutError:
            self._instruments.expired.inc()
            raise DeadlinePassed(
                "the request's time was over before its image was read and written; ask for more with"
                " X-Request-Timeout, or try again when the service is less busy"
            ) from None
        finally:
            self._turns.drop(turn)

    def close(self) -> None:
        """Ends the threads after their present work."""
        self._turns.close()

    def _serve(self) -> None:
        while _work_off(self._turns.first()):
            pass  # no variable here outlives its turn: an image is freed before the thread waits again


def _work_off(turn: Turn[Callable[[], Any], Any] | None) -> bool:
    if turn is None:
        return False
    try:
        turn.settle(turn.work())
    except BaseException as error:  # noqa: BLE001 - whatever the work raises belongs to its caller, not to this thread
        turn.settle(error)
    return True
