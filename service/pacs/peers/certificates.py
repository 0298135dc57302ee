"""TLS as a client: the peer shows its certificate, and where it wants one, so do we.

Tls --client_context--> ssl context: TLS 1.2 at least, the peer's certificate verified, its name checked
        PeerUnavailable
"""

from __future__ import annotations

import ssl
from typing import Any

from service.pacs.parts import Tls
from service.pacs.peers import PeerUnavailable


class _TellingSocket(ssl.SSLSocket):
    """Leaves with its context why a handshake failed: whoever connects may keep no more of it than that it did."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature of ssl
        try:
            super().do_handshake(block)
        except (OSError, ValueError) as error:
            if isinstance(self.context, ClientContext):
                self.context.failure = _why(error)
            raise


class ClientContext(ssl.SSLContext):
    """As ssl's.

    Attributes:
        failure: why the last handshake failed, without names of files; empty: none did.
    """

    sslsocket_class = _TellingSocket
    failure: str = ""


def client_context(name: str, tls: Tls | None) -> ClientContext:
    """The context for connections to a peer.

    Certificates are read anew each time: they are renewed while the program runs.

    Args:
        name: of the peer, for messages.
        tls: its certificates; without, those of the system verify the peer's.

    Raises:
        PeerUnavailable: a certificate cannot be read; a connection would not be what was configured.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificates and names
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    tls = tls or Tls()
    try:
        if tls.authority is not None:
            context.load_verify_locations(cafile=tls.authority)
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if tls.certificate is not None:
            # a key with a passphrase is refused instead of asked for on a terminal that nobody watches
            context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise PeerUnavailable(f"peer {name!r}: the files of its tls cannot be used: {_why(error)}") from None
    return context


def _no_passphrase(*_: Any) -> str:
    raise ValueError("the key needs a passphrase")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no TLS").lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
