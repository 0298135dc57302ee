"""NPY: what numpy itself would execute, allocate or misread (item 18)."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

GRAY = {"model": "gray-tiny"}
PIXELS = np.random.default_rng(1).integers(0, 255, (6, 8)).astype(np.uint8)


def header(text: str, payload: bytes = b"") -> bytes:
    data = text.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data + payload


def of(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


FILES = {
    "truncated": (of(PIXELS)[:-5], "not-an-image"),
    "too long": (of(PIXELS) + b"xx", "not-an-image"),
    "magic only": (b"\x93NUMPY", "not-an-image"),
    "a version of the future": (b"\x93NUMPY\x09\x00" + of(PIXELS)[8:], "unsupported-format"),
    "header longer than the file": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "not-an-image"),
    "lies about its size": (
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 9), }", bytes(48)),
        "not-an-image",
    ),
    "negative size": (
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (-6, -8), }", bytes(48)),
        "not-an-image",
    ),
    "bomb": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"), "image-too-large"),
    "size that overflows": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }"),
        "image-too-large",
    ),
    "sides of more digits than Python writes": (
        header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0x{'f' * 4000}, 1{'0' * 4200})}}"),
        "not-an-image",
    ),
    "a type with more digits than Python writes": (
        header(f"{{'descr': [0x{'f' * 4000}], 'fortran_order': False, 'shape': (5, 5)}}"),
        "not-an-image",
    ),
    "more pixels than allowed": (of(np.zeros((1001, 1000), np.uint8)), "image-too-large"),
    "20000 x 20000": (header("{'descr': '|u1', 'fortran_order': False, 'shape': (20000, 20000), }"), "image-too-large"),
    "objects": (of(np.array([[{}]], dtype=object)), "unsuitable-image"),
    "complex": (of(np.zeros((3, 3), np.complex64)), "unsuitable-image"),
    "structured": (of(np.zeros((2, 2), [("a", "f4")])), "unsuitable-image"),
    "strings": (of(np.array([["a"]])), "unsuitable-image"),
    "0-d": (of(np.float32(1)), "unsuitable-image"),
    "1-d": (of(np.zeros(4, np.float32)), "unsuitable-image"),
    "channels": (of(np.zeros((1, 4, 4), np.float32)), "unsuitable-image"),
    "4-d": (of(np.zeros((1, 1, 5, 5), np.float32)), "unsuitable-image"),
    "stack that lies": (
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (3, 6, 9), }", bytes(48)),
        "not-an-image",
    ),
    "stack bomb": (
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999, 600, 600), }"),
        "image-too-large",
    ),
    "5-d": (of(np.zeros((1, 1, 1, 4, 4), np.float32)), "unsuitable-image"),
    "no pixels": (of(np.zeros((0, 4), np.float32)), "unsuitable-image"),
    "header of nonsense": (header("__import__('os').system('true')"), "not-an-image"),
    "header nested deeply": (header("(" * 3000 + ")" * 3000), "not-an-image"),
    "all NaN": (of(np.full((4, 4), np.nan, np.float32)), "unsuitable-image"),
    "infinite": (of(np.full((4, 4), np.inf, np.float32)), "unsuitable-image"),
    "float beyond 0..1": (of(np.full((4, 4), 2, np.float32)), "unsuitable-image"),
    "int64 without a unit": (of(np.full((4, 4), 2, np.int64)), "unsuitable-image"),
}


@pytest.mark.parametrize("name", FILES)
def test_as_image_and_as_reference(refuse, good, name):
    content, slug = FILES[name]
    refuse(content, slug, **GRAY)
    refuse(good, slug, reference=content, **GRAY)


GOOD = {
    "Fortran order": np.asfortranarray(PIXELS),
    "big-endian": (PIXELS.astype(">u2") * 257),
    "1 x 1": np.array([[0.5]], np.float32),
    "1 x 10000": np.full((1, 10_000), 0.25, np.float32),
    "15 x 17": np.full((15, 17), 7, np.uint8),
    "constant": np.full((9, 9), 1.0, np.float64),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_only_looks_odd_is_taken(client, name):
    answer = client.post("/v1/reconstructions", files={"image": of(GOOD[name])}, data=GRAY)
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.content)), GOOD[name])
