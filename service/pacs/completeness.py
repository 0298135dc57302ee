"""When a series is complete: DICOM has no sign for its end.

arriving/<UID> --(hard cap?)--(quiet, and nobody present?)--> --(a peer that is asked has no more of it?)--> complete
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from service.pacs.arrivals import Arrivals
from service.pacs.configuration import Node, Rule
from service.pacs.looking import Looked
from service.pacs.peers import PeerError

ASK_SECONDS = 10.0
"""Between two questions to a peer how many instances a series has."""

CLOCK_SECONDS = 2.0
"""By which the clock of the disk may be ahead."""

Counts = Callable[[str, str, str], Awaitable[frozenset[str]]]
"""Name of a peer, study, series -> SOPInstanceUIDs that it has; raises PeerError."""


def is_complete(node: Node, *, first: float, last: float, now: float, present: Callable[[], bool]) -> bool:
    """Whether a series is taken for complete.

    Args:
        node: how long to wait.
        first, last: when its first and its last instance came, in seconds of the epoch.
        now: the same clock.
        present: whether somebody who sent of it may send more.
    """
    if now - first >= node.longest_seconds:
        return True
    return now - last >= node.quiet_seconds and not present()


class Completeness:
    """Of the series of one node.

    Args:
        arrivals: the door behind which they lie.
        node: how long to wait.
        counts: asks peers.
    """

    def __init__(self, arrivals: Arrivals, node: Node, *, counts: Counts) -> None:
        self._arrivals = arrivals
        self._node = node
        self._counts = counts
        self._asked: dict[str, float] = {}
        self._log = structlog.get_logger("clearslice")

    def quiet(self) -> list[str]:
        """SeriesInstanceUIDs of which something came, and nothing for long enough; the longest waiting first."""
        found = []
        for path in self._arrivals.arriving():
            with contextlib.suppress(OSError, ValueError):
                last, first = path.stat().st_mtime, float(path.read_text(encoding="ascii"))
                series = self._arrivals.series(path.name)
                now = time.time()
                if max(first, last) > now + CLOCK_SECONDS:  # the clock was set back: as if it had come just now
                    self._arrivals.mark_anew(series)
                    continue
                if is_complete(self._node, first=first, last=last, now=now, present=series.anybody_present):
                    found.append((last, path.name))
        self._asked = {uid: at for uid, at in self._asked.items() if self._arrivals.arriving_marker(uid).exists()}
        return [uid for _, uid in sorted(found)]

    async def counted(self, rule: Rule, looked: Looked) -> bool:
        """Whether the peer that the rule asks has no instance that has not come; after the hard cap nobody is asked."""
        uid = looked.series.uid
        if rule.expect is None or self.capped(uid):
            return True
        if time.monotonic() - self._asked.get(uid, -ASK_SECONDS) < ASK_SECONDS:
            return False
        try:
            there = await self._counts(rule.expect, looked.study, uid)
        except PeerError as error:
            self._log.warning("count_failed", peer=rule.expect, series=uid, reason=str(error))
            return False
        finally:
            self._asked[uid] = time.monotonic()
        missing = len(there - looked.digests.keys() - looked.series.known().keys())
        if missing:
            self._log.info("series_waits", series=uid, missing=missing)
        return not missing

    def waits(self, uid: str) -> bool:
        """Whether a peer was just asked about it, so that there is no need to look at it yet."""
        return time.monotonic() - self._asked.get(uid, -ASK_SECONDS) < ASK_SECONDS and not self.capped(uid)

    def capped(self, uid: str) -> bool:
        """Whether it is taken for complete, whatever still comes."""
        try:
            first = float(self._arrivals.arriving_marker(uid).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return True
        return time.time() - first >= self._node.longest_seconds
