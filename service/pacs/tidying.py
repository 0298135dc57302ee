"""What is removed when: images some time after all was delivered, and later what is known of them.

    all jobs of a series ended --retention_seconds--> no images --remember_days--> nothing

What failed, and dead letters, stay until they are requeued or discarded. What a crash left half made or half removed
goes after an hour.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from service.files import flush_folder
from service.pacs.arrivals import Arrivals
from service.pacs.configuration import Node
from service.pacs.live import LiveJob
from service.pacs.series_folder import SeriesFolder

LEFTOVER_SECONDS = 3600.0
"""Nobody needs so long to put something into its place: what is older was left by a crash."""


class Tidying:
    """Of one node.

    Args:
        arrivals: the door behind which series lie.
        node: how long things are kept.
    """

    def __init__(self, arrivals: Arrivals, node: Node) -> None:
        self._arrivals = arrivals
        self._retention = timedelta(seconds=node.retention_seconds)
        self._memory = timedelta(days=node.remember_days)

    def run(self, jobs: Iterable[LiveJob], now: datetime) -> list[str]:
        """Removes what has expired.

        Returns:
            Ids of the jobs that are forgotten.
        """
        self._remove_leftovers()
        by_series: dict[str, list[LiveJob]] = {}
        for live in jobs:
            by_series.setdefault(live.job.series, []).append(live)
        for series in self._arrivals.all_series():
            if series.uid not in by_series:
                self._adopt(series)
        return [live.job.id for ended in by_series.values() for live in self._of_series(ended, now)]

    def _remove_leftovers(self) -> None:
        folder = self._arrivals.folder
        for path in (*folder.glob("incoming/*"), *folder.glob("arriving/.*.part")):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()

    def _adopt(self, series: SeriesFolder) -> None:
        """A folder of no job, left by a crash or a full disk: if something came it is looked at, else it is removed."""
        with contextlib.suppress(OSError):
            if time.time() - series.folder.stat().st_mtime < LEFTOVER_SECONDS:
                return
            has_jobs = series.jobs.is_dir() and any(series.jobs.iterdir())
            if has_jobs or self._arrivals.arriving_marker(series.uid).exists():
                return
            if series.sources() or series.refused():
                self._arrivals.mark_anew(series)
            else:
                self._forget(series)

    def _of_series(self, jobs: list[LiveJob], now: datetime) -> Iterator[LiveJob]:
        series = jobs[0].folder.series
        last = max((live.ended.finished for live in jobs if live.ended is not None), default=now)
        if not all(_is_done(live) for live in jobs) or self._arrivals.arriving_marker(series.uid).exists():
            return
        if now - last >= self._retention and (series.sources() or not all(_is_tidied(live) for live in jobs)):
            self._remove_images(series, jobs)
        if now - last >= max(self._memory, self._retention) and self._forget(series):
            yield from jobs

    def _remove_images(self, series: SeriesFolder, jobs: list[LiveJob]) -> None:
        with series.closed() as alone:
            if not alone or self._arrivals.arriving_marker(series.uid).exists():
                return
            series.remove_sources()
        for live in jobs:
            if live.ended is not None and not live.ended.tidied:
                live.folder.tidy()
                live.ended = live.ended.model_copy(update={"tidied": True})
                live.folder.write_ended(live.ended)
                live.slim()

    def _forget(self, series: SeriesFolder) -> bool:
        with series.closed() as alone:
            arriving = self._arrivals.arriving_marker(series.uid).exists() or series.anybody_present()
            if not alone or arriving:
                return False
            aside = self._arrivals.incoming()
            series.folder.rename(aside / series.uid)
            flush_folder(series.folder.parent)
        shutil.rmtree(aside, ignore_errors=True)
        return True


def _is_done(live: LiveJob) -> bool:
    """Whether nobody needs its images any more."""
    ended = live.ended
    return ended is not None and (ended.state in ("delivered", "kept") or ended.tidied)


def _is_tidied(live: LiveJob) -> bool:
    return live.ended is not None and live.ended.tidied
