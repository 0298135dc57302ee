"""What a STOW-RS answer says of each instance (PS3.18 10.5.3 and table I.2-1).

answer, JSON --said_by_instance--> SOPInstanceUID -> Said     PeerUnavailable
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.pacs.peers import PeerUnavailable, Said
from service.pacs.peers.statuses import PROCESSING_FAILURE, said_of

REFERENCED, FAILED = "00081199", "00081198"
INSTANCE = "00081155"
WARNING, FAILURE = "00081196", "00081197"
"""ReferencedSOPSequence, FailedSOPSequence, ReferencedSOPInstanceUID, WarningReason and FailureReason."""

DUPLICATE = 0x0111
"""A FailureReason with which an instance is there all the same; see `statuses`."""


def is_store_answer(found: Any) -> bool:
    """Whether parsed JSON is an answer of STOW-RS, even if it tells of no instance."""
    return isinstance(found, dict) and (REFERENCED in found or FAILED in found)


def said_by_instance(name: str, found: Any) -> dict[str, Said]:
    """What is said of the instances that an answer mentions; a failure counts for more than the opposite.

    Args:
        name: of the peer, for messages.
        found: the parsed JSON; None: there was none.

    Raises:
        PeerUnavailable: it is JSON, and no answer of STOW-RS.
    """
    # some servers wrap the data set in a list
    dataset = found[0] if isinstance(found, list) and len(found) == 1 else found
    if dataset is None:
        return {}
    try:
        said = dict(_referenced(dataset))
        return {**said, **dict(_failed(dataset))}
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise PeerUnavailable(f"peer {name!r} answers STOW-RS with something else") from None


def _referenced(dataset: Any) -> Iterator[tuple[str, Said]]:
    for item in _items(dataset, REFERENCED):
        reason = _number(item, WARNING)
        said = said_of(reason) if reason is not None else Said("taken")
        # a warning whose code we would not take for one is still a warning: the instance is there
        yield _instance(item), said if said.verdict == "taken" else Said("taken", said.reason)


def _failed(dataset: Any) -> Iterator[tuple[str, Said]]:
    for item in _items(dataset, FAILED):
        if INSTANCE not in item:
            continue  # of a part that it could not read; then it is not mentioned by its UID
        reason = _number(item, FAILURE)
        said = said_of(PROCESSING_FAILURE if reason is None else reason)
        yield _instance(item), said if said.verdict != "taken" or reason == DUPLICATE else Said("later", said.reason)


def _items(dataset: Any, tag: str) -> list[Any]:
    items = dataset.get(tag, {}).get("Value") or []
    if not isinstance(items, list):
        raise TypeError(tag)
    return items


def _instance(item: Any) -> str:
    return str(item[INSTANCE]["Value"][0])


def _number(item: Any, tag: str) -> int | None:
    values = item.get(tag, {}).get("Value") or [None]
    return int(values[0]) if values[0] is not None else None
