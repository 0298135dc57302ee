"""POST /v1/reconstructions, with fake restorers: what goes in, what comes out, and what the answer tells."""

from __future__ import annotations

import base64
import email
import io
import json
import math

import numpy as np
import pydicom
import pytest

from imaging.formats import Limits
from imaging.png import read_png, write_png
from service.dicom.identity import device_uid

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}


def slices(seed=3, shape=(15, 17)):
    return np.random.default_rng(seed).normal(40, 30, shape).astype(np.float32)


def read_npy(data):
    return np.load(io.BytesIO(data), allow_pickle=False)


async def test_npy_comes_back_as_npy_with_what_the_model_added(serve, npy):
    image = slices()
    async with serve(offset=2.5) as client:
        answer = await client.post(npy(image), **HU)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-npy"
    np.testing.assert_array_equal(read_npy(answer.content), image + np.float32(2.5))
    assert answer.headers["clearslice-model"] == "ct-tiny@1"
    assert answer.headers["clearslice-precision"] == "float32"
    assert answer.headers["clearslice-device"] == "CPU:0"
    assert answer.headers["clearslice-rescale"] == "slope=1.0, intercept=0.0"
    assert [entry.split(";")[0] for entry in answer.headers["server-timing"].split(", ")] == [
        "decode",
        "queue",
        "infer",
        "encode",
    ]
    assert "clearslice-metrics" not in answer.headers


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
async def test_png_keeps_its_bit_depth(serve, dtype):
    top = np.iinfo(dtype).max
    stored = np.array([[0, 1, top // 2], [top - 1, top, 7]], dtype)
    async with serve(offset=1 / top) as client:
        answer = await client.post(write_png(stored), model="gray-tiny")
    assert answer.headers["content-type"] == "image/png"
    restored = read_png(answer.content, limits=Limits(10**6, 10**6))
    assert restored.dtype == dtype
    np.testing.assert_array_equal(restored, np.minimum(stored.astype(int) + 1, top))


async def test_dicom_becomes_a_derived_instance(serve, ct_slice, ct_dataset):
    source = ct_dataset()
    async with serve(offset=3.0) as client:
        answer = await client.post(ct_slice())
        version = client.restorers["ct-tiny@1"].version
    assert answer.headers["content-type"] == "application/dicom"
    derived = pydicom.dcmread(io.BytesIO(answer.content))
    np.testing.assert_array_equal(derived.pixel_array, source.pixel_array + 3)
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert derived.ContributingEquipmentSequence[-1].DeviceUID == device_uid(version.weights_sha256)
    assert (derived.ContentDate, derived.ContentTime) == ("20260304", "050607.890000")
    assert "SeriesDate" not in derived
    assert "SeriesTime" not in derived


async def test_the_network_sees_hu_with_air_for_padding(serve, ct_slice):
    stored = np.array([[-2000, 1024], [0, 2000]], np.int16)
    async with serve() as client:
        await client.post(ct_slice(stored, PixelPaddingValue=-2000))
        (batch,) = client.restorers["ct-tiny@1"].seen
    np.testing.assert_array_equal(batch, np.array([[-1000, 0], [-1024, 976]], np.float32)[None, :, :, None])


async def test_strength_0_gives_back_every_stored_value_and_half_blends(serve, npy, ct_slice, ct_dataset):
    image = slices()
    async with serve(offset=9.0) as client:
        none = await client.post(ct_slice(), strength="0")
        half = await client.post(npy(image), strength="0.5", **HU)
    np.testing.assert_array_equal(pydicom.dcmread(io.BytesIO(none.content)).pixel_array, ct_dataset().pixel_array)
    expected = image + np.float32(0.5) * ((image + np.float32(9)) - image)
    np.testing.assert_array_equal(read_npy(half.content), expected)
    assert half.headers["clearslice-strength"] == "0.5"


async def test_json_holds_image_metrics_under_both_contracts_and_the_model(serve, npy):
    image = np.full((12, 13), 40, np.float32)
    async with serve(offset=-3.0) as client:
        answer = await client.post(npy(image + 3), reference=npy(image), headers={"accept": "application/json"}, **HU)
    document = answer.json()
    np.testing.assert_array_equal(read_npy(base64.b64decode(document["image"]["data"])), image)
    assert document["model"]["ref"] == "ct-tiny@1"
    assert document["request_id"] == answer.headers["x-request-id"]
    soft, full = document["metrics"]
    assert [soft["contract"]["name"], full["contract"]["name"]] == ["soft tissue window", "full range"]
    assert (full["contract"]["low"], full["contract"]["high"]) == (-1024, 3071)
    # the model took the error away: identical, which JSON cannot say as an infinite PSNR
    assert soft["restored"] == {"identical": True, "psnr": None, "ssim": pytest.approx(1), "rmse": 0, "bias": 0}
    assert soft["degraded"]["psnr"] == pytest.approx(20 * math.log10(400 / 3))
    assert full["degraded"]["psnr"] == pytest.approx(20 * math.log10(4095 / 3))
    assert soft["degraded"]["bias"] == pytest.approx(3)


async def test_image_answers_carry_the_metrics_in_a_header(serve, npy):
    image = slices()
    async with serve() as client:
        answer = await client.post(npy(image + 1), reference=npy(image), metrics="rmse", **HU)
        none = await client.post(npy(image), reference=npy(image), metrics="false", **HU)
    entries = json.loads(answer.headers["clearslice-metrics"])
    assert entries[0] == {
        "contract": "soft tissue window",
        "restored": {"identical": False, "rmse": pytest.approx(1, rel=1e-5)},
        "degraded": {"identical": False, "rmse": pytest.approx(1, rel=1e-5)},
    }
    assert "clearslice-metrics" not in none.headers


async def test_multipart_mixed_has_both_parts(serve, npy):
    image = slices()
    async with serve() as client:
        answer = await client.post(npy(image), headers={"accept": "multipart/mixed"}, **HU)
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content)
    document, picture = message.get_payload()
    assert json.loads(document.get_payload(decode=True))["image"]["media_type"] == "application/x-npy"
    assert picture.get_content_type() == "application/x-npy"


@pytest.mark.parametrize("accept", ["image/png", "image/*", "text/html, image/png;q=0.9, application/json;q=0.1"])
async def test_dicom_as_png_holds_hu_plus_1024(serve, ct_slice, accept):
    stored = np.array([[1024, 0], [2047, 1000]], np.int16)
    async with serve() as client:
        answer = await client.post(ct_slice(stored), headers={"accept": accept})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["clearslice-rescale"] == "slope=1.0, intercept=-1024.0"
    np.testing.assert_array_equal(read_png(answer.content, limits=Limits(10**6, 10**6)), stored)


async def test_dicom_as_npy_holds_hu(serve, ct_slice, ct_dataset):
    async with serve(offset=0.25) as client:
        answer = await client.post(ct_slice(), headers={"accept": "application/x-npy"})
    np.testing.assert_array_equal(read_npy(answer.content), ct_dataset().pixel_array - np.float32(1023.75))


async def test_a_reference_of_another_format_is_fine_when_unit_and_size_agree(serve, npy, ct_slice, ct_dataset):
    truth = ct_dataset().pixel_array.astype(np.float32) - 1024
    async with serve() as client:
        answer = await client.post(ct_slice(), reference=npy(truth), headers={"accept": "application/json"}, **HU)
    assert answer.json()["metrics"][0]["restored"]["identical"] is True


async def test_metrics_of_an_image_smaller_than_the_ssim_window(serve, npy):
    image = np.ones((1, 3), np.float32)
    async with serve() as client:
        answer = await client.post(npy(image), reference=npy(image), headers={"accept": "application/json"}, **HU)
    assert answer.json()["metrics"][0]["restored"]["ssim"] is None


async def test_a_file_without_unit_for_a_ct_model_names_fields_and_models(serve, npy):
    async with serve() as client:
        for image in (np.zeros((4, 5), np.uint8), np.full((4, 5), -1000, np.float32)):
            answer = await client.post(npy(image))
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem["missing_fields"] == ["rescale_slope", "rescale_intercept"]
            assert problem["models"] == ["gray-tiny"]
            assert "gray-tiny" in problem["detail"]


async def test_hu_for_a_relative_model_names_the_models_that_take_it(serve, ct_slice):
    async with serve() as client:
        answer = await client.post(ct_slice(), model="gray-tiny")
    assert answer.status_code == 422
    assert answer.json()["models"] == ["ct-tiny"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
async def test_what_is_not_finite_is_never_delivered(serve, npy, bad):
    def answer_nonsense(batch):
        result = batch.copy()
        result[0, 0, 0, 0] = bad
        return result

    async with serve(answer=answer_nonsense) as client:
        answer = await client.post(npy(slices()), **HU)
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/model-failed"


@pytest.mark.parametrize(
    "wrong", [lambda b: b[:, 1:], lambda b: b[..., 0], lambda b: b.astype(np.float64), lambda _: None]
)
async def test_an_answer_of_another_shape_or_type_is_never_delivered(serve, npy, wrong):
    async with serve(answer=wrong) as client:
        answer = await client.post(npy(slices()), **HU)
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/model-failed"


async def test_a_failing_model_is_an_internal_error_without_internals(serve, npy):
    def fail(_):
        raise RuntimeError("secret of the inside")

    async with serve(answer=fail) as client:
        answer = await client.post(npy(slices()), **HU)
        again = await client.http.get("/v2/health/ready")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"]
    assert again.status_code == 200


async def test_request_ids_are_kept_when_sane(serve, npy):
    async with serve() as client:
        sane = await client.post(npy(slices()), headers={"x-request-id": "abc-1.2_3"}, **HU)
        odd = await client.post(npy(slices()), headers={"x-request-id": "a b;{}"}, **HU)
    assert sane.headers.get_list("x-request-id") == ["abc-1.2_3"]
    assert len(odd.headers["x-request-id"]) == 32


async def test_our_own_output_is_not_reconstructed_again(serve, ct_slice):
    async with serve() as client:
        derived = (await client.post(ct_slice())).content
        again = await client.post(derived)
    assert again.status_code == 422
    assert again.json()["type"] == "/problems/derivation-refused"


async def test_the_same_request_gives_the_same_uids_and_another_strength_others(serve, ct_slice):
    async with serve(offset=4.0) as client:
        answers = [await client.post(ct_slice(), strength=strength) for strength in ("1", "1", "0.5")]
    first, same, other = (pydicom.dcmread(io.BytesIO(answer.content)) for answer in answers)
    assert first.SOPInstanceUID == same.SOPInstanceUID
    assert first.SeriesInstanceUID == same.SeriesInstanceUID
    assert first.SOPInstanceUID != other.SOPInstanceUID
    assert first.SeriesInstanceUID != other.SeriesInstanceUID
