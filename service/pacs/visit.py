"""One sender by DICOMweb, from its first instance to its last.

bytes --take--> arrivals --> Taken        leave: nothing more comes, and the audit trail is told
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from pydicom import Dataset

from imaging.dicom_attributes import text
from imaging.dicom_file import read_dicom
from imaging.errors import ImagingError
from imaging.limits import Limits
from service.pacs.arrivals import Announced, Arrivals, Taken
from service.pacs.audit.facts import Party
from service.pacs.audit.trail import Trail
from service.pacs.presence import Presence
from service.pacs.series_folder import is_file_name
from service.pacs.statuses import status_of
from service.pacs.transfers import Transfers


class Visit:
    """Of one sender.

    Args:
        arrivals: where instances go.
        sender: name of its key.
        told: of each instance, what was said of it: `Taken.kind`, or a failure status.
    """

    def __init__(self, arrivals: Arrivals, sender: str, *, told: Callable[[str], object]) -> None:
        self._arrivals = arrivals
        self._sender = sender
        self._told = told
        self._presence = Presence()
        self._transfers = Transfers()

    def take(self, data: bytes, study: str = "") -> Taken:
        """Keeps an instance; raises as `Arrivals.take`.

        Args:
            data: a whole DICOM file.
            study: of which it has to be; empty: of any.
        """
        try:
            taken = self._arrivals.take(
                data, sender=self._sender, presence=self._presence, announced=Announced(study=study)
            )
        except Exception as error:
            self._told(f"{status_of(error):04X}")
            raise
        self._told(taken.kind)
        self._transfers.add(taken)
        if taken.kind == "quarantined":
            structlog.get_logger("clearslice").warning("instance_quarantined", series=taken.series, sender=self._sender)
        return taken

    def leave(self, trail: Trail, sender: Party, *, pulled: bool = False) -> None:
        """Nothing more comes.

        Args:
            trail: is told what came.
            sender: from whom.
            pulled: whether we fetched it.
        """
        self._presence.leave()
        self._transfers.tell(trail, sender, pulled=pulled)


def who(data: bytes, limits: Limits) -> tuple[str, str] | None:
    """SOP class and instance of a file that was not taken; None where they cannot be read."""
    try:
        dataset: Dataset = read_dicom(data, limits=limits)
    except ImagingError:
        return None
    found = text(dataset, "SOPClassUID"), text(dataset, "SOPInstanceUID")
    return found if all(is_file_name(uid) for uid in found) else None
