"""Folders, zip and tar files: order, what is left out, and limits."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib

import pytest

from imaging import archive
from imaging.archive import ArchiveLimits, read_members
from imaging.errors import NotAnImage, TooLarge, UnsupportedFormat

FILES = {"b.dcm": b"second", "a.dcm": b"first", "deeper/c": b"third"}
LEFT_OUT = {
    "__MACOSX/a.dcm": b"resource fork",
    "deeper/__MACOSX/._c": b"resource fork",
    ".DS_Store": b"finder",
    "._a.dcm": b"resource fork",
    "DICOMDIR": b"directory",
    "deeper/dicomdir": b"directory",
}


def write_zip(path, files, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data, **options)
    return path


def write_folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.fixture(params=["zip", "folder"])
def written(request, tmp_path):
    """Writes files as a zip file or as a folder."""
    if request.param == "zip":
        return lambda files: write_zip(tmp_path / "series.zip", files)
    return lambda files: write_folder(tmp_path / "series", files)


def test_files_come_in_the_order_of_their_names_without_bookkeeping(written):
    assert list(read_members(written({**LEFT_OUT, **FILES}))) == [b"first", b"second", b"third"]


def test_a_single_file_is_itself(tmp_path):
    (tmp_path / "one.dcm").write_bytes(b"alone")
    assert list(read_members(tmp_path / "one.dcm")) == [b"alone"]


def test_nothing_there(tmp_path):
    with pytest.raises(NotAnImage, match="neither a folder nor a file"):
        list(read_members(tmp_path / "missing"))
    assert list(read_members(tmp_path)) == []


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (ArchiveLimits(max_entries=2), "max_entries"),
        (ArchiveLimits(max_entry_bytes=5), "max_entry_bytes"),
        (ArchiveLimits(max_total_bytes=15), "max_total_bytes"),
    ],
)
def test_each_limit_is_enforced_and_named(written, limits, name):
    path = written(FILES)
    with pytest.raises(TooLarge) as refused:
        list(read_members(path, limits))
    assert refused.value.limit == name
    assert str(getattr(limits, name)) in str(refused.value)


def test_limits_may_be_reached(written):
    exact = ArchiveLimits(max_entries=4, max_entry_bytes=6, max_total_bytes=16)
    assert len(list(read_members(written(FILES), exact))) == 3


def test_a_name_in_a_zip_file_is_no_path(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    names = ["../../outside", "/etc/absolute", "C:\\windows\\file"]
    path = write_zip(inside / "evil.zip", {name: name.encode() for name in names})
    assert sorted(read_members(path)) == sorted(name.encode() for name in names)
    assert [item.name for item in tmp_path.rglob("*")] == ["inside", "evil.zip"]


def test_links_and_folders_in_a_zip_file_are_left_out(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
        file.mkdir("folder")
        file.writestr("plain", b"data")
    assert list(read_members(tmp_path / "a.zip")) == [b"data"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("same", b"1")
        file.writestr("same", b"2")
    with pytest.raises(NotAnImage, match="name twice"):
        list(read_members(tmp_path / "a.zip"))


def test_an_encrypted_file_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a": b"data"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # flag of the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of the directory
    path.write_bytes(data)
    with pytest.raises(UnsupportedFormat, match="encrypted"):
        list(read_members(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("a", b"data")
    with pytest.raises(UnsupportedFormat, match=f"method {method}"):
        list(read_members(tmp_path / "a.zip"))


def test_a_bomb_is_stopped_by_what_it_gives_and_not_by_what_it_declares(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a": bytes(32 << 20)})
    assert path.stat().st_size < 100_000
    with pytest.raises(TooLarge):
        list(read_members(path, ArchiveLimits(max_entry_bytes=1 << 20)))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 1000)  # declares 1000 bytes
    path.write_bytes(data)
    with pytest.raises((TooLarge, NotAnImage)):
        list(read_members(path, ArchiveLimits(max_entry_bytes=1 << 20)))


def test_overlapping_entries_count_each_time(tmp_path):
    """One megabyte, named three times by the directory."""
    packed = zlib.compressobj(9, wbits=-15)
    content = bytes(1 << 20)
    body = packed.compress(content) + packed.flush()
    fields = (20, 0, 8, 0, 0, zlib.crc32(content), len(body), len(content))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", *fields, 1, 0) + b"a" + body
    names = (b"a", b"b", b"c")
    directory = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, *fields, 1, 0, 0, 0, 0, 0, 0) + name for name in names
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 3, 3, len(directory), len(local), 0)
    (tmp_path / "a.zip").write_bytes(local + directory + end)
    with pytest.raises((TooLarge, NotAnImage)):
        list(read_members(tmp_path / "a.zip", ArchiveLimits(max_total_bytes=(2 << 20) + 1)))


def test_a_directory_of_very_many_entries_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", {f"{number:05}": b"" for number in range(300)})
    monkeypatch.setattr(archive, "_DIRECTORY_BYTES_PER_ENTRY", 50)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # would fail if it were used
    with pytest.raises(TooLarge, match="directory of the zip file") as refused:
        list(read_members(path, ArchiveLimits(max_entries=200)))
    assert refused.value.limit == "max_entries"


def test_zip64_is_refused(tmp_path):
    data = write_zip(tmp_path / "a.zip", {"a": b"data"}).read_bytes()
    end = data.index(b"PK\5\6")
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1)
    (tmp_path / "a.zip").write_bytes(data[:end] + locator + data[end:])
    with pytest.raises(UnsupportedFormat, match="ZIP64"):
        list(read_members(tmp_path / "a.zip"))


def test_a_comment_does_not_hide_the_directory(tmp_path):
    path = write_zip(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"made by a program " * 3000
    assert list(read_members(path)) == [b"first", b"second", b"third"]


def test_damage_is_an_error_of_ours(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a": os.urandom(200), "b": b"text" * 50})
    data = path.read_bytes()
    outcomes = set()
    for position in range(0, len(data), 3):
        broken = bytearray(data)
        broken[position] ^= 0xFF
        path.write_bytes(broken)
        try:
            outcomes.add(len(list(read_members(path))))
        except (NotAnImage, UnsupportedFormat, TooLarge) as error:
            outcomes.add(type(error).__name__)
    assert "NotAnImage" in outcomes


@pytest.mark.parametrize(("mode", "format_"), [("w", tarfile.GNU_FORMAT), ("w:gz", tarfile.PAX_FORMAT)])
def test_a_tar_file_is_read_once_in_its_own_order(tmp_path, mode, format_):
    files = {**LEFT_OUT, **FILES, "n" * 300: b"long name", "\xfc/\u65e5": b"other letters"}
    with tarfile.open(tmp_path / "series.tar", mode, format=format_) as archive:
        folder = tarfile.TarInfo("deeper")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    found = list(read_members(tmp_path / "series.tar"))
    assert found == [*FILES.values(), b"long name", b"other letters"]


def test_a_tar_file_has_the_limits_of_a_zip_file(tmp_path):
    with tarfile.open(tmp_path / "series.tar", "w") as archive:
        for name in ("a", "b"):
            info = tarfile.TarInfo(name)
            info.size = 100
            archive.addfile(info, io.BytesIO(b"x" * 100))
    for limits, name in (
        (ArchiveLimits(max_entries=1), "max_entries"),
        (ArchiveLimits(max_entry_bytes=99), "max_entry_bytes"),
        (ArchiveLimits(max_total_bytes=199), "max_total_bytes"),
    ):
        with pytest.raises(TooLarge) as caught:
            list(read_members(tmp_path / "series.tar", limits))
        assert caught.value.limit == name
    assert len(list(read_members(tmp_path / "series.tar", ArchiveLimits(max_total_bytes=200)))) == 2
