"""Sending by DIMSE, to a real pynetdicom service on a free port, and to sockets that misbehave."""

from __future__ import annotations

import io
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import ClassVar

import pytest
from pydicom.filereader import read_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, build_context, evt
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.presentation import negotiate_as_acceptor
from pynetdicom.transport import ThreadedAssociationServer

from service.dicom.identity import IMPLEMENTATION_CLASS_UID
from service.pacs.commitment import ALL_COMMITTED, PUSH_MODEL, PUSH_MODEL_INSTANCE, event_for, request_of
from service.pacs.configuration import Node, Peer, Tls
from service.pacs.peers import PeerRefused, PeerUnavailable, Said
from service.pacs.peers.association import associated
from service.pacs.peers.dimse import DimsePeer

VERIFICATION = "1.2.840.10008.1.1"
PATIENCE = 20.0
SHORT = 0.3
REFERENCES = [(CTImageStorage, "1.2.3.4.1"), (CTImageStorage, "1.2.3.4.2")]


class Server(ThreadedAssociationServer):
    """Remembers its connections: pynetdicom leaks those that the other side closes first."""

    opened: ClassVar[list[socket.socket]] = []

    def process_request(self, request, client_address):
        self.opened.append(request)
        super().process_request(request, client_address)


class Archive:
    """A storage service: keeps what it gets, and answers what it is told to."""

    def __init__(self):
        self.entity = AE(ae_title="ARCHIVE")
        self.entity.add_supported_context(VERIFICATION)
        self.entity.maximum_pdu_size = 4096
        self.syntaxes = list(ALL_TRANSFER_SYNTAXES)
        self.sop_classes = [CTImageStorage]
        self.status = 0x0000
        self.received = []
        self.callers = set()
        self.handlers = []
        self.tls = None

    def store(self, event):
        request = event.request
        self.received.append((str(request.AffectedSOPInstanceUID), request.DataSet.getvalue(), event.context))
        return self.status(event) if callable(self.status) else self.status

    def accepted(self, event):
        calling = event.assoc.requestor
        self.callers.add((calling.ae_title, calling.implementation_class_uid, calling.implementation_version_name))

    @contextmanager
    def running(self, **changes):
        """The client of it, with which node and peer."""
        for sop_class in self.sop_classes:
            self.entity.add_supported_context(sop_class, self.syntaxes)
        handlers = [(evt.EVT_C_STORE, self.store), (evt.EVT_ACCEPTED, self.accepted), *self.handlers]
        server = self.entity.make_server(
            ("127.0.0.1", 0), evt_handlers=handlers, ssl_context=self.tls, server_class=Server
        )
        self.entity._servers.append(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield client(server.socket.getsockname()[1], **changes)
        finally:
            server.shutdown()
            thread.join(PATIENCE)
            for association in server.active_associations:
                association.join(PATIENCE)
            for connection in server.opened:
                connection.close()


def client(port, *, node_aet="CLEARSLICE", **changes):
    peer = Peer(**{"aet": "ARCHIVE", "host": "127.0.0.1", "port": port, "timeout_seconds": PATIENCE, **changes})
    return DimsePeer("archive", peer, Node(aet=node_aet))


@contextmanager
def raw_peer(talk):
    """A port where `talk` gets the connection, on a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def serve():
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    talk(connection, over)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join(PATIENCE)
            assert not thread.is_alive()


def read_pdu(connection):
    head = b""
    while len(head) < 6:
        head += connection.recv(6 - len(head))
    body = b""
    while len(body) < int.from_bytes(head[2:], "big"):
        body += connection.recv(int.from_bytes(head[2:], "big") - len(body))
    return head + body


def accept_association(connection):
    """Takes all that is proposed."""
    asked = A_ASSOCIATE_RQ()
    asked.decode(read_pdu(connection))
    primitive = asked.to_primitive()
    proposed = primitive.presentation_context_definition_list
    results, _ = negotiate_as_acceptor(proposed, proposed)
    primitive.presentation_context_definition_results_list = results
    primitive.presentation_context_definition_list = []
    primitive.result = 0x00
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(primitive)
    connection.sendall(answer.encode())


def data_set(data):
    """The bytes after the file meta information."""
    stream = io.BytesIO(data)
    stream.seek(132)
    read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
    return data[stream.tell() :]


def test_echo_names_who_we_are():
    archive = Archive()
    with archive.running() as peer:
        peer.echo()
    assert archive.callers == {("CLEARSLICE", IMPLEMENTATION_CLASS_UID, "CLEARSLICE")}


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated", "big"])
def test_the_bytes_of_the_data_set_arrive_as_they_are(slices, told, syntax):
    archive = Archive()
    files = slices(3, syntax=syntax)
    with archive.running() as peer:
        peer.send(files, told)
    assert list(told.items()) == [(path, Said("taken")) for path in files]
    assert [uid for uid, _, _ in archive.received] == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
    for path, (_, data, _) in zip(files, archive.received, strict=True):
        assert data == data_set(path.read_bytes())


@pytest.mark.parametrize("extra", range(-3, 4))
def test_no_byte_is_lost_where_a_message_part_ends(slices, told, extra):
    archive = Archive()
    part = 4096 - 6
    files = slices(1)
    size = len(data_set(files[0].read_bytes()))
    # a comment of just the length that fills two parts, give or take
    files = slices(1, ImageComments="x" * (2 * part - size - 8 + 2 * extra))
    assert len(data_set(files[0].read_bytes())) == 2 * part + 2 * extra
    with archive.running() as peer:
        peer.send(files, told)
    assert archive.received[0][1] == data_set(files[0].read_bytes())


def test_each_file_goes_out_in_its_own_syntax(slices, told):
    archive = Archive()
    files = [*slices(1, folder="a", syntax="explicit"), *slices(1, folder="b", syntax="implicit")]
    with archive.running() as peer:
        peer.send(files, told)
    assert [context[2] for _, _, context in archive.received] == [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def test_nothing_is_converted_to_a_syntax_that_the_peer_would_take(slices, told):
    archive = Archive()
    archive.syntaxes = [ImplicitVRLittleEndian]
    files = [*slices(1, folder="a", syntax="explicit"), *slices(1, folder="b", syntax="implicit")]
    with archive.running() as peer:
        peer.send(files, told)
    refused = Said("refused", "the peer takes no CT Image Storage in Explicit VR Little Endian")
    assert told == {files[0]: refused, files[1]: Said("taken")}


def test_a_peer_that_takes_nothing_of_it(slices, told):
    archive = Archive()
    archive.sop_classes = []
    with archive.running() as peer:
        peer.send(slices(2), told)
    assert (
        list(told.values()) == [Said("refused", "the peer takes no CT Image Storage in Explicit VR Little Endian")] * 2
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0x0000, Said("taken")),
        (0xB000, Said("taken", "B000H: values were coerced")),
        (0xB006, Said("taken", "B006H: elements were discarded")),
        (0xB007, Said("taken", "B007H: the instance does not fit its SOP class")),
        (0x0111, Said("taken", "0111H: the instance was there already")),
        (0xA700, Said("later", "A700H: out of resources")),
        (0xA7FF, Said("later", "A7FFH: out of resources")),
        (0x0110, Said("later", "0110H: processing failure")),
        (0x0213, Said("later", "0213H: out of resources")),
        (0x0122, Said("refused", "0122H: the SOP class is not supported")),
        (0x0124, Said("refused", "0124H: we are not authorised")),
        (0x0117, Said("refused", "0117H: the message or the instance is not valid there")),
        (0xA900, Said("refused", "A900H: the instance does not fit its SOP class")),
        (0xC000, Said("refused", "C000H: the instance cannot be understood")),
        (0xCFFF, Said("refused", "CFFFH: the instance cannot be understood")),
        (0xE123, Said("later", "E123H: an unknown status")),
    ],
)
def test_every_status(slices, told, status, said):
    archive = Archive()
    archive.status = status
    with archive.running() as peer:
        peer.send(slices(2), told)
    assert list(told.values()) == [said, said]


def test_files_that_are_no_dicom_are_refused_and_the_others_sent(slices, told, tmp_path):
    archive = Archive()
    text, nameless = tmp_path / "text.dcm", tmp_path / "nameless.dcm"
    text.write_text("not DICOM", encoding="utf-8")
    nameless.write_bytes(b"\0" * 128 + b"DICM")
    with archive.running() as peer:
        peer.send([text, nameless, *slices(1)], told)
    assert told.verdicts == ["refused", "refused", "taken"]
    assert told[nameless].reason == "the file meta information has no valid MediaStorageSOPClassUID"


def test_no_association_for_nothing(told):
    client(1).send([], told)
    assert not told


def test_a_file_that_is_not_there(told, tmp_path):
    with pytest.raises(FileNotFoundError):
        client(1).send([tmp_path / "gone.dcm"], told)


def test_kinds_beyond_what_one_association_can_propose_are_sent_later(slices, told, monkeypatch):
    monkeypatch.setattr("service.pacs.peers.dimse.MOST_CONTEXTS", 1)
    archive = Archive()
    with archive.running() as peer:
        peer.send([*slices(1, folder="a"), *slices(1, folder="b", syntax="implicit")], told)
    assert told.verdicts == ["taken", "later"]


def test_an_unknown_calling_title_is_refused_for_good(slices, told):
    archive = Archive()
    archive.entity.require_calling_aet = ["SOMEBODY"]
    with archive.running() as peer:
        with pytest.raises(PeerRefused) as error:
            peer.send(slices(1), told)
        with pytest.raises(PeerRefused, match="Calling AE title not recognised"):
            peer.echo()
    expected = "peer 'archive' (ARCHIVE) rejects associations of CLEARSLICE: Calling AE title not recognised"
    assert str(error.value) == expected
    assert not told


def test_an_unknown_called_title_is_refused_for_good():
    archive = Archive()
    archive.entity.require_called_aet = True
    with archive.running(aet="OTHER") as peer, pytest.raises(PeerRefused, match="Called AE title not recognised"):
        peer.echo()


def test_too_many_associations_are_a_matter_of_time():
    archive = Archive()
    archive.entity.maximum_associations = 1
    with archive.running() as peer:
        held = associated("archive", peer._peer, peer._node, [build_context(VERIFICATION)])
        with held, pytest.raises(PeerUnavailable, match="rejects associations of CLEARSLICE: Local limit exceeded"):
            peer.echo()


def test_nobody_listens(slices, told):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        client(port).send(slices(1), told)


def test_an_unknown_host():
    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        client(1, host="peer.invalid").echo()


def test_a_peer_that_never_answers_the_association():
    silent = raw_peer(lambda _, over: over.wait(PATIENCE))
    with silent as port, pytest.raises(PeerUnavailable, match=r"did not answer within 0\.3 s, while .* negotiated"):
        client(port, timeout_seconds=SHORT).echo()


def test_a_peer_that_speaks_something_else():
    def talk(connection, _):
        read_pdu(connection)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="while the association was negotiated"):
        client(port, timeout_seconds=SHORT).echo()


def test_a_peer_that_never_answers_a_store(slices, told):
    over = threading.Event()

    def status(_):
        over.wait(PATIENCE)
        return 0x0000

    archive = Archive()
    archive.status = status
    with archive.running(timeout_seconds=SHORT) as peer:
        with pytest.raises(PeerUnavailable, match=r"did not answer within 0\.3 s, at the first C-STORE"):
            peer.send(slices(2), told)
        over.set()
    assert not told


def test_a_peer_that_stops_reading_does_not_hold_us_forever(slices, told):
    def talk(connection, over):
        accept_association(connection)
        over.wait(PATIENCE)

    # more than the buffers of two sockets hold
    files = slices(1, shape=(3000, 3000))
    with raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="at the first C-STORE"):
        client(port, timeout_seconds=SHORT).send(files, told)
    assert not told


def test_a_peer_that_is_cut_off_in_the_middle(slices, told):
    def talk(connection, _):
        accept_association(connection)
        read_pdu(connection)

    with raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="broke off"):
        client(port).send(slices(2), told)


def test_an_abort_at_the_first_instance_hints_at_our_title(slices, told):
    archive = Archive()
    archive.status = lambda event: event.assoc.abort()
    with archive.running() as peer, pytest.raises(PeerUnavailable) as error:
        peer.send(slices(2), told)
    assert str(error.value) == (
        "peer 'archive' aborted the association at the first C-STORE; it may not know our AE title CLEARSLICE, or not"
        " let it store"
    )
    assert not told


def test_an_abort_in_the_middle_leaves_what_was_told(slices, told):
    archive = Archive()
    archive.status = lambda event: event.assoc.abort() if len(archive.received) == 3 else 0x0000
    with archive.running() as peer, pytest.raises(PeerUnavailable) as error:
        peer.send(slices(5), told)
    assert str(error.value) == "peer 'archive' aborted the association at C-STORE"
    assert told.verdicts == ["taken", "taken"]


def test_what_the_callback_raises_ends_the_association_in_order(slices):
    def fail(*_):
        raise OSError("the record cannot be written")

    released = threading.Event()
    archive = Archive()
    archive.handlers = [(evt.EVT_RELEASED, lambda _: released.set())]
    with archive.running() as peer:
        with pytest.raises(OSError, match="the record cannot be written"):
            peer.send(slices(2), fail)
        assert released.wait(PATIENCE)


def server_tls(certificates, *, mutual=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.authority)
    return context


def test_tls_with_certificates_on_both_sides(slices, told, certificates):
    archive = Archive()
    archive.tls = server_tls(certificates, mutual=True)
    ours = Tls(certificate=certificates.certificate, key=certificates.key, authority=certificates.authority)
    files = slices(3)
    with archive.running(tls=ours) as peer:
        peer.send(files, told)
    assert told.verdicts == ["taken"] * 3
    assert [data for _, data, _ in archive.received] == [data_set(path.read_bytes()) for path in files]


@pytest.mark.parametrize("authority", ["other", None])
def test_tls_of_an_authority_that_is_not_trusted(slices, told, certificates, authority):
    archive = Archive()
    archive.tls = server_tls(certificates)
    trusted = Tls(authority=getattr(certificates, authority) if authority else None)
    with (
        archive.running(tls=trusted) as peer,
        pytest.raises(PeerUnavailable, match="no TLS connection: its certificate is not accepted: unable to get"),
    ):
        peer.send(slices(1), told)
    assert not archive.received


def test_tls_of_another_host(certificates):
    archive = Archive()
    archive.tls = server_tls(certificates)
    with (
        archive.running(tls=Tls(authority=certificates.authority), host="localhost") as peer,
        pytest.raises(PeerUnavailable, match="no TLS connection: its certificate is not accepted: Hostname mismatch"),
    ):
        peer.echo()


def test_tls_where_the_peer_wants_a_certificate_of_ours(certificates):
    archive = Archive()
    archive.tls = server_tls(certificates, mutual=True)
    with (
        archive.running(tls=Tls(authority=certificates.authority)) as peer,
        pytest.raises(PeerUnavailable, match="it may want another certificate of ours"),
    ):
        peer.echo()


def test_tls_to_a_peer_without(certificates):
    def talk(connection, _):
        connection.recv(4096)
        connection.sendall(b"\x07\0\0\0\0\x04\0\0\2\0")  # an abort, as a service without TLS answers

    with raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="no TLS connection: wrong version number"):
        client(port, tls=Tls(authority=certificates.authority)).echo()


@pytest.mark.parametrize("key", ["locked", "authority"])
def test_certificates_that_cannot_be_used(certificates, key):
    ours = Tls(certificate=certificates.certificate, key=getattr(certificates, key))
    with pytest.raises(PeerUnavailable, match="the files of its tls cannot be used"):
        client(1, tls=ours).echo()


def committing(archive, answer, *, status=0x0000):
    """Storage commitment whose reports go out on the same association."""
    archive.entity.add_supported_context(PUSH_MODEL)
    answers = []

    def act(event):
        request = request_of(event.action_information)
        if answer is not None:
            thread = threading.Thread(target=report, args=(event.assoc, request))
            thread.start()
        return status, None

    def report(association, request):
        event_type, information = answer(request)
        said, _ = association.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        answers.append(said.get("Status"))

    archive.handlers = [(evt.EVT_N_ACTION, act)]
    return answers


def test_a_report_on_the_same_association():
    archive = Archive()

    def answer(request):
        return event_for(request.transaction_uid, request.instances[:1], {request.instances[1]: 0x0112})

    answers = committing(archive, answer)
    with archive.running() as peer:
        report = peer.commit(REFERENCES, "1.2.3.99", wait_seconds=PATIENCE)
    assert report.transaction_uid == "1.2.3.99"
    assert report.committed == {"1.2.3.4.1"}
    assert report.failed == {"1.2.3.4.2": "0112H: it does not have the instance"}
    assert answers == [0x0000]


def test_a_report_that_comes_elsewhere():
    archive = Archive()
    committing(archive, None)
    with archive.running() as peer:
        assert peer.commit(REFERENCES, "1.2.3.99", wait_seconds=0.1) is None


def test_a_report_of_another_transaction_is_not_taken():
    archive = Archive()
    answers = committing(archive, lambda request: event_for("1.2.3.98", request.instances, {}))
    with archive.running() as peer:
        assert peer.commit(REFERENCES, "1.2.3.99", wait_seconds=SHORT) is None
    assert answers == [0x0110]


def test_a_malformed_report_is_not_taken():
    archive = Archive()

    def answer(request):
        _, information = event_for(request.transaction_uid, request.instances, {})
        del information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        return ALL_COMMITTED, information

    answers = committing(archive, answer)
    with archive.running() as peer:
        assert peer.commit(REFERENCES, "1.2.3.99", wait_seconds=SHORT) is None
    assert answers == [0x0110]


@pytest.mark.parametrize(("status", "error"), [(0x0124, PeerRefused), (0x0211, PeerRefused), (0x0110, PeerUnavailable)])
def test_commitment_that_is_refused(status, error):
    archive = Archive()
    committing(archive, None, status=status)
    with archive.running() as peer, pytest.raises(error, match=f"{status:04X}H"):
        peer.commit(REFERENCES, "1.2.3.99")


def test_commitment_that_is_not_offered():
    with Archive().running() as peer, pytest.raises(PeerRefused, match="peer 'archive' offers no storage commitment"):
        peer.commit(REFERENCES, "1.2.3.99")


def test_a_peer_that_leaves_after_the_request_is_not_waited_for():
    def talk(connection, _):
        accept_association(connection)
        asked = read_pdu(connection)
        part = P_DATA_TF()
        part.decode(asked)
        # and gone, without an answer

    with raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="at N-ACTION"):
        client(port).commit(REFERENCES, "1.2.3.99", wait_seconds=PATIENCE)
