"""Pixels of derived multi-frame instances: one encoding for all frames, padding put back, strength 0 bit for bit."""

from __future__ import annotations

import jpeg_ls
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSNearLossless

RESCALE = "PixelValueTransformationSequence"


def into_metal(image, number):
    """One pixel of the second frame beyond 12 bits."""
    restored = image.pixels.copy()
    if number == 1:
        restored[3, 4] = 20000
    return restored


def test_one_pixel_that_does_not_fit_changes_the_encoding_of_every_frame(frames_work, enhanced):
    stack = enhanced.stack_of()
    rescales = [(1, -1024), (1, -1000), (0.5, -500)]
    made = frames_work(enhanced.enhanced_file(enhanced.enhanced_ct(stack, bits=12, rescales=rescales)), into_metal)
    assert made.findings() == ()
    assert made.derived.pixels.reencoded
    assert made.derived.pixels.clipped == 0
    derived = made.written()
    assert (derived.BitsAllocated, derived.BitsStored, derived.HighBit, derived.PixelRepresentation) == (16, 16, 15, 1)
    for groups in derived.PerFrameFunctionalGroupsSequence:
        (one,) = groups[RESCALE].value
        assert (one.RescaleSlope, one.RescaleIntercept, one.RescaleType) == (1, 0, "HU")
    expected = np.stack([np.rint(frame * m + b) for frame, (m, b) in zip(stack.astype(float), rescales, strict=True)])
    expected[1, 3, 4] = 20000
    np.testing.assert_array_equal(derived.pixel_array, expected)


def test_all_frames_are_hu_where_the_series_wants_it(frames_work, enhanced):
    made = frames_work(enhanced.enhanced_file(enhanced.enhanced_ct()), 0.0, as_hounsfield=True)
    assert made.findings() == ()
    np.testing.assert_array_equal(made.written().pixel_array, enhanced.stack_of().astype(int) - 1024)


def test_maps_of_the_old_values_go_with_them(frames_work, enhanced):
    source = enhanced.enhanced_ct()
    mapping = enhanced.item(RealWorldValueFirstValueMapped=0, RealWorldValueLastValueMapped=9, LUTLabel="X")
    for element in mapping:
        element.VR = "US" if element.VR == "US or SS" else element.VR
    source.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = [mapping]
    file = enhanced.enhanced_file(source)
    kept, gone = frames_work(file, 1.0), frames_work(file, into_metal)
    assert kept.findings() == gone.findings() == ()
    assert "RealWorldValueMappingSequence" in kept.written().SharedFunctionalGroupsSequence[0]
    assert "RealWorldValueMappingSequence" not in gone.written().SharedFunctionalGroupsSequence[0]


def test_padding_is_put_back_and_collisions_move(frames_work, enhanced):
    stack = enhanced.stack_of()
    stack[1, :2] = 0
    stack[2, 5, 5] = 5
    source = enhanced.enhanced_ct(stack, bits=12)
    source.add_new("PixelPaddingValue", "US", 0)
    made = frames_work(enhanced.enhanced_file(source), -5.0)
    assert made.findings() == ()
    assert made.derived.pixels.moved == 1
    derived = made.written()
    expected = stack - 5
    expected[1, :2], expected[2, 5, 5] = 0, 1
    np.testing.assert_array_equal(derived.pixel_array, expected)
    assert (derived.PixelPaddingValue, derived["PixelPaddingValue"].VR) == (0, "US")
    wide = frames_work(enhanced.enhanced_file(source), into_metal)
    assert wide.findings() == ()
    again = wide.written()
    assert (again.PixelPaddingValue, again["PixelPaddingValue"].VR) == (-32768, "SS")
    assert (again.pixel_array[1, :2] == -32768).all()


def test_lossy_frames_are_marked_with_the_ratio_of_all(frames_work, enhanced):
    stack = enhanced.stack_of(2, (33, 35))
    streams = [bytes(jpeg_ls.encode_array(stack[0])), bytes(jpeg_ls.encode_array(stack[1], lossy_error=3))]
    source = enhanced.compressed(enhanced.enhanced_ct(stack, bits=12), streams, JPEGLSNearLossless)
    made = frames_work(enhanced.enhanced_file(source), 1.0)
    assert made.findings() == ()
    derived = made.written()
    assert (derived.LossyImageCompression, derived.LossyImageCompressionMethod) == ("01", "ISO_14495_1")
    padded = sum(len(stream) + len(stream) % 2 for stream in streams)
    assert derived.LossyImageCompressionRatio == pytest.approx(stack.nbytes / padded, rel=1e-3)


@settings(max_examples=30)
@given(
    padding=st.none() | st.integers(0, 5),
    encoding=st.tuples(
        st.booleans(), st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
    ),
    drawn=st.tuples(st.sampled_from([1, 0.5, 0.1, 3, -1]), st.integers(0, 2**32 - 1)),
)
def test_strength_0_gives_back_every_stored_value(frames_work, enhanced, encoding, padding, drawn):
    (signed, syntax), (slope, seed) = encoding, drawn
    random = np.random.default_rng(seed)
    low, high = (-2000, 2000) if signed else (0, 4000)
    stack = random.integers(low, high, (3, 5, 7)).astype(np.int16 if signed else np.uint16)
    stack[random.random(stack.shape) < 0.1] = padding or 0
    source = enhanced.enhanced_ct(stack, syntax=syntax, rescales=[(slope, -10), (slope, 0), (1, 5)])
    if padding is not None:
        source.add_new("PixelPaddingValue", "SS" if signed else "US", padding)
    made = frames_work(enhanced.enhanced_file(source), 0.0, strength=0.0)
    assert made.findings() == ()
    assert not made.derived.pixels.reencoded
    np.testing.assert_array_equal(made.written().pixel_array, stack)
