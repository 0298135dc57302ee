from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.errors import MalformedInference
from service.inference.datatypes import BF16, NUMPY, from_bytes, from_json, to_bytes, to_json

SHAPES = arrays.array_shapes(max_dims=4, max_side=5, min_side=0)


@given(data=st.data(), datatype=st.sampled_from(sorted(NUMPY)))
def test_bytes_are_the_tensor_little_endian_and_row_major(data, datatype):
    tensor = data.draw(arrays.arrays(NUMPY[datatype], data.draw(SHAPES)))
    found = from_bytes(memoryview(tensor.tobytes()), datatype, tensor.shape, "image")
    np.testing.assert_array_equal(found, tensor)
    assert found.dtype == tensor.dtype


def test_bf16_is_what_ml_dtypes_makes_of_it():
    values = np.random.default_rng(0).normal(0, 500, (3, 5)).astype(ml_dtypes.bfloat16)
    found = from_bytes(memoryview(values.tobytes()), BF16, (3, 5), "image")
    np.testing.assert_array_equal(found, values.astype(np.float32))


@given(data=st.data(), datatype=st.sampled_from(sorted(NUMPY)), nested=st.booleans())
def test_json_numbers_flat_or_nested_are_the_tensor(data, datatype, nested):
    finite = {"allow_nan": False, "allow_infinity": False} if NUMPY[datatype].kind == "f" else None
    shape = data.draw(arrays.array_shapes(max_dims=4, max_side=5))
    tensor = data.draw(arrays.arrays(NUMPY[datatype], shape, elements=finite))
    sent = tensor.tolist() if nested else tensor.ravel().tolist()
    np.testing.assert_array_equal(from_json(sent, datatype, shape, "image"), tensor)


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "says"),
    [
        ([1, 2, 3], "FP32", (2, 2), r"has the shape \[3\]"),
        ([[1, 2], [3]], "FP32", (2, 2), "must be numbers of the datatype FP32"),
        (["1", "2"], "FP32", (2,), "must be numbers"),
        ([None, 1], "FP32", (2,), "must be numbers"),
        ({"a": 1}, "FP32", (1,), "must be numbers"),
        ([1.5], "INT16", (1,), "must be numbers of the datatype INT16"),
        ([40000], "INT16", (1,), "must be numbers of the datatype INT16"),
        ([-1], "UINT8", (1,), "must be numbers"),
        ([2], "BOOL", (1,), "must be numbers"),
        ([10**30], "INT64", (1,), "must be numbers"),
        ([10**400], "FP32", (1,), "must be numbers"),
        (["a" * 20_000, *[""] * 100_000], "FP32", (100_001,), "must be numbers"),  # 8 GB as an array of text
        ([1], "BF16", (1,), "only be sent as binary data"),
        ([1], "BYTES", (1,), "holds text or files"),
        ([1], "FLOAT", (1,), "is none that is known"),
    ],
)
def test_json_that_is_no_such_tensor_is_refused(data, datatype, shape, says):
    with pytest.raises(MalformedInference, match=says):
        from_json(data, datatype, shape, "image")


@pytest.mark.parametrize(("size", "datatype"), [(7, "FP32"), (9, "FP32"), (0, "UINT8"), (8, "BF16")])
def test_more_or_fewer_bytes_than_the_shape_has_are_refused(size, datatype):
    with pytest.raises(MalformedInference, match=f"has {size} bytes, and {datatype}"):
        from_bytes(memoryview(bytes(size)), datatype, (1, 2), "image")


def test_answers_are_fp32():
    tensor = np.array([[1.5, -2]], np.float32)
    assert to_bytes(tensor) == b"\x00\x00\xc0\x3f\x00\x00\x00\xc0"
    assert to_json(tensor) == "[1.5,-2.0]"
    many = np.arange(25_001, dtype=np.float32)
    assert json.loads(to_json(many)) == many.tolist()
