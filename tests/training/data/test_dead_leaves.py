from __future__ import annotations

import numpy as np
import pytest

from training.data.dead_leaves import SMALLEST_RADIUS, dead_leaves


def test_a_picture_has_its_shape_and_range_and_repeats_with_the_seed():
    one, again, other = (dead_leaves((40, 56), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one.shape, one.dtype) == ((40, 56), np.float32)
    assert one.min() >= 0
    assert one.max() <= 1
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_greys_are_uniform():
    pictures = np.stack([dead_leaves((64, 64), np.random.default_rng(seed)) for seed in range(60)])
    assert pictures.mean() == pytest.approx(0.5, abs=0.03)
    assert pictures[:, ::16, ::16].std() == pytest.approx(np.sqrt(1 / 12), abs=0.03)  # of 0..1


def test_the_spectrum_falls_as_that_of_photographs():
    """About 1 / f^2, over two octaves between the largest and the smallest leaves (Lee, Mumford and Huang, fig. 8)."""
    side, window = 128, np.hanning(128)[:, None] * np.hanning(128)[None, :]
    power = np.zeros((side, side))
    for seed in range(12):
        picture = dead_leaves((side, side), np.random.default_rng(seed))
        power += np.abs(np.fft.fft2((picture - picture.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    low, high = (power[(radius > at / 1.2) & (radius < at * 1.2)].mean() for at in (0.035, 0.14))
    assert np.log(high / low) / np.log(4) == pytest.approx(-2, abs=0.35)


def test_it_has_flat_parts_and_sharp_edges_and_no_noise():
    picture = dead_leaves((128, 128), np.random.default_rng(3))
    steps = np.abs(np.diff(picture, axis=1))
    assert np.mean(steps == 0) > 0.5
    assert np.mean(steps > 0.2) > 0.03


def test_too_small_a_frame_is_refused():
    with pytest.raises(ValueError, match="at least 8 x 8 pixels, not 7 x 20"):
        dead_leaves((int(4 * SMALLEST_RADIUS) - 1, 20), np.random.default_rng(0))
