"""The steps of one image that need numbers of their own; the whole path is in `api/test_reconstructions.py`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.formats import Frames, Limits, decode
from imaging.image import Image, Rescale
from service import pipeline
from service.errors import ModelFailed

LIMITS = Limits(max_bytes=10**6, max_pixels=10**6, max_frames=9)


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


def test_every_image_is_restored_by_itself_in_order(published):
    frames = Frames((image_of([[10, 20, 30]]), image_of([[-2, 0, 4]])))
    seen = []

    def double(batch):
        seen.append(batch.shape)
        return batch * np.float32(2)

    restored = pipeline.restore_all(frames, double, published.resolve("ct-tiny@1"), tile_pixels=512 * 512)
    assert [plane.tolist() for plane in restored] == [[[20, 40, 60]], [[-4, 0, 8]]]
    blended = [pipeline.blend(image, plane, 0.5) for image, plane in zip(frames, restored, strict=True)]
    assert [plane.tolist() for plane in blended] == [[[15, 30, 45]], [[-3, 0, 6]]]
    assert seen == [(1, 1, 3, 1)] * 2  # one by one


@pytest.mark.parametrize("unit", ["HU", "relative"])
def test_a_png_made_here_reads_back_with_the_rescale_it_tells(npy, unit):
    rescale = Rescale(1.0, 0.0) if unit == "HU" else None
    pixels = np.array([[-1024, 0, 3071]], np.float32) if unit == "HU" else np.array([[0, 0.5, 1]], np.float32)
    frames = decode(npy(pixels), limits=LIMITS, rescale=rescale)
    encoded = pipeline.encode(
        frames, [frames.first.pixels], "png", derivation=None, conventions=None, series=None
    )  # nothing of DICOM is needed
    (again,) = decode(encoded.data, limits=LIMITS, rescale=encoded.rescale if unit == "HU" else None)
    np.testing.assert_allclose(again.pixels, pixels, atol=0.5 if unit == "HU" else 0.5 / 65535)
    assert encoded.media_type == "image/png"


@pytest.mark.parametrize("wanted", ["tiff", "npy"])
def test_stacks_become_float32_of_the_unit_and_nothing_is_rounded(npy, wanted):
    stored = np.random.default_rng(1).integers(-1000, 900, (3, 5, 6)).astype(np.int16)
    frames = decode(npy(stored), limits=LIMITS, rescale=Rescale(1.0, 0.0))
    frames = Frames(tuple(replace(image, format="dicom") for image in frames), notes=("tolerated",))
    pixels = [image.pixels + np.float32(0.125) for image in frames]
    encoded = pipeline.encode(frames, pixels, wanted, derivation=None, conventions=None, series=None)
    assert (encoded.rescale, encoded.notes) == (Rescale(1.0, 0.0), ("tolerated",))
    again = decode(encoded.data, limits=LIMITS, rescale=encoded.rescale)
    assert again.first.stored.dtype == np.float32
    np.testing.assert_array_equal(np.stack([image.pixels for image in again]), stored + np.float32(0.125))


def test_several_frames_fit_neither_png_nor_a_single_dicom_instance(npy):
    frames = decode(npy(np.zeros((2, 5, 6), np.float32)), limits=LIMITS)
    for wanted in ("png", "dicom"):
        with pytest.raises(ValueError, match=r"too many values|no DICOM data set"):
            pipeline.encode(
                frames, [image.pixels for image in frames], wanted, derivation=None, conventions=None, series=None
            )
