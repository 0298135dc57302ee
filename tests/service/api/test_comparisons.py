"""POST /v1/comparisons: one image, several models."""

from __future__ import annotations

import base64
import email
import io
import json

import numpy as np
import pydicom
import pytest

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}


def slices(shape=(12, 13)):
    return np.random.default_rng(0).integers(-900, 900, shape).astype(np.float32)


async def compare(client, image, *, headers=None, reference=None, **fields):
    files = {"image": ("image", image)} | ({"reference": ("reference", reference)} if reference else {})
    return await client.http.post("/v1/comparisons", files=files, data=fields, headers=headers)


@pytest.fixture
def two_models(published, tiny_draft, tmp_path):
    """ct-other@1 beside ct-tiny@1."""
    staged = tmp_path / "other"
    (staged / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index", "README.md"):
        (staged / name).write_bytes(b"other")
    image = np.zeros((1, 3, 5, 1), np.float32)
    np.savez(staged / "golden.npz", image=image, restored=image)
    published.publish(staged, tiny_draft(name="ct-other", unit="HU"), verifier=lambda _: None)
    return published


def offset_by_name(version):
    def restore(batch):
        return batch + np.float32({"ct-tiny": 1, "ct-other": 2}[version.name])

    restore.precision, restore.device = "float32", "CPU:0"
    return restore


@pytest.mark.usefixtures("two_models")
async def test_each_model_has_a_part_of_its_own_in_the_order_asked_for(serve, npy):
    image = slices()
    async with serve(load=offset_by_name) as client:
        answer = await compare(client, npy(image + 2), reference=npy(image), models="ct-other, ct-tiny@1", **HU)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("multipart/mixed")
    message = email.message_from_bytes(
        b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n" + answer.content
    )
    document, *files = message.get_payload()
    assert [part["Clearslice-Model"] for part in files] == ["ct-other@1", "ct-tiny@1"]
    for part, offset in zip(files, (4, 3), strict=True):
        np.testing.assert_array_equal(np.load(io.BytesIO(part.get_payload(decode=True))), image + offset)
    told = json.loads(document.get_payload(decode=True))
    assert [each["model"]["ref"] for each in told["models"]] == ["ct-other@1", "ct-tiny@1"]
    assert [each["metrics"][1]["restored"]["rmse"] for each in told["models"]] == pytest.approx([4, 3])
    assert told["degraded"][1]["degraded"]["rmse"] == pytest.approx(2)
    assert set(told["degraded"][0]) == {"contract", "degraded"}


@pytest.mark.usefixtures("two_models")
async def test_json_holds_the_files(serve, npy):
    async with serve(load=offset_by_name) as client:
        answer = await compare(
            client, npy(slices()), models="ct-tiny,ct-other", headers={"accept": "application/json"}, **HU
        )
    told = answer.json()
    assert told["degraded"] is None
    assert told["request_id"] == answer.headers["x-request-id"]
    for each, offset in zip(told["models"], (1, 2), strict=True):
        data = base64.b64decode(each["image"]["data"])
        np.testing.assert_array_equal(np.load(io.BytesIO(data)), slices() + offset)


@pytest.mark.usefixtures("two_models")
async def test_dicom_becomes_a_derived_series_of_each_model(serve, ct_slice):
    async with serve(load=offset_by_name) as client:
        answer = await compare(client, ct_slice(), models="ct-tiny,ct-other", headers={"accept": "application/json"})
    derived = [pydicom.dcmread(io.BytesIO(base64.b64decode(each["image"]["data"]))) for each in answer.json()["models"]]
    assert derived[0].SeriesInstanceUID != derived[1].SeriesInstanceUID
    assert derived[0].StudyInstanceUID == derived[1].StudyInstanceUID


async def test_a_ref_that_is_asked_for_twice_is_answered_once(serve, npy):
    async with serve() as client:
        models = "ct-tiny,ct-tiny,ct-tiny@1,ct-tiny@stable"
        answer = await compare(client, npy(slices()), models=models, headers={"accept": "application/json"}, **HU)
        assert len(answer.json()["models"]) == len(client.restorers["ct-tiny@1"].seen) == 1


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({}, 422, "models is missing: 1 to 16 model refs"),
        ({"models": "ct-tiny,,ct-other"}, 422, "models must be 1 to 16 model refs"),
        ({"models": ",".join(f"m{number}" for number in range(17))}, 422, "models must be 1 to 16"),
        ({"models": "ct-tiny,ct-none"}, 404, "ct-none"),
        ({"models": "ct-tiny,gray-tiny"}, 422, "cannot go through all of these models: ct-tiny@1 HU and gray-tiny@1"),
        ({"models": "ct-tiny", "metrics": "psnr"}, 422, "need a reference"),
        ({"models": "ct-tiny", "outputs": "restored"}, 400, "none of the known ones"),
    ],
)
async def test_what_cannot_be_compared_is_refused(serve, npy, fields, status, says):
    async with serve() as client:
        answer = await compare(client, npy(slices()), **fields, **HU)
        assert client.restorers["ct-tiny@1"].seen == []  # nothing runs before all is known
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


async def test_an_image_alone_is_no_answer(serve, npy):
    async with serve() as client:
        answer = await compare(client, npy(slices()), models="ct-tiny", headers={"accept": "image/png"}, **HU)
        assert client.restorers["ct-tiny@1"].seen == []
    assert answer.status_code == 406
