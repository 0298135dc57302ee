"""Telling a peer whether what it asked for is kept: N-EVENT-REPORT on an association of our own (PS3.4 J.3.3).

event type, data set --report_to--> the peer has taken it     PeerUnavailable PeerRefused
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import build_context, build_role

from service.pacs.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from service.pacs.configuration import Node, Peer
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.peers.association import NothingAccepted, associated
from service.pacs.peers.statuses import said_of


def report_to(name: str, peer: Peer, node: Node, event_type: int, told: Dataset) -> None:
    """Sends a report.

    Args:
        name, peer: to whom; with aet, host and port.
        node: who we are.
        event_type, told: from `service.pacs.commitment.event_for`.

    Raises:
        PeerUnavailable: it cannot be reached, or broke off.
        PeerRefused: it takes no reports, or not from us.
    """
    contexts = [build_context(PUSH_MODEL, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
    role = build_role(PUSH_MODEL, scp_role=True)
    try:
        with associated(name, peer, node, contexts, roles=[role]) as (association, _):
            answer, _ = association.send_n_event_report(told, event_type, UID(PUSH_MODEL), UID(PUSH_MODEL_INSTANCE))
            status = answer.get("Status")
    except NothingAccepted:
        raise PeerRefused(f"peer {name!r} takes no reports of storage commitment") from None
    if status is None:
        raise PeerUnavailable(f"peer {name!r} broke off when it was told of storage commitment")
    if said_of(status).verdict != "taken":
        raise PeerRefused(f"peer {name!r} does not take a report of storage commitment: {said_of(status).reason}")
