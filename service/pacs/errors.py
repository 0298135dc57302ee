"""Why an instance is not taken at the door. DIMSE statuses and HTTP failure reasons follow in `service.pacs.statuses`.

    instance --(room?)--(readable?)--(what it was announced as?)--(ours? wanted?)--> taken
              NoRoom     ImagingError  NotAsAnnounced              ClassNotTaken NotWanted

What cannot be read raises the errors of `imaging`, which name what is wrong.
"""

from __future__ import annotations

from service.errors import ServiceError


class NotTaken(ServiceError):
    """An instance that this node does not take. Nothing of it is kept."""


class NoRoom(NotTaken):
    """The disk has too little room; the sender should try again later."""


class NotAsAnnounced(NotTaken):
    """Its SOP class or instance UID is another one than the sender announced."""


class ClassNotTaken(NotTaken):
    """It is no CT image."""


class NotWanted(NotTaken):
    """A rule refuses its series, no rule takes it, or it is a reconstruction of this program."""


class Incomplete(ServiceError):
    """Instances of a series are not here any more that would be needed to make it anew."""


class NotDelivered(ServiceError):
    """A peer did not take a derived series, or does not keep it."""


class NoSuchPacsJob(ServiceError):
    """There is no such series, or it is not in a state in which that could be done."""


class NoNode(ServiceError):
    """The server has no pacs.toml."""
