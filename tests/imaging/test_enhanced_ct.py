"""Multi-frame CT: every frame in order, in HU by its own functional groups, and clear words for the rest."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from imaging.dicom_file import read_dicom
from imaging.enhanced_ct import frames_from_dataset
from imaging.errors import NotAnImage, TooLarge, UnsuitableImage
from imaging.formats import decode
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 16, max_frames=8)


def frames_of(dataset, enhanced, limits=LIMITS):
    return decode(enhanced.enhanced_file(dataset), limits=limits)


def pixels_of(frames):
    return np.stack([image.pixels for image in frames])


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_every_native_syntax(enhanced, legacy, syntax):
    stack = enhanced.stack_of()
    frames = frames_of(enhanced.enhanced_ct(legacy=legacy, syntax=syntax), enhanced)
    assert (len(frames), frames.shape, frames.unit, frames.format) == (3, (12, 16), "HU", "dicom")
    np.testing.assert_array_equal(pixels_of(frames), stack.astype(np.float32) - 1024)
    np.testing.assert_array_equal(np.stack([image.stored for image in frames]), stack)
    assert frames.spacing == (0.7, 0.7)
    assert len({id(image.dataset) for image in frames}) == 1


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.int8])
@pytest.mark.parametrize("order", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_frames_of_odd_size_lie_one_after_the_other_without_gaps(enhanced, dtype, order):
    stack = np.random.default_rng(1).integers(0, 100, (3, 3, 5)).astype(dtype)
    frames = frames_of(enhanced.enhanced_ct(stack, syntax=order), enhanced)
    np.testing.assert_array_equal(np.stack([image.stored for image in frames]), stack)


def test_the_padding_byte_of_an_odd_length_is_no_frame(enhanced):
    frames = frames_of(enhanced.enhanced_ct(np.array([[[7]]], np.uint8)), enhanced)
    assert frames.first.stored.tolist() == [[7]]


def test_each_frame_has_its_own_rescale_spacing_and_padding(enhanced):
    stack = np.arange(2 * 12, dtype=np.int16).reshape(2, 3, 4) - 3
    dataset = enhanced.enhanced_ct(stack, rescales=[(1, 0), (0.5, -100)], PixelPaddingValue=-3)
    dataset["PixelPaddingValue"].VR = "SS"
    shared, own = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence
    del shared.PixelMeasuresSequence
    for groups, spacing in zip(own, ("0.5", "0.75"), strict=True):
        groups.PixelMeasuresSequence = [enhanced.item(PixelSpacing=[spacing, "1"], SliceThickness="1")]
    frames = frames_of(dataset, enhanced)
    assert [image.spacing for image in frames] == [(0.5, 1), (0.75, 1)]
    assert frames.spacing is None
    assert frames.first.pixels[0].tolist() == [-1000, -2, -1, 0]
    assert frames.images[1].pixels[0].tolist() == [-95.5, -95, -94.5, -94]
    assert frames.images[1].padding is None
    assert np.argwhere(frames.padding).tolist() == [[0, 0, 0]]


def test_a_missing_spacing_is_none_and_one_frame_is_a_frame(enhanced):
    dataset = enhanced.enhanced_ct(enhanced.stack_of(1))
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    frames = frames_of(dataset, enhanced)
    assert (len(frames), frames.spacing) == (1, None)


def set_group(place, keyword, **attributes):
    """Changes an attribute in a functional group, or removes the group."""

    def change(dataset):
        groups = dataset.SharedFunctionalGroupsSequence[0] if place == 0 else None
        groups = groups or dataset.PerFrameFunctionalGroupsSequence[place - 1]
        if attributes:
            for name, value in attributes.items():
                setattr(groups[keyword].value[0], name, value)
        else:
            del groups[keyword]

    return change


def top(**attributes):
    def change(dataset):
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
            if value is None:
                del dataset[keyword]

    return change


def fewer_groups(dataset):
    dataset.PerFrameFunctionalGroupsSequence = Sequence(dataset.PerFrameFunctionalGroupsSequence[:2])


def two_items(dataset):
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = Sequence([Dataset(), Dataset()])


def no_groups(dataset):
    del dataset.PerFrameFunctionalGroupsSequence


RESCALE, TYPE = "PixelValueTransformationSequence", "CTImageFrameTypeSequence"
LOCALIZER = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
FLOW = ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]
REFUSED = {
    "no modality": (top(Modality=None), UnsuitableImage, "Modality is ''"),
    "MR": (top(Modality="MR"), UnsuitableImage, "Modality is 'MR'"),
    "no pixels": (top(PixelData=None), UnsuitableImage, "no pixel data"),
    "colour": (top(PhotometricInterpretation="RGB", SamplesPerPixel=3), UnsuitableImage, "PhotometricInterpretation"),
    "colour of some values": (top(PixelPresentation="COLOR"), UnsuitableImage, "PixelPresentation is 'COLOR'"),
    "colour in a frame": (set_group(0, TYPE, PixelPresentation="COLOR"), UnsuitableImage, "frame 1: PixelPresentation"),
    "no number": (top(NumberOfFrames=None), UnsuitableImage, "NumberOfFrames is missing"),
    "number 0": (top(NumberOfFrames=0), UnsuitableImage, "NumberOfFrames is 0"),
    "negative number": (top(NumberOfFrames=-3), UnsuitableImage, "NumberOfFrames is -3"),
    "more than are there": (top(NumberOfFrames=4), UnsuitableImage, "has 3 items, and NumberOfFrames is 4"),
    "fewer than are there": (top(NumberOfFrames=2), UnsuitableImage, "has 3 items, and NumberOfFrames is 2"),
    "fewer groups": (fewer_groups, UnsuitableImage, "has 2 items, and NumberOfFrames is 3"),
    "no groups": (no_groups, UnsuitableImage, "has 0 items"),
    "two items": (two_items, UnsuitableImage, "frame 1: PixelMeasuresSequence has 2 items"),
    "no rescale": (set_group(0, RESCALE), UnsuitableImage, "frame 1: PixelValueTransformationSequence is in neither"),
    "not HU": (set_group(0, RESCALE, RescaleType="MGML"), UnsuitableImage, "frame 1: RescaleType is 'MGML'"),
    "no slope": (set_group(0, RESCALE, RescaleSlope=None), UnsuitableImage, "frame 1: RescaleSlope is missing"),
    "slope 0": (set_group(0, RESCALE, RescaleSlope="0"), UnsuitableImage, "frame 1: rescale slope 0"),
    "huge slope": (set_group(0, RESCALE, RescaleSlope="1e9"), UnsuitableImage, "frame 1: with rescale slope"),
    "localizer": (set_group(0, TYPE, FrameType=LOCALIZER), UnsuitableImage, "frame 1: it is a localizer"),
    "localizers": (top(ImageType=LOCALIZER), UnsuitableImage, "the image is a localizer"),
    "map": (set_group(0, TYPE, FrameType=FLOW), UnsuitableImage, "frame 1: it is a map of kind RCBF"),
    "no rows": (top(Rows=None), UnsuitableImage, "Rows is missing"),
    "rows 0": (top(Rows=0), UnsuitableImage, "Rows 0"),
    "bits": (top(BitsStored=20), UnsuitableImage, "BitsStored is 20"),
    "truncated": (top(PixelData=bytes(3 * 12 * 16 * 2 - 2)), NotAnImage, "NumberOfFrames 3 x Rows 12 x Columns 16 x 2"),
    "one frame more": (top(PixelData=bytes(4 * 12 * 16 * 2)), UnsuitableImage, "more frames in it than NumberOfFrames"),
    "too many pixels": (top(Rows=60000, Columns=60000), TooLarge, "60000 rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(enhanced, name):
    change, error, message = REFUSED[name]
    dataset = enhanced.enhanced_ct()
    change(dataset)
    with pytest.raises(error, match=message):
        frames_of(dataset, enhanced)


def test_the_frame_that_is_wrong_is_named(enhanced):
    dataset = enhanced.enhanced_ct(rescales=[(1, -1024)] * 3)
    set_group(3, RESCALE, RescaleType="US")(dataset)
    with pytest.raises(UnsuitableImage, match="frame 3: RescaleType is 'US'"):
        frames_of(dataset, enhanced)


def test_bytes_after_the_last_pixel_are_ignored_and_logged(enhanced, caplog):
    dataset = enhanced.enhanced_ct()
    dataset.PixelData += bytes(100)
    with caplog.at_level(logging.WARNING):
        frames = frames_of(dataset, enhanced)
    np.testing.assert_array_equal(np.stack([image.stored for image in frames]), enhanced.stack_of())
    assert "ignored 100 bytes" in caplog.text


@pytest.mark.parametrize(
    ("limits", "message", "limit"),
    [
        ({"max_frames": 2}, "3 frames and at most 2 are allowed; send instances of fewer frames", "max_frames"),
        ({"max_frames": 1}, "whole series of hundreds in one are not taken yet", "max_frames"),
        ({"max_pixels": 191}, "12 rows and 16 columns", "max_pixels"),
        ({"max_bytes": 3 * 12 * 16 * 4 - 1}, "3 frames of 12 x 16 pixels = 2304 bytes in memory", "max_bytes"),
    ],
)
def test_limits_come_before_any_pixel(enhanced, monkeypatch, limits, message, limit):
    dataset = read_dicom(enhanced.enhanced_file(enhanced.enhanced_ct()), limits=LIMITS)
    monkeypatch.setattr("imaging.enhanced_ct.stored_values", lambda *_: pytest.fail("pixels were touched"))
    changed = Limits(**{"max_bytes": 1 << 24, "max_pixels": 1 << 16, "max_frames": 8, **limits})
    with pytest.raises(TooLarge, match=message) as error:
        frames_from_dataset(dataset, limits=changed)
    assert error.value.limit == limit


def test_groups_may_take_more_bytes_where_more_frames_are_allowed(enhanced):
    dataset = enhanced.enhanced_ct(enhanced.stack_of(4))
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        groups.FrameContentSequence[0].TextValue = "x" * 300_000
    data = enhanced.enhanced_file(dataset)
    with pytest.raises(TooLarge, match="1048576 are allowed for 8 frames") as error:
        decode(data, limits=LIMITS)
    assert error.value.limit == "max_frames"
    wide = Limits(max_bytes=1 << 24, max_pixels=1 << 16, max_frames=100)
    assert len(decode(data, limits=wide)) == 4


def test_ordinary_ct_with_several_frames_is_refused_and_told_what_to_send(enhanced):
    dataset = enhanced.enhanced_ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    with pytest.raises(UnsuitableImage, match=r"CT Image Storage has one frame.*send single frames, or Enhanced CT"):
        frames_of(dataset, enhanced)


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from([np.int16, np.uint16, np.uint8]),
    slope=st.sampled_from([1, 0.5, 2, -1]),
    data=st.data(),
)
def test_hu_of_any_stack_are_those_of_its_formula(enhanced, shape, dtype, slope, data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    stack = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    intercepts = data.draw(st.lists(st.integers(-900, 900), min_size=shape[0], max_size=shape[0]))
    dataset = enhanced.enhanced_ct(stack, rescales=[(slope, intercept) for intercept in intercepts])
    found = pixels_of(frames_of(dataset, enhanced))
    expected = np.stack([frame * slope + b for frame, b in zip(stack.astype(float), intercepts, strict=True)])
    np.testing.assert_array_equal(found, expected.astype(np.float32))
