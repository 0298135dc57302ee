"""Bits of stored values."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.errors import UnsuitableImage
from imaging.pixel_encoding import (
    SIGNED_16,
    PixelEncoding,
    native_values,
    pixel_encoding,
    stored_range,
    stored_values_to_bytes,
)


@pytest.mark.parametrize(
    ("bits_allocated", "bits_stored", "signed", "expected"),
    [
        (16, 16, True, (-32768, 32767)),
        (16, 16, False, (0, 65535)),
        (16, 12, True, (-2048, 2047)),
        (16, 12, False, (0, 4095)),
        (8, 8, True, (-128, 127)),
        (8, 7, False, (0, 127)),
        (16, 1, True, (-1, 0)),
    ],
)
def test_ranges_by_hand(make_ct, bits_allocated, bits_stored, signed, expected):
    encoding = PixelEncoding(bits_allocated, bits_stored, signed)
    assert (encoding.low, encoding.high) == expected
    dataset = make_ct(np.zeros((2, 2), encoding.dtype), bits=bits_stored)
    assert pixel_encoding(dataset) == encoding
    assert stored_range(dataset) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BitsAllocated": 12}, "BitsAllocated is 12"),
        ({"BitsAllocated": 32}, "BitsAllocated is 32"),
        ({"BitsStored": 20}, "BitsStored is 20"),
        ({"BitsStored": 0}, "BitsStored is 0"),
        ({"HighBit": 11}, "HighBit is 11; it must be BitsStored - 1, 15"),
        ({"PixelRepresentation": 2}, "PixelRepresentation is 2"),
        ({"PixelRepresentation": None}, "PixelRepresentation is missing"),
        ({"BitsStored": None}, "BitsStored is missing"),
        ({"HighBit": None}, "HighBit is missing"),
        ({"BitsAllocated": [16, 16]}, "BitsAllocated must be one integer"),
    ],
)
def test_contradictions_are_refused(make_ct, changes, message):
    with pytest.raises(UnsuitableImage, match=message):
        pixel_encoding(make_ct(**changes))


def test_bytes_by_hand():
    assert stored_values_to_bytes(np.array([[-2, 258]]), SIGNED_16) == b"\xfe\xff\x02\x01"
    assert stored_values_to_bytes(np.array([[1, 2, 255]], np.int64), PixelEncoding(8, 8, signed=False)) == b"\1\2\xff\0"
    # unused high bits repeat the sign
    assert stored_values_to_bytes(np.array([[-1]]), PixelEncoding(16, 12, signed=True)) == b"\xff\xff"


@pytest.mark.parametrize(
    "values", [np.array([[2048]]), np.array([[-2049]]), np.array([[0.0]]), np.array([1]), np.zeros((0, 2), np.int16)]
)
def test_values_that_do_not_fit_are_refused(values):
    with pytest.raises(ValueError, match="values"):
        stored_values_to_bytes(values, PixelEncoding(16, 12, signed=True))


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [(12, False, [0, 0x7FF, 0x800, 0xFFF]), (12, True, [0, 2047, -2048, -1]), (16, True, [-4096, 2047, 2048, -1])],
)
def test_unused_bits_are_cut_off_and_the_sign_is_extended(bits, signed, expected):
    words = np.array([[0xF000, 0x07FF, 0x0800, 0xFFFF]], np.uint16)
    values = native_values(words, PixelEncoding(16, bits, signed))
    assert values.tolist() == [expected]
    assert values.dtype == (np.int16 if signed else np.uint16)
    assert words.tolist() == [[0xF000, 0x07FF, 0x0800, 0xFFFF]]
