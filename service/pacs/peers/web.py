"""HTTP with a peer: who we are, what is verified, and what its statuses mean.

    Peer --opened--> Web --ask--> answer --(status)--> its body, bounded in size and time
           PeerUnavailable        PeerRefused, PeerUnavailable

Redirects are not followed, so that neither credentials nor images go where nobody configured; proxies and .netrc of
the environment are left aside for the same reason. Messages name the peer and the status, never an address or a secret.
"""

from __future__ import annotations

import email.utils
import json
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from service.pacs.configuration import Peer
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.peers.certificates import client_context
from service.pacs.peers.credentials import credentials_of

LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Statuses below 500 that are worth trying again; those from 500 all are."""

HINTS = {
    400: "it does not understand the request",
    401: "check the credentials",
    403: "these credentials may not do this",
    404: "check the url; or it does not have this",
    405: "check the url; or it does not do this",
    406: "it cannot answer in a form that we read",
    409: "it takes none of it",
    413: "this is larger than it takes",
    415: "it does not take DICOM instances in this form",
}

JSON = "application/dicom+json"
MAX_JSON_BYTES = 1 << 26
"""Of a list of instances: 1000 of them have less than 4 MiB, and some servers send all at once."""

SLOWEST_BYTES_PER_SECOND = 1 << 14
"""An answer that comes more slowly, after the usual timeout, is given up."""

MAX_RETRY_AFTER = 24 * 3600.0
"""Seconds. Whoever says more is not waited for longer."""

_READ_BYTES = 1 << 16


class _Adapter(HTTPAdapter):
    """Certificates are verified by our context alone; requests would add the authorities that it ships."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leaves all to the context."""


class Web:
    """HTTP with one peer; see `opened`."""

    def __init__(self, name: str, peer: Peer, session: requests.Session) -> None:
        self.name = name
        self._peer = peer
        self._url = (peer.url or "").rstrip("/")
        self._session = session

    def ask(
        self,
        method: str,
        place: str,
        *,
        accept: str,
        params: Mapping[str, str] | None = None,
        body: Iterable[bytes] | None = None,
        content_type: str | None = None,
        expected: Iterable[int] = (HTTPStatus.OK, HTTPStatus.NO_CONTENT, HTTPStatus.PARTIAL_CONTENT),
    ) -> requests.Response:
        """Sends a request; the answer's body is not read yet.

        Args:
            method: GET or POST.
            place: below the url of the peer.
            accept: media type.
            params: of the query.
            body, content_type: of POST.
            expected: statuses; others raise.

        Raises:
            PeerUnavailable: it cannot be reached, did not answer in time, or says that it cannot now.
            PeerRefused: it says that it never will.
        """
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        try:
            answer = self._session.request(
                method,
                self._url + place,
                params=dict(params or {}),
                data=body,
                headers=headers,
                timeout=self._peer.timeout_seconds,
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as error:
            raise PeerUnavailable(f"peer {self.name!r} {_broken(error)}") from None
        if answer.status_code not in expected:
            answer.close()
            raise refusal(self.name, answer)
        return answer

    def read(self, answer: requests.Response, *, max_bytes: int) -> bytes:
        """The body of an answer.

        Raises:
            PeerUnavailable: it broke off, or comes too slowly.
            PeerRefused: it has more bytes, or is compressed although we do not take that.
        """
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise PeerRefused(f"peer {self.name!r} compresses its answers, which we do not ask for")
        found = bytearray()
        begun = time.monotonic()
        try:
            # what is there, not what was asked for: one byte a minute would keep a full read waiting for days
            while chunk := answer.raw.read1(_READ_BYTES):
                found += chunk
                if len(found) > max_bytes:
                    raise PeerRefused(f"peer {self.name!r} answers with more than {max_bytes} bytes")
                if time.monotonic() - begun > self._peer.timeout_seconds + len(found) / SLOWEST_BYTES_PER_SECOND:
                    raise PeerUnavailable(f"peer {self.name!r} answers too slowly")
        except (HTTPError, OSError) as error:
            raise PeerUnavailable(f"peer {self.name!r} broke off ({type(error).__name__})") from None
        finally:
            answer.close()
        stated = answer.headers.get("Content-Length")
        if stated is not None and stated.isdecimal() and int(stated) != len(found):
            raise PeerUnavailable(f"peer {self.name!r} broke off: {len(found)} of {int(stated)} bytes came")
        return bytes(found)

    def read_json(self, answer: requests.Response) -> Any:
        """The JSON in an answer; None: it has no body.

        Raises:
            PeerUnavailable, PeerRefused: as `read`; or it is no JSON.
        """
        body = self.read(answer, max_bytes=MAX_JSON_BYTES)
        if answer.status_code == HTTPStatus.NO_CONTENT or not body.strip():
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise PeerUnavailable(f"peer {self.name!r} answers with something else than DICOM JSON") from None


@contextmanager
def opened(name: str, peer: Peer) -> Iterator[Web]:
    """Connections to a peer; passwords and tokens are read anew for each call, since they are renewed.

    Args:
        name: of the peer, for messages.
        peer: with a url.

    Raises:
        PeerUnavailable: the file of a certificate, password or token cannot be used.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.auth = credentials_of(name, peer)
        if (peer.url or "").startswith("https:"):
            session.mount("https://", _Adapter(client_context(name, peer.tls)))
        yield Web(name, peer, session)


def _broken(error: requests.RequestException) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return "cannot be reached in time"
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return f"has no TLS connection for us: {_tls_reason(error)}"
    return f"cannot be reached, or broke off ({type(error).__name__})"


def _tls_reason(error: BaseException) -> str:
    """What OpenSSL said, out of what urllib3 and requests wrapped it in."""
    inner: Any = error
    for _ in range(5):
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {inner.verify_message}"
        if isinstance(inner, ssl.SSLError):
            return (inner.reason or "no TLS").lower().replace("_", " ")
        inner = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(inner, BaseException):
            break
    return type(error).__name__


def refusal(name: str, answer: requests.Response) -> PeerRefused | PeerUnavailable:
    """The error that a status is."""
    status = answer.status_code
    if status in LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return PeerUnavailable(f"peer {name!r} answers {status}", retry_after=_retry_after(answer))
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return PeerRefused(f"peer {name!r} answers {status}: it is elsewhere; give the url to which it redirects")
    hint = HINTS.get(status, "it does not do this")
    return PeerRefused(f"peer {name!r} answers {status}: {hint}")


def _retry_after(answer: requests.Response) -> float | None:
    """Seconds, from the header: a number, or a date (RFC 9110 10.2.3)."""
    stated = answer.headers.get("Retry-After", "").strip()
    if stated.isdecimal():
        return min(float(stated[:9]), MAX_RETRY_AFTER)
    try:
        seconds = email.utils.parsedate_to_datetime(stated).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)
