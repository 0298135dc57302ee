"""Bodies in pieces: all bytes in order, as much in one piece as fits, and numbers at its end where they can be read."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.body import Body

PIECE = 100


@pytest.fixture(autouse=True, scope="module")
def _small_pieces():
    with mock.patch("service.http.body.PIECE_BYTES", PIECE):
        yield


def pieces_of(body, first, sizes):
    """What an app takes of a body, of which `first` bytes came with its head, and then as many as `sizes` say."""
    made, found, position = Body(len(body), body[:first]), [], first
    for size in itertools.cycle(sizes):
        room = made.room()
        count = min(size, len(room))
        room[:count] = body[position : position + count]
        room.release()
        position += count
        if made.fill(count):
            found.append(made.take())
        assert made.left == len(body) - position
        if not made.left:
            return found
    raise AssertionError


@given(st.binary(min_size=1, max_size=350), st.integers(0, 200), st.lists(st.integers(1, 120), min_size=1, max_size=5))
def test_all_bytes_come_in_order_and_in_as_few_pieces_as_may_be(body, first, sizes):
    first = min(first, len(body) - 1)
    pieces = pieces_of(body, first, sizes)
    assert b"".join(pieces) == body
    assert len(pieces[0]) == min(len(body), first + PIECE)
    assert all(len(piece) == PIECE for piece in pieces[1:-1])


@pytest.mark.parametrize("text", range(17))
def test_numbers_at_the_end_are_aligned(text):
    (piece,) = pieces_of(bytes(text + 64), 0, [1000])
    assert np.frombuffer(piece, np.float64, offset=text).flags.aligned
    assert len(piece) == text + 64


def test_nothing_is_taken_twice():
    made = Body(3, b"")
    made.room()[:] = b"abc"
    assert made.fill(3)
    assert made.take() == b"abc"
    assert made.take() == b""


def test_who_is_only_heard_out_gets_little_memory_and_loses_nothing():
    with mock.patch("service.http.body.SPARING_BYTES", 10):
        made = Body(300, b"ab")
        made.room()[:3] = b"cde"
        assert not made.fill(3)
        made.spare()
        assert len(made.room()) == 10
        made.room()[:] = b"0123456789"
        assert made.fill(10)
        assert made.take() == b"abcde0123456789"
        assert len(made.room()) == 10
