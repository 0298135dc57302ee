"""`outputs=restored,lower,upper`: an interval beside the image, from models that give one."""

from __future__ import annotations

import base64
import email
import io
import json

import numpy as np
import pytest

from imaging.formats import Limits, encode_png
from imaging.image import Rescale
from imaging.png import read_png
from model_store.manifest import Signature

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
UNSURE = {"model": "ct-unsure", "outputs": "restored,lower,upper"}


class Unsure:
    """Restores by adding 1 HU in bfloat16, and by adding 2 with an interval, so that one can tell which was asked."""

    precision, device, timings = "bfloat16", "CPU:0", {}

    def __init__(self, version):
        self.version = version
        self.with_uncertainty = self.answer if version.manifest.spread_outputs else None

    def __call__(self, batch):
        return batch + np.float32(1)

    def answer(self, batch):
        return {"upper": batch + np.float32(12), "restored": batch + np.float32(2), "lower": batch - np.float32(8)}


@pytest.fixture
def unsure(serve, published, tmp_path, tiny_draft):
    """serve, with the model ct-unsure beside those of `published`."""
    signatures = {
        "serving_default": Signature(),
        "with_uncertainty": Signature(outputs=("restored", "lower", "upper")),
    }
    draft = tiny_draft(name="ct-unsure", unit="HU", signatures=signatures)
    published.publish(tmp_path / "staged", draft, verifier=lambda _: None)
    return lambda **settings: serve(load=Unsure, **settings)


def parts_of(answer):
    """The document, and output -> (media type, bytes)."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    document, *files = email.message_from_bytes(head + answer.content).get_payload()
    found = {part["clearslice-output"]: (part.get_content_type(), part.get_payload(decode=True)) for part in files}
    return json.loads(document.get_payload(decode=True)), found


def array_of(data):
    return np.load(io.BytesIO(data))


async def test_each_output_is_a_part_under_its_name_and_all_are_float32s(unsure, npy):
    image = np.random.default_rng(0).normal(0, 100, (9, 11)).astype(np.float32)
    async with unsure() as client:
        answer = await client.post(npy(image), **UNSURE, **HU)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("multipart/mixed")
    assert answer.headers["clearslice-precision"] == "float32"
    document, parts = parts_of(answer)
    assert list(parts) == ["restored", "lower", "upper"]
    for (kind, data), added in zip(parts.values(), (2, -8, 12), strict=True):
        assert kind == "application/x-npy"
        np.testing.assert_array_equal(array_of(data), image + np.float32(added))
    assert list(document["outputs"]) == ["lower", "upper"]
    assert document["outputs"]["upper"]["media_type"] == "application/x-npy"


async def test_json_has_them_under_outputs_in_any_order_of_asking(unsure, npy):
    image = np.zeros((5, 7), np.float32)
    async with unsure() as client:
        answer = await client.post(
            npy(image), model="ct-unsure", outputs="Upper, restored", headers={"accept": "application/json"}, **HU
        )
    document = answer.json()
    assert array_of(base64.b64decode(document["image"]["data"])).max() == 2
    (upper,) = document["outputs"].values()
    assert array_of(base64.b64decode(upper["data"])).max() == 12


async def test_only_the_restored_image_is_answered_as_ever(unsure, npy):
    async with unsure() as client:
        answer = await client.post(npy(np.zeros((5, 7), np.float32)), model="ct-unsure", outputs="restored", **HU)
    assert answer.headers["content-type"] == "application/x-npy"
    assert answer.headers["clearslice-precision"] == "bfloat16"
    assert array_of(answer.content).max() == 1


async def test_strength_moves_the_image_and_not_what_is_said_of_the_reference(unsure, npy):
    async with unsure() as client:
        answer = await client.post(npy(np.zeros((5, 7), np.float32)), strength="0.5", **UNSURE, **HU)
    _, parts = parts_of(answer)
    assert [array_of(data).max() for _, data in parts.values()] == [1, -8, 12]


async def test_frames_keep_their_order_in_every_output(unsure, npy):
    stack = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 4, 5), np.float32)
    async with unsure() as client:
        answer = await client.post(npy(stack), **UNSURE, **HU)
    _, parts = parts_of(answer)
    np.testing.assert_array_equal(array_of(parts["lower"][1]), stack - 8)


async def test_of_dicom_the_image_is_dicom_and_the_ends_of_the_interval_are_hu(unsure, ct_slice):
    stored = np.array([[1024, 1000], [-2000, 1100]], np.int16)
    async with unsure() as client:
        answer = await client.post(ct_slice(stored, PixelPaddingValue=-2000), **UNSURE)
    _, parts = parts_of(answer)
    assert [kind for kind, _ in parts.values()] == ["application/dicom", "application/x-npy", "application/x-npy"]
    lower, upper = (array_of(parts[name][1]) for name in ("lower", "upper"))
    np.testing.assert_array_equal(upper - lower, [[20, 20], [0, 20]])  # of padding there is no doubt
    assert lower[0, 0] == -8


async def test_png_stays_png(unsure, ct_slice):
    async with unsure() as client:
        answer = await client.post(
            ct_slice(np.full((4, 4), 1024, np.int16)), headers={"accept": "image/png, multipart/mixed;q=0.1"}, **UNSURE
        )
        alone = await client.post(ct_slice(np.full((4, 4), 1024, np.int16)), headers={"accept": "image/png"}, **UNSURE)
    assert answer.headers["content-type"].startswith("multipart/mixed")
    assert alone.status_code == 406
    assert alone.json()["available"] == ["multipart/mixed", "application/json"]
    assert "3 outputs" in alone.json()["detail"]


async def test_a_png_answers_pngs(unsure):

    image = np.full((6, 6), 100, np.float32)
    async with unsure() as client:
        answer = await client.post(
            encode_png(image, rescale=Rescale(1.0, -1024.0)), rescale_slope="1", rescale_intercept="-1024", **UNSURE
        )
    _, parts = parts_of(answer)
    assert {kind for kind, _ in parts.values()} == {"image/png"}
    assert read_png(parts["upper"][1], limits=Limits(10**6, 10**6)).max() == 1024 + 112


async def test_a_model_that_gives_no_interval_names_those_that_do_before_anything_is_decoded(unsure):
    async with unsure() as client:
        answer = await client.post(b"no image at all", outputs="restored,lower", **HU)
        sigma = await client.post(b"no image at all", outputs="restored,sigma", **HU)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/no-such-output")
    assert answer.json()["models"] == ["ct-unsure"]
    assert "ct-tiny@1 does not give lower" in answer.json()["detail"]
    assert "models" not in sigma.json()
    assert "no model in the store does" in sigma.json()["detail"]


@pytest.mark.parametrize("wrong", ["lower", "restored,median", "restored;lower", "all"])
async def test_outputs_that_are_none_are_refused(unsure, npy, wrong):
    async with unsure() as client:
        answer = await client.post(npy(np.zeros((5, 7), np.float32)), model="ct-unsure", outputs=wrong, **HU)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert "restored" in answer.json()["fields"]["outputs"]


async def test_an_end_that_is_not_finite_is_never_delivered(unsure, npy):
    def broken(version):
        restorer = Unsure(version)
        answer = restorer.with_uncertainty
        restorer.with_uncertainty = answer and (lambda batch: {**answer(batch), "upper": batch * np.float32(np.nan)})
        return restorer

    async with unsure() as client:
        client.engine.versions._load = lambda version: [broken(version)]
        answer = await client.post(npy(np.zeros((5, 7), np.float32)), **UNSURE, **HU)
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/model-failed")
