"""Which pages of a TIFF file are its frames: thumbnails are not, hyperstacks may be, and all must be alike."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from imaging import codec_process
from imaging.errors import NotAnImage, TooLarge, UnsuitableImage
from imaging.limits import Limits
from imaging.tiff import read_tiff

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16, max_frames=8)


@pytest.fixture(scope="module", autouse=True)
def _workers():
    yield
    codec_process.close()


def hyperstack(stored, *, imagej):
    """One directory for all planes."""
    file = io.BytesIO()
    tifffile.imwrite(file, stored, imagej=imagej, truncate=True, photometric="minisblack")
    return file.getvalue()


def by_pillow(*pages, **options):
    file = io.BytesIO()
    first, *others = [PillowImage.fromarray(page) for page in pages]
    first.save(file, format="TIFF", save_all=True, append_images=others, **options)
    return file.getvalue()


def same(read, stored):
    return read.dtype == stored.dtype and read.shape == stored.shape and read.tobytes() == stored.tobytes()


def test_thumbnails_are_left_out_and_counted():
    full = np.random.default_rng(5).integers(0, 99, (2, 40, 50)).astype(np.uint16)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for plane in full:
            writer.write(plane, photometric="minisblack", metadata=None)
            writer.write(np.zeros((4, 5, 3), np.uint8), photometric="rgb", subfiletype=1, metadata=None)
    content = read_tiff(file.getvalue(), limits=LIMITS)
    assert same(content.stored, full)
    assert content.notes == ("2 reduced-resolution pages of the TIFF file were left out",)


def test_thumbnails_only_and_too_many_of_them(make_tiff):
    page = np.zeros((2, 2), np.uint8)
    with pytest.raises(UnsuitableImage, match="reduced-resolution pages only"):
        read_tiff(make_tiff(page, t254=(4, [1])), limits=LIMITS)
    with pytest.raises(UnsuitableImage, match="reduced-resolution pages only"):
        read_tiff(make_tiff(page, t255=(3, [2])), limits=LIMITS)
    with pytest.raises(NotAnImage, match="more than 64 reduced"):
        read_tiff(make_tiff(*[page] * 65, t254=(4, [1])), limits=LIMITS)


def test_pyramids_in_subifds_are_not_followed():
    full = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=True) as writer:
        writer.write(full, subifds=1, photometric="minisblack")
        writer.write(full[::2, ::2], subfiletype=1, photometric="minisblack")
    assert same(read_tiff(file.getvalue(), limits=LIMITS).stored, full[np.newaxis])


@pytest.mark.parametrize("imagej", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_hyperstacks_with_one_directory(imagej, dtype):
    stored = np.random.default_rng(6).integers(0, 99, (2, 3, 5, 7)).astype(dtype)
    data = hyperstack(stored, imagej=imagej)
    assert len(tifffile.TiffFile(io.BytesIO(data)).pages) == 1
    assert same(read_tiff(data, limits=LIMITS).stored, stored.reshape(6, 5, 7))
    more = data.replace(b"images=6", b"images=8").replace(b"[2, 3, 5", b"[8, 1, 5")
    with pytest.raises(NotAnImage, match="promises 8 images of"):
        read_tiff(more, limits=LIMITS)


def test_a_hyperstack_that_promises_absurdly_much(make_tiff):
    page = np.zeros((4, 5), np.uint8)
    for promise, error, message in (
        (b"ImageJ=1.53t\nimages=999999999\n", TooLarge, "999999999 frames"),
        (b"ImageJ=1.53t\nimages=8\n", NotAnImage, "promises 8 images"),
        (b'{"shape": [8, 4, 5], "truncated": true}', NotAnImage, "promises 8 images"),
    ):
        with pytest.raises(error, match=message):
            read_tiff(make_tiff(page, t270=(2, promise + b"\0")), limits=LIMITS)
    assert read_tiff(make_tiff(page, t270=(2, b"made in ImageJ, images=8\n\0")), limits=LIMITS).stored.shape == (
        1,
        4,
        5,
    )
    assert read_tiff(make_tiff(page, page, t270=(2, b"ImageJ=1\nimages=2\n\0")), limits=LIMITS).stored.shape == (
        2,
        4,
        5,
    )


def test_pages_that_differ():
    pages = [np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), np.zeros((4, 5), np.uint16)]
    with pytest.raises(UnsuitableImage, match="page 2 of the TIFF file has 5 x 4 pixels and the first 4 x 5"):
        read_tiff(by_pillow(pages[0], pages[1]), limits=LIMITS)
    with pytest.raises(UnsuitableImage, match="page 2 of the TIFF file holds uint16 with black 0 and the first uint8"):
        read_tiff(by_pillow(pages[0], pages[2]), limits=LIMITS)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for photometric in ("minisblack", "miniswhite"):
            writer.write(pages[0], photometric=photometric, metadata=None)
    with pytest.raises(UnsuitableImage, match="uint8 with white 0 and the first uint8 with black 0"):
        read_tiff(file.getvalue(), limits=LIMITS)


def test_pages_may_be_stored_differently():
    planes = np.random.default_rng(7).integers(0, 99, (4, 40, 50)).astype(np.uint16)
    file = io.BytesIO()
    layouts = (
        {},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"tile": (32, 16), "compression": "zlib"},
    )
    with tifffile.TiffWriter(file) as writer:
        for plane, layout in zip(planes, layouts, strict=True):
            writer.write(plane, photometric="minisblack", metadata=None, **layout)
    assert same(read_tiff(file.getvalue(), limits=LIMITS).stored, planes)
