"""Keys, scopes, Host and Origin at the door: who gets in, and that nobody else costs anything."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from service.api import access
from service.api.access import allowed_names, requires
from service.keys import ApiKey, Scope, digest_of
from service.settings import Settings

pytestmark = pytest.mark.anyio

KEYS = {"pacs": "reconstruct", "ops": "admin", "prometheus": "read"}
OPEN = {"/", "/web/{path:path}", "/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/openapi.json"}
IMAGE = np.full((4, 4), 7, np.uint8)


@pytest.fixture
def keys_file(tmp_path):
    """Each key is its own name."""
    path = tmp_path / "keys"
    lines = (ApiKey(name, frozenset({Scope(scope)}), digest_of(name.encode())).line() for name, scope in KEYS.items())
    path.write_text("\n".join(lines))
    return path


def bearer(name):
    return {"authorization": f"Bearer {name}"}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer pacs"},
        {"authorization": "bearer  pacs "},
        {"x-api-key": "pacs"},
        {"x-api-key": "pacs", "authorization": "Basic cHJveHk6cHJveHk="},
    ],
)
async def test_a_key_lets_in_and_is_named_in_log_and_figures(serve, npy, keys_file, headers):
    async with serve(api_keys_file=keys_file) as client:
        with capture_logs() as logged:
            answer = await client.post(npy(IMAGE), headers=headers, model="gray-tiny")
        figures = (await client.http.get("/metrics", headers=bearer("prometheus"))).text
    assert answer.status_code == 200
    assert 'clearslice_requests_by_key_total{key="pacs",status="200"} 1.0' in figures
    assert not any("Bearer" in str(entry) for entry in logged)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic cGFjczpwYWNz"},
        {"authorization": "pacs"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer \xe9\xff"},
        {"authorization": "Bearer " + digest_of(b"pacs").hex()},
        {"x-api-key": ""},
        {"x-api-key": "wrong", "authorization": "Bearer pacs"},
    ],
)
async def test_without_a_valid_key_nothing_is_read(serve, keys_file, headers):
    async def body():
        raise AssertionError("the body was read")
        yield b""

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    async with serve(api_keys_file=keys_file) as client:
        answer = await client.http.post("/v1/reconstructions", content=body(), headers=raw)
        assert client.engine._in_progress == 0
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer realm="clearslice"')
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/key-required"
    assert "x-request-id" in answer.headers
    presented = any(name == "x-api-key" for name in headers) or headers.get("authorization", "").startswith("Bearer ")
    assert ("invalid_token" in answer.headers["www-authenticate"]) is presented


@pytest.mark.parametrize("name", ["ops", "prometheus"])
async def test_a_key_of_another_scope_is_told_which_it_lacks(serve, npy, keys_file, name):
    async with serve(api_keys_file=keys_file) as client:
        answer = await client.post(npy(IMAGE), headers=bearer(name))
        figures = (await client.http.get("/metrics", headers=bearer(name))).text
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/scope-required"
    assert 'error="insufficient_scope", scope="reconstruct"' in answer.headers["www-authenticate"]
    assert f'clearslice_requests_by_key_total{{key="{name}",status="403"}} 1.0' in figures


async def test_every_route_is_open_on_purpose_or_needs_a_key(serve, keys_file):
    async with serve(api_keys_file=keys_file) as client:
        paths = {route.path: route.methods or set() for route in _routes(client.app)}
        assert set(paths) >= {*OPEN, "/v1/reconstructions", "/v1/models/{name}"}
        for path, methods in paths.items():
            for method in methods - {"HEAD"}:
                place = path.replace(":path", "").format(
                    path="none", name="ct-tiny", version="1", label="stable", id="0", study="1.2"
                )
                answer = await client.http.request(method, place)
                assert (answer.status_code == 401) is (path not in OPEN), path


def _routes(app):
    for route in app.routes:
        if hasattr(route, "path"):
            yield route
        else:
            yield from _routes(route.original_router)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("path", ["/metrics", "/v1/models", "/v1/models/ct-tiny", "/v1/models/ct-tiny/versions/1"])
async def test_every_key_reads(serve, keys_file, path, name):
    async with serve(api_keys_file=keys_file) as client:
        assert (await client.http.get(path, headers=bearer(name))).status_code == 200


async def test_a_rotated_key_works_without_a_restart(serve, keys_file):
    async with serve(api_keys_file=keys_file) as client:
        keys_file.write_text(keys_file.read_text().replace(digest_of(b"pacs").hex(), digest_of(b"fresh").hex()))
        client.app.state.keys.refresh()
        old = await client.http.get("/v1/models", headers=bearer("pacs"))
        new = await client.http.get("/v1/models", headers=bearer("fresh"))
    assert (old.status_code, new.status_code) == (401, 200)


async def test_openapi_names_the_scheme_and_the_scope_of_each_call(serve):
    async with serve() as client:
        document = (await client.http.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    security = {path: next(iter(item.values())).get("security") for path, item in document["paths"].items()}
    assert security["/v1/reconstructions"] == [{"bearer": ["reconstruct"]}]
    assert security["/metrics"] == [{"bearer": ["read"]}]
    assert security["/v2/health/ready"] is None


# without keys


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("localhost.", 200),
        ("127.0.0.1:8000", 200),
        ("10.1.2.3", 200),
        ("[::1]:8000", 200),
        ("evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("[evil.example]", 421),
        ("[::1].evil.example", 421),
        ("2130706433", 421),
    ],
)
async def test_a_name_that_was_made_to_point_here_is_refused(serve, host, status):
    async with serve() as client:
        answer = await client.http.get("/v1/models", headers={"host": host})
    assert answer.status_code == status
    assert "x-request-id" in answer.headers
    if status == 421:
        assert answer.json()["type"] == "/problems/host-not-allowed"
        assert "CLEARSLICE_ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("listed", "host", "status"),
    [
        ("ct.example.org", "ct.example.org:443", 200),
        ("ct.example.org", "CT.Example.Org", 200),
        ("ct.example.org", "10.0.0.1", 200),
        ("ct.example.org", "other.example.org", 421),
        ("*.example.org", "ct.example.org", 200),
        ("*.example.org", "example.org", 421),
        ("*.example.org", "evilexample.org", 421),
        ("*", "anything", 200),
    ],
)
async def test_listed_names(serve, listed, host, status):
    async with serve(allowed_hosts=listed) as client:
        assert (await client.http.get("/v2/health/live", headers={"host": host})).status_code == status


def test_with_keys_any_name_is_good_unless_some_are_listed(tmp_path):
    assert allowed_names(Settings()) == ()
    assert allowed_names(Settings(api_keys_file=tmp_path)) == ("*",)
    assert allowed_names(Settings(api_keys_file=tmp_path, allowed_hosts="a.b")) == ("a.b",)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost", 200),
        ("https://localhost", 200),
        ("http://evil.example", 403),
        ("http://localhost:9000", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
    ],
)
async def test_a_page_of_another_site_cannot_post_without_a_key(serve, npy, origin, status):
    async with serve() as client:
        answer = await client.post(npy(IMAGE), headers={} if origin is None else {"origin": origin}, model="gray-tiny")
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["type"] == "/problems/foreign-origin"


async def test_no_answer_may_be_read_by_another_site(serve, npy, keys_file):
    async with serve(api_keys_file=keys_file) as client:
        headers = {"origin": "http://evil.example", **bearer("pacs")}
        posted = await client.post(npy(IMAGE), headers=headers, model="gray-tiny")
        asked = await client.http.options(
            "/v1/reconstructions", headers={**headers, "access-control-request-method": "POST"}
        )
    assert (posted.status_code, asked.status_code) == (200, 405)
    assert not any(name.startswith("access-control") for answer in (posted, asked) for name in answer.headers)


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("127.0.0.1", None, True),
        ("127.0.0.1", "http://evil.example", False),
        ("0.0.0.0", None, False),  # noqa: S104 - the point of the test
    ],
)
async def test_administration_without_keys_is_for_this_machine_only(serve, host, origin, allowed):
    async with serve(host=host, allow_anonymous=True) as client:
        _add_admin_call(client.app)
        answer = await client.http.post("/admin", headers={} if origin is None else {"origin": origin})
    assert answer.status_code == (200 if allowed else 403)


@pytest.mark.parametrize(("name", "status"), [("ops", 200), ("pacs", 403), ("prometheus", 403), ("none", 401)])
async def test_administration_with_keys_needs_its_scope(serve, keys_file, name, status):
    async with serve(api_keys_file=keys_file) as client:
        _add_admin_call(client.app)
        assert (await client.http.post("/admin", headers=bearer(name))).status_code == status


def _add_admin_call(app: FastAPI) -> None:
    @app.post("/admin", dependencies=[requires(Scope.ADMIN)])
    async def administer() -> dict[str, bool]:
        return {"done": True}


def test_the_docstring_names_what_is_open():
    assert all(f"`{path}`" in inspect.getdoc(access) for path in ("/", "/v2", "/openapi.json"))
