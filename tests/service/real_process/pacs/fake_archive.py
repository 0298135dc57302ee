"""A PACS that tests hold in their hands: takes instances by C-STORE, and says on demand what it keeps.

C-STORE --stored--(hold_at? slow?)--> status          start, stop: whether it is there at all
N-ACTION --asked--(reports?)--> N-EVENT-REPORT, on an association of its own
"""

from __future__ import annotations

import io
import socket
import threading
from collections import defaultdict
from contextlib import contextmanager

from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.transport import ThreadedAssociationServer

PUSH_MODEL, PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
PATIENCE = 20.0


class _Server(ThreadedAssociationServer):
    """Remembers its connections: pynetdicom leaks those that the other side closes first."""

    def process_request(self, request, client_address):
        self.opened = [*getattr(self, "opened", []), request]
        super().process_request(request, client_address)


class _Caller(AE):
    """Remembers its connections, for the same reason."""

    def _create_socket(self, *args):
        made = super()._create_socket(*args)
        self.opened = [*getattr(self, "opened", []), made.socket]
        return made


class Archive:
    """The PACS.

    Attributes:
        port: on which it listens, over all its starts.
        stored: SOPInstanceUID -> (transfer syntax, data set) each time that it came and was not refused.
        sources: SOPInstanceUID -> that of its source.
        attempts: SOPInstanceUIDs of sources, each time that something derived from it came, refused or not.
        refuses: SOPInstanceUIDs of sources, of which it never takes anything.
        associations: how many there were.
        seconds: that it takes for each answer.
        reports: whether it says what it keeps as soon as it is asked.
        asked: transaction UID -> references, of all it was asked to keep.
    """

    def __init__(self, node_port):
        self.port, self._node_port = free_port(), node_port
        self.stored, self.sources, self.attempts = defaultdict(list), {}, []
        self.refuses, self.seconds, self.reports, self.asked = set(), 0.0, True, {}
        self.associations = 0
        self._hold_at, self._open = None, threading.Event()
        self._never, self._reporting = threading.Event(), []
        self._server = self._thread = None

    def start(self):
        """It is there from now on."""
        entity = AE(ae_title="ARCHIVE")
        entity.add_supported_context("1.2.840.10008.1.1")
        entity.add_supported_context(CTImageStorage, [ExplicitVRLittleEndian])
        entity.add_supported_context(PUSH_MODEL)
        handlers = [
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commit),
        ]
        self._server = entity.make_server(("127.0.0.1", self.port), evt_handlers=handlers, server_class=_Server)
        entity._servers.append(self._server)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self):
        """It is gone: associations are aborted, and nobody listens."""
        if self._server is None:
            return
        self.go_on()
        self._server.shutdown()
        self._thread.join(PATIENCE)
        for association in self._server.active_associations:
            association.abort()
            association.join(PATIENCE)
        for thread in self._reporting:
            thread.join(PATIENCE)
        self._server.server_close()
        for connection in getattr(self._server, "opened", []):
            connection.close()
        self._server = None

    def hold_at(self, count):
        """From the instance of this number on it stores what comes, and does not say so until `go_on`."""
        self._hold_at = count
        self._open.clear()

    def go_on(self):
        """It answers again."""
        self._hold_at = None
        self._open.set()

    @property
    def count(self):
        """Instances that it has, however often they came."""
        return len(self.stored)

    def report(self, transaction):
        """Says of a transaction that it keeps what it has, on an association of its own.

        Returns:
            Whether the node has heard it.
        """
        references = self.asked[transaction]
        told = Dataset()
        told.TransactionUID = transaction
        told.ReferencedSOPSequence = [each for each in references if each.ReferencedSOPInstanceUID in self.stored]
        told.FailedSOPSequence = [each for each in references if each.ReferencedSOPInstanceUID not in self.stored]
        event = 2 if told.FailedSOPSequence else 1
        role = build_role(PUSH_MODEL, scp_role=True)
        with associated(self._node_port, "ARCHIVE", build_context(PUSH_MODEL), ext_neg=[role]) as association:
            if not association.is_established:
                return False
            status, _ = association.send_n_event_report(told, event, PUSH_MODEL, PUSH_MODEL_INSTANCE)
            return status.get("Status") == 0x0000

    def _accepted(self, _):
        self.associations += 1

    def _store(self, event):
        data = event.request.DataSet.getvalue()
        derived = event.dataset
        uid, source = str(derived.SOPInstanceUID), derived.SourceImageSequence[0].ReferencedSOPInstanceUID
        self.attempts.append(str(source))
        if source in self.refuses:
            return 0xC000
        self.stored[uid].append((str(event.context.transfer_syntax), data))
        self.sources[uid] = str(source)
        self._never.wait(self.seconds)
        if self._hold_at is not None and self.count >= self._hold_at:
            self._open.wait(PATIENCE)
        return 0x0000

    def _commit(self, event):
        asked = event.action_information
        self.asked[str(asked.TransactionUID)] = list(asked.ReferencedSOPSequence)
        if self.reports:
            thread = threading.Thread(target=self.report, args=(str(asked.TransactionUID),))
            thread.start()
            self._reporting.append(thread)
        return 0x0000, None


def free_port():
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def send(node_port, files, *, heard=None):
    """C-STORE of DICOM files over one association, until it ends.

    Args:
        node_port: to whom.
        files: bytes of each.
        heard: a list that each acknowledged SOPInstanceUID is appended to at once.

    Returns:
        (SOPInstanceUID, status) of each that was answered.
    """
    answers = []
    with associated(node_port, "SCANNER", build_context(CTImageStorage, [ExplicitVRLittleEndian])) as association:
        for data in files:
            if not association.is_established:
                break
            dataset = dcmread(io.BytesIO(data))
            answer = association.send_c_store(dataset)
            if "Status" not in answer:
                break
            answers.append((str(dataset.SOPInstanceUID), answer.Status))
            if heard is not None and answer.Status == 0x0000:
                heard.append(str(dataset.SOPInstanceUID))
    return answers


@contextmanager
def associated(node_port, aet, context, **more):
    """An association with the node, which may not have come about, or end at any time."""
    entity = _Caller(ae_title=aet)
    association = entity.associate("127.0.0.1", node_port, contexts=[context], ae_title="CLEARSLICE", **more)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        association.kill()
        if association.is_alive():
            association.join(PATIENCE)
        for connection in entity.opened:
            connection.close()
