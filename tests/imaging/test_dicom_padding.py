"""What counts as padding of a CT image: the values that it declares, and undeclared ones far below air."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import DataElement
from pydicom.uid import ImplicitVRLittleEndian

from imaging.dicom_pixels import image_from_dataset, padding_range, read_dicom
from imaging.errors import UnsuitableImage
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16)
PADDED = np.array([[-2000, -1999, 0, 100]], np.int16)


def image_of(data):
    return image_from_dataset(read_dicom(data, limits=LIMITS), max_pixels=LIMITS.max_pixels)


@pytest.mark.parametrize(
    ("value", "vr", "limit", "expected"),
    [
        (-2000, "SS", None, [True, False, False, False]),
        (63536, "US", None, [True, False, False, False]),  # the same bits under the other sign
        (-2000, "SS", -1000, [True, True, False, False]),
        (-1000, "SS", -2000, [True, True, False, False]),
        (100, "SS", None, [False, False, False, True]),
        (5, "SS", None, None),
    ],
)
def test_declared_padding_of_signed_pixels(make_ct, value, vr, limit, expected):
    dataset = make_ct(PADDED, RescaleIntercept=1000)  # nothing looks like undeclared padding
    dataset.add(DataElement("PixelPaddingValue", vr, value))
    if limit is not None:
        dataset.add(DataElement("PixelPaddingRangeLimit", "SS", limit))
    image = image_from_dataset(dataset, max_pixels=9)
    if expected is None:
        assert image.padding is None
        return
    assert image.padding.tolist() == [expected]
    assert set(image.pixels[image.padding].tolist()) == {-1000.0}
    assert image.stored.tolist() == PADDED.tolist()


def test_negative_padding_of_unsigned_pixels(make_ct):
    dataset = make_ct(np.array([[63536, 62512, 1000]], np.uint16))
    dataset.add(DataElement("PixelPaddingValue", "SS", -2000))
    dataset.add(DataElement("PixelPaddingRangeLimit", "SS", -3024))
    assert padding_range(dataset) == (62512, 63536)
    assert image_from_dataset(dataset, max_pixels=9).padding.tolist() == [[True, True, False]]


def test_padding_that_the_bits_cannot_hold_matches_no_pixel(make_ct):
    dataset = make_ct(np.array([[2096, 0]], np.uint16), bits=12)  # 2096 is -2000 cut to 12 bits
    dataset.add(DataElement("PixelPaddingValue", "SS", -2000))
    assert image_from_dataset(dataset, max_pixels=9).padding is None


def test_padding_written_as_ambiguous_vr_in_an_implicit_file(make_file):
    image = image_of(make_file(PADDED, syntax=ImplicitVRLittleEndian, PixelPaddingValue=-2000, RescaleIntercept=1000))
    assert image.padding.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("value", [["1", "2"], "text"])
def test_padding_that_is_no_number_is_refused(make_ct, value):
    dataset = make_ct()
    dataset.add(DataElement("PixelPaddingValue", "LO", value))
    with pytest.raises(UnsuitableImage, match="PixelPaddingValue must be one 16-bit integer"):
        image_from_dataset(dataset, max_pixels=99)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([-2000, -2000, -1024, 500], [True, True, False, False]),  # -3024 HU
        ([-476, -476, -475, 500], [True, True, False, False]),  # -1500 HU
        ([-475, -475, 0, 500], None),  # -1499 HU could be noise
    ],
)
def test_undeclared_padding_is_the_lowest_value_far_below_air(make_ct, stored, expected):
    image = image_from_dataset(make_ct(np.array([stored], np.int16)), max_pixels=9)
    assert (None if image.padding is None else image.padding.tolist()) == (None if expected is None else [expected])
