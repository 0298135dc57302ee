"""Compressed frames of multi-frame CT: bit-exact however they lie in fragments, and a damaged one is named."""

from __future__ import annotations

import jpeg_ls
import numpy as np
import pytest
from openjpeg.utils import encode_array
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from rle.utils import encode_pixel_data

from imaging import codec_process
from imaging.errors import NotAnImage, UnsuitableImage, UnsupportedFormat
from imaging.formats import decode
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 16, max_frames=8)
SHAPE = (33, 35)
"""Odd, and the least that OpenJPEG writes."""


def frames_of(dataset, enhanced, limits=LIMITS):
    return decode(enhanced.enhanced_file(dataset), limits=limits)


def streams_of(stack, syntax):
    if syntax == RLELossless:
        size = {"rows": stack.shape[1], "columns": stack.shape[2], "samples_per_pixel": 1, "bits_allocated": 16}
        return [bytes(encode_pixel_data(frame.astype("<u2").tobytes(), byteorder="<", **size)) for frame in stack]
    if syntax == JPEGLSLossless:
        return [bytes(jpeg_ls.encode_array(frame)) for frame in stack]
    return [bytes(encode_array(frame, bits_stored=12)) for frame in stack]


COMPRESSED = [(RLELossless, 1), (JPEGLSLossless, 1), (JPEGLSLossless, 3), (JPEG2000Lossless, 1), (JPEG2000Lossless, 2)]


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize(("syntax", "fragments"), COMPRESSED)
def test_compressed_frames_are_bit_exact_however_they_are_cut_into_fragments(enhanced, syntax, fragments, table):
    stack = enhanced.stack_of(3, SHAPE)
    dataset = enhanced.enhanced_ct(stack, bits=12)
    enhanced.compressed(dataset, streams_of(stack, syntax), syntax, fragments=fragments, table=table)
    frames = frames_of(dataset, enhanced)
    np.testing.assert_array_equal(np.stack([image.stored for image in frames]), stack)


def test_compressed_signed_frames(enhanced):
    stack = (enhanced.stack_of(2, SHAPE).astype(np.int16) - 1500) // 2
    dataset = enhanced.enhanced_ct(stack, bits=12)
    enhanced.compressed(dataset, [bytes(encode_array(f, bits_stored=12)) for f in stack], JPEG2000Lossless)
    np.testing.assert_array_equal(np.stack([image.stored for image in frames_of(dataset, enhanced)]), stack)


def test_a_damaged_frame_is_named(enhanced):
    stack = enhanced.stack_of(3, SHAPE)
    streams = streams_of(stack, JPEGLSLossless)
    for broken, error, message in (
        (streams[1][:-40], NotAnImage, "frame 2: .*no end marker"),
        (streams_of(stack[:, :-1], JPEGLSLossless)[1], UnsuitableImage, "frame 2: .*32 rows"),
    ):
        dataset = enhanced.enhanced_ct(stack, bits=12)
        enhanced.compressed(dataset, [streams[0], broken, streams[2]], JPEGLSLossless)
        with pytest.raises(error, match=message):
            frames_of(dataset, enhanced)


def test_frames_are_compared_before_any_is_decoded_and_share_the_time_of_one_file(enhanced, monkeypatch):
    stack = enhanced.stack_of(3, SHAPE)
    streams = streams_of(stack, JPEGLSLossless)
    dataset = enhanced.enhanced_ct(stack, bits=12)
    enhanced.compressed(dataset, streams, JPEGLSLossless)
    monkeypatch.setattr(codec_process, "seconds", lambda: -1.0)
    with pytest.raises(NotAnImage, match="0 of 3 frames took longer than"):
        frames_of(dataset, enhanced)
    enhanced.compressed(dataset, [*streams[:2], streams_of(stack[:, :-1], JPEGLSLossless)[2]], JPEGLSLossless)
    with pytest.raises(UnsuitableImage, match=r"frame 3: .*32 rows"):  # although there is no time to decode the others
        frames_of(dataset, enhanced)


def test_fewer_compressed_frames_than_stated(enhanced):
    stack = enhanced.stack_of(3, SHAPE)
    dataset = enhanced.compressed(enhanced.enhanced_ct(stack, bits=12), streams_of(stack, RLELossless)[:2], RLELossless)
    with pytest.raises(NotAnImage, match="2 fragments with data, and NumberOfFrames is 3"):
        frames_of(dataset, enhanced)


def test_video_is_not_read(enhanced):
    stack = enhanced.stack_of(2)
    dataset = enhanced.compressed(enhanced.enhanced_ct(stack, bits=12), [b"ab", b"cd"], "1.2.840.10008.1.2.4.102")
    with pytest.raises(UnsupportedFormat, match="MPEG"):
        frames_of(dataset, enhanced)
