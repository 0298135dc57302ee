"""An association with a peer that we ask for, and what became of it.

    contexts --connect, TLS--> socket --negotiate--> Association --(the caller's messages)--> released
               PeerUnavailable         PeerRefused, PeerUnavailable, NothingAccepted

pynetdicom says of what goes wrong only that it did; `Line` listens, so that messages can tell why.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationSocket

from service.dicom.derived_instance import IMPLEMENTATION_VERSION
from service.dicom.identity import IMPLEMENTATION_CLASS_UID
from service.pacs.configuration import Node, Peer
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.peers.certificates import ClientContext, client_context
from service.pacs.polled_socket import PolledSocket

MOST_CONTEXTS = 128
"""Presentation contexts of one association (PS3.8 9.3.2.2: odd numbers up to 255)."""

MAX_PDU_BYTES = 1 << 17
"""What we take in one message part; answers are small."""

PERMANENT = 1
"""A-ASSOCIATE-RJ: the result (PS3.8 table 9-21), transient otherwise."""

CONGESTION = 3
"""A-ASSOCIATE-RJ: the source whose reasons are temporary congestion and a local limit, whatever the result says."""

Handler = evt.EventHandlerType


class NothingAccepted(PeerRefused):
    """The peer takes the association, and none of what it was asked for."""


class _Socket(PolledSocket):
    """Closed also when it cannot be shut down, since it never was connected, say: pynetdicom would leak it then."""

    def _shutdown_socket(self) -> None:
        opened = self.socket
        super()._shutdown_socket()
        if opened is not None:
            opened.close()


class _Entity(AE):
    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        made = _Socket(assoc, address=address)
        made.tls_args = tls_args
        return made


class Line:
    """What happens on the connection to a peer.

    Attributes:
        connected: whether there was a connection at all.
        aborted: whether the peer sent an abort.
        rejection: the peer's answer, if it rejected the association.
    """

    def __init__(self, seconds: float) -> None:
        self.connected = False
        self.aborted = False
        self.rejection: A_ASSOCIATE_RJ | None = None
        self._seconds = seconds

    def opened(self, event: evt.Event) -> None:
        """Bounds each read and write: pynetdicom would wait forever for a peer that stops in the middle.

        And sends small parts at once: the end of an instance would wait for the peer's delayed acknowledgement.
        """
        self.connected = True
        wrapped = event.assoc.dul.socket
        if wrapped is not None and isinstance(wrapped.socket, socket.socket):
            wrapped.socket.settimeout(self._seconds)
            wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def received(self, event: evt.Event) -> None:
        """Keeps how the peer ended it."""
        if isinstance(event.pdu, A_ABORT_RQ):
            self.aborted = True
        elif isinstance(event.pdu, A_ASSOCIATE_RJ):
            self.rejection = event.pdu

    @property
    def handlers(self) -> list[Handler]:
        """For `associate`."""
        return [(evt.EVT_CONN_OPEN, self.opened), (evt.EVT_PDU_RECV, self.received)]


@contextmanager
def associated(
    name: str,
    peer: Peer,
    node: Node,
    contexts: Sequence[PresentationContext],
    *,
    handlers: Sequence[Handler] = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[tuple[Association, Line]]:
    """An association, released in the end.

    Args:
        name: of the peer, for messages.
        peer: with aet, host and port.
        node: whose AE title we call with.
        contexts: to be proposed, at most `MOST_CONTEXTS`.
        handlers: of events, beside those of `Line`.
        roles: that we want to take in them; without, that of the client.

    Raises:
        PeerUnavailable: it cannot be reached, or not now.
        PeerRefused: it does not let us in.
        NothingAccepted: it takes none of the contexts.
    """
    line = Line(peer.timeout_seconds)
    security = client_context(name, peer.tls) if peer.tls is not None else None
    association = _ask(
        name,
        peer,
        node,
        contexts=list(contexts),
        security=security,
        handlers=[*line.handlers, *handlers],
        roles=list(roles),
    )
    try:
        if not association.is_established:
            raise _failure(name, peer, node, association=association, line=line, security=security)
        try:
            yield association, line
        finally:
            association.release()
    finally:
        _close(association, peer.timeout_seconds)


def _close(association: Association, seconds: float) -> None:
    """Closes the connection where pynetdicom did not: its thread may end while it waits for the peer to do so."""
    association.dul.join(seconds)
    wrapped = association.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.close()


def _ask(
    name: str,
    peer: Peer,
    node: Node,
    *,
    contexts: list[PresentationContext],
    security: ClientContext | None,
    handlers: list[Handler],
    roles: list[SCP_SCU_RoleSelectionNegotiation],
) -> Association:
    entity = _Entity(ae_title=node.aet)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    seconds = peer.timeout_seconds
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = seconds
    host, port = str(peer.host), int(peer.port or 0)
    try:
        return entity.associate(
            host,
            port,
            contexts=contexts,
            ae_title=str(peer.aet),
            max_pdu=MAX_PDU_BYTES,
            tls_args=(security, host) if security is not None else None,
            evt_handlers=handlers,
            ext_neg=list(roles),
        )
    except OSError as error:  # its name is unknown, say
        raise PeerUnavailable(f"peer {name!r} cannot be reached: {error.strerror or type(error).__name__}") from None


def _failure(
    name: str, peer: Peer, node: Node, *, association: Association, line: Line, security: ClientContext | None
) -> PeerRefused | PeerUnavailable:
    """Why there is no association."""
    if line.rejection is not None:
        return _rejected(name, peer, node, line.rejection)
    if association.rejected_contexts:
        return NothingAccepted(f"peer {name!r} takes nothing of what it was asked for")
    if security is not None and security.failure:
        return PeerUnavailable(f"peer {name!r}: no TLS connection: {security.failure}")
    if not line.connected:
        return PeerUnavailable(f"peer {name!r} cannot be reached, or does not take connections")
    if line.aborted:
        return PeerUnavailable(f"peer {name!r} aborted while the association was negotiated")
    return PeerUnavailable(
        f"peer {name!r} broke off, or did not answer within {peer.timeout_seconds:g} s, while the association was"
        f" negotiated; it may want {'another certificate of ours' if security is not None else 'TLS'}"
    )


def _rejected(name: str, peer: Peer, node: Node, rejection: A_ASSOCIATE_RJ) -> PeerRefused | PeerUnavailable:
    try:
        reason = rejection.reason_str
    except ValueError:  # pynetdicom's, for codes that are not in its table
        reason = "an unknown reason"
    text = f"peer {name!r} ({peer.aet}) rejects associations of {node.aet}: {reason}"
    if rejection.result == PERMANENT and rejection.source != CONGESTION:
        return PeerRefused(text)
    return PeerUnavailable(text)
