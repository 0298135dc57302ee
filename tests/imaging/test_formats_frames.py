"""Files of several frames, there and back: NPY stacks and TIFF pages, in order, within limits of all together."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imaging.errors import TooLarge, UnsuitableImage
from imaging.formats import Limits, decode, encode
from imaging.image import Rescale

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16, max_frames=5)
ONE_TO_ONE = Rescale(1, 0)


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tiff_of(*pages, **options):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            writer.write(page, **{"photometric": "minisblack", "metadata": None, **options})
    return file.getvalue()


def pages_of(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        yield from file.pages


@settings(max_examples=60)
@given(
    arrays(
        st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float32, np.float64]),
        st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(5, 7)),
        elements={"min_value": 0, "max_value": 100},
    ),
    st.sampled_from(["npy", "tiff"]),
)
def test_stacks_in_hu_come_back_bit_for_bit_and_in_order(stored, kind):
    data = npy_of(stored) if kind == "npy" else tiff_of(*stored)
    frames = decode(data, limits=LIMITS, rescale=Rescale(-2.0, 70.0))
    assert (len(frames), frames.shape, frames.unit, frames.format) == (len(stored), stored.shape[1:], "HU", kind)
    for image, plane in zip(frames, stored, strict=True):
        assert np.array_equal(image.pixels, (plane.astype(np.float64) * -2 + 70).astype(np.float32))
    back = encode(frames, [image.pixels.copy() for image in frames])
    read = np.load(io.BytesIO(back)) if kind == "npy" else np.stack([page.asarray() for page in pages_of(back)])
    assert (read.dtype, read.shape, read.tobytes()) == (stored.dtype, stored.shape, stored.tobytes())


def test_each_frame_gets_its_own_pixels_and_padding():
    stored = np.full((3, 4, 5), 40, np.int16)
    stored[1, 0, 0] = -2000
    frames = decode(npy_of(stored), limits=LIMITS, rescale=ONE_TO_ONE)
    assert [image.padding is None for image in frames] == [True, False, True]
    restored = [image.pixels + np.float32(number) for number, image in enumerate(frames)]
    back = np.load(io.BytesIO(encode(frames, restored)))
    expected = stored + np.arange(3)[:, None, None]
    expected[1, 0, 0] = -2000
    np.testing.assert_array_equal(back, expected)
    with pytest.raises(ValueError, match="zip"):
        encode(frames, restored[:2])


def test_a_stack_of_one_stays_a_stack():
    for shape in ((1, 4, 5), (4, 5)):
        frames = decode(npy_of(np.full(shape, 0.5, np.float32)), limits=LIMITS)
        assert len(frames) == 1
        assert np.load(io.BytesIO(encode(frames, [frames.first.pixels]))).shape == shape


@pytest.mark.parametrize("write", [npy_of, lambda stack: tiff_of(*stack)])
def test_more_frames_than_allowed_name_the_limit(write):
    stack = np.zeros((5, 6, 7), np.uint8)
    assert len(decode(write(stack), limits=LIMITS)) == 5
    for limits, limit in (
        (Limits(max_bytes=1 << 20, max_pixels=99), "max_frames"),  # one, unless more are asked for
        (Limits(max_bytes=1 << 20, max_pixels=99, max_frames=4), "max_frames"),
        (Limits(max_bytes=1 << 20, max_pixels=41, max_frames=5), "max_pixels"),
    ):
        with pytest.raises(TooLarge) as refused:
            decode(write(stack), limits=limits)
        assert refused.value.limit == limit


def test_all_frames_together_fit_into_max_bytes_as_float32():
    stack = np.zeros((5, 16, 16), np.uint8)
    assert len(decode(npy_of(stack), limits=Limits(5 * 16 * 16 * 4, 256, 5))) == 5
    with pytest.raises(TooLarge, match="5 frames of 16 x 16 pixels = 5120 bytes in memory, and at most 5119"):
        decode(npy_of(stack), limits=Limits(5 * 16 * 16 * 4 - 1, 256, 5))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_in_any_page_is_refused(value):
    pages = np.full((2, 4, 5), 0.5, np.float32)
    pages[1, 3, 4] = value
    with pytest.raises(UnsuitableImage, match="NaN or infinite"):
        decode(tiff_of(*pages), limits=LIMITS)
