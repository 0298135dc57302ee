from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ModelFailed
from service.tiling import restore_tiles, split
from training.networks.unet import UNetConfig, build_unet


def _tiled(restore, image, **layout):
    batch = image[None, ..., None]
    return restore_tiles(restore, batch, split(image.shape, **layout))[0, ..., 0]


@given(
    shape=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    tile_pixels=st.integers(64 * 64, 1024 * 1024),
    receptive_field=st.integers(0, 160).map(lambda half: 2 * half + 1),
    size_multiple=st.sampled_from([1, 4, 16, 32]),
)
def test_tiles_cover_every_pixel_once_and_see_enough_around_it(shape, tile_pixels, receptive_field, size_multiple):
    tiles = split(shape, tile_pixels=tile_pixels, receptive_field=receptive_field, size_multiple=size_multiple)
    covered = np.zeros(shape, np.uint8)
    reach = receptive_field // 2
    for tile in tiles:
        covered[tile.target] += 1
        for source, inner, target, size in zip(tile.source, tile.inner, tile.target, shape, strict=True):
            assert source.start % size_multiple == 0
            assert source.start + inner.start == target.start
            assert inner.stop - inner.start == target.stop - target.start
            assert target.start - source.start >= min(reach, target.start)
            assert source.stop - target.stop >= min(reach, size - target.stop)
            # the network pads to whole cells: only at the image's own end, as it would the whole
            assert source.stop == size or source.stop % size_multiple == 0
    assert (covered == 1).all()


@given(
    shape=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    tile_pixels=st.integers(512 * 512, 1024 * 1024),
)
def test_no_tile_is_larger_than_allowed_and_small_images_are_left_whole(shape, tile_pixels):
    tiles = split(shape, tile_pixels=tile_pixels, receptive_field=337, size_multiple=16)
    if shape[0] * shape[1] <= tile_pixels:
        assert len(tiles) == 1
    assert max(np.prod([part.stop - part.start for part in tile.source]) for tile in tiles) <= tile_pixels


@pytest.mark.parametrize("shape", [(200, 333), (333, 65), (512, 512)])
def test_a_network_gives_the_same_in_tiles(shape):
    config = UNetConfig((4, 6), 1)
    keras.utils.set_random_seed(0)
    model = build_unet(config, "HU")
    rng = np.random.default_rng(1)
    for weight in model.get_layer("head").weights:  # starts at zero
        weight.assign(rng.normal(0, 0.3, weight.shape))
    image = rng.normal(0, 300, shape).astype(np.float32)

    def restore(part):
        return model.predict_on_batch(part)

    tiled = _tiled(
        restore,
        image,
        tile_pixels=192 * 192,
        receptive_field=config.receptive_field,
        size_multiple=config.size_multiple,
    )
    whole = restore(image[None, ..., None])[0, ..., 0]
    assert np.abs(whole - image).max() > 10
    np.testing.assert_allclose(tiled, whole, atol=0.01)


def test_seen_too_little_it_would_show():
    image = np.random.default_rng(0).normal(0, 1, (300, 300)).astype(np.float32)

    def mean(part):
        return np.full_like(part, part.mean())

    assert np.ptp(_tiled(mean, image, tile_pixels=128 * 128, receptive_field=1, size_multiple=16)) > 0


def test_a_whole_image_is_not_copied_and_channels_come_through():
    image = np.zeros((1, 40, 50, 1), np.float32)
    whole = split((40, 50), tile_pixels=2000, receptive_field=9, size_multiple=4)
    assert restore_tiles(lambda batch: batch, image, whole) is image
    parts = split((40, 50), tile_pixels=100, receptive_field=9, size_multiple=4)
    three = restore_tiles(lambda batch: np.concatenate([batch, batch + 1, batch + 2], -1), image[:, :, :, :], parts)
    assert three.shape == (1, 40, 50, 3)


def test_an_answer_of_another_size_is_refused():
    image = np.zeros((1, 300, 300, 1), np.float32)
    parts = split((300, 300), tile_pixels=100 * 100, receptive_field=9, size_multiple=4)
    with pytest.raises(ModelFailed, match=r"with \(1, 1, 1, 1\)"):
        restore_tiles(lambda batch: batch[:, :1, :1], image, parts)
