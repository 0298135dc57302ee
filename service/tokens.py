"""Tokens of an identity provider (JWT, as OpenID Connect has them), taken beside API keys.

    issuer --discovery--> address of its public keys --JWKS--> KeySet, fetched again now and then, and for a new key
    token --(signed by one of them? issuer, audience, not expired?)--> Holder: who, and what for
            KeyRequired                                                NotReady: the keys were never there

Only asymmetric signatures are taken: neither `none`, nor one whose secret would be the public key. What a token is for
stands in its claims `scope` (RFC 8693), `scp` or `roles`, as our own scopes, perhaps with a prefix. Who it is about
(`sub`) is kept as a hash only: it is often a person's address.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from service.errors import KeyRequired, NotReady
from service.keys import Scope
from service.settings import Settings, is_loopback

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
DISCOVERY = "/.well-known/openid-configuration"

LEEWAY_SECONDS = 60
"""By which clocks may differ."""

REFRESH_SECONDS, LEAST_SECONDS, FETCH_SECONDS = 600.0, 30.0, 5.0
"""Between two looks at the keys; at least, when a token names an unknown one; and for one fetch."""

MAX_DOCUMENT_BYTES = 1 << 20
MAX_TOKEN_CHARACTERS = 16_384
RETRY_SECONDS = 5

TOKEN_HOLDER = "(token)"  # noqa: S105 - a label of figures
"""In figures and logs, where the names of keys stand; no key can have this name."""

_KEY_TYPES = ("RSA", "EC", "OKP")
"""Public ones; the issuer may list others, for other purposes."""

_SCOPE_CLAIMS = ("scope", "scp", "roles")


@dataclass(frozen=True)
class Holder:
    """Who sent a token.

    Attributes:
        owner: of jobs; the same for the same subject of the issuer.
        scopes: what for; perhaps none.
    """

    owner: str
    scopes: frozenset[Scope]

    def allows(self, scope: Scope) -> bool:
        """Whether the holder may do what needs `scope`; every valid token may read."""
        return scope is Scope.READ or scope in self.scopes


class Tokens:
    """Tokens of one issuer.

    Args:
        settings: its address, the audience, where the keys are, the prefix of scopes.
        fetch: from an address to the bytes there; replaced in tests.
    """

    def __init__(self, settings: Settings, *, fetch: Callable[[str], bytes] | None = None) -> None:
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._keys_at = settings.jwt_keys
        self._prefix = settings.jwt_scope_prefix
        self._fetch = fetch or _fetch
        self._keys: KeySet | None = None
        self._tried = -LEAST_SECONDS
        self._fetching = asyncio.Lock()

    async def watch(self) -> None:
        """Fetches the keys now and then; a task that never ends."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS if self._keys is not None else RETRY_SECONDS)

    async def refresh(self) -> None:
        """Fetches the keys; where that fails the old ones stay, and the log tells."""
        self._tried = time.monotonic()
        try:
            self._keys = await asyncio.to_thread(self._fetch_keys)
        except Exception as error:  # noqa: BLE001 - whatever the network or the document has: there are no new keys
            structlog.get_logger("clearslice").warning(
                "issuer_keys", type=type(error).__qualname__, kept=self._keys is not None
            )

    def _fetch_keys(self) -> KeySet:
        address = self._keys_at
        if not address:
            described = json.loads(self._fetch(self._issuer.rstrip("/") + DISCOVERY))
            if described["issuer"] != self._issuer:
                raise ValueError("the discovery document is another issuer's")
            address = described["jwks_uri"]
        listed = json.loads(self._fetch(address))["keys"]
        usable = [key for key in listed if key.get("kty") in _KEY_TYPES and key.get("use", "sig") == "sig"]
        return KeySet.import_key_set({"keys": usable})

    async def holder(self, token: str) -> Holder:
        """Who sent a token.

        Raises:
            KeyRequired: it is not valid; the message says why.
            NotReady: the issuer's keys are not known yet.
        """
        try:
            return self._read(token)
        except InvalidKeyIdError:
            await self._look_for_new_keys()
        except JoseError as error:
            raise _refused(error) from None
        try:
            return self._read(token)
        except JoseError as error:
            raise _refused(error) from None

    async def _look_for_new_keys(self) -> None:
        """For a key that is not known: the issuer may have rotated them; not more often than now and then."""
        async with self._fetching:
            if time.monotonic() - self._tried > LEAST_SECONDS:
                await self.refresh()

    def _read(self, token: str) -> Holder:
        if self._keys is None:
            raise NotReady(
                "the identity provider's keys could not be fetched yet, so no token can be checked; try again later",
                retry_after=RETRY_SECONDS,
            )
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise KeyRequired("the token is too long to be one", challenge=_CHALLENGE)
        try:
            claims = jwt.decode(token, self._keys, algorithms=list(ALGORITHMS)).claims
        except ValueError as error:  # its parts are no base64, or no JSON
            raise KeyRequired("the token is no JWT", challenge=_CHALLENGE) from error
        jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(claims)
        subject = hashlib.sha256(f"{self._issuer}\n{claims['sub']}".encode()).hexdigest()
        return Holder(f"token:{subject}", self._scopes(claims))

    def _scopes(self, claims: dict[str, Any]) -> frozenset[Scope]:
        stated: set[str] = set()
        for name in _SCOPE_CLAIMS:
            value = claims.get(name) or ()
            stated |= set(value.split()) if isinstance(value, str) else {str(each) for each in value}
        return frozenset(scope for scope in Scope if f"{self._prefix}{scope.value}" in stated)


_CHALLENGE = 'Bearer realm="clearslice", error="invalid_token"'


def _refused(error: JoseError) -> KeyRequired:
    """The reason without the token's content."""
    if isinstance(error, ExpiredTokenError):
        why = "has expired; get a new one"
    elif isinstance(error, InvalidKeyIdError):
        why = "is signed by a key that the identity provider does not list"
    else:
        why = f"is not valid here ({error.error}): its signature, issuer, audience or times are wrong"
    return KeyRequired(f"the token {why}", challenge=_CHALLENGE)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys are fetched from where the operator said, and from nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _fetch(address: str) -> bytes:
    """The bytes of a file or address.

    Raises:
        ValueError: neither a file nor https (or http on this machine); or too long.
        OSError: it cannot be read.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        return Path(address).read_bytes()[: MAX_DOCUMENT_BYTES + 1]
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("keys are fetched by https only")
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(address, timeout=FETCH_SECONDS) as answer:
        found: bytes = answer.read(MAX_DOCUMENT_BYTES + 1)
    if len(found) > MAX_DOCUMENT_BYTES:
        raise ValueError("the document is too long")
    return found
