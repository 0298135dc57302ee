"""What is written down of a series that was complete: what is made of it, what became of that, and where it went.

job.json: PacsJob   restored.json: Restored   deliveries/<peer>.json: Delivery   ended.json: Ended, the last to be there

JSON, and no patient data: UIDs, names of rules, models and peers.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

End = Literal["delivered", "kept", "failed", "dead"]

DeliveryState = Literal["waiting", "sent", "delivered", "verified", "dead"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version of the program may have written more


class PacsJob(_Record):
    """A complete series; settled when it was.

    Attributes:
        id: 32 hexadecimal digits, which follow from the series, its instances, and what is done with them.
        study, series: UIDs of the source.
        patient: a fingerprint of PatientID, which only the node's secret makes.
        created: when it was complete.
        begun: SeriesDate and SeriesTime of the derived series: of the first job whose instances are in it.
        rule: name of the rule.
        sender: who sent it.
        model: ref of the version; empty where nothing is made of the series.
        weights_sha256, precision: of the version, and in which it computes.
        chosen: why `auto` chose the version.
        strength: 0 to 1.
        uids: SOPInstanceUIDs to restore; numbers of files count from 1 in this order.
        left_out: UID -> why it is not restored.
        joins: id of the job before, whose derived series these instances join; empty: they are a series of their own.
        joined_precision: in which that series was computed.
        as_hounsfield: whether that series had to leave its source's encoding.
        revision: how often the whole series had to be made anew.
        peers: who gets the derived series.
    """

    id: str
    study: str
    series: str
    patient: str = ""
    created: AwareDatetime
    begun: AwareDatetime
    rule: str
    sender: str = ""
    model: str = ""
    weights_sha256: str = ""
    precision: str = ""
    chosen: str = ""
    strength: float = 1.0
    uids: tuple[str, ...] = ()
    left_out: dict[str, str] = {}
    joins: str = ""
    joined_precision: str = ""
    as_hounsfield: bool = False
    revision: int = 0
    peers: tuple[str, ...] = ()

    @property
    def series_begun(self) -> AwareDatetime:
        """SeriesDate and SeriesTime of the derived series."""
        return self.begun

    @property
    def count(self) -> int:
        """How many instances are to be restored."""
        return len(self.uids)

    def kind(self) -> tuple[object, ...]:
        """What derived instances of one series have in common."""
        return self.model, self.weights_sha256, self.strength


class Restored(_Record):
    """All instances of a job are derived.

    Attributes:
        finished: when.
        series: SeriesInstanceUID of the derived ones.
        instances: number -> their SOPInstanceUIDs.
        sop_class: of them.
        precision: in which they were computed.
        reencoded: whether they left their sources' encoding.
        clipped: pixels beyond what DICOM can hold.
        warned: instances that the guard found unlike what the model was made for.
    """

    finished: AwareDatetime
    series: str
    instances: dict[int, str]
    sop_class: str
    precision: str
    reencoded: bool
    clipped: int
    warned: int


class Delivery(_Record):
    """How far a peer has got the derived series.

    Attributes:
        peer: its name.
        state: waiting: to be sent; sent: it has taken all, and is to be asked whether it keeps them; delivered: it has
            taken all, and is not asked; verified: it keeps them; dead: given up.
        attempts: so many have failed since it last went on.
        since: when the first of them was made.
        due: not to be tried before.
        reason: of the last failure, or of a warning.
        asked: when it was first asked whether it keeps them.
        transactions: UIDs of the storage commitments that were asked for since it took all: a report of any decides.
        resent: how often instances were sent again because it did not keep them.
    """

    peer: str
    state: DeliveryState = "waiting"
    attempts: int = 0
    since: AwareDatetime | None = None
    due: AwareDatetime | None = None
    reason: str = ""
    asked: AwareDatetime | None = None
    transactions: tuple[str, ...] = ()
    resent: int = 0


class Ended(_Record):
    """A job that has ended, until it is requeued.

    Attributes:
        state: delivered; kept: as its rule says, nothing was made of it; failed: it cannot be restored; dead: a peer
            did not take it.
        finished: when.
        problem: of `failed` and `dead`, why, as a problem document (RFC 9457).
        closing: whether it failed before anything was settled, so that the series is to be looked at again.
        tidied: whether its files have been removed.
    """

    state: End
    finished: AwareDatetime
    problem: dict[str, Any] | None = None
    closing: bool = False
    tidied: bool = False
