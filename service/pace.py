"""How long images take on the device, learned from those that it had: to say who would wait too long before he waits.

    a run: key of each image, seconds --ran--> seconds for one image of that key --expected--> of a line of them

A key is a model version and a size, to the nearest power of two: what takes how long is only known of its like.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

_RECENT = 0.2
"""Weight of the newest run in the moving average."""


class Key(NamedTuple):
    """What images have in common that take as long as each other.

    Attributes:
        ref: of the version.
        size: bits of the number of pixels.
    """

    ref: str
    size: int


class Pace:
    """One executor's; used by its threads and by the event loop."""

    def __init__(self) -> None:
        self._seconds: dict[Key, float] = {}

    def ran(self, key: Key, seconds: float) -> None:
        """Learns how long each image of a run took, its share if there were several."""
        before = self._seconds.get(key, seconds)
        self._seconds[key] = before + _RECENT * (seconds - before)

    def expected(self, keys: Iterable[Key]) -> float:
        """Seconds for all of these, one after the other; nothing for those of which nothing is known."""
        return sum(self._seconds.get(key, 0.0) for key in keys)
