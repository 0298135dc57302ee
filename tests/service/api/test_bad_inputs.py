"""Bad inputs that need other settings or a look inside; all others are in `tests/service/real_process/bad_inputs`."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
GRAY = {"model": "gray-tiny"}
PIXELS = np.random.default_rng(1).integers(0, 255, (6, 8)).astype(np.uint8)


def npy_of(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def tiff_of(*pages, **options) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            writer.write(page, **{"photometric": "minisblack", "metadata": None, **options})
    return file.getvalue()


async def test_a_deflate_bomb_stops_at_the_cap(serve, ct_slice):
    bomb = ct_slice(np.zeros((1000, 1500), np.int16), syntax="deflated")
    assert len(bomb) < 20_000
    async with serve(max_upload_bytes=1_000_000) as client:
        answer = check(await client.post(bomb))
    assert answer.status_code == 413
    assert answer.json()["setting"] == "CLEARSLICE_MAX_UPLOAD_BYTES"


GOOD_SHAPES = [(1, 1), (1, 10000), (15, 17)]


@pytest.mark.parametrize("shape", GOOD_SHAPES)
async def test_odd_sizes_are_fine(serve, npy, shape):
    async with serve() as client:
        answer = await client.post(npy(np.full(shape, 7, np.float32)), **HU)
    assert answer.status_code == 200
    assert np.load(io.BytesIO(answer.content)).shape == shape


async def test_too_many_pixels_names_the_setting(serve, npy):
    async with serve(max_pixels=100) as client:
        answer = await client.post(npy(np.zeros((11, 10), np.uint8)), **GRAY)
    assert answer.status_code == 413
    assert answer.json()["setting"] == "CLEARSLICE_MAX_PIXELS"
    assert "CLEARSLICE_MAX_PIXELS" in answer.json()["detail"]


async def test_png_of_several_frames_cannot_be_had(serve, npy):
    async with serve() as client:
        answer = check(await client.post(npy(np.zeros((3, 6, 8), np.uint8)), headers={"accept": "image/png"}, **GRAY))
        assert not client.restorers["ct-tiny@1"].seen  # refused before the model ran
    assert answer.status_code == 406
    assert answer.json()["available"] == ["application/x-npy", "image/tiff", "application/json", "multipart/mixed"]


@pytest.mark.parametrize("write", [npy_of, lambda stack: tiff_of(*stack)])
async def test_too_many_frames_name_the_setting(serve, write):
    async with serve(max_frames=3) as client:
        answer = check(await client.post(write(np.zeros((4, 6, 8), np.uint8)), **GRAY))
        fine = await client.post(write(np.zeros((3, 6, 8), np.uint8)), **GRAY)
    assert (answer.status_code, fine.status_code) == (413, 200)
    assert answer.json()["setting"] == "CLEARSLICE_MAX_FRAMES"


async def test_a_tiff_deflate_bomb_stops_at_the_cap(serve):
    bomb = tiff_of(np.zeros((1000, 1500), np.int16), compression="zlib")
    assert len(bomb) < 20_000
    async with serve(max_upload_bytes=1_000_000) as client:
        answer = check(await client.post(bomb, **HU))
    assert (answer.status_code, answer.json()["setting"]) == (413, "CLEARSLICE_MAX_UPLOAD_BYTES")


async def test_a_reference_of_another_number_of_frames(serve, npy):
    stack = np.zeros((3, 6, 8), np.uint8)
    async with serve() as client:
        answer = check(await client.post(npy(stack), reference=npy(stack[:2]), **GRAY))
        measured = await client.http.post("/v1/metrics", files={"image": npy(stack), "reference": npy(stack[0])})
    assert answer.status_code == 422
    assert "2 frames and the image 3 frames" in answer.json()["detail"]
    assert check(measured).status_code == 422


async def test_dicom_of_a_png_cannot_be_had(serve, npy):
    async with serve() as client:
        answer = check(await client.post(npy(PIXELS), headers={"accept": "application/dicom"}, **GRAY))
    assert answer.status_code == 406
    assert "application/dicom" not in answer.json()["available"]


def check(answer):
    """A problem document with a 4xx status and a sentence."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"].startswith("/problems/")
    assert len(problem["detail"]) > 10
    return answer
