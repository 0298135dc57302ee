"""Storage commitment: the report on the same association, elsewhere, or never."""

from __future__ import annotations

import queue
import threading

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import evt
from pynetdicom.pdu import P_DATA_TF

from service.pacs.commitment import ALL_COMMITTED, PUSH_MODEL, PUSH_MODEL_INSTANCE, event_for, request_of
from service.pacs.peers import PeerRefused, PeerUnavailable

REFERENCES = [(CTImageStorage, "1.2.3.4.1"), (CTImageStorage, "1.2.3.4.2")]


def committing(archive, answer, *, status=0x0000):
    """Storage commitment whose reports go out on the same association, after the answer; what was said to them."""
    archive.entity.add_supported_context(PUSH_MODEL)
    asked, answers = [], queue.Queue()

    def act(event):
        asked.append(request_of(event.action_information))
        return status, None

    def sent(event):
        if asked and answer is not None and isinstance(event.pdu, P_DATA_TF):
            threading.Thread(target=report, args=(event.assoc, asked.pop())).start()

    def report(association, request):
        event_type, information = answer(request)
        said, _ = association.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        answers.put(said.get("Status"))

    archive.handlers = [(evt.EVT_N_ACTION, act), (evt.EVT_PDU_SENT, sent)]
    return answers


def test_a_report_on_the_same_association(dimse):
    archive = dimse.Archive()

    def answer(request):
        return event_for(request.transaction_uid, request.instances[:1], {request.instances[1]: 0x0112})

    answers = committing(archive, answer)
    with archive.running() as peer:
        report = peer.commit(REFERENCES, "1.2.3.99", wait_seconds=dimse.PATIENCE)
    assert report.transaction_uid == "1.2.3.99"
    assert report.committed == {"1.2.3.4.1"}
    assert report.failed == {"1.2.3.4.2": "0112H: it does not have the instance"}
    assert answers.get(timeout=dimse.PATIENCE) == 0x0000


def test_a_report_that_comes_elsewhere(dimse):
    archive = dimse.Archive()
    committing(archive, None)
    with archive.running() as peer:
        assert peer.commit(REFERENCES, "1.2.3.99", wait_seconds=0.1) is None


def test_a_report_of_another_transaction_is_not_taken(dimse):
    archive = dimse.Archive()
    answers = committing(archive, lambda request: event_for("1.2.3.98", request.instances, {}))
    with archive.running() as peer:
        assert peer.commit(REFERENCES, "1.2.3.99", wait_seconds=0.2) is None
    assert answers.get(timeout=dimse.PATIENCE) == 0x0110


def test_a_malformed_report_is_not_taken(dimse):
    archive = dimse.Archive()

    def answer(request):
        _, information = event_for(request.transaction_uid, request.instances, {})
        del information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        return ALL_COMMITTED, information

    answers = committing(archive, answer)
    with archive.running() as peer:
        assert peer.commit(REFERENCES, "1.2.3.99", wait_seconds=0.2) is None
    assert answers.get(timeout=dimse.PATIENCE) == 0x0110


@pytest.mark.parametrize(("status", "error"), [(0x0124, PeerRefused), (0x0211, PeerRefused), (0x0110, PeerUnavailable)])
def test_commitment_that_is_refused(dimse, status, error):
    archive = dimse.Archive()
    committing(archive, None, status=status)
    with archive.running() as peer, pytest.raises(error, match=f"{status:04X}H"):
        peer.commit(REFERENCES, "1.2.3.99")


def test_commitment_that_is_not_offered(dimse):
    with (
        dimse.Archive().running() as peer,
        pytest.raises(PeerRefused, match="peer 'archive' offers no storage commitment"),
    ):
        peer.commit(REFERENCES, "1.2.3.99")


def test_a_peer_that_leaves_after_the_request_is_not_waited_for(dimse):
    def talk(connection, _):
        dimse.accept_association(connection)
        dimse.read_pdu(connection)
        # and gone, without an answer

    with dimse.raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="at N-ACTION"):
        dimse.client(port).commit(REFERENCES, "1.2.3.99", wait_seconds=dimse.PATIENCE)
