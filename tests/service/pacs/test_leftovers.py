"""What a crash left half made, or half removed, does not stay for ever."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from service.pacs.configuration import Node
from service.pacs.tidying import LEFTOVER_SECONDS, Tidying


def test_old_leftovers_go_and_what_is_under_way_stays(door):
    made = door()
    arrivals, old = made.arrivals, time.time() - LEFTOVER_SECONDS - 1
    half_removed, half_made = arrivals.incoming(), arrivals.incoming()
    (half_removed / "1.2.3.4").mkdir()
    (half_removed / "1.2.3.4" / "source.dcm").write_bytes(b"an image")
    half_written = arrivals.arriving_marker(".1.2.3.4.0123abcd.part")
    half_written.write_text("1", encoding="ascii")
    for path in (half_removed, half_written):
        os.utime(path, (old, old))
    young = arrivals.arriving_marker(".1.2.3.5.0123abcd.part")
    young.write_text("1", encoding="ascii")
    marker = arrivals.arriving_marker("1.2.3.6")
    marker.write_text("1", encoding="ascii")
    os.utime(marker, (old, old))
    Tidying(arrivals, Node()).run([], datetime.now(UTC))
    assert not half_removed.exists()
    assert not half_written.exists()
    assert half_made.is_dir()
    assert young.is_file()
    assert marker.is_file()


def test_a_series_that_nobody_knows_of_is_looked_at_and_an_empty_one_goes(door):
    made = door()
    arrivals, old = made.arrivals, time.time() - LEFTOVER_SECONDS - 1
    lost, empty, young = (arrivals.series(uid) for uid in ("1.2.7", "1.2.8", "1.2.9"))
    for series in (lost, empty, young):
        with series.written():
            pass
    lost.write_source("1.2.7.1", b"an image")
    for series in (lost, empty):
        os.utime(series.folder, (old, old))
    Tidying(arrivals, Node()).run([], datetime.now(UTC))
    assert [path.name for path in arrivals.arriving()] == ["1.2.7"]
    assert not empty.folder.exists()
    assert young.folder.is_dir()
