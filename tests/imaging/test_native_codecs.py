"""The decoders themselves, called in this process: only on streams that their own encoders made."""

from __future__ import annotations

import os

import jpeg_ls
import numpy as np
import pytest

from imaging import native_codecs
from imaging.errors import NotAnImage
from imaging.native_codecs import decode_jpeg_ls, decode_rle, sample_type


@pytest.mark.parametrize(
    ("precision", "signed", "expected"),
    [(1, False, "u1"), (8, False, "u1"), (8, True, "i1"), (9, False, "<u2"), (16, True, "<i2"), (12, False, "<u2")],
)
def test_sample_types(precision, signed, expected):
    assert sample_type(precision, signed=signed) == np.dtype(expected)


def test_rle_by_hand():
    # two segments, high bytes first: 3 times 1; then 2, 3 and 4 as they are
    frame = np.array([2, 64, 66, *[0] * 13], "<u4").tobytes() + b"\xfe\x01" + b"\x02\x02\x03\x04"
    assert decode_rle(frame, 1, 3, 16).tolist() == [[0x0102, 0x0103, 0x0104]]


def test_samples_that_are_not_as_many_as_the_header_says():
    pixels = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    stream = bytes(jpeg_ls.encode_buffer(pixels.tobytes(), 32, 32, 1, 16))
    assert decode_jpeg_ls(stream, 32, 32, 16).tolist() == pixels.tolist()
    with pytest.raises(NotAnImage, match="decode to 2048 bytes, but 32 x 33 x 2 needs 2112"):
        decode_jpeg_ls(stream, 32, 33, 16)


def flood():
    while True:
        os.write(2, bytes(1 << 16))


def test_standard_error_is_heard_and_given_back():
    heard = bytearray()
    before = os.fstat(2).st_ino
    with native_codecs._listening(heard):
        os.write(2, b"Corrupt JPEG data: premature end\n")
    assert heard == b"Corrupt JPEG data: premature end\n"
    assert os.fstat(2).st_ino == before
    with native_codecs._listening(bytearray()):
        assert os.fstat(2).st_ino != before
        with pytest.raises(BlockingIOError):
            flood()  # ends with an error instead of a hang
    with pytest.raises(KeyError), native_codecs._listening(bytearray()):
        raise KeyError
    assert os.fstat(2).st_ino == before


def test_want_of_memory_is_not_taken_for_damage():
    with pytest.raises(MemoryError), native_codecs._refusing("RLE"):
        raise MemoryError
    with (
        pytest.raises(NotAnImage, match=r"the RLE stream cannot be decoded \(SystemExit\)"),
        native_codecs._refusing("RLE"),
    ):
        raise SystemExit
