"""The whole path with a real SavedModel: loaded, proven and warmed by the service itself."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pydicom
import pytest

from service.app import create_app
from service.settings import Settings

pytestmark = pytest.mark.anyio


async def test_a_smoothing_model_answers_what_numpy_says(tiny_store, tiny_answer, npy, ct_slice):
    store = tiny_store("smooth")
    settings = Settings(store=store.writable, published=store.writable, warm_sizes=((16, 16),), precision="float32")
    app = create_app(settings)
    image = np.random.default_rng(5).normal(0, 100, (21, 34)).astype(np.float32)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        await app.state.starting
        ready = await http.get("/v2/health/ready")
        answer = await http.post(
            "/v1/reconstructions",
            files={"image": npy(image)},
            data={"rescale_slope": "1", "rescale_intercept": "0"},
        )
        untouched = await http.post("/v1/reconstructions", files={"image": ct_slice()}, data={"strength": "0"})
        model = (await http.get("/v1/models/tiny-smooth")).json()["versions"][0]
    assert ready.status_code == 200
    restored = np.load(io.BytesIO(answer.content))
    expected = tiny_answer("smooth", image[None, :, :, None])[0, :, :, 0]
    np.testing.assert_allclose(restored, expected, atol=1e-3)
    assert answer.headers["clearslice-precision"] == "float32"
    assert model["state"] == "loaded"
    source = pydicom.dcmread(io.BytesIO(ct_slice()))
    np.testing.assert_array_equal(pydicom.dcmread(io.BytesIO(untouched.content)).pixel_array, source.pixel_array)


async def test_a_tampered_version_is_refused_loudly(tiny_store):
    store = tiny_store("identity")
    (store.writable / "tiny-identity" / "1" / "README.md").write_text("changed")
    app = create_app(Settings(store=store.writable, published=store.writable))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        await app.state.starting
        ready = await http.get("/v2/health/ready")
        model = (await http.get("/v1/models/tiny-identity")).json()["versions"][0]
    assert ready.status_code == 503
    assert "README.md" in ready.json()["reason"]
    assert model["state"] == "refused"
