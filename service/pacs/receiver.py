"""The DIMSE side of the door: C-ECHO, C-STORE and storage commitment, for peers that may call.

    association --(callers?)--> C-STORE --(may_send?)--arrivals.take--> status (`service.pacs.statuses`)
                  rejected      N-ACTION --(may_send?)--commitments--> answered later
                                N-EVENT-REPORT --reports--> outbox

pynetdicom gives each association a thread. What a peer sends of one instance is bounded while it comes in, and so is
what it sends before it was answered.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from imaging.compressed_pixels import COMPRESSED_SYNTAXES
from imaging.stored_values import NATIVE_SYNTAXES
from service.dicom.derived_instance import IMPLEMENTATION_VERSION
from service.dicom.identity import IMPLEMENTATION_CLASS_UID
from service.pacs.arrivals import TAKEN_CLASSES, Announced, Arrivals
from service.pacs.association_server import GuardedServer, cut
from service.pacs.audit.facts import Party
from service.pacs.audit.trail import Trail
from service.pacs.callers import Callers
from service.pacs.commitment import PUSH_MODEL, report_of, request_of
from service.pacs.commitments import CommitmentRequests
from service.pacs.configuration import Configuration, Node
from service.pacs.descriptors import raise_descriptor_limit
from service.pacs.errors import NotWanted
from service.pacs.parts import Tls
from service.pacs.peers import PeerError
from service.pacs.presence import Presence
from service.pacs.reports import Reports
from service.pacs.statuses import NOT_AUTHORIZED, PROCESSING_FAILURE, SUCCESS, comment_of, status_of
from service.pacs.transfers import Transfers
from service.settings import Settings
from service.telemetry import log_defect

ENVELOPE_BYTES = 1 << 20
"""Of an instance beside what a file may have: command, and what pynetdicom received ahead."""

CONNECTIONS_PER_ASSOCIATION = 2
"""Connections that have not associated yet must not take the places of those that have."""

MOST_UNANSWERED = 2
"""Messages that wait to be handled. None does where the sender waits for each answer, as was agreed (PS3.7 D.3.3.3)."""

CALLER_UNKNOWN, LIMIT_EXCEEDED = (1, 1, 3), (2, 3, 2)
"""Result, source and reason of A-ASSOCIATE-RJ (PS3.8 9.3.4): calling AE title not recognised, for good; local limit
exceeded, for now."""

NO_SENDER = "it may not send: its peer in pacs.toml has no may_send = true"
"""To who may call for another reason: peers with verify = "commitment" say what they keep."""

STOP_SECONDS = 2.0
"""For an association to end in order when the receiver does; then its connection is cut."""


@dataclass(eq=False)
class _Guest:
    """One association.

    Attributes:
        aet, address: who it is.
        may_send: whether it may send instances, and not only say what it keeps.
        presence: the series that it has begun to send.
        unread: bytes that came since the last instance was complete.
        transfers: what it sent, for the audit trail.
        counts: instances by kind and by failure status.
    """

    aet: str
    address: str
    may_send: bool
    presence: Presence = field(default_factory=Presence)
    unread: int = 0
    transfers: Transfers = field(default_factory=Transfers)
    counts: dict[str, int] = field(default_factory=dict)


class Receiver:
    """Takes associations, until it is stopped.

    Args:
        arrivals: where instances go.
        configuration: of the node, with a port.
        settings: of the app: how large a file may be.
        trail: where it is told who sent what.
        told: of each instance, what was said of it: `Taken.kind`, or a failure status.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        configuration: Configuration,
        settings: Settings,
        *,
        trail: Trail,
        told: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._arrivals = arrivals
        self._configuration = configuration
        self._callers = Callers(configuration)
        self._reports = Reports(arrivals.folder)
        self._commitments = CommitmentRequests(arrivals.folder)
        self._trail = trail
        self._told = told
        self._most = settings.max_upload_bytes + ENVELOPE_BYTES
        self._guests: dict[Association, _Guest] = {}
        self._lock = threading.Lock()
        self._leaving = threading.Lock()
        self._log = structlog.get_logger("clearslice")
        self._server: GuardedServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """On which it listens."""
        assert self._server is not None  # noqa: S101 - asked after `start`
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begins to listen.

        Raises:
            OSError: the address cannot be bound, or a certificate not be read.
        """
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it quotes what was sent
        raise_descriptor_limit()
        node = self._configuration.node
        made = _entity(node).make_server(
            (node.host, node.port or 0),
            ae_title=node.aet,
            evt_handlers=[
                (evt.EVT_REQUESTED, self._on_requested),
                (evt.EVT_DATA_RECV, self._on_data),
                (evt.EVT_C_ECHO, lambda _: SUCCESS),
                (evt.EVT_C_STORE, self._on_store),
                (evt.EVT_N_EVENT_REPORT, self._on_report),
                (evt.EVT_N_ACTION, self._on_commitment),
            ],
            server_class=GuardedServer,
            tls=None if node.tls is None else server_context(node.tls),
            may_connect=self._callers.may_connect,
            ended=self._leave,
            connections=node.associations * CONNECTIONS_PER_ASSOCIATION,
            seconds=node.idle_seconds,
        )
        self._server = server = cast("GuardedServer", made)
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="dimse", daemon=True)
        self._thread.start()
        self._log.info("dimse_listens", aet=node.aet, host=node.host, port=self.port)

    def stop(self) -> None:
        """Ends it: what was not acknowledged will be sent again."""
        if self._server is None:
            return
        self._server.shutdown()
        associations = self._server.active_associations
        for association in associations:
            if association.is_established:
                association.abort(block=False)
            else:
                cut(association)
        deadline = time.monotonic() + STOP_SECONDS
        for association in associations:
            association.join(timeout=max(0.0, deadline - time.monotonic()))
        for association in associations:
            if association.is_alive():
                cut(association)
                association.join(timeout=STOP_SECONDS)
            self._leave(association)
        self._server = None

    def _on_requested(self, event: Event) -> None:
        association = event.assoc
        asked = association.requestor.primitive
        aet = str(asked.calling_ae_title).strip() if asked is not None else ""
        address = str(association.requestor.address)
        if not self._callers.may_call(aet, address):
            self._log.warning("association_rejected", aet=aet, address=address)
            self._trail.rejected(Party(user=aet, aet=aet, host=address), "the AE title may not call from there")
            self._reject(association, CALLER_UNKNOWN)
            return
        may_send = self._callers.may_send(aet, address)
        with self._lock:
            room = len(self._guests) < self._configuration.node.associations
            if room:
                self._guests[association] = _Guest(aet, address, may_send)
        if not room:
            self._log.warning("association_postponed", aet=aet, address=address)
            self._reject(association, LIMIT_EXCEEDED)

    @staticmethod
    def _reject(association: Association, why: tuple[int, int, int]) -> None:
        association.acse.send_reject(*why)
        association.kill()

    def _on_data(self, event: Event) -> None:
        guest = self._guests.get(event.assoc)
        if guest is None:
            return
        guest.unread += len(event.data)
        wrong = ""
        if guest.unread > self._most:
            wrong = "an instance was too large"
        elif event.assoc.dimse.msg_queue.qsize() > MOST_UNANSWERED:
            wrong = "it does not wait for answers"
        if wrong and event.assoc.is_established:
            self._log.warning("association_aborted", aet=guest.aet, reason=wrong)
            event.assoc.abort(block=False)

    def _on_store(self, event: Event) -> Any:
        guest = self._guests[event.assoc]
        guest.unread = 0
        if not guest.may_send:
            return self._failed(guest, NotWanted(NO_SENDER))
        asked = cast("C_STORE", event.request)
        announced = Announced(str(asked.AffectedSOPClassUID), str(asked.AffectedSOPInstanceUID))
        try:
            taken = self._arrivals.take(
                event.encoded_dataset(), sender=guest.aet, presence=guest.presence, announced=announced
            )
        except Exception as error:  # noqa: BLE001 - pynetdicom would answer with the text of any
            return self._failed(guest, error)
        guest.transfers.add(taken)
        self._count(guest, taken.kind)
        if taken.kind == "quarantined":
            self._log.warning("instance_quarantined", series=taken.series, aet=guest.aet)
        return SUCCESS

    def _failed(self, guest: _Guest, error: Exception) -> Dataset:
        status = status_of(error)
        if status == PROCESSING_FAILURE:
            log_defect(error)
        else:
            self._log.warning("instance_not_taken", aet=guest.aet, status=f"{status:04X}", reason=str(error))
        self._count(guest, f"{status:04X}")
        answer = Dataset()
        answer.Status = status
        answer.ErrorComment = comment_of(error)
        return answer

    def _count(self, guest: _Guest, kind: str) -> None:
        guest.counts[kind] = guest.counts.get(kind, 0) + 1
        self._told(kind)

    def _on_report(self, event: Event) -> tuple[int, None]:
        """A peer says what it keeps of what it was sent."""
        asked = cast("N_EVENT_REPORT", event.request)
        try:
            self._reports.keep(report_of(int(asked.EventTypeID or 0), event.event_information))
        except Exception as error:  # noqa: BLE001 - as above
            self._log.warning("report_not_taken", reason=str(error) if isinstance(error, PeerError) else "a defect")
            if not isinstance(error, PeerError):
                log_defect(error)
            return PROCESSING_FAILURE, None
        return SUCCESS, None

    def _on_commitment(self, event: Event) -> tuple[int, None]:
        """A peer asks whether what it sent is kept; it is told later."""
        if not self._guests[event.assoc].may_send:
            return NOT_AUTHORIZED, None
        try:
            request = request_of(event.action_information)
            self._commitments.keep(self._guests[event.assoc].aet, request)
        except Exception as error:  # noqa: BLE001 - as above
            if not isinstance(error, PeerError):
                log_defect(error)
            return PROCESSING_FAILURE, None
        return SUCCESS, None

    def _leave(self, association: Association) -> None:
        with self._leaving:  # its thread and `stop` both see its end: who comes second finds all of it done
            guest = self._guests.get(association)
            if guest is None:
                return
            try:
                self._part_from(guest)
            finally:
                del self._guests[association]

    def _part_from(self, guest: _Guest) -> None:
        guest.presence.leave()
        sender = Party(user=guest.aet, aet=guest.aet, host=guest.address)
        guest.transfers.tell(self._trail, sender, encrypted=self._configuration.node.tls is not None)
        if guest.counts:
            self._log.info("association_ended", aet=guest.aet, **guest.counts)


def _entity(node: Node) -> AE:
    entity = AE(ae_title=node.aet)
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    entity.require_called_aet = True
    # those are counted here: pynetdicom would count silent connections, too
    entity.maximum_associations = 1 << 16
    entity.maximum_pdu_size = node.pdu_bytes
    entity.acse_timeout = entity.dimse_timeout = min(30.0, node.idle_seconds)
    entity.network_timeout = node.idle_seconds
    entity.add_supported_context(Verification)
    # reports come from who was asked: it associates with us, and takes the role of the service (PS3.4 J.3.3)
    entity.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)
    syntaxes = sorted({*NATIVE_SYNTAXES, *COMPRESSED_SYNTAXES})
    for sop_class in TAKEN_CLASSES:
        entity.add_supported_context(sop_class, syntaxes)
    return entity


def server_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer, with our certificate; with `authority`, callers need one that it signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert tls.certificate is not None  # noqa: S101 - the configuration says so
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.authority is not None:
        context.load_verify_locations(tls.authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
