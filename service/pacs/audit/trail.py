"""What the node tells the audit trail, while it works.

    start -- rejected (association, key) -- received -- queried -- sending -- sent -- stop
       +------------+--------------------------+-----------+----------+--------+-------+----> messages --> Backlog

No call waits, and none raises: the work goes on whatever becomes of the trail.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime

from service.pacs.audit import messages
from service.pacs.audit.backlog import Backlog
from service.pacs.audit.codes import Outcome
from service.pacs.audit.collector import parse_address
from service.pacs.audit.facts import Header, Party, Patient, Record, Source, Study, Transfer
from service.pacs.audit.settings import Audit
from service.pacs.audit.sinks import FileSink, Sink, SyslogSink
from service.telemetry import log_defect

Clock = Callable[[], datetime]
"""The time, with a zone."""

_PROGRAM = "clearslice"


def _now() -> datetime:
    return datetime.now(UTC)


class Trail:
    """The audit trail of one node.

    Args:
        node_aet: its AE title.
        sink: where messages go; None: nowhere.
        clock: when it is; times are told in UTC, as PS3.15 A.5.2 has it.
        source: who tells; without, the node by its AE title.
    """

    def __init__(
        self, node_aet: str, sink: Backlog | None, clock: Clock = _now, *, source: Source | None = None
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._source = source or Source(id=node_aet)
        # One name for the node in all messages, however many networks it is in (PS3.15 A.5.2.4).
        self._node = Party(user=str(os.getpid()), aet=node_aet, host=socket.gethostname(), name=_PROGRAM)

    def started(self) -> None:
        """The node takes associations and requests from now on."""
        self._tell(lambda header: messages.application_activity(header, self._node, running=True))

    def stopped(self) -> None:
        """The node ends; `close` follows."""
        self._tell(lambda header: messages.application_activity(header, self._node, running=False))

    def received(
        self,
        sender: Party,
        study: Study,
        patient: Patient,
        *,
        outcome: Outcome = Outcome.SUCCESS,
        reason: str = "",
        new: bool = True,
        pulled: bool = False,
        encrypted: bool | None = None,
    ) -> None:
        """Instances of one study came, all of them with this outcome.

        Args:
            sender: who sent them, or from whom they were fetched.
            study, patient: what, and whose.
            outcome, reason: of a failure, why.
            new: whether we did not have them.
            pulled: whether we fetched them (WADO-RS).
            encrypted: whether the connection was, if that is known.
        """
        self._tell(
            lambda header: messages.instances_transferred(
                header,
                Transfer(
                    source=sender,
                    destination=self._node,
                    study=study,
                    patient=patient,
                    pulled=pulled,
                    encrypted=encrypted,
                ),
                action="C" if new else "R",
            ),
            outcome,
            reason,
        )

    def sending(self, receiver: Party, study: Study, patient: Patient, *, anonymized: bool | None = None) -> None:
        """Instances of one study are about to be sent; `sent` follows."""
        transfer = self._outward(receiver, study, patient, anonymized=anonymized)
        self._tell(lambda header: messages.begin_transferring(header, transfer))

    def sent(
        self,
        receiver: Party,
        study: Study,
        patient: Patient,
        *,
        outcome: Outcome = Outcome.SUCCESS,
        reason: str = "",
        encrypted: bool | None = None,
        anonymized: bool | None = None,
    ) -> None:
        """Instances of one study were sent, all of them with this outcome.

        Args:
            receiver: who got them, or should have.
            study, patient: what, and whose.
            outcome, reason: of a failure, why.
            encrypted, anonymized: as `Transfer`.
        """
        transfer = self._outward(receiver, study, patient, encrypted=encrypted, anonymized=anonymized)
        self._tell(
            lambda header: messages.instances_transferred(header, transfer, action="R"),  # we do not know what it had
            outcome,
            reason,
        )

    def queried(self, peer: Party, url: str, *, outcome: Outcome = Outcome.SUCCESS, reason: str = "") -> None:
        """A DICOMweb peer was asked: QIDO-RS, or WADO-RS, whose instances `received` tells of."""
        self._tell(lambda header: messages.query(header, self._node, peer, url), outcome, reason)

    def rejected(self, caller: Party, why: str, *, outcome: Outcome = Outcome.SERIOUS) -> None:
        """Somebody was not let in: an association was rejected, or a key or certificate was wrong.

        Args:
            caller: whom it said to be, and from where it called.
            why: in words, without the key.
            outcome: minor where it may try again, serious where that was the end of it.
        """
        self._tell(lambda header: messages.security_alert(header, self._node, caller, why), outcome)

    def close(self) -> None:
        """Lets the last messages leave, for a bounded time."""
        if self._sink is not None:
            self._sink.close()

    def _outward(
        self,
        receiver: Party,
        study: Study,
        patient: Patient,
        *,
        encrypted: bool | None = None,
        anonymized: bool | None = None,
    ) -> Transfer:
        return Transfer(
            source=self._node,
            destination=receiver,
            study=study,
            patient=patient,
            encrypted=encrypted,
            anonymized=anonymized,
        )

    def _tell(self, message: Callable[[Header], Record], outcome: Outcome = Outcome.SUCCESS, reason: str = "") -> None:
        if self._sink is None:
            return
        try:
            when = self._clock().astimezone(UTC)
            self._sink.put(message(Header(source=self._source, when=when, outcome=outcome, reason=reason)))
        except Exception as error:  # noqa: BLE001 - a defect here must not cost images
            log_defect(error)


def no_trail() -> Trail:
    """A trail that leads nowhere."""
    return Trail("", None)


def open_trail(audit: Audit | None, node_aet: str) -> Trail:
    """The trail that the configuration asks for, with a thread of its own; to be closed. None: none."""
    if audit is None:
        return no_trail()
    source = Source(id=audit.source or node_aet, site=audit.site or "")
    return Trail(node_aet, Backlog(_sink(audit)), source=source)


def _sink(audit: Audit) -> Sink:
    if audit.syslog is not None:
        return SyslogSink(parse_address(audit.syslog), tls=audit.tls)
    if audit.file is None:
        raise ValueError("the model takes only one with a file or an address")
    return FileSink(audit.file)
