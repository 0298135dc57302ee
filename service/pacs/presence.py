"""What a sender has begun to send, so that it is not taken for complete.

instance of a series --join--> its `present` is locked --leave, or the process ends--> unlocked
"""

from __future__ import annotations

import os
import threading

from service.pacs.series_folder import SeriesFolder

MOST_SERIES = 64
"""Of one sender, that are held open for it at once: each takes a file descriptor."""


class Presence:
    """What one sender has begun to send: those series are not complete before `leave`; of many, the latest ones.

    Any thread may call it: who ends a sender does not wait for ever until its last instance is taken.
    """

    def __init__(self) -> None:
        self._locks: dict[str, int] = {}
        self._left = False
        self._lock = threading.Lock()

    def join(self, series: SeriesFolder) -> None:
        """More of it may come, unless the sender has left already."""
        with self._lock:
            if self._left:
                return
            lock = self._locks.pop(series.uid, None)
            self._locks[series.uid] = series.be_present() if lock is None else lock
            if len(self._locks) > MOST_SERIES:
                os.close(self._locks.pop(next(iter(self._locks))))

    def leave(self) -> None:
        """Nothing more comes."""
        with self._lock:
            self._left = True
            while self._locks:
                os.close(self._locks.popitem()[1])
