"""How long work says where it is: a function that the caller passes in."""

from __future__ import annotations

from collections.abc import Callable

Advance = Callable[[str, int, int], None]
"""Called with (stage, done, total) as work goes on."""

Notice = Callable[[str], None]
"""Called with a sentence about something that was left out, and why."""


def silent(*_: object) -> None:
    """Neither shows nor keeps anything."""
