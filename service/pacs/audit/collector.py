"""Where a syslog collector is, and the way to it.

"tls://host:6514" --parse_address--> Address --connect--> a socket --is_closed?--> used again, or a new one
                  ValueError                 OSError
"""

from __future__ import annotations

import selectors
import socket
import ssl
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

from service.pacs.parts import Tls

Scheme = Literal["udp", "tcp", "tls"]

_USUAL_PORTS = {"udp": 514, "tls": 6514}
"""PS3.15 A.7 and A.6; for plain TCP there is none."""

TIMEOUT_SECONDS = 10.0
"""For a connection, and for one message; after that the collector counts as down."""

REFUSAL_SECONDS = 1.0
"""So long a collector has to say that it does not take our certificate."""


@dataclass(frozen=True)
class Address:
    """Of a collector."""

    scheme: Scheme
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address in `udp://host:514`, `tcp://host:port` or `tls://host:6514`.

    Raises:
        ValueError: it is none, or has more in it.
    """
    parts = urlsplit(text)
    port = parts.port or _USUAL_PORTS.get(parts.scheme)
    whole = not (parts.path or parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("udp", "tcp", "tls") or not parts.hostname or port is None or not whole:
        raise ValueError(f"{text!r} is no collector: give udp://host:514, tcp://host:port or tls://host:6514")
    return Address(cast("Scheme", parts.scheme), parts.hostname, port)


def connect(address: Address, tls: Tls | None) -> socket.socket:
    """A connected socket, with `TIMEOUT_SECONDS`. Names are looked up, and certificates read, anew each time.

    Raises:
        OSError: there is no way there, or one of the two does not trust the other.
    """
    if address.scheme == "udp":
        return _datagrams(address)
    plain = socket.create_connection((address.host, address.port), timeout=TIMEOUT_SECONDS)
    if address.scheme == "tcp":
        return plain
    try:
        secured = _context(tls).wrap_socket(plain, server_hostname=address.host)
    except BaseException:
        plain.close()
        raise
    try:
        _await_refusal(secured)
    except BaseException:
        secured.close()
        raise
    return secured


def is_closed(connection: socket.socket) -> bool:
    """Whether the collector has closed a stream, which a write alone would not tell: its first one still succeeds.

    Raises:
        OSError: it was closed with an error.
    """
    connection.settimeout(0)
    try:
        return not connection.recv(4096)  # collectors say nothing; if one does, it is there
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    finally:
        connection.settimeout(TIMEOUT_SECONDS)


def _datagrams(address: Address) -> socket.socket:
    family, kind, protocol, _, there = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.settimeout(TIMEOUT_SECONDS)
        made.connect(there)
    except BaseException:
        made.close()
        raise
    return made


def _context(tls: Tls | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls is None or tls.authority is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(tls.authority)
    if tls is not None and tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key, password="")  # without one, OpenSSL asks at the terminal
    return context


def _await_refusal(connection: ssl.SSLSocket) -> None:
    """In TLS 1.3 the client is done before the collector has seen its certificate, and what it writes then is lost.

    What comes first decides: the alert that it is not trusted, or what collectors send after it is (tickets).
    """
    if connection.version() != "TLSv1.3":
        return
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        answered = selector.select(REFUSAL_SECONDS)
    if answered and is_closed(connection):
        raise ConnectionAbortedError("the collector closed the connection right away")
