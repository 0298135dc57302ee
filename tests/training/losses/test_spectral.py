from __future__ import annotations

import keras
import numpy as np
import pytest

from training.losses.pixelwise import l2
from training.losses.spectral import focal_frequency


@pytest.mark.parametrize("shape", [(2, 8, 8, 1), (3, 7, 11, 1), (1, 1, 5, 1)])
def test_by_numpys_transform(shape):
    rng = np.random.default_rng(0)
    reference, restored = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    spectrum = np.abs(np.fft.fft2((restored - reference)[..., 0].astype(np.float64), norm="ortho"))
    weight = spectrum / spectrum.max(axis=(1, 2), keepdims=True)
    expected = (weight * spectrum**2).mean(axis=(1, 2))
    ours = keras.ops.convert_to_numpy(focal_frequency(reference, restored))
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_an_error_of_one_frequency_costs_its_energy():
    """All weight is on it, so the loss is the mean square of the error (Parseval), as `l2` says."""
    zero = np.zeros((1, 16, 16, 1), np.float32)
    stripes = np.tile((-1.0) ** np.arange(16), (16, 1))[None, ..., None].astype(np.float32)  # the Nyquist frequency
    ours = keras.ops.convert_to_numpy(focal_frequency(zero, stripes))
    np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(l2(zero, stripes)), rtol=1e-5)
    spread = keras.ops.convert_to_numpy(
        focal_frequency(zero, np.random.default_rng(0).normal(size=zero.shape).astype(np.float32))
    )
    assert spread[0] < 0.6  # of white noise of variance 1 most frequencies count less
