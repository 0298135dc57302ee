"""The other routes: models, metrics, health, index, OpenAPI."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model_store.errors import RefusedVersion
from model_store.store import ModelStore
from model_store.version import MAX_CARD_BYTES

pytestmark = pytest.mark.anyio


async def test_models_tell_labels_state_and_scores(serve):
    async with serve() as client:
        everything = (await client.http.get("/v1/models")).json()
        one = (await client.http.get("/v1/models/ct-tiny")).json()
    assert everything["default"] == "ct-tiny@stable"
    assert [model["name"] for model in everything["models"]] == ["ct-tiny", "gray-tiny"]
    assert one == everything["models"][0]
    assert one["labels"] == {"stable": 1}
    (version,) = one["versions"]
    assert version["state"] == "loaded"
    assert (version["precision"], version["device"], version["unit"]) == ("float32", "CPU:0", "HU")
    assert everything["models"][1]["versions"][0]["state"] == "not loaded"


@pytest.mark.parametrize("selector", ["1", "stable"])
async def test_a_version_tells_its_whole_manifest(serve, published, selector):
    async with serve() as client:
        found = (await client.http.get(f"/v1/models/ct-tiny/versions/{selector}")).json()
    version = published.resolve("ct-tiny@1")
    assert found["ref"] == "ct-tiny@1"
    assert found["labels"] == ["stable"]
    assert found["weights_sha256"] == version.weights_sha256
    assert found["manifest"] == version.manifest.model_dump(mode="json")


@pytest.mark.parametrize("selector", ["1", "stable"])
async def test_the_card_of_a_version_is_its_readme(serve, published, selector):
    text = "# Karte \N{LATIN SMALL LETTER O WITH DIAERESIS}\n\n| a |\n"
    (published.writable / "ct-tiny" / "1" / "README.md").write_text(text, encoding="utf-8")
    async with serve() as client:
        answer = await client.http.get(f"/v1/models/ct-tiny/versions/{selector}/card")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.content.decode() == text


async def test_a_version_without_a_card_says_so(serve, published, tmp_path):
    card = published.writable / "ct-tiny" / "1" / "README.md"
    (tmp_path / "secret").write_text("of somebody else")
    async with serve() as client:
        card.unlink()
        gone = await client.http.get("/v1/models/ct-tiny/versions/1/card")
        card.symlink_to(tmp_path / "secret")
        linked = await client.http.get("/v1/models/ct-tiny/versions/1/card")
        card.unlink()
        card.write_bytes(b"#" * (MAX_CARD_BYTES + 1))
        huge = await client.http.get("/v1/models/ct-tiny/versions/1/card")
    assert (gone.status_code, linked.status_code, huge.status_code) == (404, 404, 503)
    assert gone.json()["type"] == "/problems/unknown-model"
    assert "README.md" in gone.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/none", 404),
        ("/v1/models/..", 404),
        ("/v1/models/%2e%2e%2fetc", 404),
        ("/v1/models/UPPER", 400),
        ("/v1/models/a'b", 400),
        ("/v1/models/" + "a" * 5000, 400),
        ("/v1/models/ct-tiny/versions/2", 404),
        ("/v1/models/ct-tiny/versions/canary", 404),
        ("/v1/models/ct-tiny/versions/01", 400),
        ("/v1/models/ct-tiny/versions/-1", 400),
        ("/v1/models/ct-tiny/versions/1@2", 400),
        ("/v1/models/ct-tiny/versions/2/card", 404),
        ("/v1/models/UPPER/versions/1/card", 400),
    ],
)
async def test_models_that_are_not_there(serve, path, status):
    async with serve() as client:
        answer = await client.http.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.text) < 1000


async def test_a_damaged_manifest_is_refused_with_its_reason_and_the_rest_stays(serve, published):
    (published.writable / "gray-tiny" / "1" / "manifest.json").write_text("{}")
    async with serve() as client:
        models = (await client.http.get("/v1/models")).json()["models"]
        version = await client.http.get("/v1/models/gray-tiny/versions/1")
    assert models[0]["versions"][0]["state"] == "loaded"
    assert models[1]["versions"][0]["state"] == "refused"
    assert "manifest" in models[1]["versions"][0]["reason"]
    assert version.status_code == 503


async def test_a_version_refused_while_loading_is_not_tried_again(serve, npy):
    tries = []

    def refuse_gray(version):
        tries.append(version.ref)
        if version.name == "gray-tiny":
            raise RefusedVersion("gray-tiny@1: variables/variables.index was changed")
        return lambda batch: batch

    image = np.zeros((4, 4), np.uint8)
    async with serve(load=lambda version: _loaded(refuse_gray, version)) as client:
        first = await client.post(npy(image), model="gray-tiny")
        second = await client.post(npy(image), model="gray-tiny")
        told = (await client.http.get("/v1/models/gray-tiny")).json()["versions"][0]
        ready = await client.http.get("/v2/health/ready")
    assert tries == ["ct-tiny@1", "gray-tiny@1"]
    assert (first.status_code, second.status_code) == (503, 503)
    assert second.json()["type"] == "/problems/refused-version"
    assert told["state"] == "refused"
    assert "was changed" in told["reason"]
    assert ready.status_code == 200


def _loaded(load, version):
    class Loaded:
        precision, device, timings = "float32", "CPU:0", {}

        def __call__(self, batch):
            return restore(batch)

    restore = load(version)
    return Loaded()


async def test_measuring_needs_no_model(serve, npy):
    image, reference = np.full((12, 12), 0.5, np.float32), np.full((12, 12), 0.25, np.float32)
    async with serve() as client:
        answer = await client.http.post("/v1/metrics", files={"image": npy(image), "reference": npy(reference)})
        nothing = await client.http.post("/v1/metrics", files={"image": npy(image)})
        field = await client.http.post(
            "/v1/metrics", files={"image": npy(image), "reference": npy(reference)}, data={"model": "ct-tiny"}
        )
    assert answer.status_code == 200
    (entry,) = answer.json()["metrics"]
    assert answer.json()["unit"] == "relative"
    assert entry["image"]["psnr"] == pytest.approx(20 * math.log10(4))
    assert entry["image"]["bias"] == pytest.approx(0.25)
    assert (nothing.status_code, field.status_code) == (400, 400)


async def test_measuring_nothing_is_refused(serve, npy):
    image = npy(np.zeros((12, 12), np.float32))
    async with serve() as client:
        answer = await client.http.post(
            "/v1/metrics", files={"image": image, "reference": image}, data={"metrics": "none"}
        )
    assert answer.status_code == 422
    assert "psnr" in answer.json()["fields"]["metrics"]


async def test_measuring_works_while_no_model_is_there(serve, npy):
    image = npy(np.zeros((12, 12), np.float32))
    files = {"image": image, "reference": image}
    async with serve(ready=False, load=lambda _: 1 / 0) as client:
        await client.app.state.starting
        measured = await client.http.post("/v1/metrics", files=files)
        ready = await client.http.get("/v2/health/ready")
        restored = await client.post(image)
    assert (measured.status_code, ready.status_code, restored.status_code) == (200, 503, 503)


async def test_health_of_a_store_without_default(serve, published):
    (published.writable / "store.json").unlink()
    async with serve(ready=False) as client:
        await client.app.state.starting
        live = await client.http.get("/v2/health/live")
        ready = await client.http.get("/v2/health/ready")
    assert (live.status_code, live.json()) == (200, {"live": True})
    assert ready.status_code == 503
    assert "no default model" in ready.json()["reason"]


async def test_server_metadata_is_never_a_redirect(serve):
    async with serve() as client:
        for path in ("/v2", "/v2/"):
            answer = await client.http.get(path)
            assert answer.status_code == 200
            assert set(answer.json()) == {"name", "version", "extensions"}


async def test_the_index_links_what_there_is_and_loads_nothing_from_elsewhere(serve):
    async with serve() as client:
        page = await client.http.get("/")
        links = [piece.split('"')[0] for piece in page.text.split('href="')[1:]]
        answers = [await client.http.get(link) for link in links]
    assert "http" not in page.text
    assert len(links) >= 5
    assert all(answer.status_code == 200 for answer in answers)


async def test_openapi_describes_the_body_and_every_status(serve):
    async with serve() as client:
        document = (await client.http.get("/openapi.json")).json()
    operation = document["paths"]["/v1/reconstructions"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert form["image"]["format"] == "binary"
    assert set(form) == {
        "image", "reference", "model", "outputs", "strength", "metrics", "rescale_slope", "rescale_intercept",
    }  # fmt: skip
    assert {"200", "400", "404", "406", "413", "415", "422", "429", "503", "504"} <= set(operation["responses"])
    assert "application/dicom" in operation["responses"]["200"]["content"]
    assert {"/v1/metrics", "/v1/models", "/v2/health/ready", "/metrics"} <= set(document["paths"])


def test_fixture_store_is_what_the_tests_say(published):
    assert isinstance(published, ModelStore)
    assert published.names() == ["ct-tiny", "gray-tiny"]
