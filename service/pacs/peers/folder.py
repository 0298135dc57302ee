"""A peer that is a folder: instances are filed by study and series.

    file --UIDs of it--> folder/<StudyInstanceUID>/<SeriesInstanceUID>/<SOPInstanceUID>.dcm --> taken
           refused                                                      other bytes there: refused
                                                                        PeerUnavailable

The folder itself is never made: where a share is not mounted, instances would go to a disk on which nobody looks.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread

from imaging.dicom_file import pydicom_guard
from imaging.errors import NotAnImage
from service.files import flush_folder, write_file
from service.pacs.configuration import Peer
from service.pacs.peers import PeerUnavailable, Said, Told
from service.pacs.peers.outgoing import is_uid

SUFFIX = ".dcm"
_LEVELS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


class FolderPeer:
    """A peer with a folder.

    Args:
        name: in the configuration, and in messages.
        peer: with a folder.
    """

    def __init__(self, name: str, peer: Peer) -> None:
        self._name = name
        self._folder = peer.folder or Path()

    def echo(self) -> None:
        """Looks whether the folder is there and can be written to, as `send` does: not every share has hard links.

        Raises:
            PeerUnavailable: it is not, or cannot.
        """
        self._check()
        probe = self._folder / f".clearslice-{secrets.token_hex(4)}"
        try:
            try:
                write_file(probe, b"", replace=False)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise self._unavailable(error) from None

    def send(self, files: Sequence[Path], told: Told) -> None:
        """Files copies of the files.

        Args:
            files: of one series.
            told: of each, once it is on the disk.

        Raises:
            PeerUnavailable: the folder is not there, or cannot be written to; the disk is full, say.
            OSError: a file cannot be read.
        """
        self._check()
        for path in files:
            data = path.read_bytes()
            try:
                uids = _uids(data)
            except NotAnImage as error:
                told(path, Said("refused", str(error)))
                continue
            try:
                said = self._file(uids, data)
            except OSError as error:
                raise self._unavailable(error) from None
            told(path, said)

    def _file(self, uids: Sequence[str], data: bytes) -> Said:
        study, series, instance = uids
        within = self._folder
        for level in (study, series):
            if not (within / level).is_dir():
                (within / level).mkdir(exist_ok=True)
                flush_folder(within)
            within /= level
        target = within / (instance + SUFFIX)
        try:
            write_file(target, data, replace=False)
        except FileExistsError:
            if target.stat().st_size == len(data) and target.read_bytes() == data:
                return Said("taken", "the instance was there already")
            return Said("refused", "there is an instance with this SOPInstanceUID, and it is another one")
        return Said("taken")

    def instances(self, study: str, series: str) -> frozenset[str]:
        """SOPInstanceUIDs that are filed under a series.

        Raises:
            PeerUnavailable: the folder is not there, or cannot be read.
            ValueError: these are no UIDs.
        """
        for uid in (study, series):
            if not is_uid(uid):
                raise ValueError(f"{uid[:64]!r} is no UID")
        self._check()
        try:
            names = [path.name for path in (self._folder / study / series).iterdir()]
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise self._unavailable(error) from None
        found = (name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))
        return frozenset(uid for uid in found if is_uid(uid))

    def _check(self) -> None:
        if not self._folder.is_dir():
            raise PeerUnavailable(f"peer {self._name!r}: its folder is not there; is the share mounted?")

    def _unavailable(self, error: OSError) -> PeerUnavailable:
        why = error.strerror or type(error).__name__
        return PeerUnavailable(f"peer {self._name!r}: its folder cannot be used: {why}")


def _uids(data: bytes) -> tuple[str, ...]:
    """UIDs of study, series and instance, from the data set.

    Raises:
        NotAnImage: it is no DICOM file, or has one of them not as digits and dots.
    """
    with pydicom_guard("the file is no DICOM file, or malformed"):
        dataset = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(_LEVELS))
        uids = [dataset.get(keyword) for keyword in _LEVELS]
    for keyword, uid in zip(_LEVELS, uids, strict=True):
        if not is_uid(uid):
            raise NotAnImage(f"the file has no valid {keyword}")
    return tuple(str(uid) for uid in uids)
