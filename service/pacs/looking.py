"""What a complete series is, read from its sources before anything is settled.

source/ --headers--> order, left out, facts for the rules --(one patient? may be derived?)--> Looked
                                                             problem: the series cannot be restored
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from imaging.dicom_attributes import text, values
from imaging.dicom_file import encoded_data_set, read_dicom
from imaging.dicom_pixels import is_localizer
from imaging.errors import ImagingError, UnsuitableImage
from service.dicom.eligibility import check_source
from service.errors import ServiceError
from service.pacs.record import PacsJob
from service.pacs.routing import Facts, facts_of
from service.pacs.secrets import fingerprint
from service.pacs.series_folder import SeriesFolder, digest_of
from service.settings import Settings

LOCALIZER = "localizer"
_ONE = {"PatientID": "patients", "StudyInstanceUID": "studies"}


@dataclass(frozen=True)
class Looked:
    """A series as it lies here.

    Attributes:
        series: its folder.
        study: StudyInstanceUID.
        patient: a fingerprint of PatientID.
        uids: SOPInstanceUIDs of what can be restored, in order of InstanceNumber.
        left_out: UID -> why it is none of them.
        digests: UID -> `digest_of`, of all.
        facts, sender: for the rules; of the instance in the middle.
        refused: UIDs of instances that came and could not be taken.
        problem: why the series cannot be restored, or None.
    """

    series: SeriesFolder
    study: str
    patient: str
    uids: tuple[str, ...]
    left_out: Mapping[str, str]
    digests: Mapping[str, str]
    facts: Facts
    sender: str
    refused: frozenset[str]
    problem: Exception | None

    def source(self, number: int) -> Path:
        """One of `uids`, counted from 1."""
        return self.series.source(self.uids[number - 1])


@dataclass(frozen=True)
class _Instance:
    number: int
    uid: str
    facts: Facts
    sender: str


def look(series: SeriesFolder, uids: Sequence[str], settings: Settings, secret: bytes) -> Looked:
    """Reads the headers of all instances of a series, one after the other.

    Args:
        series: complete.
        uids: which lie there.
        settings: of the app.
        secret: of the node.

    Raises:
        OSError: one cannot be read from the disk.
    """
    found: list[_Instance] = []
    left_out: dict[str, str] = {}
    digests: dict[str, str] = {}
    one: dict[str, str] = {}
    study = ""
    problem: Exception | None = None
    for uid in uids:
        data = series.source(uid).read_bytes()
        digests[uid] = ""  # of one that the disk has damaged since
        try:
            digests[uid] = digest_of(*encoded_data_set(data))
            dataset = read_dicom(data, limits=settings.limits())
            study = study or text(dataset, "StudyInstanceUID")
            if is_localizer(dataset):
                left_out[uid] = LOCALIZER
            else:
                _check(dataset, one, settings)
        except (ImagingError, ServiceError) as error:
            error.args = (f"instance {uid}: {error}", *error.args[1:])
            problem = problem or error
            continue
        if uid not in left_out:
            found.append(_described(dataset, uid))
    found.sort(key=lambda each: (each.number, each.uid))
    middle = found[len(found) // 2] if found else None
    refused = series.refused()
    return Looked(
        series=series,
        study=study,
        patient=fingerprint(secret, one.get("PatientID", "")),
        uids=tuple(each.uid for each in found),
        left_out=left_out,
        digests=digests,
        facts=middle.facts if middle else {},
        sender=middle.sender if middle else "",
        refused=frozenset(refused),
        problem=problem or _hole(refused),
    )


def mixes(looked: Looked, before: Sequence[PacsJob]) -> Exception | None:
    """Why a series cannot be that of the jobs before: other instances of it were of another patient or study."""
    for keyword, what in (("patient", "patients (PatientID)"), ("study", "studies (StudyInstanceUID)")):
        if looked.uids and any(getattr(job, keyword) != getattr(looked, keyword) for job in before if job.uids):
            return UnsuitableImage(f"the series mixes {what} with those of what came of it before")
    return None


def _check(dataset: Dataset, one: dict[str, str], settings: Settings) -> None:
    check_source(dataset, settings.dicom)
    for keyword, what in _ONE.items():
        if one.setdefault(keyword, text(dataset, keyword)) != text(dataset, keyword):
            raise UnsuitableImage(f"the series mixes {what} ({keyword}) under one SeriesInstanceUID")


def _described(dataset: Dataset, uid: str) -> _Instance:
    numbers = [value for value in values(dataset, "InstanceNumber") if isinstance(value, int)]
    sender = text(dataset.file_meta, "SourceApplicationEntityTitle")
    return _Instance(int(numbers[0]) if numbers else 0, uid, facts_of(dataset, sender), sender)


def _hole(refused: Mapping[str, str]) -> Exception | None:
    """Instances that came and could not be taken, so that the series is not whole."""
    if not refused:
        return None
    uid, reason = next(iter(refused.items()))
    several = f"{len(refused)} instances" if len(refused) > 1 else "an instance"
    return UnsuitableImage(
        f"the series is not whole, since {several} of it could not be taken: {uid}: {reason}; send again what is"
        " missing, or requeue to go on without it"
    )
