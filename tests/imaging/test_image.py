"""Rescale and the way back to stored values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imaging.errors import UnsuitableImage
from imaging.image import Image, Rescale, to_stored_values


def image_of(stored, rescale, padding=None):
    return Image(
        pixels=rescale.to_physical(stored), unit="HU", stored=stored, rescale=rescale, format="dicom", padding=padding
    )


@pytest.mark.parametrize(("slope", "intercept"), [(0, 0), (math.nan, 0), (1, math.inf), (-math.inf, 0)])
def test_a_rescale_without_meaning_is_refused(slope, intercept):
    with pytest.raises(UnsuitableImage, match="rescale slope"):
        Rescale(slope, intercept)


def test_rescale_by_hand():
    physical = Rescale(0.5, -1000).to_physical(np.array([[0, 1, 4000]], np.uint16))
    assert physical.dtype == np.float32
    assert physical.tolist() == [[-1000.0, -999.5, 1000.0]]
    assert Rescale(0.5, -1000).to_stored(physical).tolist() == [[0.0, 1.0, 4000.0]]


@given(
    arrays(np.int16, (3, 5)),
    st.floats(0.001, 50) | st.floats(-50, -0.001),
    st.floats(-5000, 5000),
)
def test_unchanged_pixels_keep_their_stored_value(stored, slope, intercept):
    image = image_of(stored, Rescale(slope, intercept))
    result = to_stored_values(image, image.pixels.copy(), low=-32768, high=32767, dtype=np.dtype(np.int16))
    assert np.array_equal(result.values, stored)
    assert result.clipped == 0


def test_changed_pixels_are_rounded_half_to_even_clipped_and_counted():
    image = image_of(np.array([[0, 10, 20, 30]], np.int16), Rescale(2, 0))
    restored = np.array([[5.0, 20.0, 1000.0, -1000.0]], np.float32)  # stored 2.5, 10 unchanged, 500, -500
    result = to_stored_values(image, restored, low=0, high=100, dtype=np.dtype(np.int16))
    assert result.values.tolist() == [[2, 10, 100, 0]]
    assert result.clipped == 2


def test_padding_pixels_keep_their_stored_value_whatever_the_network_says():
    padding = np.array([[True, False]])
    image = image_of(np.array([[-2000, 5]], np.int16), Rescale(1, -1024), padding)
    result = to_stored_values(
        image, np.array([[3000.0, 0.0]], np.float32), low=-2048, high=2047, dtype=np.dtype(np.int16)
    )
    assert result.values.tolist() == [[-2000, 1024]]
    assert result.clipped == 0


def test_arrays_of_an_image_are_read_only():
    image = image_of(np.zeros((2, 2), np.int16), Rescale(1, 0))
    for array in (image.pixels, image.stored):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    assert image.shape == (2, 2)


def test_nan_pixels_are_refused():
    with pytest.raises(UnsuitableImage, match="NaN"):
        image_of(np.array([[math.nan]], np.float32), Rescale(1, 0))


@pytest.mark.parametrize(
    ("pixels", "stored"),
    [
        (np.zeros((2, 2, 1), np.float32), np.zeros((2, 2), np.int16)),
        (np.zeros((2, 2), np.float64), np.zeros((2, 2), np.int16)),
        (np.zeros((2, 2), np.float32), np.zeros((2, 3), np.int16)),
    ],
)
def test_shapes_and_dtypes_that_disagree_are_refused(pixels, stored):
    with pytest.raises(ValueError, match=r"shape|float32"):
        Image(pixels=pixels, unit="HU", stored=stored, rescale=Rescale(1, 0), format="npy")


@pytest.mark.parametrize(
    "restored", [np.zeros((1, 3), np.float32), np.zeros((1, 2)), np.array([[0, math.nan]], np.float32)]
)
def test_a_restored_image_that_does_not_belong_is_refused(restored):
    image = image_of(np.zeros((1, 2), np.int16), Rescale(1, 0))
    with pytest.raises(ValueError, match="restored"):
        to_stored_values(image, restored, low=0, high=1, dtype=np.dtype(np.int16))
