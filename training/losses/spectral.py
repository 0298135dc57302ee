"""Losses in the frequency domain. Conventions as in `training.losses.pixelwise`."""

from __future__ import annotations

import keras
from keras import ops

from training.losses.pixelwise import difference

_TINY = 1e-12
"""Instead of the largest frequency of a perfect image, which is 0."""


def focal_frequency(reference: keras.KerasTensor, restored: keras.KerasTensor) -> keras.KerasTensor:
    """Focal frequency loss per image: (N,) float32, mean of w abs(F)^2 over frequencies.

    F is the orthonormal Fourier transform of the error, so that without w this is `l2` (Parseval); w = abs(F) / max
    abs(F), which no gradient passes, makes the frequencies that are most wrong count most. Jiang, Dai, Wu, Loy, "Focal
    Frequency Loss for Image Reconstruction and Synthesis", ICCV 2021, with alpha 1 and whole images as patches.

    Args:
        reference, restored: (N, H, W, 1), H and W known.
    """
    error = difference(reference, restored)[..., 0]
    _, height, width = error.shape
    real, imaginary = ops.fft2((error, ops.zeros_like(error)))
    power = (ops.square(real) + ops.square(imaginary)) / (height * width)
    size = ops.sqrt(ops.stop_gradient(power))
    largest = ops.max(size, axis=(1, 2), keepdims=True)
    weight = size / ops.maximum(largest, _TINY)
    return ops.mean(weight * power, axis=(1, 2))
