"""What senders are told, by DIMSE and by DICOMweb: the one table from errors to statuses.

error at the door --status_of--> C-STORE status (PS3.4 B.2.3), which is also the FailureReason of STOW-RS (PS3.18 I.2)
"""

from __future__ import annotations

from imaging.errors import ImagingError
from service.pacs.errors import ClassNotTaken, NoRoom, NotAsAnnounced, NotWanted

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
NOT_AS_ANNOUNCED = 0xA900
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0x0110
CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORIZED = 0x0124

_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (NoRoom, OUT_OF_RESOURCES),
    (NotAsAnnounced, NOT_AS_ANNOUNCED),
    (ClassNotTaken, CLASS_NOT_SUPPORTED),
    (NotWanted, NOT_AUTHORIZED),
    (ImagingError, CANNOT_UNDERSTAND),
)

COMMENT_LENGTH = 64
"""Characters of ErrorComment (0000,0902), an LO."""


def status_of(error: Exception) -> int:
    """The status for an instance that was not taken; `PROCESSING_FAILURE` for a defect of this program."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), PROCESSING_FAILURE)


def comment_of(error: Exception) -> str:
    """The beginning of what is wrong, as an ErrorComment: ASCII without backslashes."""
    told = str(error) if status_of(error) != PROCESSING_FAILURE else "the node failed; its log says more"
    return told.encode("ascii", "replace").decode().replace("\\", "/")[:COMMENT_LENGTH]
