"""Storage commitment (PS3.4 annex J): a peer is asked to keep what it took, and says later whether it does.

    instances, transaction --request_for--> N-ACTION -->(peer)--> N-EVENT-REPORT --report_of--> CommitmentReport
    N-ACTION --request_of--> CommitmentRequest --(this node, asked by others)--> event_for --> N-EVENT-REPORT
               PeerError                                                                     PeerError

Pure: data sets in, data sets out. `peers.dimse` asks; reports come there or to this node's own service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydicom import Dataset

from imaging.dicom_file import pydicom_guard
from imaging.errors import NotAnImage
from service.pacs.peers import PeerError

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""SOP class, and its only instance."""

REQUEST_ACTION = 1
ALL_COMMITTED, SOME_FAILED = 1, 2
"""ActionTypeID, and EventTypeID (PS3.4 J.3.2 and J.3.3)."""

FAILURE_REASONS = {
    0x0110: "processing failure",
    0x0112: "it does not have the instance",
    0x0119: "it has the instance under another SOP class",
    0x0122: "it does not support the SOP class",
    0x0131: "it knows the transaction already",
    0x0213: "out of resources",
}
"""Of FailureReason (PS3.3 C.14.1.1)."""

Reference = tuple[str, str]
"""SOPClassUID and SOPInstanceUID."""

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class CommitmentReport:
    """What a peer says of a transaction.

    Attributes:
        transaction_uid: as it was asked.
        committed: SOPInstanceUIDs that it keeps.
        failed: SOPInstanceUID -> why not.
    """

    transaction_uid: str
    committed: frozenset[str]
    failed: dict[str, str]


@dataclass(frozen=True)
class CommitmentRequest:
    """What a peer asks this node to keep.

    Attributes:
        transaction_uid: to be named in the report.
        instances: in the order of the request.
    """

    transaction_uid: str
    instances: tuple[Reference, ...]


def request_for(instances: Iterable[Reference], transaction_uid: str) -> Dataset:
    """The action information of N-ACTION, which asks for commitment."""
    asked = Dataset()
    asked.TransactionUID = transaction_uid
    asked.ReferencedSOPSequence = [_item(reference) for reference in instances]
    return asked


def event_for(
    transaction_uid: str, committed: Iterable[Reference], failed: Mapping[Reference, int]
) -> tuple[int, Dataset]:
    """EventTypeID and event information of N-EVENT-REPORT, which answers a request.

    Args:
        transaction_uid: of the request.
        committed: what is kept.
        failed: what is not -> FailureReason.
    """
    told = Dataset()
    told.TransactionUID = transaction_uid
    kept = [_item(reference) for reference in committed]
    if kept or not failed:
        told.ReferencedSOPSequence = kept
    if not failed:
        return ALL_COMMITTED, told
    told.FailedSOPSequence = [_item(reference) for reference in failed]
    for item, reason in zip(told.FailedSOPSequence, failed.values(), strict=True):
        item.FailureReason = reason
    return SOME_FAILED, told


def report_of(event_type: int, information: Dataset) -> CommitmentReport:
    """Reads the event information of an N-EVENT-REPORT.

    FailedSOPSequence decides, not the event type: some peers send it empty when all went well. What is in both
    sequences has failed.

    Raises:
        PeerError: the event type is unknown, or the data set malformed.
    """
    if event_type not in (ALL_COMMITTED, SOME_FAILED):
        raise PeerError(f"a storage commitment report has the unknown event type {event_type}")

    def read() -> CommitmentReport:
        failed = {instance: _why(item) for (_, instance), item in _items(information, "FailedSOPSequence")}
        kept = (instance for (_, instance), _ in _items(information, "ReferencedSOPSequence"))
        return CommitmentReport(_transaction(information), frozenset(kept) - failed.keys(), failed)

    return _guarded(read, "a storage commitment report")


def request_of(information: Dataset) -> CommitmentRequest:
    """Reads the action information of an N-ACTION.

    Raises:
        PeerError: the data set is malformed, or asks for nothing.
    """

    def read() -> CommitmentRequest:
        asked = tuple(reference for reference, _ in _items(information, "ReferencedSOPSequence"))
        return CommitmentRequest(_transaction(information), asked)

    request = _guarded(read, "a storage commitment request")
    if not request.instances:
        raise PeerError("a storage commitment request names no instance")
    return request


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    return item


def _guarded(read: Callable[[], _Read], what: str) -> _Read:
    # elements convert when they are looked at, and may raise anything then
    try:
        with pydicom_guard(f"{what} is malformed"):
            return read()
    except NotAnImage as error:
        raise PeerError(str(error)) from None


def _transaction(information: Dataset) -> str:
    return _uid(information, "TransactionUID")


def _items(information: Dataset, keyword: str) -> list[tuple[Reference, Dataset]]:
    sequence = information.get(keyword) or ()
    return [((_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID")), item) for item in sequence]


def _uid(dataset: Dataset, keyword: str) -> str:
    value = dataset[keyword].value
    if not isinstance(value, str) or not value:
        raise ValueError(keyword)
    return str(value)


def _why(item: Dataset) -> str:
    reason = item.get("FailureReason")
    if not isinstance(reason, int):
        return "no reason was given"
    return f"{reason:04X}H: {FAILURE_REASONS.get(reason, 'an unknown reason')}"
