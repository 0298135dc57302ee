"""A file that is to be sent, as far as sending needs to know it.

path --read_outgoing--> Outgoing: SOP class, SOP instance, transfer syntax, sizes
        NotAnImage OSError

Only the file meta information is read. The data set goes out as it lies in the file, never decoded.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from imaging.dicom_file import MAGIC, PREAMBLE_LENGTH, looks_like_dicom, pydicom_guard
from imaging.errors import NotAnImage
from service.pacs.peers import Said, Told

_META_BYTES = 1 << 16
"""In which all file meta information lies; it has less than 1 KiB unless somebody added to it."""

_META_GROUP = 0x0002
_UID = re.compile(r"[0-9][0-9.]{0,63}")


@dataclass(frozen=True)
class Outgoing:
    """A DICOM file on its way out.

    Attributes:
        path: of the file.
        sop_class, sop_instance, transfer_syntax: UIDs, as the file meta information names them.
        size: of the file, in bytes.
        data_bytes: of the data set, after the file meta information.
    """

    path: Path
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    size: int
    data_bytes: int


def is_uid(value: object) -> bool:
    """Whether it is a UID that may become part of a file name or an address: digits and dots, at most 64."""
    return isinstance(value, str) and _UID.fullmatch(value) is not None


def read_outgoing(path: Path) -> Outgoing:
    """Reads the file meta information of a file.

    Raises:
        NotAnImage: it is no DICOM file, or does not name its SOP class, SOP instance or transfer syntax.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(_META_BYTES)
        size = file.seek(0, os.SEEK_END)
    if not looks_like_dicom(begin):
        raise NotAnImage("the file is no DICOM file (PS3.10 section 7.1)")
    stream = io.BytesIO(begin)
    stream.seek(PREAMBLE_LENGTH + len(MAGIC))
    keywords = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
    with pydicom_guard("the file meta information is malformed"):
        meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
        uids: list[Any] = [meta.get(keyword) for keyword in keywords]
    for keyword, uid in zip(keywords, uids, strict=True):
        if not is_uid(uid):
            raise NotAnImage(f"the file meta information has no valid {keyword}")
    return Outgoing(path, str(uids[0]), str(uids[1]), str(uids[2]), size, size - stream.tell())


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag.group != _META_GROUP)


def readable(files: Sequence[Path], told: Told) -> list[Outgoing]:
    """Those of the files that can be sent; of the others it tells that they are refused.

    Raises:
        OSError: a file cannot be read.
    """
    found = []
    for path in files:
        try:
            found.append(read_outgoing(path))
        except NotAnImage as error:
            told(path, Said("refused", str(error)))
    return found
