"""Messages between processes: what cannot be sent, what is not believed, and when waiting ends."""

from __future__ import annotations

import json
import socket
import struct
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from imaging.codec_message import MAX_HEADER_BYTES, MalformedMessage, receive, send


@pytest.fixture(scope="module")
def ends():
    """Both ends of a connection, empty at the beginning and the end of each test that keeps it so."""
    left, right = socket.socketpair()
    with left, right:
        yield left, right


DTYPES = st.sampled_from(["?", "i1", "u1", "<i2", ">u2", "<i4", "u8", "f2", "<f4", ">f8"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(max_size=300),
    DTYPES.flatmap(lambda dtype: arrays(np.dtype(dtype), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))),
)


@given(st.lists(VALUES, max_size=5))
def test_what_is_sent_is_received(ends, values):
    send(ends[0], {"answer": 42}, values)
    head, received = receive(ends[1], max_bytes=1 << 16)
    assert head == {"answer": 42}
    assert len(received) == len(values)
    for ours, theirs in zip(received, values, strict=True):
        assert type(ours) is type(theirs)
        if isinstance(theirs, np.ndarray):
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            assert ours.tobytes() == theirs.tobytes()
        else:
            assert ours == theirs


@pytest.mark.parametrize(
    "value",
    [object(), [1], {"a": 1}, 1j, np.zeros(2, object), np.zeros(2, "U3"), np.zeros((1,) * 5), np.zeros(2, "c8")],
)
def test_other_values_are_not_sent(ends, value):
    with pytest.raises(TypeError, match="cannot be sent"):
        send(ends[0], {}, [value])


def test_a_header_too_large_is_not_sent(ends):
    with pytest.raises(ValueError, match="header of"):
        send(ends[0], {"text": "x" * MAX_HEADER_BYTES})


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"nonsense",
        b"[]",
        b"5",
        b"{}",
        b"[" * 60000,
        json.dumps({"values": 5}).encode(),
        json.dumps({"values": [5]}).encode(),
        json.dumps({"values": [{}]}).encode(),
        json.dumps({"values": [{"plain": []}]}).encode(),
        json.dumps({"values": [{"bytes": -1}]}).encode(),
        json.dumps({"values": [{"bytes": 1.5}]}).encode(),
        json.dumps({"values": [{"bytes": True}]}).encode(),
        json.dumps({"values": [{"bytes": 101}]}).encode(),
        json.dumps({"values": [{"bytes": 51}, {"array": ["|u1", [50]]}]}).encode(),
        json.dumps({"values": [{"array": ["|O", [1]]}]}).encode(),
        json.dumps({"values": [{"array": ["V8", [1]]}]}).encode(),
        json.dumps({"values": [{"array": ["|u1", [1] * 5]}]}).encode(),
        json.dumps({"values": [{"array": ["|u1", [1 << 62, 1 << 62]]}]}).encode(),
        json.dumps({"values": [{"array": ["|u1", 3]}]}).encode(),
        json.dumps({"values": [{"array": 3}]}).encode(),
    ],
)
def test_what_is_not_believed(header):
    left, right = socket.socketpair()
    with left, right:
        left.sendall(struct.pack("<I", len(header)) + header)
        with pytest.raises(MalformedMessage):
            receive(right, max_bytes=100)


def test_a_header_that_claims_to_be_large_is_not_waited_for():
    left, right = socket.socketpair()
    with left, right:
        left.sendall(struct.pack("<I", MAX_HEADER_BYTES + 1))
        with pytest.raises(MalformedMessage, match="a header of"):
            receive(right, max_bytes=100)


@pytest.mark.parametrize("begun", [b"", b"\x05\0", struct.pack("<I", 20) + b'{"values"'])
def test_an_end_or_a_silence_in_the_middle(begun):
    left, right = socket.socketpair()
    with right:
        with left:
            left.sendall(begun)
            begin = time.monotonic()
            with pytest.raises(TimeoutError):
                receive(right, max_bytes=100, deadline=begin + 0.05)
            assert 0.05 <= time.monotonic() - begin < 5
            left.sendall(begun)
        with pytest.raises(EOFError):
            receive(right, max_bytes=100)
