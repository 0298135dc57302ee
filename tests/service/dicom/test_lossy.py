"""Lossy compression in the past of an image is told on, as its codestream and not only its transfer syntax says."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from imaging.errors import NotAnImage
from service.dicom.lossy import mark_lossy, source_method

NATIVE_BYTES = 12 * 16 * 2


def jpeg(sof, *, near=1, transform=0):
    """Only the header of a JPEG stream: nothing here decodes."""
    frame = b"\xff" + bytes((sof,)) + struct.pack(">HBHHB", 11, 12, 12, 16, 1) + b"\1\x11\0"
    return b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0" + bytes((near, 0, transform)) + b"data\xff\xd9"


def j2k(*, reversible):
    options = {} if reversible else {"compression_ratios": [2]}
    pixels = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    return bytes(encode_array(pixels, photometric_interpretation=2, use_mct=False, codec_format=0, **options))


BASELINE, EXTENDED, LOSSLESS = jpeg(0xC0), jpeg(0xC1), jpeg(0xC3)
WAVELETS, FLOATS = j2k(reversible=True), j2k(reversible=False)
RLE = struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\0\x81\0"


@pytest.fixture
def compressed(ct_dataset):
    """(stream, syntax, Keyword=...) -> a source of 12 x 16 pixels of 2 bytes."""

    def make(stream, syntax, **attributes):
        dataset = ct_dataset(**attributes)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].is_undefined_length = True
        return dataset

    return make


LOSSY = [
    (BASELINE, JPEGBaseline8Bit, "ISO_10918_1"),
    (EXTENDED, JPEGExtended12Bit, "ISO_10918_1"),
    (jpeg(0xC3, transform=2), JPEGLosslessSV1, "ISO_10918_1"),
    (jpeg(0xF7, near=3), JPEGLSNearLossless, "ISO_14495_1"),
    (jpeg(0xF7, near=3), JPEGLSLossless, "ISO_14495_1"),
    (FLOATS, JPEG2000, "ISO_15444_1"),
    (FLOATS, JPEG2000Lossless, "ISO_15444_1"),
    (FLOATS, HTJ2K, "ISO_15444_15"),
    (WAVELETS, JPEG2000, "ISO_15444_1"),
    (WAVELETS, HTJ2K, "ISO_15444_15"),
]


@pytest.mark.parametrize(("stream", "syntax", "method"), LOSSY)
def test_a_lossy_stream_is_marked_with_ratio_and_method(compressed, stream, syntax, method):
    derived = Dataset()
    mark_lossy(derived, compressed(stream, syntax))
    assert derived.LossyImageCompression == "01"
    padded = len(stream) + len(stream) % 2
    assert float(derived.LossyImageCompressionRatio) == pytest.approx(NATIVE_BYTES / padded, rel=1e-3)
    assert derived.LossyImageCompressionMethod == method


@pytest.mark.parametrize(
    ("stream", "syntax", "attributes"),
    [
        (LOSSLESS, JPEGLosslessSV1, {}),
        (jpeg(0xF7, near=0), JPEGLSLossless, {}),
        (jpeg(0xF7, near=0), JPEGLSNearLossless, {}),  # near-lossless by a bound of 0
        (WAVELETS, JPEG2000Lossless, {}),
        (WAVELETS, HTJ2KLossless, {}),
        (WAVELETS, JPEG2000, {"LossyImageCompression": "00"}),  # reversible, and its writer says that nothing is lost
        (RLE, RLELossless, {}),
    ],
)
def test_a_lossless_stream_is_not(compressed, stream, syntax, attributes):
    derived = Dataset()
    source = compressed(stream, syntax, **attributes)
    mark_lossy(derived, source)
    assert source_method(source) is None
    assert "LossyImageCompression" not in derived


def test_native_pixels_are_not(ct_dataset):
    source = ct_dataset()
    assert source.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert source_method(source) is None
    assert source_method(Dataset()) is None


def test_lossy_floats_are_lossy_whatever_the_source_claims(compressed):
    assert source_method(compressed(FLOATS, JPEG2000, LossyImageCompression="00")) == "ISO_15444_1"


def test_a_second_compression_is_added_to_the_first(compressed):
    derived = Dataset()
    first = {"LossyImageCompressionRatio": "4", "LossyImageCompressionMethod": "ISO_10918_1"}
    for said in ("00", "01"):
        mark_lossy(derived, compressed(FLOATS, JPEG2000, LossyImageCompression=said, **first))
        assert float(derived.LossyImageCompressionRatio[0]) == 4
        assert len(derived.LossyImageCompressionRatio) == 2
        assert list(derived.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]


def test_what_the_source_says_of_this_compression_is_kept(compressed):
    derived = Dataset()
    said = {"LossyImageCompressionRatio": "7.5", "LossyImageCompressionMethod": "ISO_15444_1"}
    mark_lossy(derived, compressed(FLOATS, JPEG2000, LossyImageCompression="01", **said))
    assert "LossyImageCompression" not in derived  # the source's own attributes are kept beside this


@pytest.mark.parametrize("said", [{}, {"LossyImageCompressionRatio": ["7", "8"]}])
def test_01_without_its_ratio_or_method_is_completed(compressed, said):
    derived = Dataset()
    mark_lossy(derived, compressed(BASELINE, JPEGBaseline8Bit, LossyImageCompression="01", **said))
    assert derived.LossyImageCompressionMethod == "ISO_10918_1"
    assert float(derived.LossyImageCompressionRatio) == pytest.approx(NATIVE_BYTES / len(BASELINE), rel=0.05)


def test_damaged_pixels_tell_nothing(compressed):
    with pytest.raises(NotAnImage):
        source_method(compressed(b"damaged", JPEG2000))
