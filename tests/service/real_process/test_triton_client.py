"""Triton's own HTTP client against a real server process: everything that it can ask of a model server for images."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

IMAGES = np.random.default_rng(0).normal(0, 300, (2, 30, 40, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def server(start_server, published_once):
    with start_server(published_once.writable, None) as running:
        yield running


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=4) as made:
        yield made


def tensor(images=IMAGES, datatype="FP32", *, binary=True):
    made = triton.InferInput("image", list(images.shape), datatype)
    made.set_data_from_numpy(images, binary_data=binary)
    return made


def test_the_server_and_its_models_are_found(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("ct-tiny")
    assert client.is_model_ready("ct-tiny", "1")
    assert not client.is_model_ready("ct-none")
    assert client.get_server_metadata()["name"] == "clearslice"
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("ct-tiny")["inputs"][0]["datatype"] == "FP32"
    assert client.get_model_config("ct-tiny")["max_batch_size"] == 0
    assert {model["name"] for model in client.get_model_repository_index()} == {"ct-tiny", "gray-tiny"}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("wanted", [None, True, False])
def test_tensors_go_in_and_come_out_in_every_form(client, binary, wanted):
    outputs = None if wanted is None else [triton.InferRequestedOutput("restored", binary_data=wanted)]
    answer = client.infer("ct-tiny", [tensor(binary=binary)], outputs=outputs, request_id="17")
    np.testing.assert_array_equal(answer.as_numpy("restored"), IMAGES)
    assert answer.get_response()["id"] == "17"
    assert answer.get_response()["model_version"] == "1"


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
def test_compressed_requests_are_read(client, packed):
    answer = client.infer(
        "ct-tiny", [tensor()], request_compression_algorithm=packed, response_compression_algorithm=packed
    )
    np.testing.assert_array_equal(answer.as_numpy("restored"), IMAGES)


def test_hounsfield_units_as_integers(client):
    whole = IMAGES.astype(np.int16)
    answer = client.infer("ct-tiny", [tensor(whole, "INT16")], model_version="stable")
    np.testing.assert_array_equal(answer.as_numpy("restored"), whole.astype(np.float32))


def test_several_requests_at_once(client):
    running = [client.async_infer("ct-tiny", [tensor(IMAGES + number)], request_id=str(number)) for number in range(8)]
    for number, each in enumerate(running):
        np.testing.assert_array_equal(each.get_result().as_numpy("restored"), IMAGES + np.float32(number))


def test_refusals_arrive_as_the_clients_own_exception(client):
    with pytest.raises(InferenceServerException, match="there is no model"):
        client.infer("ct-none", [tensor()])
    with pytest.raises(InferenceServerException, match="no grayscale image"):
        client.infer("ct-tiny", [tensor(np.zeros((1, 3, 3, 3), np.float32))])
    with pytest.raises(InferenceServerException, match="no sequences"):
        client.infer("ct-tiny", [tensor()], sequence_id=3, sequence_start=True)


def test_models_are_loaded_and_unloaded_and_counted(client):
    client.load_model("gray-tiny")
    client.infer("gray-tiny", [tensor(np.full((1, 3, 3, 1), 0.5, np.float32))])
    (counts,) = client.get_inference_statistics("gray-tiny")["model_stats"]
    assert counts["inference_stats"]["success"]["count"] == 1
    client.unload_model("gray-tiny")
    states = {model["name"]: model["state"] for model in client.get_model_repository_index()}
    assert states["gray-tiny"] == "UNAVAILABLE"
    assert client.get_inference_statistics()["model_stats"]


def test_query_parameters_and_headers_of_its_own_do_not_disturb(client):
    answer = client.infer("ct-tiny", [tensor()], query_params={"trace": 1}, headers={"X-Request-ID": "abc"})
    np.testing.assert_array_equal(answer.as_numpy("restored"), IMAGES)
