"""Lossy compression in the past of an image is told on."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from service.dicom.lossy import mark_lossy, source_method


def compressed(ct_dataset, syntax, **attributes):
    dataset = ct_dataset(**attributes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = bytes(32)  # of 12 x 16 pixels of 2 bytes
    return dataset


@pytest.mark.parametrize(
    ("syntax", "method"),
    [
        ("1.2.840.10008.1.2.4.50", "ISO_10918_1"),
        ("1.2.840.10008.1.2.4.51", "ISO_10918_1"),
        ("1.2.840.10008.1.2.4.81", "ISO_14495_1"),
        ("1.2.840.10008.1.2.4.91", "ISO_15444_1"),
        ("1.2.840.10008.1.2.4.203", "ISO_15444_15"),
    ],
)
def test_a_lossy_syntax_is_marked_with_ratio_and_method(ct_dataset, syntax, method):
    derived = Dataset()
    mark_lossy(derived, compressed(ct_dataset, syntax))
    assert derived.LossyImageCompression == "01"
    assert float(derived.LossyImageCompressionRatio) == 12
    assert derived.LossyImageCompressionMethod == method


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"])
def test_lossless_syntaxes_are_not(ct_dataset, syntax):
    derived = Dataset()
    source = compressed(ct_dataset, syntax)
    mark_lossy(derived, source)
    assert source_method(source) is None
    assert "LossyImageCompression" not in derived


def test_a_second_compression_is_added_to_the_first(ct_dataset):
    derived = Dataset()
    first = {"LossyImageCompressionRatio": "4", "LossyImageCompressionMethod": "ISO_10918_1"}
    mark_lossy(derived, compressed(ct_dataset, "1.2.840.10008.1.2.4.91", LossyImageCompression="00", **first))
    assert [float(ratio) for ratio in derived.LossyImageCompressionRatio] == [4, 12]
    assert list(derived.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]
