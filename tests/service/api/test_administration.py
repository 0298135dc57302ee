"""Labels and memory through the API: what the scope admin may change."""

from __future__ import annotations

import httpx
import pytest

from model_store.store import ModelStore
from service.app import create_app
from service.settings import Settings

pytestmark = pytest.mark.anyio

MODEL = "/v1/models/ct-tiny"


async def test_a_label_points_where_it_is_told_and_can_go(serve, published):
    async with serve() as client:
        answer = await client.http.post(f"{MODEL}/labels/canary", json={"version": 1})
        assert answer.json() == {"name": "ct-tiny", "labels": {"canary": 1, "stable": 1}, "canary_weight": 0}
        assert published.resolve("ct-tiny@canary").version == 1
        gone = await client.http.delete(f"{MODEL}/labels/canary")
        assert gone.json() == {"name": "ct-tiny", "labels": {"stable": 1}, "canary_weight": 0}


@pytest.mark.parametrize(
    ("method", "path", "body", "answered"),
    [
        ("POST", f"{MODEL}/labels/canary", {"version": 9}, (404, "unknown-model")),
        ("POST", f"{MODEL}/labels/7", {"version": 1}, (400, "invalid-model-ref")),
        ("POST", f"{MODEL}/labels/canary", {"version": 0}, (422, "invalid-field")),
        ("POST", f"{MODEL}/labels/canary", {"version": "x"}, (422, "invalid-field")),
        ("POST", f"{MODEL}/labels/canary", {"version": 1, "weight": 3}, (422, "invalid-field")),
        ("POST", f"{MODEL}/labels/stable", {"version": 1, "weight": 0.5}, (422, "invalid-field")),
        ("POST", "/v1/models/none/labels/canary", {"version": 1}, (404, "unknown-model")),
        ("DELETE", f"{MODEL}/labels/canary", None, (404, "unknown-model")),
        ("POST", f"{MODEL}/versions/9/load", None, (404, "unknown-model")),
        ("POST", f"{MODEL}/versions/canary/unload", None, (404, "unknown-model")),
    ],
)
async def test_what_is_not_there_cannot_be_changed(serve, method, path, body, answered):
    status, slug = answered
    async with serve() as client:
        answer = await client.http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == f"/problems/{slug}"


async def test_versions_are_loaded_and_unloaded(serve):
    async with serve() as client:
        path = "/v1/models/gray-tiny/versions/stable"
        loaded = (await client.http.post(f"{path}/load")).json()
        assert (loaded["ref"], loaded["state"]) == ("gray-tiny@1", "loaded")
        assert (await client.http.post(f"{path}/unload")).json() == {"ref": "gray-tiny@1", "state": "not loaded"}
        assert set(client.engine.versions.loaded()) == {"ct-tiny@1"}
        gone = (await client.http.post("/v1/models/ct-tiny/versions/9/unload")).json()
        assert gone == {"ref": "ct-tiny@9", "state": "not loaded"}  # whatever the store has


async def test_a_published_store_alone_cannot_be_changed(published):
    app = create_app(Settings(warm_sizes=()), store=ModelStore(None, published=published.writable))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.post(f"{MODEL}/labels/canary", json={"version": 1})
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/store-conflict"


async def test_a_body_is_not_read_without_an_end(serve):
    async with serve() as client:
        answer = await client.http.post(f"{MODEL}/labels/canary", content=b" " * 5000)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the request body has more than the 4096 bytes that are read here"
