"""Which files a model may have, alone and in pairs."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.errors import UnsuitableImage
from imaging.formats import Limits
from imaging.image import Rescale
from imaging.tiff import write_tiff
from service.errors import UnitMismatch
from service.intake import decode_pair, take_in
from service.settings import SiteConventions

LIMITS = Limits(max_bytes=10**6, max_pixels=10**6, max_frames=9)
ONE_TO_ONE = Rescale(1.0, 0.0)


def test_a_rescale_reaches_those_files_that_state_no_unit(ct_slice, npy):
    stored = np.array([[0, 1024], [1000, 2000]], np.int16)
    image, reference = decode_pair(ct_slice(stored), npy(stored), limits=LIMITS, rescale=Rescale(2.0, -10.0))
    assert reference is not None
    np.testing.assert_array_equal(image.first.pixels, stored - 1024.0)
    np.testing.assert_array_equal(reference.first.pixels, stored * 2.0 - 10)


def test_a_rescale_that_reaches_nothing_is_refused(ct_slice):
    with pytest.raises(UnsuitableImage, match="rescale_slope"):
        decode_pair(ct_slice(), ct_slice(), limits=LIMITS, rescale=ONE_TO_ONE)


def test_a_reference_may_be_of_another_format_with_as_many_frames(npy):
    stack = np.arange(60, dtype=np.int16).reshape(2, 5, 6)
    image, reference = decode_pair(write_tiff(stack), npy(stack), limits=LIMITS, rescale=ONE_TO_ONE)
    assert reference is not None
    assert (image.format, reference.format, len(reference)) == ("tiff", "npy", 2)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ((2, 5, 6), (3, 5, 6), "the reference has 3 frames and the image 2 frames"),
        ((5, 6), (3, 5, 6), "the reference has 3 frames and the image 1 frame;"),
        ((2, 5, 6), (2, 6, 5), "6 x 5 pixels and the image 5 x 6"),
    ],
)
def test_pairs_that_do_not_belong_together(npy, left, right, message):
    with pytest.raises(UnsuitableImage, match=message):
        decode_pair(npy(np.zeros(left)), npy(np.zeros(right)), limits=LIMITS, rescale=ONE_TO_ONE)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_a_tiff_without_unit_for_a_ct_model_names_fields_and_models(published, dtype):
    def take(rescale, name):
        return take_in(
            write_tiff(np.full((2, 4, 5), 1, dtype)),
            None,
            rescale=rescale,
            manifest=published.resolve(name).manifest,
            limits=LIMITS,
            conventions=SiteConventions(),
            models_taking=lambda unit: [f"model-for-{unit}"],
        )

    with pytest.raises(UnitMismatch, match="this TIFF file states no unit: send rescale_slope") as refused:
        take(None, "ct-tiny")
    assert refused.value.missing_fields == ("rescale_slope", "rescale_intercept")
    assert refused.value.models == ("model-for-relative",)
    frames, _ = take(ONE_TO_ONE, "ct-tiny")
    assert (frames.unit, len(frames), frames.first.pixels[0, 0]) == ("HU", 2, 1)
    with pytest.raises(UnitMismatch, match="model-for-HU"):
        take(ONE_TO_ONE, "gray-tiny")
