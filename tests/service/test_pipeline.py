"""The steps of one image that need numbers of their own; the whole path is in `api/test_reconstructions.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.errors import UnsuitableImage
from imaging.formats import Limits, decode
from imaging.image import Image, Rescale
from service import pipeline
from service.errors import ModelFailed

LIMITS = Limits(max_bytes=10**6, max_pixels=10**6)


def image_of(pixels, padding=None):
    pixels = np.array(pixels, np.float32)
    return Image(
        pixels=pixels.copy(),
        unit="HU",
        stored=pixels.copy(),
        rescale=Rescale(1, 0),
        format="npy",
        padding=None if padding is None else np.array(padding),
    )


@given(st.floats(0, 1, width=32))
def test_blending_by_hand(strength):
    image, restored = image_of([[10, -20]]), np.array([[30, -20]], np.float32)
    blended = pipeline.blend(image, restored, strength)
    assert blended.dtype == np.float32
    np.testing.assert_allclose(blended, [[10 + 20 * strength, -20]], rtol=1e-6)


def test_strength_0_and_1_are_exact_and_copy_nothing_into_the_source():
    image = image_of([[0.1, 1e5]])
    restored = np.array([[1e-7, -1e5]], np.float32)
    np.testing.assert_array_equal(pipeline.blend(image, restored, 0), image.pixels)
    np.testing.assert_array_equal(pipeline.blend(image, restored, 1), restored)
    np.testing.assert_array_equal(image.pixels, np.array([[0.1, 1e5]], np.float32))


@pytest.mark.parametrize("strength", [0, 0.5, 1])
def test_padding_pixels_are_never_blended(strength):
    image = image_of([[-1000, 5]], [[True, False]])
    restored = np.array([[70, 7]], np.float32)
    assert pipeline.blend(image, restored, strength)[0, 0] == -1000
    assert restored[0, 0] == 70


@pytest.mark.parametrize(
    "answer",
    [
        np.zeros((1, 1, 3, 1), np.float32),
        np.zeros((2, 1, 2, 1), np.float32),
        np.zeros((1, 1, 2, 1), np.float64),
        np.array([[[[np.nan], [0]]]], np.float32),
        np.array([[[[0], [-np.inf]]]], np.float32),
        [[0, 0]],
    ],
)
def test_answers_that_must_not_be_delivered(answer):
    with pytest.raises(ModelFailed, match="ct-l2@3"):
        pipeline.checked(answer, image_of([[1, 2]]), "ct-l2@3")


def test_reconstruct_is_all_of_it():
    image = image_of([[10, 20, 30]])
    pixels = pipeline.reconstruct(image, lambda batch: batch * np.float32(2), ref="x@1", strength=0.5)
    np.testing.assert_array_equal(pixels, [[15, 30, 45]])


def test_a_rescale_reaches_those_files_that_state_no_unit(ct_slice, npy):
    stored = np.array([[0, 1024], [1000, 2000]], np.int16)
    image, reference = pipeline.decode_pair(ct_slice(stored), npy(stored), limits=LIMITS, rescale=Rescale(2.0, -10.0))
    assert reference is not None
    np.testing.assert_array_equal(image.pixels, stored - 1024.0)
    np.testing.assert_array_equal(reference.pixels, stored * 2.0 - 10)


def test_a_rescale_that_reaches_nothing_is_refused(ct_slice):
    with pytest.raises(UnsuitableImage, match="rescale_slope"):
        pipeline.decode_pair(ct_slice(), ct_slice(), limits=LIMITS, rescale=Rescale(1.0, 0.0))


@pytest.mark.parametrize("unit", ["HU", "relative"])
def test_a_png_made_here_reads_back_with_the_rescale_it_tells(npy, unit):
    rescale = Rescale(1.0, 0.0) if unit == "HU" else None
    pixels = np.array([[-1024, 0, 3071]], np.float32) if unit == "HU" else np.array([[0, 0.5, 1]], np.float32)
    image = decode(npy(pixels), limits=LIMITS, rescale=rescale)
    encoded = pipeline.encode(
        image, image.pixels, "png", derivation=None, conventions=None, series=None
    )  # nothing of DICOM is needed
    again = decode(encoded.data, limits=LIMITS, rescale=encoded.rescale if unit == "HU" else None)
    np.testing.assert_allclose(again.pixels, pixels, atol=0.5 if unit == "HU" else 0.5 / 65535)
    assert encoded.media_type == "image/png"
