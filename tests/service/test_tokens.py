"""Tokens of an identity provider on loopback: which are taken, for what, and which are not."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from service.errors import UnsafeConfiguration
from service.keys import ApiKey, Scope, digest_of
from service.settings import Settings, check_exposure
from service.tokens import DISCOVERY, LEEWAY_SECONDS

pytestmark = pytest.mark.anyio


class Issuer:
    """An identity provider: serves its discovery document and its keys, and signs."""

    def __init__(self) -> None:
        self.keys = [
            RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}),
            ECKey.generate_key("P-256", {"kid": "two"}),
        ]
        self.down = False
        self.asked: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                documents = {
                    DISCOVERY: {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                    "/keys": issuer.key_set(),
                }
                if self.path == "/moved":
                    self.send_response(302)
                    self.send_header("Location", "/keys")
                    self.end_headers()
                    return
                found = not issuer.down and self.path in documents
                self.send_response(200 if found else 503)
                self.end_headers()
                self.wfile.write(json.dumps(documents.get(self.path)).encode() if found else b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def key_set(self) -> dict:
        keys = [key.as_dict(private=False) for key in self.keys]
        return {"keys": [*keys, {"kty": "oct", "k": "AA", "kid": "secret"}, {"kty": "new", "kid": "unknown"}]}

    def token(self, key=0, **claims) -> str:
        key = self.keys[key] if isinstance(key, int) else key
        stated = {
            "iss": self.url,
            "aud": "clearslice",
            "sub": "jane@example.org",
            "exp": int(time.time()) + 300,
            "scope": "reconstruct",
            **claims,
        }
        algorithm = {"RSA": "RS256", "EC": "ES256"}[key.key_type]
        payload = {name: value for name, value in stated.items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": key.kid}, payload, key, algorithms=[algorithm])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.close()


@pytest.fixture
def trusting(serve, issuer):
    """(setting=...) -> as `serve`, for tokens of the issuer."""
    return lambda **settings: serve(**{"jwt_issuer": issuer.url, **settings})


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("key", [0, 1])
async def test_a_token_of_the_issuer_is_taken(trusting, issuer, npy, key):
    async with trusting() as client:
        await client.app.state.tokens.refresh()
        image = npy(np.zeros((3, 4), np.float32))
        fields = {"rescale_slope": "1", "rescale_intercept": "0"}
        answer = await client.post(image, headers=bearer(issuer.token(key)), **fields)
        by_header = await client.post(image, headers={"X-API-Key": issuer.token(key)}, **fields)
        figures = (await client.http.get("/metrics", headers=bearer(issuer.token(key)))).text
    assert (answer.status_code, by_header.status_code) == (200, 200)
    assert 'clearslice_requests_by_key_total{key="(token)",status="200"} 2.0' in figures
    assert "jane" not in figures


@pytest.mark.parametrize(
    ("claims", "allowed"),
    [
        ({"scope": "openid reconstruct"}, True),
        ({"scope": None, "scp": ["reconstruct"]}, True),
        ({"scope": None, "scp": "reconstruct read"}, True),
        ({"scope": None, "roles": ["reconstruct"]}, True),
        ({"scope": None}, False),
        ({"scope": "admin read"}, False),
        ({"scope": "clearslice:reconstruct"}, False),
    ],
)
async def test_scopes_stand_in_the_token(trusting, issuer, claims, allowed):
    async with trusting() as client:
        await client.app.state.tokens.refresh()
        answer = await client.post(b"no image", headers=bearer(issuer.token(**claims)))
        read = await client.http.get("/v1/models", headers=bearer(issuer.token(**claims)))
    assert answer.status_code == (400 if allowed else 403)
    assert read.status_code == 200
    if not allowed:
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_scopes_may_have_a_prefix(trusting, issuer):
    async with trusting(jwt_scope_prefix="clearslice:", jwt_audience="other") as client:
        await client.app.state.tokens.refresh()
        taken = await client.post(b"", headers=bearer(issuer.token(scope="clearslice:reconstruct", aud=["x", "other"])))
        bare = await client.post(b"", headers=bearer(issuer.token(scope="reconstruct", aud="other")))
    assert (taken.status_code, bare.status_code) == (400, 403)


def forged(issuer, **header):
    """A token whose signature is not one."""
    parts = issuer.token().split(".")
    made = base64.urlsafe_b64encode(json.dumps({"kid": "one", **header}).encode()).decode().rstrip("=")
    return ".".join([made, parts[1], ""])


def signed_by_public_key(issuer):
    """A token whose HMAC has the public key as its secret, which everybody has."""
    start = forged(issuer, alg="HS256").removesuffix(".")
    mac = hmac.digest(issuer.keys[0].as_pem(private=False), start.encode(), "sha256")
    return f"{start}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


INVALID = {
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - LEEWAY_SECONDS - 5),
    "without an end": lambda issuer: issuer.token(exp=None),
    "not yet": lambda issuer: issuer.token(nbf=int(time.time()) + LEEWAY_SECONDS + 60),
    "other issuer": lambda issuer: issuer.token(iss="http://127.0.0.1:1"),
    "other audience": lambda issuer: issuer.token(aud="somebody-else"),
    "without audience": lambda issuer: issuer.token(aud=None),
    "without subject": lambda issuer: issuer.token(sub=None),
    "other key of that name": lambda issuer: issuer.token(RSAKey.generate_key(2048, {"kid": "one"})),
    "unknown key": lambda issuer: issuer.token(RSAKey.generate_key(2048, {"kid": "three"})),
    "no signature": lambda issuer: forged(issuer, alg="none"),
    "public key as secret": signed_by_public_key,
    "changed": lambda issuer: ".".join([*issuer.token().split(".")[:2], issuer.token(sub="x").split(".")[2]]),
    "no base64": lambda _: "a.b.c",
    "no json": lambda _: "eA.eA.eA",
    "long": lambda issuer: issuer.token(extra="x" * 20_000),
    "not ascii": lambda _: "\xfc.\xfc.\xfc",
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("name", INVALID)
async def test_other_tokens_are_refused(trusting, issuer, name):
    token = INVALID[name](issuer)
    async with trusting() as client:
        await client.app.state.tokens.refresh()
        answer = await client.http.get("/v1/models", headers={"Authorization": f"Bearer {token}".encode("latin-1")})
        fine = await client.http.get("/v1/models", headers=bearer(issuer.token()))
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/key-required")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "jane" not in answer.text
    assert fine.status_code == 200


async def test_a_new_key_of_the_issuer_is_looked_for_but_not_for_everybody(trusting, issuer, monkeypatch):
    monkeypatch.setattr("service.tokens.LEAST_SECONDS", 0.0)
    async with trusting() as client:
        await client.app.state.tokens.refresh()
        issuer.keys.append(ECKey.generate_key("P-256", {"kid": "three"}))
        assert (await client.http.get("/v1/models", headers=bearer(issuer.token(2)))).status_code == 200
        monkeypatch.setattr("service.tokens.LEAST_SECONDS", 60.0)
        before = len(issuer.asked)
        for _ in range(5):
            unknown = issuer.token(ECKey.generate_key("P-256", {"kid": "four"}))
            assert (await client.http.get("/v1/models", headers=bearer(unknown))).status_code == 401
        assert len(issuer.asked) == before


async def test_an_issuer_that_is_down_keeps_nobody_out_for_ever(trusting, issuer, monkeypatch):
    monkeypatch.setattr("service.tokens.RETRY_SECONDS", 0.02)
    issuer.down = True
    async with trusting() as client:
        early = await client.http.get("/v1/models", headers=bearer(issuer.token()))
        issuer.down = False
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if client.app.state.tokens._keys is not None:
                break
        later = await client.http.get("/v1/models", headers=bearer(issuer.token()))
        issuer.down = True
        await client.app.state.tokens.refresh()
        still = await client.http.get("/v1/models", headers=bearer(issuer.token()))
    assert (early.status_code, later.status_code, still.status_code) == (503, 200, 200)
    assert early.headers["retry-after"]


async def test_keys_may_lie_in_a_file(trusting, issuer, tmp_path):
    (tmp_path / "jwks.json").write_text(json.dumps(KeySet(issuer.keys).as_dict(private=False)))
    async with trusting(jwt_keys=str(tmp_path / "jwks.json")) as client:
        await client.app.state.tokens.refresh()
        answer = await client.http.get("/v1/models", headers=bearer(issuer.token()))
    assert (answer.status_code, issuer.asked) == (200, [])


@pytest.mark.parametrize("place", ["/moved", "/nothing"])
async def test_keys_come_from_where_the_operator_said(trusting, issuer, place):
    async with trusting(jwt_keys=issuer.url + place) as client:
        await client.app.state.tokens.refresh()
        answer = await client.http.get("/v1/models", headers=bearer(issuer.token()))
    assert answer.status_code == 503
    assert set(issuer.asked) == {place}


async def test_keys_and_tokens_live_side_by_side(trusting, issuer, tmp_path):
    (tmp_path / "keys").write_text(ApiKey("pacs", frozenset({Scope.RECONSTRUCT}), digest_of(b"secret")).line())
    async with trusting(api_keys_file=tmp_path / "keys", spool=tmp_path / "spool") as client:
        await client.app.state.tokens.refresh()
        answers = [
            (await client.http.get("/v1/models", headers=headers)).status_code
            for headers in (bearer("secret"), bearer(issuer.token()), bearer("other"), bearer("a.b"), {})
        ]
        mine = client.app.state.jobs
        assert mine.of("pacs") == []
    assert answers == [200, 200, 401, 401, 401]


async def test_jobs_of_subjects_are_apart(trusting, issuer, tmp_path, ct_slice):
    async with trusting(spool=tmp_path / "spool", spool_reserve=0) as client:
        await client.app.state.tokens.refresh()
        mine, other = bearer(issuer.token()), bearer(issuer.token(sub="john@example.org"))
        job = (await client.http.post("/v1/jobs", files={"series": ct_slice()}, headers=mine)).json()
        again = await client.http.get(job["links"]["self"], headers=bearer(issuer.token(1)))
        hidden = await client.http.get(job["links"]["self"], headers=other)
        await client.http.get(job["links"]["events"], headers=mine)
        records = "".join(path.read_text() for path in (tmp_path / "spool").rglob("*.json"))
    assert (again.status_code, hidden.status_code) == (200, 404)
    assert "jane" not in records


def test_beyond_loopback_tokens_are_enough_and_http_is_not():
    check_exposure(Settings(host="ct.example.org", jwt_issuer="https://sso.example.org"))
    with pytest.raises(UnsafeConfiguration, match="use https"):
        check_exposure(Settings(jwt_issuer="http://sso.example.org"))
