"""Frames are alike, in order, and at least one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imaging.frames import Frames
from imaging.image import Image, Rescale


def image_of(value, *, shape=(2, 3), dtype=np.int16, unit="HU"):
    stored = np.full(shape, value, dtype)
    return Image(pixels=stored.astype(np.float32), unit=unit, stored=stored, rescale=Rescale(1, 0), format="npy")


def test_order_and_what_they_share():
    images = tuple(image_of(value) for value in (5, 3, 4))
    frames = Frames(images)
    assert list(frames) == list(images)
    assert (len(frames), frames.first, frames.format, frames.unit, frames.shape) == (3, images[0], "npy", "HU", (2, 3))


@pytest.mark.parametrize(
    "other",
    [
        image_of(1, shape=(3, 2)),
        image_of(1, dtype=np.uint16),
        image_of(1, unit="relative"),
        replace(image_of(1), format="tiff"),
    ],
)
def test_images_that_differ_are_no_frames(other):
    with pytest.raises(ValueError, match="2 of 2 kinds"):
        Frames((image_of(1), other))


def test_no_image_is_no_frames():
    with pytest.raises(ValueError, match="at least one, not 0"):
        Frames(())
