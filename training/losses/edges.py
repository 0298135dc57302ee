"""Losses that look at differences between neighbouring pixels. Conventions as in `training.losses.pixelwise`."""

from __future__ import annotations

import keras
from keras import ops

from training.losses.pixelwise import difference


def gradient_l1(reference: keras.KerasTensor, restored: keras.KerasTensor) -> keras.KerasTensor:
    """Mean absolute error of the gradients per image: (N,) float32.

    The gradients are differences of neighbours, along columns and along rows; since they are linear, those of the error
    are taken. An image of one row or column has none in that direction. Mathieu, Couprie, LeCun, "Deep multi-scale
    video prediction beyond mean square error", ICLR 2016, with exponent 1.
    """
    error = difference(reference, restored)
    total = ops.zeros_like(error[:, 0, 0, 0])
    for axis, steps in ((1, error[:, 1:] - error[:, :-1]), (2, error[:, :, 1:] - error[:, :, :-1])):
        if error.shape[axis] != 1:
            total = total + ops.mean(ops.abs(steps), axis=(1, 2, 3))
    return total
