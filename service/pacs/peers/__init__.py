"""Other nodes: what can be asked of one, however it is reached.

    files --send--> what the peer said of each      study, series --count--> which instances it keeps
                    Unavailable  Refused

`dimse`, `dicomweb` and `folder` implement `PeerClient`; `client_of` chooses by the configuration. All of it blocks, and
belongs on a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


class PeerError(Exception):
    """A peer did not do what was asked. Messages hold no patient data."""


class PeerUnavailable(PeerError):
    """For now: it cannot be reached, is out of resources, or broke off. Worth trying again.

    Attributes:
        retry_after: seconds after which the peer wants to be asked again, if it said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PeerRefused(PeerError):
    """For good: it does not know us, or does not take such instances. Trying again changes nothing."""


@dataclass(frozen=True)
class Said:
    """What a peer said of one instance that it was sent.

    Attributes:
        verdict: taken; later: not now, out of resources; refused: not this one, ever.
        reason: status, and its text, without patient data; of `taken`, a warning or nothing.
    """

    verdict: Literal["taken", "later", "refused"]
    reason: str = ""


Told = Callable[[Path, Said], None]
"""Called as soon as the peer has answered for a file, so that it is not sent again after a crash."""


class PeerClient(Protocol):
    """One peer."""

    def echo(self) -> None:
        """Asks whether it is there and lets us in.

        Raises:
            PeerUnavailable, PeerRefused: it is not, or does not.
        """

    def send(self, files: Sequence[Path], told: Told) -> None:
        """Sends DICOM files, in order, over one connection if it can.

        Args:
            files: of one series.
            told: of each that the peer answered for.

        Raises:
            PeerUnavailable: it broke off; those that `told` does not know of are to be sent again.
            PeerRefused: it lets us send nothing.
        """
