"""The inference protocol through the app: what clients send and what they get."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import zlib

import numpy as np
import pytest

pytestmark = pytest.mark.anyio

IMAGE = np.arange(24, dtype=np.float32).reshape(1, 4, 6, 1)


def message(tensor=IMAGE, *, datatype="FP32", **more):
    raw = tensor.tobytes()
    entry = {
        "name": "image",
        "shape": list(tensor.shape),
        "datatype": datatype,
        "parameters": {"binary_data_size": len(raw)},
    }
    text = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}, **more}).encode()
    return text + raw, {"Inference-Header-Content-Length": str(len(text))}


async def infer(client, body, headers, *, model="ct-tiny", version="", **more):
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
    return await client.http.post(path, content=body, headers={**headers, **more})


def tensors_of(answer):
    length = int(answer.headers["inference-header-content-length"])
    document, rest, found = json.loads(answer.content[:length]), answer.content[length:], {}
    for output in document["outputs"]:
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = np.frombuffer(rest[:size], "<f4").reshape(output["shape"])
        rest = rest[size:]
    assert rest == b""
    return document, found


async def test_a_tensor_in_a_tensor_out(serve):
    async with serve(offset=2.0) as client:
        answer = await infer(client, *message(id="42"))
    assert answer.status_code == 200, answer.text
    document, found = tensors_of(answer)
    np.testing.assert_array_equal(found["restored"], IMAGE + 2)
    assert (document["model_name"], document["model_version"], document["id"]) == ("ct-tiny", "1", "42")
    assert document["parameters"] == {"precision": "float32", "device": "CPU:0", "warning": ""}
    assert answer.headers["clearslice-model"] == "ct-tiny@1"
    assert "infer;dur=" in answer.headers["server-timing"]


@pytest.mark.parametrize("shape", [(3, 5, 7, 1), (3, 5, 7), (5, 7)])
async def test_images_are_restored_one_by_one_and_come_back_in_the_shape_they_had(serve, shape):
    images = np.random.default_rng(0).normal(0, 100, shape).astype(np.float32)
    async with serve(offset=1.0) as client:
        answer = await infer(client, *message(images))
        assert [batch.shape for batch in client.restorers["ct-tiny@1"].seen] == [(1, 5, 7, 1)] * (images.size // 35)
    np.testing.assert_array_equal(tensors_of(answer)[1]["restored"], images + np.float32(1))


@pytest.mark.parametrize(("datatype", "dtype"), [("INT16", "<i2"), ("UINT8", "u1"), ("FP64", "<f8"), ("FP16", "<f2")])
async def test_other_numbers_become_float32(serve, datatype, dtype):
    async with serve(offset=1.0) as client:
        answer = await infer(client, *message(IMAGE.astype(dtype), datatype=datatype))
    np.testing.assert_array_equal(tensors_of(answer)[1]["restored"], IMAGE + 1)


async def test_json_alone_is_answered_with_json_alone(serve):
    entry = {"name": "image", "shape": [1, 1, 3, 1], "datatype": "FP32", "data": [[[[1], [2], [3]]]]}
    async with serve(offset=1.0) as client:
        answer = await client.http.post("/v2/models/ct-tiny/infer", json={"inputs": [entry]})
    assert "inference-header-content-length" not in answer.headers
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["outputs"] == [
        {"name": "restored", "datatype": "FP32", "shape": [1, 1, 3, 1], "data": [2.0, 3.0, 4.0]}
    ]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_requests_are_read(serve, encoding, pack):
    body, headers = message()
    async with serve() as client:
        answer = await infer(client, pack(body), headers, **{"Content-Encoding": encoding})
        short = await infer(client, pack(body)[:-5], headers, **{"Content-Encoding": encoding})
        bomb = await infer(client, pack(bytes(41 * 2**20)), headers, **{"Content-Encoding": encoding})
        other = await infer(client, body, headers, **{"Content-Encoding": "br"})
    np.testing.assert_array_equal(tensors_of(answer)[1]["restored"], IMAGE)
    assert [short.status_code, bomb.status_code, other.status_code] == [400, 413, 415]
    assert "cut off" in short.json()["error"]
    assert "CLEARSLICE_MAX_UPLOAD_BYTES" in bomb.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (message(np.zeros((1, 4, 6, 2), np.float32)), 400, "no grayscale image"),
        (message(np.zeros((0, 4, 6, 1), np.float32)), 400, "whole numbers above 0"),
        (message(np.full((1, 2, 2, 1), 1e20, np.float32)), 422, "HU are -1000 for air"),
        (message(outputs=[{"name": "\ud800"}]), 422, r"does not give '\ud800'"),
        (message(np.zeros((2, 700, 700, 1), np.float32), parameters={}), 400, "ask for binary outputs"),
        (message(np.zeros(5, np.float32)), 400, "must be (N, H, W, 1)"),
        (message(np.full((1, 2, 2, 1), np.nan, np.float32)), 422, "NaN or infinite"),
        (message(np.full((1, 2, 2, 1), 1e300), datatype="FP64"), 422, "HU are -1000 for air"),
        (message(np.zeros((65, 1, 1, 1), np.float32)), 413, "65 frames"),
        (message(outputs=[{"name": "sigma"}]), 422, "does not give 'sigma'"),
        (message(outputs=[{"name": "restored"}, {"name": "restored"}]), 400, "asked for twice"),
        ((b"{}", {}), 400, "inputs of the request"),
    ],
)
async def test_what_cannot_be_inferred_is_refused_in_the_protocols_own_words(serve, body, status, says):
    async with serve() as client:
        answer = await infer(client, *body)
        assert client.restorers["ct-tiny@1"].seen == []
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert says in answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("image", [np.full((4, 4), 200, np.uint8), np.full((4, 4), 200, np.float32)])
async def test_grey_values_from_0_to_255_are_no_relative_image(serve, image):
    datatype = {"u": "UINT8", "f": "FP32"}[image.dtype.kind]
    async with serve() as client:
        answer = await infer(client, *message(image, datatype=datatype), model="gray-tiny")
    assert answer.status_code == 422
    assert "divide it by its white" in answer.json()["error"]


async def test_unknown_models_and_paths_are_answered_likewise(serve):
    async with serve() as client:
        unknown = await infer(client, *message(), model="ct-none")
        version = await infer(client, *message(), version="9")
        path = await client.http.get("/v2/nonsense")
        method = await client.http.get("/v2/models/ct-tiny/infer")
    assert [each.status_code for each in (unknown, version, path, method)] == [404, 404, 404, 405]
    assert all(set(each.json()) == {"error"} for each in (unknown, version, path, method))
    assert method.headers["allow"] == "POST"


async def test_a_version_is_a_number_or_a_label(serve):
    async with serve() as client:
        for version in ("1", "stable"):
            document, _ = tensors_of(await infer(client, *message(), version=version))
            assert document["model_version"] == "1"


async def test_the_clients_timeout_is_kept(serve):
    async with serve(waits=True) as client:
        answer = await infer(client, *message(parameters={"timeout": 50_000}))
    assert answer.status_code == 504
    assert "error" in answer.json()


async def test_metadata_and_config_name_the_tensors(serve):
    async with serve() as client:
        metadata = (await client.http.get("/v2/models/ct-tiny")).json()
        config = (await client.http.get("/v2/models/ct-tiny/versions/1/config")).json()
    assert metadata == {
        "name": "ct-tiny",
        "versions": ["1"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, -1, -1, 1]}],
        "outputs": [{"name": "restored", "datatype": "FP32", "shape": [-1, -1, -1, 1]}],
    }
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [-1, -1, -1, 1]}]


async def test_statistics_count_what_was_answered_and_what_was_not(serve):
    async with serve() as client:
        await infer(client, *message(np.zeros((2, 3, 3, 1), np.float32)))
        client.restorers["ct-tiny@1"].answer = lambda batch: batch[:, :1]
        assert (await infer(client, *message(np.zeros((1, 3, 3, 1), np.float32)))).status_code == 500
        (found,) = (await client.http.get("/v2/models/ct-tiny/stats")).json()["model_stats"]
        every = (await client.http.get("/v2/models/stats")).json()["model_stats"]
    assert (found["inference_count"], found["inference_stats"]["success"]["count"]) == (2, 1)
    assert found["inference_stats"]["fail"]["count"] == 1
    assert found["inference_stats"]["success"]["ns"] >= found["inference_stats"]["compute_infer"]["ns"] > 0
    assert found["last_inference"] > 0
    assert {(each["name"], each["inference_count"]) for each in every} == {("ct-tiny", 2), ("gray-tiny", 0)}


async def test_models_are_ready_loaded_and_unloaded(serve):
    async with serve() as client:
        index = (await client.http.post("/v2/repository/index")).json()
        assert {each["name"]: each["state"] for each in index} == {"ct-tiny": "READY", "gray-tiny": "UNAVAILABLE"}
        assert (await client.http.get("/v2/models/gray-tiny/ready")).status_code == 200
        assert (await client.http.post("/v2/repository/models/gray-tiny/load")).json()["state"] == "READY"
        assert "gray-tiny@1" in client.engine.versions.loaded()
        unloaded = await client.http.post("/v2/repository/models/gray-tiny/unload")
        assert unloaded.json() == {"name": "gray-tiny", "unloaded": ["gray-tiny@1"]}
        assert "gray-tiny@1" not in client.engine.versions.loaded()
        document, _ = tensors_of(await infer(client, *message(IMAGE / 24), model="gray-tiny"))  # loads it again
        assert document["model_name"] == "gray-tiny"


async def test_what_the_store_has_no_more_can_be_unloaded(serve, published):
    async with serve() as client:
        shutil.rmtree(published.writable / "ct-tiny")
        assert (await client.http.get("/v2/models/ct-tiny")).status_code == 404
        unloaded = await client.http.post("/v2/repository/models/ct-tiny/unload")
        assert unloaded.json()["unloaded"] == ["ct-tiny@1"]
        assert client.engine.versions.loaded() == {}


async def test_a_version_in_use_can_be_unloaded_and_answers(serve):
    async with serve(waits=True) as client:
        restorer = client.restorers["ct-tiny@1"]
        running = asyncio.ensure_future(infer(client, *message()))
        while not restorer.started.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)
        await client.http.post("/v2/repository/models/ct-tiny/unload")
        assert client.engine.versions.loaded() == {}
        restorer.go_on.set()
        assert (await running).status_code == 200


async def test_while_it_starts_it_is_not_ready(serve):
    async with serve(ready=False, load=lambda _: 1 / 0) as client:
        await client.app.state.starting
        answer = await client.http.get("/v2/models/ct-tiny/ready")
        refused = await infer(client, *message())
    assert answer.status_code == refused.status_code == 503
    assert set(answer.json()) == set(refused.json()) == {"error"}


@pytest.mark.parametrize(
    ("more", "threads"),
    [
        ({}, 0),
        ({"tensor": np.zeros((4, 6), np.float32)}, 0),
        ({"tensor": np.zeros((5, 4, 6, 1), np.float32)}, 1),  # more images than a moment is enough for
        ({"tensor": IMAGE.astype("<f2"), "datatype": "FP16"}, 1),  # numpy takes its time for half floats
        ({"parameters": {"binary_data_output": False}}, 1),  # text is written
        ({"tensor": np.zeros((1, 800, 800, 1), np.float32)}, 2),  # more bytes than a moment is enough for
    ],
)
async def test_only_what_takes_more_than_a_moment_is_handed_to_a_codec_thread(serve, more, threads):
    async with serve(offset=1.0) as client:
        await infer(client, *message())  # from now on the store knows what the name means
        codecs = client.app.state.engine.codecs
        handed, run = [], codecs.run
        codecs.run = lambda *args: handed.append(args) or run(*args)
        answer = await infer(client, *message(**more))
    assert answer.status_code == 200
    assert len(handed) == threads


async def test_it_answers_the_same_whether_a_codec_thread_was_needed_or_not(serve, monkeypatch):
    async with serve(offset=1.0) as client:
        await infer(client, *message())
        quick = await infer(client, *message(id="7"))
        monkeypatch.setattr("service.inference.infer.SHORT_BYTES", 0)
        slow = await infer(client, *message(id="7"))
    assert quick.content == slow.content


@pytest.mark.parametrize("header", ["1" * 5000, "²", "-1", "", "99999"])
async def test_a_header_that_is_no_length_of_the_json_is_refused(serve, header):
    body, _ = message()
    async with serve() as client:
        await infer(client, *message())
        answer = await infer(client, body, {"Inference-Header-Content-Length": header.encode("latin-1")})
    assert answer.status_code == 400
