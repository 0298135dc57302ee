"""`model=auto`: the model that the evidence speaks for, and why, in the answer."""

from __future__ import annotations

import io

import numpy as np
import pytest
from scipy import ndimage

from imaging.phantom import trunk
from model_store.evidence import Evidence, Row

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
SOFT, SHARP = "ct-tiny@1", "ct-sharp@1"


@pytest.fixture(scope="module")
def scan():
    """scan(sigma) -> two slices of a phantom with 30 HU of noise, smoothed over sigma pixels."""
    rng = np.random.default_rng(0)
    planes = [trunk((256, 256), (1.5, 1.5), rng, z=float(z)) for z in (0, 5)]

    def make(sigma):
        noise = rng.normal(0, 1, (2, 256, 256))
        noise = ndimage.gaussian_filter(noise, (0, sigma, sigma)) if sigma else noise
        return (np.stack(planes) + 30 * noise / noise.std()).astype(np.float32)

    return make


@pytest.fixture
def auto(serve, published, tmp_path, tiny_draft):
    """serve, with ct-sharp and evidence that speaks for it where the noise is uncorrelated."""
    published.publish(tmp_path / "staged", tiny_draft(name="ct-sharp", unit="HU"), verifier=lambda _: None)
    rows = [
        Row(unit="HU", degradation=name, level=30, correlation=correlation, impulses=0, scores=scores)
        for name, correlation, scores in (
            ("soft noise", 0.6, {SOFT: 34.0, SHARP: 33.0}),
            ("sharp noise", 0.0, {SOFT: 31.0, SHARP: 31.8}),
        )
    ]
    published.set_evidence(
        Evidence(metric="PSNR", negligible=0.1, defaults={"HU": SOFT}, rows=tuple(rows), images=2, patients=2)
    )
    return serve


async def test_the_noise_decides_and_the_answer_says_why(auto, npy, scan):
    async with auto() as client:
        soft = await client.post(npy(scan(0.8)), model="auto", **HU)
        sharp = await client.post(npy(scan(0)), model="auto", headers={"accept": "application/json"}, **HU)
    assert soft.status_code == 200, soft.text
    assert soft.headers["clearslice-model"] == SOFT
    assert "no model is ahead of it" in soft.headers["clearslice-auto"]
    assert sharp.headers["clearslice-model"] == sharp.json()["model"]["ref"] == SHARP
    assert "0.80 dB ahead of ct-tiny@1" in sharp.json()["chosen"]
    assert "nearest to sharp noise" in sharp.headers["clearslice-auto"]


async def test_who_names_a_model_gets_it(auto, npy, scan):
    async with auto() as client:
        answer = await client.post(npy(scan(0)), model="ct-tiny", **HU)
    assert answer.headers["clearslice-model"] == SOFT
    assert "clearslice-auto" not in answer.headers


async def test_all_frames_are_restored_by_the_one_that_was_chosen(auto, npy, scan):
    async with auto(offset=1.0) as client:
        answer = await client.post(npy(scan(0)), model="auto", **HU)
        assert len(client.restorers[SHARP].seen) == 2
    assert np.load(io.BytesIO(answer.content)).shape == (2, 256, 256)


async def test_a_slice_without_noise_to_read_gets_the_default(auto, ct_slice):
    async with auto() as client:
        answer = await client.post(ct_slice(np.full((3, 3), 1024, np.int16)), model="auto")
    assert answer.headers["clearslice-model"] == SOFT
    assert "nothing is known" in answer.headers["clearslice-auto"]


async def test_images_that_the_evidence_is_not_about_are_refused_with_what_to_do(auto, npy):
    async with auto() as client:
        relative = await client.post(npy(np.full((40, 40), 0.5, np.float32)), model="auto")
    assert (relative.status_code, relative.json()["type"]) == (404, "/problems/unknown-model")
    assert "relative images" in relative.json()["detail"]


async def test_a_store_without_evidence_says_so(serve, npy):
    async with serve() as client:
        answer = await client.post(npy(np.zeros((40, 40), np.float32)), model="auto", **HU)
    assert answer.status_code == 404
    assert "clearslice evidence" in answer.json()["detail"]


async def test_what_is_no_image_is_refused_as_ever(auto):
    async with auto() as client:
        answer = await client.post(b"nothing", model="auto")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/not-an-image")
