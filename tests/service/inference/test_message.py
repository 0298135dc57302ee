from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MalformedInference
from service.inference import message
from service.inference.message import WantedOutput, parse, render

PIXELS = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)


def body_of(document, *binaries):
    text = json.dumps(document).encode()
    return text + b"".join(binaries), str(len(text))


def described(**changes):
    return {"name": "image", "shape": [1, 2, 3, 1], "datatype": "FP32", **changes}


def binary(size=PIXELS.nbytes, **changes):
    return described(parameters={"binary_data_size": size}, **changes)


def test_binary_data_follow_the_json():
    request = parse(*body_of({"id": "7", "inputs": [binary()]}, PIXELS.tobytes()))
    np.testing.assert_array_equal(request.inputs["image"], PIXELS)
    assert (request.id, request.outputs, request.binary, request.timeout) == ("7", (), False, None)


def test_several_tensors_come_in_the_order_of_the_json_among_those_that_hold_numbers():
    first, second = np.float32([1, 2]), np.int16([3])
    request = parse(
        *body_of(
            {
                "inputs": [
                    {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
                    {"name": "b", "shape": [1], "datatype": "FP64", "data": [0.5]},
                    {"name": "c", "shape": [1], "datatype": "INT16", "parameters": {"binary_data_size": 2}},
                ]
            },
            first.tobytes(),
            second.tobytes(),
        )
    )
    assert {name: tensor.tolist() for name, tensor in request.inputs.items()} == {"a": [1, 2], "b": [0.5], "c": [3]}


def test_without_the_header_all_is_json():
    body, _ = body_of({"inputs": [described(data=PIXELS.ravel().tolist())], "parameters": {"priority": 3}})
    np.testing.assert_array_equal(parse(body, None).inputs["image"], PIXELS)


def test_what_is_binary_in_the_answer_is_said_for_all_or_for_each():
    def outputs(parameters, *entries):
        document = {"inputs": [binary()], "parameters": parameters, "outputs": list(entries)}
        return parse(*body_of(document, PIXELS.tobytes()))

    assert outputs({"binary_data_output": True}).binary
    named = outputs(
        {"binary_data_output": True},
        {"name": "restored"},
        {"name": "lower", "parameters": {"binary_data": False}},
    )
    assert named.outputs == (WantedOutput("restored", True), WantedOutput("lower", False))
    assert outputs({"timeout": 1_500_000}).timeout == 1.5


@pytest.mark.parametrize(
    ("body", "header", "says"),
    [
        (b"{}", "x", "must be a number of bytes"),
        (b"{}", "-1", "must be a number of bytes"),
        (b"{}", "3", "says 3 bytes, and the body has 2"),
        (b"\x00" * 24, "0", "its shape cannot be known"),
        (b"", None, "the request has no body"),
        (b"[1]", None, "the request must be a JSON object"),
        (b"{nonsense", None, "cannot be read"),
        (b"[" * 100_000, None, "cannot be read"),
        (b"\xff\xfe", None, "cannot be read"),
        (b"{}", None, "inputs of the request must be a list that is not empty"),
    ],
)
def test_bodies_that_are_no_message_are_refused(body, header, says):
    with pytest.raises(MalformedInference, match=says):
        parse(body, header)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"inputs": [binary(), binary(0)]}, "has 0 bytes"),
        ({"inputs": [binary(name=3)]}, "the name of an input must be text"),
        ({"inputs": [binary(datatype=None)]}, "the datatype of input 'image' must be text"),
        ({"inputs": [binary(shape=[1, -1])]}, "whole numbers"),
        ({"inputs": [binary(shape=[True])]}, "whole numbers"),
        ({"inputs": [binary(shape=[1] * 9)]}, "1 to 8 whole numbers"),
        ({"inputs": [binary(25)]}, "at most the 24 that are left"),
        ({"inputs": [binary(True)]}, "must be a number of bytes"),
        ({"inputs": [binary(12)]}, "has 12 bytes, and FP32"),
        ({"inputs": [described()]}, "neither data nor"),
        ({"inputs": [described(data=[0] * 6)]}, "24 bytes follow"),
        ({"inputs": [binary(), described(data=[0] * 6)]}, "comes twice"),
        ({"inputs": [binary()], "outputs": {}}, "outputs of the request must be a list"),
        ({"inputs": [binary()], "outputs": ["restored"]}, "an output must be a JSON object"),
        ({"inputs": [binary()], "outputs": [{"name": "x", "parameters": {"classification": 3}}]}, "no classification"),
        ({"inputs": [binary()], "parameters": {"sequence_id": 3}}, "no sequences"),
        ({"inputs": [described(parameters={"shared_memory_region": "r"})]}, "no shared memory"),
        ({"inputs": [binary()], "parameters": {"timeout": -1}}, "positive number of microseconds"),
        ({"inputs": [binary()], "parameters": {"timeout": 10**400}}, "positive number of microseconds"),
        ({"inputs": [binary(shape=[0, 3])]}, "whole numbers above 0"),
        ({"inputs": [binary(shape=[10**30, 1])]}, "whole numbers above 0"),
        ({"inputs": [binary(name="n" * 5000, shape=[2**31 - 1] * 8)]}, r"\(5000 characters\) has 24 bytes"),
        ({"inputs": [binary()], "parameters": []}, "parameters of the request must be a JSON object"),
        ({"inputs": [binary()], "id": 4}, "id must be text"),
    ],
)
def test_messages_that_contradict_themselves_are_refused(document, says):
    with pytest.raises(MalformedInference, match=says):
        parse(*body_of(document, PIXELS.tobytes()))


def test_json_that_is_too_long_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(message, "MAX_JSON_BYTES", 10)
    with pytest.raises(MalformedInference, match="send tensors as binary data"):
        parse(*body_of({"inputs": [binary()]}, PIXELS.tobytes()))


@given(st.binary(max_size=200), st.none() | st.integers(0, 300).map(str))
def test_any_bytes_are_read_or_refused(body, header):
    with pytest.raises(MalformedInference):
        parse(body, header)


def test_an_answer_has_the_binary_tensors_after_the_json_and_the_others_in_it():
    tensors = {"restored": PIXELS, "lower": PIXELS - 1}
    parts, headers = render({"model_name": "m"}, tensors, {"restored": True, "lower": False})
    body = b"".join(parts)
    length = int(headers["Inference-Header-Content-Length"])
    document = json.loads(body[:length])
    assert headers["Content-Type"] == "application/octet-stream"
    assert document["outputs"][0]["parameters"] == {"binary_data_size": PIXELS.nbytes}
    assert document["outputs"][1]["data"] == (PIXELS - 1).ravel().tolist()
    np.testing.assert_array_equal(np.frombuffer(body[length:], "<f4").reshape(PIXELS.shape), PIXELS)
    (plain,), only = render({"model_name": "m"}, tensors, dict.fromkeys(tensors, False))
    assert only == {"Content-Type": "application/json"}
    assert json.loads(plain)["model_name"] == "m"
