"""What one sender has sent, study by study, for the audit trail.

Taken, Taken, ... --add--> studies --tell--> Trail.received
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom import Dataset

from imaging.dicom_attributes import text
from imaging.dicom_file import pydicom_guard
from imaging.errors import ImagingError
from service.pacs.arrivals import Taken
from service.pacs.audit.facts import Party, Patient, Study
from service.pacs.audit.trail import Trail


def patient_of(dataset: Dataset) -> Patient:
    """Whose images they are. For the audit trail, and nothing else."""
    name = ""
    # it is decoded now, and what cannot be must not fail an instance that was taken
    with contextlib.suppress(ImagingError), pydicom_guard("PatientName cannot be read"):
        name = str(dataset.get("PatientName") or "")
    return Patient(id=text(dataset, "PatientID"), name=name)


@dataclass
class _Study:
    patient: Patient
    counts: dict[str, int] = field(default_factory=dict)


class Transfers:
    """Of one sender, until it leaves."""

    def __init__(self) -> None:
        self._studies: dict[tuple[str, bool], _Study] = {}
        self._lock = threading.Lock()

    def add(self, taken: Taken) -> None:
        """One instance more."""
        with self._lock:
            key = taken.study, taken.kind != "again"
            study = self._studies.setdefault(key, _Study(patient_of(taken.dataset)))
            study.counts[taken.sop_class] = study.counts.get(taken.sop_class, 0) + 1

    def tell(self, trail: Trail, sender: Party, *, encrypted: bool | None = None, pulled: bool = False) -> None:
        """Tells of all of them, once; arguments as of `Trail.received`."""
        with self._lock:
            studies, self._studies = self._studies, {}
        for (uid, new), study in studies.items():
            trail.received(
                sender, study_of(uid, study.counts), study.patient, new=new, encrypted=encrypted, pulled=pulled
            )


def study_of(uid: str, counts: Mapping[str, int]) -> Study:
    """A study, by how many instances of which class it is about."""
    return Study(uid=uid, instances=tuple(counts.items()))
