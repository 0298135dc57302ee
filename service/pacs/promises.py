"""What the node will yet write of what it was given: so much less may come in.

node, each sweep --write--> promised --read--> the door, in whichever process
"""

from __future__ import annotations

from collections.abc import Iterable

from service.files import write_file
from service.pacs.arrivals import Arrivals, promise_of
from service.pacs.live import LiveJob

INSTANCE_BYTES = 2 * 512 * 512 + 16_384
"""Of a derived instance, about: 16 bits a pixel, and attributes. Larger ones are what `reserve` is for."""


class Promises:
    """Of one node.

    Args:
        arrivals: the door.
        copies: how often each derived instance is written: once, and for each peer that gets another form of it.
    """

    def __init__(self, arrivals: Arrivals, *, copies: int) -> None:
        self._arrivals = arrivals
        self._copies = copies
        self._written = -1

    def keep(self, jobs: Iterable[LiveJob]) -> None:
        """Writes down what is promised now; blocking."""
        coming = sum(len(self._arrivals.series(path.name).sources()) for path in self._arrivals.arriving())
        working = sum(live.job.count - live.done for live in jobs if live.ended is None and live.restored is None)
        promised = (coming + working) * self._copies * INSTANCE_BYTES
        if promised != self._written:
            # worthless after a crash of the machine: the next sweep writes it again
            write_file(promise_of(self._arrivals.folder), str(promised).encode(), replace=True)
            self._written = promised
