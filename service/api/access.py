"""Who may call what, decided before a byte of the body is read.

    request --HostCheck--> --requires(scope)--> key valid? --> for this scope? --> handler
          HostNotAllowed 421      |           KeyRequired 401  ScopeRequired 403     ^
                                  +--(no keys file)--> from our own page or none? ---+
                                                              ForeignOrigin 403

A key comes as `Authorization: Bearer KEY`, or as `X-API-Key: KEY` where a proxy keeps Authorization for itself. So does
a token of the identity provider (`service.tokens`), where there is one.

Open to all are the two health calls, because probes carry no secrets, and what says nothing of this site: `/` and the
files below `/web` that this page is made of, `/v2` and `/openapi.json`. Models and figures need a key, of any scope:
they tell of a site's own models and of its clients.

There is no CORS: no page of another site may read an answer. Without keys a browser on this machine could still be
lured into calling a loopback server: by a name that resolves to 127.0.0.1 (DNS rebinding), which the Host check ends,
or by a form that posts to it blindly, which the Origin check ends.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import structlog
from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from service.api.problems import answer_to
from service.errors import ForeignOrigin, HostNotAllowed, KeyRequired, ScopeRequired
from service.keys import Scope
from service.keys_file import KeysFile
from service.settings import Settings, environment_name, is_loopback
from service.tokens import TOKEN_HOLDER, Tokens

KEY_HEADER = "X-API-Key"
REALM = 'Bearer realm="clearslice"'
ANY_HOST = "*"
_BEARER = "bearer "
_DOTS_OF_A_TOKEN = 2
"""Between header, claims and signature; keys have none."""

_READING = frozenset({"GET", "HEAD"})


class _Access(SecurityBase):
    """What `requires` gives FastAPI: called with each request, and described in OpenAPI. One object for both, because a
    dependency of a dependency costs as much again."""

    def __init__(self, scope: Scope) -> None:
        self.scheme_name = "bearer"
        self.model = HTTPBearer(
            description="An API key of this server, or a token of its identity provider; also taken as the header"
            f" {KEY_HEADER}."
        )
        self._scope = scope

    async def __call__(self, request: Request) -> None:
        keys: KeysFile | None = request.app.state.keys
        tokens: Tokens | None = request.app.state.tokens
        if keys is None and tokens is None:
            _check_keyless(request, self._scope, request.app.state.engine.settings)
            return
        presented = _presented(request.headers)
        key = None if keys is None or presented is None else keys.ring.find(presented.encode("latin-1"))
        if key is not None:
            _remember(request, key.name, owner=key.name)
            self._check(
                key.allows(self._scope),
                f"the API key {key.name!r} has no scope {self._scope.value!r}; use another key, or let the operator add"
                " the scope to its line in the keys file",
            )
            return
        if tokens is None or presented is None or presented.count(".") != _DOTS_OF_A_TOKEN:
            raise _no_key(presented)
        holder = await tokens.holder(presented)
        _remember(request, TOKEN_HOLDER, owner=holder.owner)
        self._check(
            holder.allows(self._scope),
            f"the token has no scope {self._scope.value!r}; the identity provider has to grant it to this client",
        )

    def _check(self, allowed: bool, refusal: str) -> None:  # noqa: FBT001 - the one thing that it checks
        if not allowed:
            challenge = f'{REALM}, error="insufficient_scope", scope="{self._scope.value}"'
            raise ScopeRequired(refusal, challenge=challenge)


def requires(scope: Scope) -> Any:
    """A FastAPI dependency: the request has a key for `scope`, or the server has no keys and may do without.

    Raises, when a request is made:
        KeyRequired: no key, or not a valid one.
        ScopeRequired: a key for something else; or administration without keys of a server that others reach.
        ForeignOrigin: no keys here, and a page of another site is behind the request.
    """
    return Security(_Access(scope), scopes=[scope.value])


def _remember(request: Request, name: str, *, owner: str) -> None:
    """Who is calling: a name for figures and logs, and whose jobs are made."""
    request.scope["state"] |= {"api_key": name, "owner": owner}
    structlog.contextvars.bind_contextvars(api_key=name)


def _no_key(presented: str | None) -> KeyRequired:
    if presented is None:
        return KeyRequired(
            f"this server needs an API key or a token; send it as Authorization: Bearer KEY, or as {KEY_HEADER}: KEY",
            challenge=REALM,
        )
    return KeyRequired(
        "the API key is not one of this server's; it may have been replaced, or cut off when it was copied",
        challenge=f'{REALM}, error="invalid_token"',
    )


def _presented(headers: Headers) -> str | None:
    """The key of a request. X-API-Key wins, since Authorization may then be the proxy's."""
    if KEY_HEADER in headers:
        return headers[KEY_HEADER].strip()
    authorization = headers.get("authorization", "")
    return authorization[len(_BEARER) :].strip() if authorization.lower().startswith(_BEARER) else None


def _check_keyless(request: Request, scope: Scope, settings: Settings) -> None:
    if scope is Scope.ADMIN and not is_loopback(settings.host):
        raise ScopeRequired(
            f"administration needs an API key with the scope 'admin' on a server that other machines reach; set"
            f" {environment_name('api_keys_file')}",
            challenge=REALM,
        )
    if request.method in _READING or "origin" not in request.headers:
        return
    # RFC 6454: scheme://host[:port]; the scheme may be that of a proxy
    if request.headers["origin"].lower().partition("://")[2] != request.headers.get("host", "").lower():
        raise ForeignOrigin("the request comes from a web page of another site (Origin), which may not use this server")


class HostCheck:
    """ASGI middleware: refuses requests to names that are not this server's.

    IP addresses and localhost are always allowed, since DNS can redirect neither; so probes of load balancers work.

    Args:
        app: what is guarded.
        names: further names, as `Settings.allowed_hosts` describes; `ANY_HOST` among them ends the check.
    """

    def __init__(self, app: ASGIApp, *, names: tuple[str, ...]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and not self._allows(Headers(scope=scope).get("host", "")):
            error = HostNotAllowed(
                "the Host header names a server that this one is not known as; use its IP address or localhost, or"
                f" list the name in the setting {environment_name('allowed_hosts')}"
            )
            await answer_to(error, scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _allows(self, host: str) -> bool:
        if ANY_HOST in self._names or not host:  # without Host it is HTTP/1.0: a probe, never a browser
            return True
        name = _without_port(host.lower())
        return name == "localhost" or _is_address(name) or any(_matches(name, pattern) for pattern in self._names)


def allowed_names(settings: Settings) -> tuple[str, ...]:
    """The names that `HostCheck` takes: the configured ones, and else any if there are keys or tokens, since a browser
    that is lured here has none."""
    return settings.allowed_hosts or ((ANY_HOST,) if settings.knows_clients() else ())


def _without_port(host: str) -> str:
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        return address if not port or port.startswith(":") else host
    return host.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _matches(name: str, pattern: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern
