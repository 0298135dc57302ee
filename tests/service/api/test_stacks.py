"""Files of several frames through the API: as many come back, in order, each restored by itself."""

from __future__ import annotations

import asyncio
import base64
import email
import io
import json

import numpy as np
import pytest
import tifffile

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}


def tiff_of(stack, **options):
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=">") as writer:
        for page in stack:
            writer.write(page, **{"photometric": "minisblack", "metadata": None, **options})
    return file.getvalue()


def pages_of(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return [page.asarray() for page in file.pages]


def stack_of(dtype=np.int16, frames=4):
    values = np.random.default_rng(3).integers(-900, 900, (frames, 15, 17)).astype(dtype)
    values[:, 0, 0] = np.arange(frames)
    return values


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float16, np.float32, np.float64])
async def test_pages_come_back_in_number_type_and_order(serve, dtype):
    stack = stack_of(dtype)
    async with serve(offset=2.0) as client:
        answer = await client.post(tiff_of(stack, compression="zlib"), **HU)
        seen = client.restorers["ct-tiny@1"].seen
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/tiff"
    assert (answer.headers["clearslice-frames"], answer.headers["clearslice-unit"]) == ("4", "HU")
    pages = pages_of(answer.content)
    assert {page.dtype for page in pages} == {np.dtype(dtype)}
    np.testing.assert_array_equal(np.stack(pages), (stack + np.float32(2)).astype(dtype))
    assert [batch.shape for batch in seen] == [(1, 15, 17, 1)] * 4
    assert [float(batch[0, 0, 0, 0]) for batch in seen] == [0, 1, 2, 3]


async def test_strength_0_gives_back_every_page_bit_for_bit(serve):
    stack = stack_of(np.float32) + np.float32(0.1)
    async with serve(offset=9.0) as client:
        answer = await client.post(tiff_of(stack, tile=(16, 16)), strength="0", **HU)
    assert np.stack(pages_of(answer.content)).tobytes() == stack.tobytes()


async def test_a_relative_tiff_needs_no_rescale_and_where_zero_is_white_it_stays_so(serve):
    stack = np.random.default_rng(4).integers(50, 200, (2, 15, 17)).astype(np.uint8)
    async with serve(offset=10 / 255) as client:
        answer = await client.post(tiff_of(stack, photometric="miniswhite"), model="gray-tiny")
    with tifffile.TiffFile(io.BytesIO(answer.content)) as file:
        assert {page.photometric.name for page in file.pages} == {"MINISWHITE"}
    np.testing.assert_array_equal(np.stack(pages_of(answer.content)), stack - 10)  # brighter is less


@pytest.mark.parametrize("frames", [1, 3])
async def test_npy_stacks_keep_their_axis(serve, npy, frames):
    stack = stack_of(np.float32, frames)
    async with serve(offset=1.0) as client:
        answer = await client.post(npy(stack), **HU)
    assert answer.headers["content-type"] == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), stack + np.float32(1))


async def test_a_stack_in_another_format(serve, npy):
    stack = stack_of()
    async with serve(offset=0.25) as client:
        as_tiff = await client.post(npy(stack), headers={"accept": "image/tiff"}, **HU)
        as_npy = await client.post(tiff_of(stack), headers={"accept": "application/x-npy"}, **HU)
    expected = stack + np.float32(0.25)
    np.testing.assert_array_equal(np.stack(pages_of(as_tiff.content)), expected)
    np.testing.assert_array_equal(np.load(io.BytesIO(as_npy.content)), expected)


async def test_dicom_as_tiff_is_float32_hu_with_its_spacing(serve, ct_slice, ct_dataset):
    async with serve(offset=0.25) as client:
        answer = await client.post(ct_slice(), headers={"accept": "image/tiff"})
    assert answer.headers["clearslice-rescale"] == "slope=1.0, intercept=0.0"
    with tifffile.TiffFile(io.BytesIO(answer.content)) as file:
        (page,) = file.pages
        np.testing.assert_array_equal(page.asarray(), ct_dataset().pixel_array - np.float32(1023.75))
        over, under = page.tags["XResolution"].value
        assert (over / under, page.tags["ResolutionUnit"].value) == (pytest.approx(10 / 0.7, rel=1e-6), 3)


async def test_json_has_the_stack_and_metrics_of_each_frame_and_their_mean(serve, npy):
    truth = np.full((3, 12, 13), 40, np.float32)
    degraded = truth + np.array([1, 2, 6], np.float32)[:, None, None]
    async with serve(offset=-1.0) as client:
        answer = await client.post(npy(degraded), reference=npy(truth), headers={"accept": "application/json"}, **HU)
    document = answer.json()
    assert (document["image"]["media_type"], document["image"]["frames"]) == ("application/x-npy", 3)
    np.testing.assert_array_equal(np.load(io.BytesIO(base64.b64decode(document["image"]["data"]))), degraded - 1)
    soft = document["metrics"][0]
    assert soft["contract"]["name"] == "soft tissue window"
    assert [frame["degraded"]["bias"] for frame in soft["frames"]] == [1, 2, 6]
    assert [frame["restored"]["bias"] for frame in soft["frames"]] == [0, 1, 5]
    assert (soft["degraded"]["bias"], soft["restored"]["bias"]) == (3, 2)
    header = json.loads(answer.headers["clearslice-metrics"])
    assert "frames" not in header[0]
    assert header[0]["degraded"]["bias"] == 3
    assert set(document["seconds"]) == {"decode", "queue", "infer", "encode"}


async def test_multipart_has_json_first_and_then_the_file_as_it_came(serve):
    stack = stack_of()
    async with serve() as client:
        answer = await client.post(tiff_of(stack), headers={"accept": "image/png;q=0.9, multipart/mixed"}, **HU)
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    document, file = email.message_from_bytes(head + answer.content).get_payload()
    assert json.loads(document.get_payload(decode=True))["image"]["frames"] == 4
    assert file.get_content_type() == "image/tiff"
    np.testing.assert_array_equal(np.stack(pages_of(file.get_payload(decode=True))), stack)


async def test_metrics_of_stacks_without_a_model(serve, npy):
    truth = np.zeros((2, 12, 13), np.float32)
    files = {"image": tiff_of(truth + np.array([10, 30], np.float32)[:, None, None]), "reference": npy(truth)}
    async with serve() as client:
        answer = await client.http.post("/v1/metrics", files=files, data={"metrics": "rmse", **HU})
    document = answer.json()
    assert (document["unit"], document["frames"]) == ("HU", 2)
    full = document["metrics"][1]
    assert [frame["image"]["rmse"] for frame in full["frames"]] == [10, 30]
    assert full["image"] == {"identical": False, "rmse": 20}


async def test_thumbnails_that_were_left_out_are_told(serve):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(stack_of()[0], photometric="minisblack", metadata=None)
        writer.write(np.zeros((3, 3), np.uint8), photometric="minisblack", subfiletype=1, metadata=None)
    async with serve() as client:
        answer = await client.post(file.getvalue(), headers={"accept": "application/json"}, **HU)
    assert answer.json()["notes"] == ["1 reduced-resolution pages of the TIFF file were left out"]
    assert answer.json()["image"]["frames"] == 1


async def test_one_deadline_is_for_all_frames(serve, npy):
    async with serve(waits=True) as client:
        answer = await client.post(npy(stack_of()), headers={"x-request-timeout": "0.3"}, **HU)
        runs = len(client.restorers["ct-tiny@1"].seen)
    assert (answer.status_code, runs) == (504, 1)


async def test_others_are_served_between_the_frames_of_a_stack(serve, npy):
    stack, single = stack_of(np.float32, 3), np.full((15, 17), 77, np.float32)
    async with serve(waits=True) as client:
        long = asyncio.create_task(client.post(npy(stack), **HU))
        restorer = client.restorers["ct-tiny@1"]
        await asyncio.to_thread(restorer.started.wait, 20)
        short = asyncio.create_task(client.post(npy(single), **HU))
        while not client.engine._executor.waiting():  # noqa: ASYNC110 - the queue has no event to wait for
            await asyncio.sleep(0)
        restorer.go_on.set()
        answers = await asyncio.gather(long, short)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [float(batch[0, 0, 0, 0]) for batch in restorer.seen] == [0, 77, 1, 2]


async def test_a_model_that_fails_on_one_frame_delivers_nothing(serve, npy):
    def fail_on_third(batch):
        return np.full_like(batch, np.nan) if batch[0, 0, 0, 0] == 2 else batch

    async with serve(answer=fail_on_third) as client:
        answer = await client.post(npy(stack_of(np.float32)), **HU)
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/model-failed")
