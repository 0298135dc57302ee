"""pynetdicom's server of associations, with a guard at the TCP connection and TLS off the accepting thread.

    connection --(address? places?)--> thread: TLS handshake --> association
                 closed                       timeout: closed

pynetdicom shakes hands with a TLS client on the thread that accepts all others, so that one silent client would keep
everybody out.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
from collections.abc import Callable
from typing import Any

from pynetdicom.transport import ThreadedAssociationServer

HANDSHAKE_SECONDS = 10.0


class GuardedServer(ThreadedAssociationServer):
    """Takes connections.

    Args:
        arguments: as `ThreadedAssociationServer`, but `ssl_context`.
        tls: wraps each connection; None: none.
        may_connect: whether a connection from an address is taken.
        connections: at once, established associations or not.
    """

    daemon_threads = True
    request_queue_size = 128
    """Connections that wait to be accepted; beyond it clients try again after a second."""

    def __init__(
        self,
        *arguments: Any,
        tls: ssl.SSLContext | None,
        may_connect: Callable[[str], bool],
        connections: int,
        **options: Any,
    ) -> None:
        self._tls = tls
        self._may_connect = may_connect
        self._connections = connections
        super().__init__(*arguments, **options)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is taken; what is not is closed without a word."""
        del request
        return len(self.active_associations) < self._connections and self._may_connect(str(client_address[0]))

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shakes hands, if need be, and serves the connection."""
        if self._tls is not None:
            wrapped = self._shake_hands(request, self._tls)
            if wrapped is None:
                return
            request = wrapped
        super().process_request_thread(request, client_address)

    @staticmethod
    def _shake_hands(request: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket | None:
        """A connection that is encrypted; None: there was no agreement, and it is closed."""
        before = request.gettimeout()
        try:
            request.settimeout(HANDSHAKE_SECONDS)
            wrapped = tls.wrap_socket(request, server_side=True)
            wrapped.settimeout(before)
        except OSError:  # TLS errors are, too
            with contextlib.suppress(OSError):
                request.close()
            return None
        return wrapped

    def shutdown(self) -> None:
        """Takes no more connections."""
        socketserver.BaseServer.shutdown(self)  # pynetdicom's own wants to be known to its AE
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """It is closed, and nothing is printed: the text of an exception may quote what was sent."""
        del client_address
        with contextlib.suppress(OSError):
            request.close()
