"""TIFF against tifffile and Pillow as independent writers and readers, and what a mutated file may do: nothing bad."""

from __future__ import annotations

import io
import time
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image as PillowImage

from imaging import codec_process
from imaging.errors import ImagingError, NotAnImage, TooLarge
from imaging.limits import Limits
from imaging.tiff import TiffAttributes, looks_like_tiff, read_tiff, write_tiff

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16, max_frames=8)
NUMBERS = ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"]


@pytest.fixture(scope="module", autouse=True)
def _workers():
    yield
    codec_process.close()


def by_tifffile(stored, *, byteorder="<", bigtiff=False, **options):
    """One directory for each plane of (N, H, W)."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=byteorder, bigtiff=bigtiff) as writer:
        for plane in stored:
            writer.write(plane, **{"photometric": "minisblack", "metadata": None, **options})
    return file.getvalue()


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


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    stored=st.sampled_from(NUMBERS).flatmap(
        lambda name: arrays(
            np.dtype(name), array_shapes(min_dims=3, max_dims=3, max_side=40).map(lambda s: (s[0] % 4 + 1, *s[1:]))
        )
    ),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    compression=st.sampled_from([None, "zlib"]),
    predictor=st.booleans(),
    layout=st.sampled_from([{}, {"rowsperstrip": 1}, {"rowsperstrip": 7}, {"tile": (16, 32)}]),
    white=st.booleans(),
)
def test_what_tifffile_writes(stored, order, big, compression, predictor, layout, white):  # noqa: PLR0917 - drawn
    data = by_tifffile(
        stored,
        byteorder=order,
        bigtiff=big,
        compression=compression,
        predictor=predictor and compression is not None and stored.dtype.kind in "iu",
        photometric="miniswhite" if white else "minisblack",
        **layout,
    )
    assert looks_like_tiff(data)
    content = read_tiff(data, limits=LIMITS)
    assert same(content.stored, stored)
    assert content.stored.dtype.isnative
    assert content.attributes.min_is_white is white
    assert content.notes == ()
    # and tifffile reads what we write, and so do we
    written = write_tiff(content.stored, content.attributes)
    with tifffile.TiffFile(io.BytesIO(written)) as file:
        assert [same(page.asarray(), plane) for page, plane in zip(file.pages, stored, strict=True)] == [True] * len(
            stored
        )
        assert {page.photometric.name for page in file.pages} == {"MINISWHITE" if white else "MINISBLACK"}
    assert same(read_tiff(written, limits=LIMITS).stored, stored)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "i4", "f4"])
def test_what_pillow_writes_by_libtiff(compression, predictor, dtype):
    rng = np.random.default_rng(3)
    pages = [rng.integers(0, 200, (19, 23)).astype(dtype) for _ in range(3)]
    info = {317: predictor} if predictor == 2 and compression in ("tiff_lzw", "tiff_adobe_deflate") else {}
    if info and dtype == "f4":
        info = {317: 3}
    data = by_pillow(*pages, compression=compression, tiffinfo=info)
    content = read_tiff(data, limits=LIMITS)
    assert same(content.stored, np.stack(pages).astype(np.dtype(dtype).newbyteorder("=")))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4"])
def test_pillow_reads_what_we_write(dtype):
    stored = np.random.default_rng(4).integers(0, 250, (3, 30, 17)).astype(dtype)
    with PillowImage.open(io.BytesIO(write_tiff(stored))) as picture:
        for index, plane in enumerate(stored):
            picture.seek(index)
            np.testing.assert_array_equal(np.array(picture), plane)
        assert picture.n_frames == 3


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_files_by_nobodys_library(make_tiff, dtype, order, big):
    pages = [np.array([[0, 1, 2], [3, 4, 100]], dtype) + np.dtype(dtype).type(number) for number in range(2)]
    data = make_tiff(*pages, order=order, big=big)
    assert same(read_tiff(data, limits=LIMITS).stored, np.stack(pages))


@pytest.mark.parametrize("order", ["<", ">"])
def test_floating_point_predictor_by_hand(make_tiff, order):
    # rows of bytes: all most significant ones, ..., all least significant ones, then differences (Technical Note 3)
    stored = np.array([[1.5, -2.25, 1e-3, 3e8], [0, 1, 2, 3]], np.float32)
    planes = stored.astype(">f4").view(np.uint8).reshape(2, 4, 4).transpose(0, 2, 1).reshape(2, 16)
    differences = np.diff(planes, axis=1, prepend=np.zeros((2, 1), np.uint8)).astype(np.uint8)
    packed = zlib.compress(differences.tobytes())
    data = make_tiff(stored, order=order, packed=packed, t259=(3, [8]), t317=(3, [3]))
    assert same(read_tiff(data, limits=LIMITS).stored[0], stored)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_horizontal_predictor_by_hand(make_tiff, dtype, order):
    whole = np.dtype(f"u{np.dtype(dtype).itemsize}")
    stored = np.random.default_rng(2).integers(0, 99, (3, 5)).astype(dtype)
    bits = stored.view(whole)
    differences = np.concatenate([bits[:, :1], bits[:, 1:] - bits[:, :-1]], axis=1)  # wraps around
    packed = zlib.compress(differences.astype(whole.newbyteorder(order)).tobytes())
    data = make_tiff(stored, order=order, packed=packed, t259=(3, [32946]), t317=(3, [2]))
    assert same(read_tiff(data, limits=LIMITS).stored[0], stored)


def test_unchanged_attributes_go_round():
    attributes = TiffAttributes(min_is_white=True, orientation=6, resolution=((300, 1), (1000, 7), 3))
    stored = np.arange(12, dtype=np.int16).reshape(1, 3, 4)
    written = write_tiff(stored, attributes)
    assert read_tiff(written, limits=LIMITS).attributes == attributes
    tags = tifffile.TiffFile(io.BytesIO(written)).pages[0].tags
    assert (tags[282].value, tags[283].value, tags[296].value, tags[274].value) == ((300, 1), (1000, 7), 3, 6)
    assert b"2026" not in written  # no date: the same pixels give the same file
    assert written == write_tiff(stored, attributes)


def test_senseless_attributes_are_dropped(make_tiff):
    data = make_tiff(np.zeros((2, 2), np.uint8), t274=(3, [77]), t282=(5, [(0, 1)]), t283=(5, [(1, 0)]))
    assert read_tiff(data, limits=LIMITS).attributes == TiffAttributes()


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (Limits(1 << 20, 1 << 16, 2), "max_frames"),
        (Limits(1 << 20, 399, 3), "max_pixels"),
        (Limits(4799, 400, 3), "max_bytes"),
    ],
)
def test_limits_by_the_header_alone(limits, limit, monkeypatch):
    data = by_tifffile(np.zeros((3, 20, 20), np.uint8), compression="zlib")
    assert read_tiff(data, limits=Limits(4800, 400, 3)).stored.shape == (3, 20, 20)
    monkeypatch.setattr(codec_process, "run", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(TooLarge) as refused:
        read_tiff(data, limits=limits)
    assert refused.value.limit == limit


def test_a_deflate_bomb_is_decoded_no_further_than_its_header_says(make_tiff):
    bomb = zlib.compress(bytes(200 << 20))
    begin = time.monotonic()
    data = make_tiff(np.zeros((1, 10), np.uint8), packed=bomb, t259=(3, [8]))
    assert read_tiff(data, limits=LIMITS).stored.tolist() == [[[0] * 10]]  # ten pixels of it are an image
    assert time.monotonic() - begin < 10
    with pytest.raises(TooLarge):
        read_tiff(
            make_tiff(np.zeros((1, 10), np.uint8), packed=bomb, t259=(3, [8]), t257=(4, [20 << 20])), limits=LIMITS
        )


def test_compressed_strips_that_overlap_are_refused(make_tiff):
    page = np.zeros((64, 4), np.uint8)
    data = make_tiff(page, t259=(3, [5]), t278=(4, [1]), t273=(4, [8] * 64), t279=(4, [256] * 64))
    with pytest.raises(NotAnImage, match="overlap"):
        read_tiff(data, limits=LIMITS)


def seeds():
    stored = np.random.default_rng(8).integers(0, 99, (2, 20, 17)).astype(np.uint16)
    yield by_tifffile(stored)
    yield by_tifffile(stored, tile=(16, 16), compression="zlib", predictor=True, byteorder=">", bigtiff=True)
    yield hyperstack(stored.astype(np.float32), imagej=True)
    yield by_pillow(*stored, compression="tiff_lzw", tiffinfo={317: 2})
    yield by_pillow(*stored.astype(np.uint8), compression="packbits")


SEEDS = tuple(seeds())


@pytest.mark.parametrize("seed", range(len(SEEDS)))
@settings(deadline=5000, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mutated_files_raise_only_our_errors_and_cost_little(seed, data):
    mutated = bytearray(SEEDS[seed])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        size = data.draw(st.sampled_from([1, 2, 4, 8]))
        mutated[place : place + size] = data.draw(
            st.one_of(st.binary(min_size=size, max_size=size), st.just(b"\xff" * size), st.just(bytes(size)))
        )
    if data.draw(st.booleans()):
        del mutated[data.draw(st.integers(0, len(mutated))) :]
    try:
        content = read_tiff(bytes(mutated), limits=LIMITS)
    except ImagingError:
        return
    assert content.stored.ndim == 3
    assert content.stored.nbytes <= LIMITS.max_bytes


@given(st.binary(max_size=200))
def test_arbitrary_bytes_behind_a_header(data):
    for head in (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"):
        with pytest.raises(ImagingError):
            read_tiff(head + data, limits=LIMITS)


@pytest.mark.parametrize("shape", [(1, 1), (1, 10000), (15, 17)])
def test_odd_shapes(shape):
    stored = np.full((1, *shape), 7, np.int16)
    assert same(read_tiff(write_tiff(stored), limits=LIMITS).stored, stored)


def test_only_stacks_are_written():
    with pytest.raises(ValueError, match="stored must be"):
        write_tiff(np.zeros((2, 2), np.uint8))
