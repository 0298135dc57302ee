"""Buckets, and that a batch gives what each of its images alone would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching import bucket_of, stack, unstack
from service.errors import ModelFailed

SIDES = st.integers(1, 40)


@given(shape=st.tuples(SIDES, SIDES), multiple=st.integers(1, 16))
def test_a_bucket_is_the_next_size_on_the_grid(shape, multiple):
    bucket = bucket_of(shape, multiple)
    assert all(size % multiple == 0 and 0 <= size - side < multiple for size, side in zip(bucket, shape, strict=True))


@given(sides=st.lists(st.tuples(st.integers(17, 32), st.integers(33, 48)), min_size=1, max_size=4), seed=st.integers(0))
def test_images_are_padded_as_numpy_does_and_come_back_as_they_were(sides, seed):
    random = np.random.default_rng(seed)
    images = [random.normal(size=(1, *side, 1)).astype(np.float32) for side in sides]
    stacked = stack(images, (32, 48))
    for part, image in zip(stacked, images, strict=True):
        missing = [(0, whole - side) for whole, side in zip((32, 48), image.shape[1:3], strict=True)]
        np.testing.assert_array_equal(part, np.pad(image[0], [*missing, (0, 0)], mode="edge"))
    two = np.concatenate([stacked, stacked + 1], axis=-1)
    for back, image in zip(unstack(two, images, (32, 48)), images, strict=True):
        np.testing.assert_array_equal(back, np.concatenate([image, image + 1], axis=-1))


@pytest.mark.parametrize("answer", [np.zeros((1, 16, 16, 1)), np.zeros((2, 16, 15, 1)), np.zeros((2, 16, 16))])
def test_another_number_or_size_is_a_failure_of_the_model(answer):
    images = [np.zeros((1, 15, 16, 1), np.float32)] * 2
    with pytest.raises(ModelFailed, match="2 images of 16 x 16"):
        unstack(answer, images, (16, 16))
