"""Records to be sent, collectors on loopback that take them, and the certificates of both sides.

record(number) -> a Record that says which one it is
collect(context=None, listening=True) -> Collector: a TCP or TLS server; `got` is a queue of syslog messages
certificates -> Certificates: an authority, and for `node`, `collector` and `stranger` (of no authority) Tls
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import queue
import socket
import ssl
import threading
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.pacs.audit.codes import Outcome
from service.pacs.audit.facts import Record
from service.pacs.parts import Tls

WHEN = dt.datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=dt.UTC)


@pytest.fixture
def record():
    """(number) -> a record; its XML names the number."""
    return lambda number=0, outcome=Outcome.SUCCESS: Record(f"<AuditMessage n='{number}'/>".encode(), WHEN, outcome)


@dataclass(eq=False)
class Collector:
    """Takes octet-counted messages; can hang up, and begin to listen later."""

    context: ssl.SSLContext | None = None
    listening: bool = True
    got: queue.Queue = field(default_factory=queue.Queue)
    failed: queue.Queue = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        if self.listening:
            self.listen()

    def listen(self) -> None:
        self._listener.listen()
        self._start(self._accept)

    def hang_up(self) -> None:
        """Ends what is connected now; whoever connects next is served."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(10)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(10)

    def _start(self, task, *arguments) -> None:
        self._threads.append(threading.Thread(target=task, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection) -> None:
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
                self._connections.append(connection)
            with connection, connection.makefile("rb") as stream:
                while (head := self._length(stream)) is not None:
                    self.got.put(stream.read(head))
        except OSError as error:
            self.failed.put(error)
        finally:
            connection.close()

    def _length(self, stream) -> int | None:
        digits = b""
        while (character := stream.read(1)).isdigit():
            digits += character
        return int(digits) if character == b" " else None


@pytest.fixture
def collect():
    """(context=..., listening=...) -> Collector."""
    made = []

    def collector(**arguments):
        made.append(Collector(**arguments))
        return made[-1]

    yield collector
    for each in made:
        each.close()


@dataclass(frozen=True)
class Certificates:
    """Of an authority, and of one that nobody trusts."""

    node: Tls
    collector: Tls
    stranger: Tls

    def server(self, **changes) -> ssl.SSLContext:
        """The collector's side, which wants a certificate of the authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.collector.certificate, self.collector.key)
        context.load_verify_locations(self.collector.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        for name, value in changes.items():
            setattr(context, name, value)
        return context


def _certificate(name, folder, *, issuer=None):
    """Writes a key and a certificate, and returns both."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, signing = (subject, key) if issuer is None else issuer
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signing, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, pkcs8, plain))
    return subject, key


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    issuers = {"authority": _certificate("authority", folder), "other": _certificate("other", folder)}

    def tls(name, issuer):
        _certificate(name, folder, issuer=issuers[issuer])
        files = {"certificate": f"{name}.pem", "key": f"{name}.key", "authority": "authority.pem"}
        return Tls(**{what: folder / file for what, file in files.items()})

    return Certificates(tls("node", "authority"), tls("collector", "authority"), tls("stranger", "other"))
