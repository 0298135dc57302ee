"""What is checked before an image is kept: all that decoding would refuse for its headers, and no pixel is touched."""

from __future__ import annotations

import types

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from imaging import codec_process
from imaging.dicom_file import read_dicom
from imaging.dicom_pixels import check_image, image_from_dataset
from imaging.enhanced_ct import check_frames_of, frames_from_dataset
from imaging.errors import ImagingError, NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 22, max_pixels=1 << 16, max_frames=4)
STACK = np.random.default_rng(1).integers(0, 3000, (3, 12, 16)).astype(np.uint16)


@pytest.fixture
def kit(make_ct, make_file, enhanced, monkeypatch):
    """Files, and `check` of them, in which no codec may run."""

    def check(data):
        with monkeypatch.context() as patched:
            patched.setattr(codec_process, "run", lambda *_, **__: pytest.fail("a codec was called"))
            dataset = read_dicom(data, limits=LIMITS)
            before = dataset.to_json()
            if dataset.SOPClassUID == CTImageStorage:
                check_image(dataset, max_pixels=LIMITS.max_pixels)
            else:
                check_frames_of(dataset, limits=LIMITS)
            assert dataset.to_json() == before

    def rle(pixels):
        dataset = make_ct(pixels)
        dataset.compress(RLELossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        return dataset.PixelData

    def frames(stored=STACK, **changes):
        return enhanced.enhanced_file(enhanced.enhanced_ct(stored, **changes))

    return types.SimpleNamespace(check=check, file=make_file, rle=rle, frames=frames, enhanced=enhanced)


def decode(data):
    dataset = read_dicom(data, limits=LIMITS)
    if dataset.SOPClassUID == CTImageStorage:
        return image_from_dataset(dataset, max_pixels=LIMITS.max_pixels)
    return frames_from_dataset(dataset, limits=LIMITS)


def pixels(dtype=np.int16):
    return np.arange(12 * 16, dtype=dtype).reshape(12, 16)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
def test_native_images(kit, syntax, dtype):
    kit.check(kit.file(pixels(dtype), syntax=syntax))


def test_compressed_images_are_not_decoded(kit):
    kit.check(kit.file(pixels(), syntax=RLELossless, PixelData=kit.rle(pixels())))


def test_localizers_pass_though_they_are_no_slices(kit):
    data = kit.file(pixels(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    kit.check(data)
    with pytest.raises(UnsuitableImage, match="localizer"):
        decode(data)
    kit.check(kit.frames(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]))


def test_localizers_without_pixels_do_not_pass(kit):
    with pytest.raises(NotAnImage, match="truncated"):
        kit.check(kit.file(pixels(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])[:-10])


REFUSED = {
    "too few bytes": (lambda kit: kit.file(pixels())[:-2], NotAnImage),
    "too many pixels": (lambda kit: kit.file(pixels(), Rows=300, Columns=300), TooLarge),
    "rows of 65535": (lambda kit: kit.file(pixels(), Rows=65535, Columns=65535), TooLarge),
    "no rows": (lambda kit: kit.file(pixels(), Rows=0), UnsuitableImage),
    "no rescale": (lambda kit: kit.file(pixels(), RescaleSlope=None), UnsuitableImage),
    "a rescale to nowhere": (lambda kit: kit.file(pixels(), RescaleSlope="1e9"), UnsuitableImage),
    "a slope of 0": (lambda kit: kit.file(pixels(), RescaleSlope=0), UnsuitableImage),
    "12 bits allocated": (lambda kit: kit.file(pixels(), BitsAllocated=12), UnsuitableImage),
    "colour": (lambda kit: kit.file(pixels(), PhotometricInterpretation="RGB"), UnsuitableImage),
    "padding of two values": (lambda kit: kit.file(pixels(), PixelPaddingValue=[1, 2]), UnsuitableImage),
    "spacing of one number": (lambda kit: kit.file(pixels(), PixelSpacing=[1.0]), UnsuitableImage),
    "no CT": (lambda kit: kit.file(pixels(), Modality="MR"), UnsuitableImage),
    "two frames": (lambda kit: kit.file(pixels(), NumberOfFrames=2), UnsuitableImage),
    "garbage as JPEG-LS": (
        lambda kit: kit.file(pixels(), syntax=JPEGLSLossless, PixelData=encapsulate([b"garbage!"])),
        NotAnImage,
    ),
    "garbage as JPEG 2000": (
        lambda kit: kit.file(pixels(), syntax=JPEG2000Lossless, PixelData=encapsulate([b"garbage!"])),
        NotAnImage,
    ),
    "RLE of another size of samples": (
        lambda kit: kit.file(pixels(np.uint8), syntax=RLELossless, PixelData=kit.rle(pixels())),
        UnsuitableImage,
    ),
    "video": (
        lambda kit: kit.file(pixels(), syntax="1.2.840.10008.1.2.4.100", PixelData=encapsulate([b"garbage!"])),
        UnsupportedFormat,
    ),
    "frames cut off": (lambda kit: kit.frames()[:-2], NotAnImage),
    "more frames than allowed": (lambda kit: kit.frames(np.zeros((5, 12, 16), np.uint16)), TooLarge),
    "more frames than there are": (lambda kit: kit.frames(NumberOfFrames=4), UnsuitableImage),
    "fewer frames than there are": (lambda kit: kit.frames(NumberOfFrames=2), UnsuitableImage),
    "no frames": (lambda kit: kit.frames(NumberOfFrames=0), UnsuitableImage),
    "frames of no CT": (lambda kit: kit.frames(Modality="MR"), UnsuitableImage),
    "a frame of a rescale to nowhere": (
        lambda kit: kit.frames(rescales=[(1, -1024), (1e9, 0), (1, -1024)]),
        UnsuitableImage,
    ),
    "two streams for three frames": (
        lambda kit: kit.enhanced.enhanced_file(
            kit.enhanced.compressed(kit.enhanced.enhanced_ct(STACK), [b"one1", b"two2"], JPEGLSLossless)
        ),
        NotAnImage,
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about the bad values while the file is made
@pytest.mark.parametrize("name", REFUSED)
def test_what_decoding_would_refuse_is_refused_before_and_in_the_same_words(kit, name):
    make, kind = REFUSED[name]
    data = make(kit)
    with pytest.raises(kind) as early:
        kit.check(data)
    with pytest.raises(ImagingError) as late:
        decode(data)
    assert str(early.value) == str(late.value)
    assert type(early.value) is type(late.value)


def test_frames(kit):
    kit.check(kit.frames())
    kit.check(kit.frames(rescales=[(1, -1024), (2, -1000), (1, 0)]))
