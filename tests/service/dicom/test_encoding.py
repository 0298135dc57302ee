"""Stored values: exact where nothing changed, padding back in its place, a new encoding when one is needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from imaging.dicom_pixels import PixelEncoding
from service.dicom.encoding import move_collisions


def set_hu(**at):
    """A change that sets single pixels, by `r_c=HU`, and leaves the others."""

    def change(image):
        restored = image.pixels.copy()
        for place, value in at.items():
            row, column = place.strip("p").split("_")
            restored[int(row), int(column)] = value
        return restored

    return change


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int8, np.uint8])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
@settings(max_examples=15)
@given(data=st.data())
def test_an_identity_gives_back_every_stored_value(work, ct_slice, dtype, syntax, data):
    stored = data.draw(arrays(dtype, (3, 5)))
    slope = data.draw(st.sampled_from(["1", "2", "0.5", "-1", "1.37", "0.01"]))
    made = work(ct_slice(stored, syntax=syntax, RescaleSlope=slope))
    assert made.derived.pixels.reencoded is False
    assert made.derived.pixels.clipped == made.derived.pixels.moved == 0
    np.testing.assert_array_equal(made.written().pixel_array, stored)


@pytest.mark.parametrize(("bits", "signed"), [(12, False), (12, True), (13, True), (16, False)])
def test_bits_stored_are_respected(work, ct_slice, bits, signed):
    stored = np.array([[0, 100, 200]], np.int16 if signed else np.uint16)
    made = work(ct_slice(stored, BitsStored=bits, HighBit=bits - 1), 1.0)
    derived = made.written()
    assert (derived.BitsStored, derived.HighBit, derived.PixelRepresentation) == (bits, bits - 1, int(signed))
    np.testing.assert_array_equal(derived.pixel_array, stored + 1)


def test_rounding_is_to_the_nearest_stored_value(work, ct_slice):
    stored = np.array([[1000, 1000, 1000, 1000]], np.int16)
    made = work(ct_slice(stored, RescaleSlope="2", RescaleIntercept="0"), set_hu(p0_0=2000.9, p0_1=2001.1, p0_2=1998.9))
    np.testing.assert_array_equal(made.derived.pixels.values, [[1000, 1001, 999, 1000]])


def test_a_value_beyond_the_encoding_reencodes_the_instance(work, ct_slice):
    stored = np.array([[0, 1024, 4095]], np.uint16)
    made = work(ct_slice(stored, BitsStored=12, HighBit=11, RescaleType="HU"), set_hu(p0_2=3072.4))
    derived = made.written()
    assert made.derived.pixels.reencoded
    assert (derived.BitsAllocated, derived.BitsStored, derived.HighBit, derived.PixelRepresentation) == (16, 16, 15, 1)
    assert (float(derived.RescaleSlope), float(derived.RescaleIntercept), derived.RescaleType) == (1, 0, "HU")
    np.testing.assert_array_equal(derived.pixel_array, [[-1024, 0, 3072]])
    assert any("16 bits signed" in note for note in made.derived.notes)


def test_beyond_16_bits_is_clipped_and_counted(work, ct_slice):
    stored = np.array([[0, 1024, 4095]], np.uint16)
    made = work(ct_slice(stored, BitsStored=12, HighBit=11), set_hu(p0_0=40000, p0_1=-40000))
    np.testing.assert_array_equal(made.derived.pixels.values, [[32767, -32768, 3071]])
    assert made.derived.pixels.clipped == 2


def test_padding_keeps_its_stored_values_whatever_the_network_says(work, ct_slice):
    stored = np.array([[-2000, -2000, 50], [60, 70, -2000]], np.int16)
    derived = work(ct_slice(stored, PixelPaddingValue=-2000), 100.0).written()
    np.testing.assert_array_equal(derived.pixel_array, [[-2000, -2000, 150], [160, 170, -2000]])
    assert (derived.PixelPaddingValue, derived["PixelPaddingValue"].VR) == (-2000, "SS")


def test_a_padding_range_keeps_all_its_values(work, ct_slice):
    stored = np.array([[0, 5, 9, 500]], np.uint16)
    derived = work(ct_slice(stored, PixelPaddingValue=0, PixelPaddingRangeLimit=9), 100.0).written()
    np.testing.assert_array_equal(derived.pixel_array, [[0, 5, 9, 600]])
    assert (derived.PixelPaddingValue, derived.PixelPaddingRangeLimit) == (0, 9)


def test_padding_written_under_the_other_sign_gets_the_sign_of_the_pixels(work, ct_dataset, to_file):
    dataset = ct_dataset(np.array([[-2000, 10]], np.int16))
    dataset.add_new("PixelPaddingValue", "US", 63536)
    derived = work(to_file(dataset), 1.0).written()
    assert (derived.PixelPaddingValue, derived["PixelPaddingValue"].VR) == (-2000, "SS")
    np.testing.assert_array_equal(derived.pixel_array, [[-2000, 11]])


def test_a_result_that_would_become_padding_moves_beside_it(work, ct_slice):
    stored = np.array([[0, 500, 501]], np.uint16)
    made = work(ct_slice(stored, PixelPaddingValue=0), set_hu(p0_1=-1024))
    np.testing.assert_array_equal(made.derived.pixels.values, [[0, 1, 501]])
    assert made.derived.pixels.moved == 1


def test_undeclared_padding_keeps_its_stored_value_and_declares_nothing(work, ct_slice):
    stored = np.array([[-2000, 10]], np.int16)
    derived = work(ct_slice(stored), 7.0).written()
    np.testing.assert_array_equal(derived.pixel_array, [[-2000, 17]])
    assert "PixelPaddingValue" not in derived


def test_reencoding_keeps_padding_that_is_no_measurement_in_hu(work, ct_slice):
    stored = np.array([[-2000, 10, 20]], np.int16)
    made = work(ct_slice(stored, BitsStored=12, HighBit=11, PixelPaddingValue=-2000), set_hu(p0_1=5000))
    np.testing.assert_array_equal(made.derived.pixels.values, [[-2000, 5000, -1004]])
    assert made.derived.pixels.padding == (-2000, -2000)


def test_reencoding_moves_padding_that_would_be_tissue_in_hu(work, ct_slice):
    stored = np.array([[0, 10, 20]], np.uint16)
    made = work(ct_slice(stored, BitsStored=12, HighBit=11, PixelPaddingValue=0), set_hu(p0_1=5000, p0_2=0))
    # water stays water: 0 is no padding any more
    np.testing.assert_array_equal(made.derived.pixels.values, [[-32768, 5000, 0]])
    derived = made.written()
    assert (derived.PixelPaddingValue, derived["PixelPaddingValue"].VR) == (-32768, "SS")


def test_reencoding_keeps_the_hu_of_undeclared_padding(work, ct_slice):
    stored = np.array([[-2000, 10, 20]], np.int16)
    made = work(ct_slice(stored, BitsStored=12, HighBit=11), set_hu(p0_1=5000))
    np.testing.assert_array_equal(made.derived.pixels.values, [[-3024, 5000, -1004]])


def test_reencoding_drops_maps_of_the_old_stored_values(work, ct_dataset, to_file):
    dataset = ct_dataset(np.array([[0, 10]], np.uint16), BitsStored=12, HighBit=11)
    dataset.RealWorldValueMappingSequence = Sequence([Dataset()])
    assert "RealWorldValueMappingSequence" in work(to_file(dataset), 1.0).written()
    assert "RealWorldValueMappingSequence" not in work(to_file(dataset), set_hu(p0_0=9999)).written()


ENCODING = PixelEncoding(bits_allocated=8, bits_stored=8, signed=False)


@given(
    values=arrays(np.uint8, (20,)),
    low=st.integers(-5, 260),
    width=st.integers(0, 60),
)
def test_moving_reaches_the_nearest_value_outside(values, low, width):
    high = low + width
    if low <= 0 and high >= 255:
        return  # nothing is left outside
    moved, count = move_collisions(values[None], (low, high), None, ENCODING)
    outside = np.array([value for value in range(256) if not low <= value <= high])
    for before, after in zip(values, moved[0], strict=True):
        distances = np.abs(outside.astype(int) - int(before))
        assert abs(int(after) - int(before)) == distances.min()
        assert after in outside
    assert count == np.count_nonzero((values >= low) & (values <= high))
