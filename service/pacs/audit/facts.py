"""What audit messages are about: who told, who took part, what was on its way, and whose it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from service.pacs.audit.codes import Outcome


@dataclass(frozen=True, kw_only=True)
class Source:
    """Who tells: AuditSourceID, and AuditEnterpriseSiteID if there is one."""

    id: str
    site: str = ""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What every message has.

    Attributes:
        source: who tells.
        when: it happened; with a time zone.
        outcome: how it ended.
        reason: of a failure, in words.

    Raises:
        ValueError: the time has no zone, which PS3.15 A.5.2.5 demands.
    """

    source: Source
    when: datetime
    outcome: Outcome = Outcome.SUCCESS
    reason: str = ""

    def __post_init__(self) -> None:
        if self.when.utcoffset() is None:
            raise ValueError(f"when has no time zone: {self.when}")


@dataclass(frozen=True, kw_only=True)
class Party:
    """An application that takes part.

    Attributes:
        user: UserID: a process id, the name of an API key, or, where no more is known, the AE title or URL.
        aet: AE title, of who has one.
        host: address, name or URI of where it is, if that is known.
        name: for people.
    """

    user: str
    aet: str = ""
    host: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """PatientID and PatientName; empty where the images do not tell."""

    id: str
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What of a study is meant.

    Attributes:
        uid: StudyInstanceUID.
        instances: SOPClassUID and number of instances, of each class.
        accession: AccessionNumber, if any.

    Raises:
        ValueError: no class, which PS3.15 A.5.2 demands, or a negative number.
    """

    uid: str
    instances: tuple[tuple[str, int], ...]
    accession: str = ""

    def __post_init__(self) -> None:
        if not self.instances or any(count < 0 for _, count in self.instances):
            raise ValueError(f"instances must name SOP classes and how many there are: {self.instances}")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Instances of one study, on their way.

    Attributes:
        source, destination: from whom to whom.
        study, patient: what, and whose.
        pulled: whether the destination asked for them; else the source sends of its own accord.
        encrypted: whether the connection is; None: not told.
        anonymized: whether they have no identities any more; None: not told.
    """

    source: Party
    destination: Party
    study: Study
    patient: Patient
    pulled: bool = False
    encrypted: bool | None = None
    anonymized: bool | None = None


@dataclass(frozen=True)
class Record:
    """A message, ready to be sent.

    Attributes:
        xml: an XML document in UTF-8, without a line break.
        when, outcome: as the message says; for the head of a syslog message.
    """

    xml: bytes
    when: datetime
    outcome: Outcome
