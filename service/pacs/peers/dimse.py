"""A peer that is reached by DIMSE: C-ECHO, C-STORE and storage commitment.

    files --read_outgoing--> (SOP class, transfer syntax) pairs --propose--> association --C-STORE each--> Said
               refused                                           PeerRefused    PeerUnavailable

    instances --N-ACTION--> peer --N-EVENT-REPORT, on the same association--> CommitmentReport
                                 --on one of its own, to this node's service--> None

What is sent is what lies in the file, byte for byte: each pair gets a presentation context of its own, with its one
transfer syntax, and nothing is converted to what a peer would rather have. Where it takes no such context, the file is
refused, and the reason says which.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when it is imported

from service.pacs import commitment
from service.pacs.commitment import CommitmentReport, Reference
from service.pacs.configuration import Node, Peer
from service.pacs.peers import PeerRefused, PeerUnavailable, Said, Told
from service.pacs.peers.association import MOST_CONTEXTS, Handler, Line, NothingAccepted, associated
from service.pacs.peers.outgoing import Outgoing, readable
from service.pacs.peers.statuses import PROCESSING_FAILURE, SUCCESS, said_of

# pynetdicom sends a file's bytes as they are only under this switch, which holds for the process. It concerns nothing
# but `send_c_store` with the name of a file, and nobody else here calls that; data sets are sent as before.
_config.STORE_SEND_CHUNKED_DATASET = True

REPORT_SECONDS = 2.0
"""For which an association stays open for a report. Peers that send it there do so at once; others need none of it."""

SLOWEST_BYTES_PER_SECOND = 1 << 17
"""About 1 Mbit/s. The wait for an answer begins when the sending does, so large files are given more of it."""

_ODD = Said("refused", "its data set has an odd number of bytes, which no message may have (PS3.8 annex E)")
"""Files that somebody deflated without the padding of PS3.5 A.5; dcmtk's services hang when they get one."""

_WORDS = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Of messages without images."""


class DimsePeer:
    """A peer with an AE title.

    Args:
        name: in the configuration, and in messages.
        peer: with aet, host and port.
        node: who calls.
    """

    def __init__(self, name: str, peer: Peer, node: Node) -> None:
        self._name = name
        self._peer = peer
        self._node = node

    def echo(self) -> None:
        """C-ECHO.

        Raises:
            PeerUnavailable, PeerRefused: it is not there, or does not let us in.
        """
        contexts = [build_context(Verification, list(_WORDS))]
        with associated(self._name, self._peer, self._node, contexts) as (association, line):
            answer = association.send_c_echo() if association.is_established else None
            status = answer.get("Status") if answer is not None else None
            if status is None:
                raise self._broken(line, "C-ECHO")
            if status != SUCCESS:
                raise PeerUnavailable(f"peer {self._name!r} answers C-ECHO with {status:04X}H")

    def send(self, files: Sequence[Path], told: Told) -> None:
        """C-STORE of each file, over one association.

        Args:
            files: of one series; of what one association cannot propose it is told `later`.
            told: of each that the peer answered for.

        Raises:
            PeerUnavailable: it broke off; those that `told` does not know of are to be sent again.
            PeerRefused: it lets us send nothing.
            OSError: a file cannot be read.
        """
        outgoing = readable(files, told)
        pairs = list(dict.fromkeys((each.sop_class, each.transfer_syntax) for each in outgoing))
        if not pairs:
            return
        contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in pairs[:MOST_CONTEXTS]]
        try:
            with associated(self._name, self._peer, self._node, contexts) as (association, line):
                self._store(outgoing, association, line, told)
        except NothingAccepted:
            for each in outgoing:
                told(each.path, _not_accepted(each))

    def _store(self, outgoing: Sequence[Outgoing], association: Association, line: Line, told: Told) -> None:
        proposed = {_pair(context) for context in (*association.accepted_contexts, *association.rejected_contexts)}
        accepted = {_pair(context) for context in association.accepted_contexts}
        answered = False
        for number, each in enumerate(outgoing):
            pair = (each.sop_class, each.transfer_syntax)
            if each.data_bytes % 2:
                told(each.path, _ODD)
            elif pair in accepted:
                told(each.path, self._store_one(each, number, association, line, first=not answered))
                answered = True
            elif pair in proposed:
                told(each.path, _not_accepted(each))
            else:
                told(each.path, Said("later", f"more than {MOST_CONTEXTS} kinds of instances for one association"))

    def _store_one(self, each: Outgoing, number: int, association: Association, line: Line, *, first: bool) -> Said:
        doing = "the first C-STORE" if first else "C-STORE"
        if not association.is_established:
            raise self._broken(line, doing, first=first)
        association.dimse_timeout = self._peer.timeout_seconds + each.size / SLOWEST_BYTES_PER_SECOND
        answer = association.send_c_store(each.path, msg_id=number % 65535 + 1)
        status = answer.get("Status")
        if status is None:
            raise self._broken(line, doing, first=first)
        return said_of(status)

    def commit(
        self, instances: Sequence[Reference], transaction_uid: str, *, wait_seconds: float = REPORT_SECONDS
    ) -> CommitmentReport | None:
        """Asks the peer to keep instances for good.

        Args:
            instances: SOPClassUID and SOPInstanceUID of each, at least one.
            transaction_uid: new for each request.
            wait_seconds: for a report on the same association.

        Returns:
            the report; None: it comes later, to this node's own service.

        Raises:
            PeerUnavailable: it broke off, or cannot do it now.
            PeerRefused: it offers no storage commitment, or not to us.
        """
        report = _Report(transaction_uid)
        contexts = [build_context(commitment.PUSH_MODEL, list(_WORDS))]
        opened = associated(self._name, self._peer, self._node, contexts, handlers=report.handlers)
        try:
            with opened as (association, line):
                self._request(association, line, commitment.request_for(instances, transaction_uid))
                return report.wait(wait_seconds)
        except NothingAccepted:
            raise PeerRefused(f"peer {self._name!r} offers no storage commitment") from None

    def _request(self, association: Association, line: Line, asked: Dataset) -> None:
        if not association.is_established:
            raise self._broken(line, "N-ACTION")
        answer, _ = association.send_n_action(
            asked, commitment.REQUEST_ACTION, UID(commitment.PUSH_MODEL), UID(commitment.PUSH_MODEL_INSTANCE)
        )
        status = answer.get("Status")
        if status is None:
            raise self._broken(line, "N-ACTION")
        said = said_of(status)
        if said.verdict == "later":
            raise PeerUnavailable(f"peer {self._name!r} does not commit now: {said.reason}")
        if said.verdict == "refused":
            raise PeerRefused(f"peer {self._name!r} does not commit: {said.reason}")

    def _broken(self, line: Line, doing: str, *, first: bool = False) -> PeerUnavailable:
        """There was no answer."""
        what = "aborted the association"
        if not line.aborted:
            what = f"broke off, or did not answer within {self._peer.timeout_seconds:g} s,"
        # some archives let anybody in, and abort when somebody whom they do not know stores; what they say then may be
        # lost with the connection
        hint = f"; it may not know our AE title {self._node.aet}, or not let it store" if first else ""
        return PeerUnavailable(f"peer {self._name!r} {what} at {doing}{hint}")


class _Report:
    """Waits for the report of one transaction on the association on which it was asked for."""

    def __init__(self, transaction_uid: str) -> None:
        self._transaction_uid = transaction_uid
        self._report: CommitmentReport | None = None
        self._answering = False
        self._over = threading.Event()

    @property
    def handlers(self) -> list[Handler]:
        """For `associated`."""
        ends = (evt.EVT_ABORTED, evt.EVT_RELEASED, evt.EVT_CONN_CLOSE)
        return [
            (evt.EVT_N_EVENT_REPORT, self._received),
            (evt.EVT_DIMSE_SENT, self._answered),
            (evt.EVT_PDU_SENT, self._sent),
            *((end, self._ended) for end in ends),
        ]

    def wait(self, seconds: float) -> CommitmentReport | None:
        """The report, if it comes, and once it is answered; None when it does not, or the peer ends it before."""
        self._over.wait(seconds)
        return self._report

    def _received(self, event: evt.Event) -> tuple[int, None]:
        try:
            report = commitment.report_of(int(event.event_type or 0), event.event_information)
        except Exception:  # noqa: BLE001 - what is no data set makes pydicom raise anything
            return PROCESSING_FAILURE, None
        if report.transaction_uid != self._transaction_uid:
            return PROCESSING_FAILURE, None  # not asked for here; it may be sent to our service instead
        self._report = report
        return SUCCESS, None

    def _answered(self, event: evt.Event) -> None:
        self._answering = self._report is not None and isinstance(event.message, N_EVENT_REPORT_RSP)

    def _sent(self, _: evt.Event) -> None:
        # a release before the answer is out would leave the peer without one
        if self._answering:
            self._over.set()

    def _ended(self, _: evt.Event) -> None:
        self._over.set()


def _pair(context: PresentationContext) -> tuple[str, str]:
    return str(context.abstract_syntax), str(context.transfer_syntax[0])


def _not_accepted(each: Outgoing) -> Said:
    return Said("refused", f"the peer takes no {UID(each.sop_class).name} in {UID(each.transfer_syntax).name}")
