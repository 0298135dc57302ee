"""pynetdicom's server of associations, with a guard at the TCP connection and TLS off the accepting thread.

    connection --(address? places?)--> thread: TLS handshake --> association --> ended
                 closed                       timeout: closed    message part too long, or too slow: closed

pynetdicom shakes hands with a TLS client on the thread that accepts all others, so that one silent client would keep
everybody out. It looks with select() whether something came, which fails from the 1024th open file on. It reads as much
as a message part says that it is long, and waits for it for ever: a peer whose cable was pulled would keep its place
until this program ends. It waits for the request of an association though the connection is closed. And it tells nobody
when an association ends by a defect.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import socketserver
import ssl
import time
from collections.abc import Callable
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from service.pacs.polled_socket import PolledSocket

HANDSHAKE_SECONDS = 10.0

LONGEST_PART = 1 << 18
"""Bytes of a message part that are taken though fewer were agreed: requests of an association may have as many."""

_READ_BYTES = 1 << 16
_NOTHING_ASKED = ("Sta1", "Sta2")
"""States of the connection before an association is requested (PS3.8 9.2.1)."""


class BoundedSocket(PolledSocket):
    """Reads a message part only if it is not too long, and not for ever.

    Attributes:
        seconds: for one part.
        most: bytes of one part.
    """

    seconds = HANDSHAKE_SECONDS
    most = LONGEST_PART

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes; fewer where the connection ends.

        Raises:
            OSError: they are too many, do not come in time, or the connection broke.
        """
        received = bytearray()
        try:
            self._read(received, nr_bytes)
        finally:
            asked = self.assoc.requestor.primitive is not None
            if len(received) < nr_bytes and not asked and self.assoc.dul.state_machine.current_state in _NOTHING_ASKED:
                self.assoc.dul.to_user_queue.put(None)  # it need not wait for the request any more
        return received

    def _read(self, received: bytearray, count: int) -> None:
        if count > self.most:
            raise OSError("a message part is longer than was agreed")
        connection = self.socket
        deadline = time.monotonic() + self.seconds
        while connection is not None and len(received) < count:
            # of what was half read by then, nothing more is waited for
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(min(count - len(received), _READ_BYTES))
            if not part:
                break
            received += part
        if connection is not None:
            connection.settimeout(self.seconds)  # of what is sent


class _Handler(RequestHandler):
    """One connection, until its association has ended."""

    server: GuardedServer

    def handle(self) -> None:
        association = self._create_association()
        with contextlib.suppress(queue.Empty):
            association.dul.event_queue.get_nowait()  # each socket announces the connection, and one has already
        association.dul.socket = bounded = BoundedSocket(association, client_socket=self.request)
        bounded.seconds, bounded.most = self.server.seconds, max(LONGEST_PART, association.acceptor.maximum_length or 0)
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        association.start()
        association.join()
        self.server.ended(association)


class GuardedServer(ThreadedAssociationServer):
    """Takes connections.

    Args:
        arguments: as `ThreadedAssociationServer`, but `ssl_context`.
        tls: wraps each connection; None: none.
        may_connect: whether a connection from an address is taken.
        ended: called when an association has ended, in whatever way.
        connections: at once, established associations or not.
        seconds: for one message part.
    """

    daemon_threads = True
    request_queue_size = 128
    """Connections that wait to be accepted; beyond it clients try again after a second."""

    def __init__(
        self,
        *arguments: Any,
        tls: ssl.SSLContext | None,
        may_connect: Callable[[str], bool],
        ended: Callable[[Association], object],
        connections: int,
        seconds: float,
        **options: Any,
    ) -> None:
        self._tls = tls
        self._may_connect = may_connect
        self._connections = connections
        self._open: set[Any] = set()
        self._over = False
        self.ended = ended
        self.seconds = seconds
        super().__init__(*arguments, **options)
        self.RequestHandlerClass = _Handler

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is taken; what is not is closed without a word."""
        del request
        return len(self._open) < self._connections and self._may_connect(str(client_address[0]))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the thread of a connection, which has a place from now on."""
        self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shakes hands, if need be, and serves the connection to its end."""
        connection = request if self._tls is None else self._shake_hands(request, self._tls)
        try:
            if connection is not None and not self._over:
                self.finish_request(connection, client_address)
        except Exception:  # noqa: BLE001 - one connection fails, the others go on
            self.handle_error(request, client_address)
        finally:
            if connection is not None:
                self.shutdown_request(connection)
            self._open.discard(request)

    @staticmethod
    def _shake_hands(request: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket | None:
        """A connection that is encrypted; None: there was no agreement, and it is closed."""
        try:
            request.settimeout(HANDSHAKE_SECONDS)
            return tls.wrap_socket(request, server_side=True)
        except OSError:  # TLS errors are, too
            with contextlib.suppress(OSError):
                request.close()
            return None

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection; its place is free."""
        self._open.discard(request)
        super().shutdown_request(request)

    def shutdown(self) -> None:
        """Takes no more connections."""
        self._over = True
        socketserver.BaseServer.shutdown(self)  # pynetdicom's own wants to be known to its AE
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """It is closed, and nothing is printed: the text of an exception may quote what was sent."""
        del client_address
        with contextlib.suppress(OSError):
            request.close()


def cut(association: Association) -> None:
    """Ends the connection of an association at once, whatever its threads wait for."""
    held = association.dul.socket
    connection = None if held is None else held.socket
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
