"""The door: instances come in, and are on the disk before anybody says that they were taken.

    file --(room?)--read_dicom--(as announced? CT? wanted?)--(can it be restored at all?)--> source/ --fsync--> Taken
          NoRoom    ImagingError NotAsAnnounced ClassNotTaken NotWanted  ImagingError, and a hole in the series
                                                                     the same UID with other content --> quarantine/

    pacs/
        arriving/<SeriesInstanceUID>   a series of which something came since it was last closed
        series/<SeriesInstanceUID>/    `SeriesFolder`
        quarantine/<id>/               instance.dcm, and why it is here
        incoming/                      worthless after a crash

The data set is written as it came; its file meta information is ours, and its preamble empty. Several processes may
use the door at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, CTImageStorage

from imaging.dicom_attributes import text
from imaging.dicom_file import MAGIC, PREAMBLE_LENGTH, SourceInstance, encoded_data_set, read_dicom
from imaging.dicom_pixels import MULTI_FRAME_CT, check_image
from imaging.enhanced_ct import check_frames_of, is_multi_frame_ct
from imaging.errors import ImagingError, NotAnImage
from service.dicom.derived_instance import IMPLEMENTATION_VERSION
from service.dicom.eligibility import made_here
from service.dicom.identity import IMPLEMENTATION_CLASS_UID
from service.files import write_file
from service.pacs.configuration import Configuration
from service.pacs.errors import ClassNotTaken, NoRoom, NotAsAnnounced, NotWanted
from service.pacs.presence import Presence
from service.pacs.quarantine import Quarantine
from service.pacs.routing import decide, facts_of
from service.pacs.series_folder import OWNER_ONLY, SeriesFolder, digest_of, is_file_name
from service.settings import Settings

TAKEN_CLASSES = (CTImageStorage, *sorted(MULTI_FRAME_CT))

SENDER_LENGTH = 16
"""Characters of an AE title; the name of a longer API key is cut, since it is kept in the file as one."""

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def promise_of(node: Path) -> Path:
    """A file, in `pacs/` of the spool, in which the node says how many bytes it will yet write."""
    return node / "promised"


def folder_of(spool: Path) -> Path:
    """Where a node keeps what is its own, in the spool of the app."""
    return spool / "pacs"


@dataclass(frozen=True)
class Taken:
    """An instance that is on the disk.

    Attributes:
        kind: new; again: the same one had come before; quarantined: one of its UID, but with other content, had.
        study, series, uid, sop_class: UIDs.
        dataset: what was read, for whoever writes the audit trail.
    """

    kind: Literal["new", "again", "quarantined"]
    study: str
    series: str
    uid: str
    sop_class: str
    dataset: SourceInstance


@dataclass(frozen=True)
class Announced:
    """What a sender said of an instance before it sent it; empty: nothing."""

    sop_class: str = ""
    uid: str = ""
    study: str = ""

    def fits(self, sop_class: str, uid: str, study: str) -> bool:
        """Whether that is what came."""
        pairs = ((self.sop_class, sop_class), (self.uid, uid), (self.study, study))
        return all(said in ("", found) for said, found in pairs)


NOTHING_SAID = Announced()


class Arrivals:
    """The door of one node.

    Args:
        folder: `pacs/` in the spool; made if need be, for its owner only.
        configuration: of the node.
        settings: of the app: limits of one file.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path, configuration: Configuration, settings: Settings) -> None:
        self.folder = folder
        self._configuration = configuration
        self._settings = settings
        self._arriving, self._series = folder / "arriving", folder / "series"
        self._incoming = folder / "incoming"
        for path in (folder, self._arriving, self._series, self._incoming):
            path.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        folder.chmod(OWNER_ONLY)
        self.quarantine = Quarantine(folder / "quarantine")

    def series(self, uid: str) -> SeriesFolder:
        """The folder of a series, whether it is there or not.

        Raises:
            ValueError: the UID can be no file name.
        """
        if not is_file_name(uid):
            raise ValueError("a UID that is no file name")
        return SeriesFolder(self._series / uid)

    def all_series(self) -> Iterator[SeriesFolder]:
        """Of which anything is known."""
        for path in sorted(self._series.iterdir()):
            if is_file_name(path.name):
                yield SeriesFolder(path)

    def arriving(self) -> list[Path]:
        """`arriving_marker` of every series that has one."""
        return [path for path in self._arriving.iterdir() if is_file_name(path.name)]

    def arriving_marker(self, uid: str) -> Path:
        """A file that is there while something of a series came that no job knows of: last changed when the last of it
        came, and it holds when the first did, in seconds of the epoch."""
        return self._arriving / uid

    def mark_complete(self, series: SeriesFolder) -> None:
        """A series is to be looked at as soon as possible, as if all of it had come long ago."""
        place = self.arriving_marker(series.uid)
        write_file(place, b"0", replace=True)
        os.utime(place, (0, 0))

    def mark_anew(self, series: SeriesFolder) -> None:
        """Something of a series came after the rest of it was closed."""
        write_file(self.arriving_marker(series.uid), str(time.time()).encode(), replace=True)

    def incoming(self) -> Path:
        """A new folder for something that is not whole yet."""
        aside = self._incoming / uuid.uuid4().hex
        aside.mkdir(mode=OWNER_ONLY)
        return aside

    def take(self, data: bytes, *, sender: str, presence: Presence, announced: Announced = NOTHING_SAID) -> Taken:
        """Keeps an instance. When this returns, it is on the disk.

        Args:
            data: a whole DICOM file.
            sender: AE title, or name of the API key.
            presence: of the sender.
            announced: what the sender said of it before.

        Raises:
            NoRoom, NotAsAnnounced, ClassNotTaken, NotWanted: as `service.pacs.errors` says.
            ImagingError: it cannot be read, or can never be restored; the latter leaves a hole in its series, which
                is told when the series is complete.
        """
        self._check_room(len(data))
        dataset = read_dicom(data, limits=self._settings.limits())
        taken = _identified(dataset, announced)
        self._check_wanted(dataset, sender)
        series = self.series(taken.series)
        with self._disk():
            presence.join(series)
        try:
            self._check_header(dataset)
        except ImagingError as error:
            with self._disk(), series.written():
                self._note_hole(series, taken.uid, str(error))
            raise
        syntax, encoded = encoded_data_set(data)
        with self._disk(), series.written():
            kind = self._keep(series, taken, syntax, encoded, sender)
        return Taken(kind, taken.study, taken.series, taken.uid, taken.sop_class, dataset)

    def _check_room(self, needed: int) -> None:
        promised = 0
        with contextlib.suppress(OSError, ValueError):  # no node runs, or it has not said yet
            promised = int(promise_of(self.folder).read_bytes())
        if shutil.disk_usage(self.folder).free - promised - needed < self._configuration.node.reserve:
            raise NoRoom(
                f"the disk has less than the {self._configuration.node.reserve} bytes left that are to stay free"
                " (reserve), beside what is yet to be written of what came before; try again later"
            )

    def _check_wanted(self, dataset: SourceInstance, sender: str) -> None:
        if made_here(dataset):
            raise NotWanted("it is a reconstruction of this program, which is not reconstructed again")
        decision = decide(self._configuration.rules, facts_of(dataset, sender[:SENDER_LENGTH]))
        if decision.refused:
            raise NotWanted(f"it is refused by the rules of this node: {decision}")

    def _check_header(self, dataset: SourceInstance) -> None:
        limits = self._settings.limits()
        if is_multi_frame_ct(dataset):
            check_frames_of(dataset, limits=limits)
        else:
            check_image(dataset, max_pixels=limits.max_pixels)

    def _keep(
        self, series: SeriesFolder, taken: Taken, syntax: UID, encoded: bytes, sender: str
    ) -> Literal["new", "again", "quarantined"]:
        digest = digest_of(syntax, encoded)
        written = self._written(taken, syntax, encoded, sender)
        before = self._digest_before(series, taken.uid)
        if before in (None, digest):
            self._mark(series)
            try:
                series.write_source(taken.uid, written)
            except FileExistsError:  # from before, or somebody else brought it this very moment
                before = self._digest_before(series, taken.uid)
        if before not in (None, digest):
            self._set_aside(written, taken, digest)
            return "quarantined"
        series.forgive(taken.uid)
        return "new" if before is None else "again"

    def _digest_before(self, series: SeriesFolder, uid: str) -> str | None:
        """Of the instance of this UID that came before; None: none did."""
        try:
            return digest_of(*encoded_data_set(series.source(uid).read_bytes()))
        except FileNotFoundError:
            return series.known().get(uid)
        except ImagingError:
            return ""  # the disk has damaged it since

    def _note_hole(self, series: SeriesFolder, uid: str, reason: str) -> None:
        """An instance can never be restored: its series is not whole, unless a sound one of its UID is there."""
        if self._digest_before(series, uid) is None:
            self._mark(series)
            series.refuse(uid, reason)

    def _mark(self, series: SeriesFolder) -> None:
        """Something of the series came just now."""
        place = self.arriving_marker(series.uid)
        try:
            os.utime(place)
        except FileNotFoundError:
            write_file(place, str(time.time()).encode(), replace=True)

    def _written(self, taken: Taken, syntax: UID, encoded: bytes, sender: str) -> bytes:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = taken.sop_class, taken.uid
        meta.TransferSyntaxUID = syntax
        meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
        meta.SourceApplicationEntityTitle = sender[:SENDER_LENGTH]
        meta.ReceivingApplicationEntityTitle = self._configuration.node.aet
        written = io.BytesIO()
        written.write(bytes(PREAMBLE_LENGTH) + MAGIC)
        write_file_meta_info(written, meta)
        written.write(encoded)
        return written.getvalue()

    def _set_aside(self, data: bytes, taken: Taken, digest: str) -> None:
        about = {
            "study": taken.study,
            "series": taken.series,
            "instance": taken.uid,
            "reason": "an instance of this UID with other content, or in another encoding, had come before",
            "received": datetime.now(UTC).isoformat(),
        }
        self.quarantine.put(data, about, digest=digest, aside=self.incoming())

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NoRoom(f"the disk of this node failed: {error.strerror}; try again later") from None


def _identified(dataset: SourceInstance, announced: Announced) -> Taken:
    """Who it is; `kind` is not known yet."""
    study, series, uid = (text(dataset, keyword) for keyword in _UIDS)
    sop_class = text(dataset, "SOPClassUID")
    if not announced.fits(sop_class, uid, study):
        raise NotAsAnnounced("SOPClassUID, SOPInstanceUID or StudyInstanceUID is another one than was announced for it")
    if sop_class not in TAKEN_CLASSES:
        raise ClassNotTaken("it is no CT image: CT Image Storage and the multi-frame classes of CT are taken")
    for keyword, value in zip(_UIDS, (study, series, uid), strict=True):
        if not is_file_name(value):
            raise NotAnImage(f"{keyword} is missing or no UID (digits and dots, at most 64)")
    return Taken("new", study, series, uid, sop_class, dataset)
