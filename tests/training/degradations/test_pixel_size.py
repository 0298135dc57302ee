from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from training.degradations.pixel_size import resample, resized


@pytest.mark.parametrize("shape", [(64, 64), (48, 48), (90, 90), (30, 77)])
def test_it_is_pillows_cubic_convolution(shape):
    image = np.random.default_rng(0).normal(0, 100, (64, 64)).astype(np.float32)
    expected = np.asarray(Pillow.fromarray(image).resize(shape[::-1], Pillow.Resampling.BICUBIC))
    np.testing.assert_allclose(resample(image, shape), expected, atol=1e-3)


def test_the_same_size_is_the_same_image():
    image = np.random.default_rng(0).normal(0, 100, (17, 23)).astype(np.float32)
    np.testing.assert_allclose(resample(image, (17, 23)), image, atol=1e-4)


def test_smaller_pixels_make_smoother_noise_and_larger_ones_sharper():
    rng = np.random.default_rng(0)
    soft = np.apply_along_axis(np.convolve, 1, rng.normal(0, 1, (400, 400)), [0.25, 0.5, 0.25], "same").astype(
        np.float32
    )

    def correlation(image):
        inner = image[10:-10, 10:-10]
        return float(np.corrcoef(inner[:, 1:].ravel(), inner[:, :-1].ravel())[0, 1])

    finer, same, coarser = (correlation(resample(soft, (400, wide))) for wide in (600, 400, 300))
    assert finer > same + 0.1
    assert coarser < same - 0.1


@given(
    size=st.integers(4, 80),
    start=st.integers(0, 40),
    side=st.integers(1, 40),
    factor=st.floats(0.3, 3, allow_nan=False),
)
def test_the_window_lies_in_the_image_and_around_the_same_middle(size, start, side, factor):
    start, side = min(start, size - 1), min(side, size - min(start, size - 1))
    number, rows, columns = resized((7, slice(start, start + side), slice(0, size)), factor, (size, size))
    assert number == 7
    for found in (rows, columns):
        assert 0 <= found.start < found.stop <= size
    length = rows.stop - rows.start
    assert length == min(max(1, round(side * factor)), size)
    if rows.start > 0 and rows.stop < size:
        assert abs((rows.start + rows.stop) - (2 * start + side)) <= 1
