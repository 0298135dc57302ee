"""Who we are to a DICOMweb peer, besides a certificate: a password or a token, each in a file of its own.

Peer --credentials_of--> basic (RFC 7617) or bearer (RFC 6750) authentication
        PeerUnavailable
"""

from __future__ import annotations

import re
from pathlib import Path

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from service.pacs.configuration import Peer
from service.pacs.peers import PeerUnavailable

_MOST_BYTES = 1 << 16
_TOKEN = re.compile(r"[!-~]+")
"""Whatever else would be in a header makes http.client quote all of it in its error."""


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def credentials_of(name: str, peer: Peer) -> AuthBase | None:
    """What is sent with each request. Passwords and tokens are renewed, so files are read anew. None: it asks for none.

    Args:
        name: of the peer, for messages, which hold nothing of what the files hold.
        peer: with username and password_file, or token_file, or neither.

    Raises:
        PeerUnavailable: a file cannot be read, or is no text; of a token, has something else than one.
    """
    if peer.token_file is not None:
        token = _secret(name, peer.token_file, "token_file")
        if not _TOKEN.fullmatch(token):
            raise PeerUnavailable(f"peer {name!r}: token_file does not hold a token")
        return _Bearer(token)
    if peer.username is not None and peer.password_file is not None:
        password = _secret(name, peer.password_file, "password_file")
        return HTTPBasicAuth(peer.username.encode(), password.encode())
    return None


def _secret(name: str, path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8").strip("\r\n")
    except OSError as error:
        raise PeerUnavailable(f"peer {name!r}: {what} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PeerUnavailable(f"peer {name!r}: {what} is no text in UTF-8") from None
