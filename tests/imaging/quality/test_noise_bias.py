from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.quality.noise_bias import split_error


def test_by_hand():
    restored = np.array([[[1.0, 5.0]], [[3.0, 5.0]]])
    split = split_error(restored, np.array([[0.0, 4.0]]))
    np.testing.assert_allclose(split.variance, [[2, 0]])
    np.testing.assert_allclose(split.bias, [[2, 1]])
    np.testing.assert_allclose(split.squared_bias, [[4 - 1, 1]])
    assert split.noise_rms() == 1
    assert split.bias_rms() == pytest.approx(np.sqrt(2))
    assert split.bias_rms(np.array([[False, True]])) == 1


@given(st.integers(2, 6), st.integers(0, 1000))
def test_both_add_up_to_the_mean_squared_error(repetitions, seed):
    rng = np.random.default_rng(seed)
    reference = rng.normal(0, 50, (6, 5))
    restored = reference + rng.normal(3, 10, (repetitions, 6, 5))
    split = split_error(restored, reference)
    np.testing.assert_allclose(split.variance + split.squared_bias, np.mean((restored - reference) ** 2, axis=0))


def test_noise_without_bias_is_not_called_bias():
    """With four repetitions the naive squared mean error would be a quarter of the variance: 10 instead of 0."""
    rng = np.random.default_rng(1)
    reference = np.zeros((200, 200), np.float32)
    split = split_error(rng.normal(0, 20, (4, 200, 200)).astype(np.float32), reference)
    assert split.noise_rms() == pytest.approx(20, rel=0.01)
    assert np.sqrt(np.mean(split.bias**2)) == pytest.approx(10, rel=0.02)
    assert split.bias_rms() < 1.5


def test_a_bias_is_found_beneath_noise():
    rng = np.random.default_rng(2)
    restored = rng.normal(4, 20, (4, 200, 200))
    assert split_error(restored, np.zeros((200, 200))).bias_rms() == pytest.approx(4, abs=0.3)


def test_refusals():
    with pytest.raises(ValueError, match="at least two"):
        split_error(np.zeros((1, 4, 4)), np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"\(R, H, W\)"):
        split_error(np.zeros((3, 4, 4)), np.zeros((4, 5)))
    split = split_error(np.zeros((3, 4, 4)), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="at least one pixel"):
        split.noise_rms(np.zeros((4, 4), np.bool_))
