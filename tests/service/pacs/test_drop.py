"""Which dropped files lie still, and what happens where one cannot be moved, removed or read: the others go on."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.pacs.audit.trail import Trail
from service.pacs.drop import STILL_SECONDS, Drop


@dataclass
class Folder:
    """A drop folder, the clock that it goes by, and the node behind it."""

    path: Path
    node: object
    now: float = 0.0
    drop: Drop | None = None

    def begin(self):
        """As a program that starts."""
        self.drop = Drop(
            self.path,
            self.node.arrivals,
            self.node.settings,
            trail=Trail("CLEARSLICE", None),
            told=lambda _: None,
            clock=lambda: self.now,
        )

    def look(self, *, after=0.0):
        """One pass."""
        self.now += after
        asyncio.run(self.drop.take())

    def put(self, name, data):
        (self.path / name).write_bytes(data)

    def take_all(self):
        self.look()
        self.look(after=STILL_SECONDS)

    @property
    def names(self):
        """Of all files that lie in it."""
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path, door):
    path = tmp_path / "drop"
    path.mkdir()
    made = Folder(path, door())
    made.begin()
    return made


@pytest.fixture
def slices(ct_slice):
    """(n) -> the bytes of n instances of one series."""
    return lambda count: [ct_slice(SOPInstanceUID=f"1.2.3.4.{number}") for number in range(1, count + 1)]


def test_a_file_lies_still_when_it_has_not_changed_for_some_time(folder, slices):
    (data,) = slices(1)
    folder.put("a.dcm", data[:-8] + bytes(8))  # a copy that stalls, with its size set in advance
    folder.look()
    folder.look(after=STILL_SECONDS - 0.1)
    assert folder.node.sources() == []
    folder.put("a.dcm", data)
    folder.look(after=0.1)
    folder.look(after=STILL_SECONDS - 0.1)
    assert folder.node.sources() == []
    folder.look(after=0.1)
    assert folder.node.sources() == ["1.2.3.4.1"]
    assert folder.node.source("1.2.3.4.1")[-8:] == data[-8:]
    assert folder.names == []


@pytest.mark.parametrize("date", [0, 1 << 33])
def test_the_clock_of_whoever_wrote_it_does_not_matter(folder, slices, date):
    folder.put("a.dcm", slices(1)[0])
    os.utime(folder.path / "a.dcm", (date, date))
    folder.look()
    assert folder.node.sources() == []
    folder.look(after=STILL_SECONDS)
    assert folder.node.sources() == ["1.2.3.4.1"]


def test_refused_files_of_one_name_are_all_kept(folder):
    for text in (b"one", b"two", b"three"):
        folder.put("a.dcm", text)
        folder.take_all()
    refused = folder.path / ".refused"
    assert {path.name: path.read_bytes() for path in refused.glob("*.dcm")} == {
        "a.dcm": b"one",
        "a-2.dcm": b"two",
        "a-3.dcm": b"three",
    }
    assert sorted(path.name for path in refused.glob("*.txt")) == ["a-2.dcm.txt", "a-3.dcm.txt", "a.dcm.txt"]
    # nor does a file take the place of another one's reason
    folder.put("a.dcm.txt", b"four")
    folder.take_all()
    assert (refused / "a.dcm-2.txt").read_bytes() == b"four"
    assert b"no DICM prefix" in (refused / "a.dcm.txt").read_bytes()


def failing(monkeypatch, method, name):
    """`method` of Path fails for files of a name; the list of those calls."""
    calls = []
    usual = getattr(Path, method)

    def fail(path, *arguments, **options):
        if path.name != name:
            return usual(path, *arguments, **options)
        calls.append(path)
        raise OSError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, fail)
    return calls


def test_a_taken_file_that_cannot_be_removed_is_taken_once_and_holds_up_nothing(folder, slices, monkeypatch):
    for name, data in zip(("a.dcm", "b.dcm"), slices(2), strict=True):
        folder.put(name, data)
    with monkeypatch.context() as patched:
        calls = failing(patched, "unlink", "a.dcm")
        folder.take_all()
        assert folder.node.sources() == ["1.2.3.4.1", "1.2.3.4.2"]
        folder.look(after=STILL_SECONDS)
        assert len(calls) == 1
    assert folder.names == ["a.dcm"]
    folder.begin()
    folder.take_all()
    assert folder.names == []


def test_a_refused_file_that_cannot_be_moved_holds_up_nothing(folder, slices, monkeypatch):
    folder.put("a.dcm", b"no DICOM file")
    folder.put("b.dcm", slices(1)[0])
    calls = failing(monkeypatch, "replace", "a.dcm")
    folder.take_all()
    folder.look(after=STILL_SECONDS)
    assert len(calls) == 1
    assert folder.names == ["a.dcm"]
    assert folder.node.sources() == ["1.2.3.4.1"]


def test_a_file_that_cannot_be_read_is_refused(folder, slices, monkeypatch):
    folder.put("a.dcm", slices(1)[0])
    failing(monkeypatch, "read_bytes", "a.dcm")
    folder.take_all()
    assert (folder.path / ".refused" / "a.dcm.txt").read_text(
        encoding="utf-8"
    ) == "it cannot be read: Permission denied\n"


@pytest.mark.parametrize("method", ["lstat", "stat", "read_bytes"])
def test_a_file_that_vanishes_meanwhile_holds_up_nothing(folder, slices, monkeypatch, method):
    for name, data in zip(("a.dcm", "b.dcm"), slices(2), strict=True):
        folder.put(name, data)
    folder.look()
    usual = getattr(Path, method)

    def gone(path, *arguments, **options):
        if path.name == "a.dcm":
            path.unlink(missing_ok=True)
        return usual(path, *arguments, **options)

    monkeypatch.setattr(Path, method, gone)
    folder.look(after=STILL_SECONDS)
    assert folder.node.sources() == ["1.2.3.4.2"]
    assert folder.names == []


def test_a_file_that_changes_while_it_is_read_is_left_alone(folder, slices, monkeypatch):
    (data,) = slices(1)
    folder.put("a.dcm", data)
    folder.look()
    usual = Path.read_bytes

    def read(path):
        found = usual(path)
        if path.name == "a.dcm":
            path.write_bytes(data + b"more")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", read)
        folder.look(after=STILL_SECONDS)
    assert folder.node.sources() == []
    assert folder.names == ["a.dcm"]


def test_links_and_what_is_no_file_are_left_alone(folder, slices, tmp_path):
    (tmp_path / "elsewhere.dcm").write_bytes(slices(1)[0])
    (folder.path / "link.dcm").symlink_to(tmp_path / "elsewhere.dcm")
    os.mkfifo(folder.path / "pipe.dcm")
    folder.take_all()
    assert folder.node.sources() == []
    assert sorted(path.name for path in folder.path.iterdir()) == ["link.dcm", "pipe.dcm"]
