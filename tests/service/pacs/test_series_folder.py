"""Locks of a series: who may still send, and who writes, also from other processes that die."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from service.pacs.presence import MOST_SERIES, Presence
from service.pacs.series_folder import SeriesFolder, digest_of, is_file_name

HOLDS = """
import pathlib, sys, time
from service.pacs.presence import Presence
from service.pacs.series_folder import SeriesFolder
presence, series = Presence(), SeriesFolder(pathlib.Path(sys.argv[1]))
presence.join(series)
with series.written():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def series(tmp_path):
    return SeriesFolder(tmp_path / "1.2.3")


def test_present_until_the_last_sender_leaves(series):
    first, second = Presence(), Presence()
    assert not series.anybody_present()
    for sender in (first, first, second):
        sender.join(series)
    assert series.anybody_present()
    first.leave()
    assert series.anybody_present()
    second.leave()
    second.leave()
    assert not series.anybody_present()


def test_nobody_closes_a_series_that_is_written_and_several_may_write(series):
    with series.written(), series.written(), series.closed() as alone:
        assert not alone
    with series.closed() as alone:
        assert alone


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_locks_end_with_the_process_that_holds_them(series, end):
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(series.folder)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            assert series.anybody_present()
            with series.closed() as alone:
                assert not alone
        finally:
            other.send_signal(end)
    assert not series.anybody_present()
    with series.closed() as alone:
        assert alone


def test_a_child_process_inherits_no_lock(series):
    presence = Presence()
    presence.join(series)
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout.readline() == b"up\n"
        presence.leave()
        assert not series.anybody_present()
        child.stdin.write(b"\n")
        child.stdin.close()


def test_a_sender_of_many_series_holds_the_latest_of_them(tmp_path):
    folders = [SeriesFolder(tmp_path / f"1.2.{number}") for number in range(MOST_SERIES + 2)]
    presence = Presence()
    presence.join(folders[0])
    for folder in folders[1:]:
        presence.join(folder)
        presence.join(folders[0])  # of which something comes all the time
    assert [folder.anybody_present() for folder in folders] == [True, False, False, *[True] * (MOST_SERIES - 1)]
    presence.leave()
    assert not any(folder.anybody_present() for folder in folders)


def test_a_folder_that_is_removed_under_a_lock_is_made_anew(series, tmp_path):
    presence = Presence()
    presence.join(series)
    series.folder.rename(tmp_path / "gone")
    with series.written(), series.closed() as alone:
        assert not alone
    assert not series.anybody_present()  # the sender held the one that is gone
    presence.leave()


def test_what_is_known_refused_and_forgiven(series):
    with series.written():
        assert (series.known(), series.refused(), series.sources()) == ({}, {}, [])
        series.refuse("1.2.9", "it is dark")
        series.refuse("1.2.10", "it is no slice")
        series.write_known({"1.2.9": "digest"})
        series.write_source("1.2.11", b"data")
    assert series.refused() == {"1.2.10": "it is no slice", "1.2.9": "it is dark"}
    assert (series.known(), series.sources()) == ({"1.2.9": "digest"}, ["1.2.11"])
    with pytest.raises(FileExistsError):
        series.write_source("1.2.11", b"other")
    series.forgive("1.2.9")
    series.forgive("1.2.7")
    assert list(series.refused()) == ["1.2.10"]
    series.forgive()
    series.remove_sources()
    assert (series.refused(), series.sources()) == ({}, [])


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_memory_knows_nothing(series, data):
    series.folder.mkdir()
    (series.folder / "known.json").write_bytes(data)
    assert series.known() == {}


@pytest.mark.parametrize(
    ("uid", "good"),
    [
        ("1", True),
        ("1.2.840", True),
        ("0.0", True),
        ("1" * 64, True),
        ("1" * 65, False),
        ("", False),
        (".", False),
        ("1.", False),
        (".1", False),
        ("1..2", False),
        ("1.a", False),
        ("1/2", False),
        ("1\n", False),
        ("\u0661", False),
    ],
)
def test_names(uid, good):
    assert is_file_name(uid) is good


def test_digests_tell_encodings_apart():
    assert digest_of("1.2", b"x") == digest_of("1.2", b"x")
    assert len({digest_of("1.2", b"x"), digest_of("1.3", b"x"), digest_of("1.2", b"y"), digest_of("1.2.", b"x")}) == 4
