"""A real pynetdicom service on a free port, and sockets that misbehave.

Archive().running() -> the client of it        raw_peer(talk) -> a port where `talk` gets the connection
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import ClassVar

from pydicom.filereader import read_dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.presentation import negotiate_as_acceptor
from pynetdicom.transport import ThreadedAssociationServer

from service.pacs.configuration import Node, Peer
from service.pacs.peers.dimse import DimsePeer

VERIFICATION = "1.2.840.10008.1.1"
PATIENCE = 20.0
SHORT = 1.0


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


def server_tls(certificates, *, mutual=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.authority)
    return context
