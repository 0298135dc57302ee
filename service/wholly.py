"""Work on a thread that is not left behind.

whole(work): cancelled --> waits for the end of the work --> CancelledError
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def whole(work: Awaitable[T]) -> T:
    """The result of something that cannot be stopped half way: who is cancelled meanwhile first waits for its end.

    So nobody clears away what a thread still writes to.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would tell of it
        raise
