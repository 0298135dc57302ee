"""A folder, zip or tar file -> the bytes of its files, one after the other, under limits.

    path --(folder? zip? tar?)--> names --(how many? twice? encrypted?)--> bytes, in the order of the names
           NotAnImage                     TooLarge NotAnImage UnsupportedFormat

Nothing is extracted to disk, so a name in an archive is never used as a path; a link in it is passed over. Names are
not told in messages, because they often hold a patient's: files are counted in the order of names. A tar file is read
once from its beginning to its end, in its own order.
"""

from __future__ import annotations

import gzip
import hashlib
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from imaging.errors import NotAnImage, TooLarge, UnsupportedFormat


@dataclass(frozen=True)
class ArchiveLimits:
    """What one folder or zip file may cost.

    Attributes:
        max_entries: files and folders; the longest CT series have about 3000.
        max_entry_bytes: of one file, decompressed; a CT slice of 1024 x 1024 has 2 MiB, so this leaves ample room.
        max_total_bytes: of all files, decompressed; 2 GiB are 4000 slices of 512 x 512.
    """

    max_entries: int = 10_000
    max_entry_bytes: int = 64 << 20
    max_total_bytes: int = 2 << 30


DEFAULT_LIMITS = ArchiveLimits()

_END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_ZIP64_LOCATOR_SIGNATURE = b"PK\x06\x07"
_ZIP64_LOCATOR_SIZE = 20
_LONGEST_COMMENT = 0xFFFF
_DIRECTORY_BYTES_PER_ENTRY = 1024
"""46 bytes and a name; generous for extra fields."""
_ENCRYPTED_FLAG = 1

_GZIP_SIGNATURE = b"\x1f\x8b"
_TAR_SIGNATURE, _TAR_SIGNATURE_AT = b"ustar", 257
_MOST_HEADER_BYTES = 1 << 16
"""Of a tar header that holds a long name or the like, which `tarfile` reads whole."""

_TAR_BYTES_PER_ENTRY = 8192
"""Beside its content: blocks of 512 bytes for the name, and their padding; generous for extended headers."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError)
"""What `zipfile` raises for damaged files: OSError where an offset points before the file, ValueError for names."""


def read_members(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> Iterator[bytes]:
    """The contents of all files in `path`, recursively, in the order of their names.

    Left out: folders, hidden files, `__MACOSX`, and `DICOMDIR`, which only lists the others.

    Args:
        path: a folder, a zip file, a tar file (also one compressed by gzip), or a single file of another kind, which
            is yielded itself.

    Raises:
        TooLarge: see `ArchiveLimits`; `limit` is the name of its attribute.
        NotAnImage: no such file, a broken archive, or one that holds a name twice.
        UnsupportedFormat: an encrypted zip file, ZIP64, or compression other than deflate.
    """
    if path.is_dir():
        yield from _read_folder(path, limits)
    elif not path.is_file():
        raise NotAnImage(f"{path} is neither a folder nor a file")
    elif is_tar(path):
        yield from _read_tar(path, limits)
    elif zipfile.is_zipfile(path):
        yield from _read_zip(path, limits)
    else:
        yield from _read_files([path], limits)


def _wanted(parts: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") and part not in (".", "..") for part in parts)
    return not hidden and "__MACOSX" not in parts and parts[-1].upper() != "DICOMDIR"


def _read_folder(folder: Path, limits: ArchiveLimits) -> Iterator[bytes]:
    paths = []
    for entries, path in enumerate(folder.rglob("*"), start=1):
        _check_entries(entries, limits)
        if _wanted(path.relative_to(folder).parts) and path.is_file():
            paths.append(path)
    yield from _read_files(sorted(paths), limits)


def _read_files(paths: list[Path], limits: ArchiveLimits) -> Iterator[bytes]:
    total = 0
    for number, path in enumerate(paths, start=1):
        with path.open("rb") as file:
            data = file.read(limits.max_entry_bytes + 1)
        total += len(data)
        _check_sizes(len(data), total, number, limits)
        yield data


def _read_zip(path: Path, limits: ArchiveLimits) -> Iterator[bytes]:
    _check_directory(path, limits)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _zip_members(archive, limits)
            total = 0
            for number, member in enumerate(members, start=1):
                with archive.open(member) as file:
                    # whatever size the directory declares, no more than this is decompressed
                    data = file.read(limits.max_entry_bytes + 1)
                total += len(data)
                _check_sizes(len(data), total, number, limits)
                yield data
    except _DAMAGE as error:
        raise NotAnImage(f"the zip file is broken ({type(error).__name__}); make it again") from None


def _zip_members(archive: zipfile.ZipFile, limits: ArchiveLimits) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    _check_entries(len(infos), limits)
    names = {info.filename for info in infos}
    if len(names) < len(infos):
        raise NotAnImage("the zip file holds a file name twice, so it is unclear which one counts; make it again")
    members = []
    for info in sorted(infos, key=lambda info: info.filename):
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or not parts or not _wanted(parts) or stat.S_ISLNK(info.external_attr >> 16):
            continue
        if info.flag_bits & _ENCRYPTED_FLAG:
            raise UnsupportedFormat("the zip file is encrypted; make it again without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsupportedFormat(f"the zip file uses compression method {info.compress_type}; only deflate is read")
        members.append(info)
    return members


def is_tar(path: Path) -> bool:
    """Whether a file is a tar file (POSIX or GNU), as it is or compressed by gzip."""
    with path.open("rb") as file:
        start = file.read(_TAR_SIGNATURE_AT + len(_TAR_SIGNATURE))
    if start.startswith(_GZIP_SIGNATURE):
        try:
            with gzip.open(path) as file:
                start = file.read(_TAR_SIGNATURE_AT + len(_TAR_SIGNATURE))
        except (OSError, EOFError, zlib.error):
            return False
    return start[_TAR_SIGNATURE_AT:] == _TAR_SIGNATURE


class _TarInfo(tarfile.TarInfo):
    """Refuses headers that would be read into memory whatever their size, or would undo the limits.

    The methods are tarfile's own, called for each header before anything that follows it is read.
    """

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.size < 0:
            raise NotAnImage("the tar file has an entry of negative size; make it again")
        if self.type not in tarfile.REGULAR_TYPES and self.size > _MOST_HEADER_BYTES:
            raise NotAnImage("the tar file has an entry that is no file and has a size; make it again")
        if self.type == tarfile.XGLTYPE:
            raise UnsupportedFormat("the tar file has a header for all of its files; make it again without")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        return super()._proc_member(archive)  # type: ignore[misc]  # not in the type stubs

    def _refuse_sparse(self, *_: object) -> None:
        raise UnsupportedFormat("the tar file holds a sparse file; make it again without --sparse")

    # maps of holes, which are read for as long as there is data
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse


class _Counted:
    """A stream of tar blocks that gives up after so many bytes, headers included.

    Args:
        stream: to read.
        most: bytes.
        limits: to name.
    """

    def __init__(self, stream: BinaryIO | gzip.GzipFile, most: int, limits: ArchiveLimits) -> None:
        self._stream = stream
        self._left = most
        self._limits = limits

    def read(self, size: int) -> bytes:
        """As of a file."""
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            _check_sizes(0, self._limits.max_total_bytes + 1, 0, self._limits)
        return data


def order_of(path: Path) -> str:
    """In which order files are counted in messages."""
    return "in the order of the tar file" if path.is_file() and is_tar(path) else "in the order of names"


def _read_tar(path: Path, limits: ArchiveLimits) -> Iterator[bytes]:
    with path.open("rb") as plain:
        packed = plain.read(len(_GZIP_SIGNATURE)) == _GZIP_SIGNATURE
        plain.seek(0)
        try:
            if packed:
                with gzip.open(plain) as unpacked:
                    yield from _tar_members(unpacked, limits)
            else:
                yield from _tar_members(plain, limits)
        except (tarfile.TarError, *_DAMAGE) as error:
            raise NotAnImage(f"the tar file is broken ({type(error).__name__}); make it again") from None


def _tar_members(stream: BinaryIO | gzip.GzipFile, limits: ArchiveLimits) -> Iterator[bytes]:
    names, total, number = set[bytes](), 0, 0
    most = limits.max_total_bytes + limits.max_entries * _TAR_BYTES_PER_ENTRY
    with tarfile.open(fileobj=_Counted(stream, most, limits), mode="r|", tarinfo=_TarInfo) as archive:  # type: ignore[call-overload]
        for entries, member in enumerate(archive, start=1):
            _check_entries(entries, limits)
            archive.members = []  # tarfile would keep them to the end
            parts = PurePosixPath(member.name).parts
            if not member.isfile() or not parts or not _wanted(parts):
                total += max(0, member.size)
                _check_sizes(0, total, number, limits)  # what is passed over is decompressed too
                continue
            name = hashlib.sha256(member.name.encode("utf-8", "surrogateescape")).digest()
            if name in names:
                raise NotAnImage(
                    "the tar file holds a file name twice, so it is unclear which one counts; make it again"
                )
            names.add(name)
            if member.size < 0:  # also by a header of the pax format
                raise NotAnImage("the tar file has an entry of negative size; make it again")
            number, total = number + 1, total + member.size
            _check_sizes(member.size, total, number, limits, "in the order of the tar file")
            file = archive.extractfile(member)
            data = b"" if file is None else file.read()
            if len(data) < member.size:
                raise NotAnImage("the tar file is broken: it ends in the middle of a file; make it again")
            yield data


def _check_directory(path: Path, limits: ArchiveLimits) -> None:
    """Refuses a directory of too many bytes before `zipfile` turns it into objects."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        tail_size = min(size, _LONGEST_COMMENT + _END_OF_DIRECTORY.size + _ZIP64_LOCATOR_SIZE)
        file.seek(size - tail_size)
        tail = file.read()
    # `zipfile` looks first for a record that ends the file, then for the last signature
    end = len(tail) - _END_OF_DIRECTORY.size
    if not (tail[end:].startswith(_END_SIGNATURE) and tail.endswith(b"\0\0")):
        end = tail.rfind(_END_SIGNATURE)
    if end < 0 or end + _END_OF_DIRECTORY.size > len(tail):
        raise NotAnImage("the zip file is broken: its directory is missing; make it again")
    if tail[max(0, end - _ZIP64_LOCATOR_SIZE) : end].startswith(_ZIP64_LOCATOR_SIGNATURE):
        raise UnsupportedFormat("the zip file uses ZIP64, which is for archives larger than are read here")
    directory_bytes = _END_OF_DIRECTORY.unpack_from(tail, end)[5]
    if directory_bytes > limits.max_entries * _DIRECTORY_BYTES_PER_ENTRY:
        raise TooLarge(
            f"the directory of the zip file has {directory_bytes} bytes, too many for {limits.max_entries} files",
            limit="max_entries",
        )


def _check_entries(entries: int, limits: ArchiveLimits) -> None:
    if entries > limits.max_entries:
        raise TooLarge(
            f"more than {limits.max_entries} files and folders; take a smaller folder or archive",
            limit="max_entries",
        )


def _check_sizes(
    size: int, total: int, number: int, limits: ArchiveLimits, order: str = "in the order of names"
) -> None:
    if size > limits.max_entry_bytes:
        raise TooLarge(
            f"file {number} {order} has more than {limits.max_entry_bytes} bytes",
            limit="max_entry_bytes",
        )
    if total > limits.max_total_bytes:
        raise TooLarge(
            f"the files have more than {limits.max_total_bytes} bytes together; take a smaller folder or archive",
            limit="max_total_bytes",
        )
