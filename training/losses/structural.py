"""Losses that look at a neighbourhood: SSIM and what is built on it.

    (reference, restored) --Gaussian window--> local means, variances, covariance --> luminance x structure --> (N,)

Conventions as in `training.losses.pixelwise`. SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from
error visibility to structural similarity", IEEE Transactions on Image Processing 13 (4), 2004, with its window of 11
taps and sigma 1.5, and its constants. Its mean over the image is taken before anything is added to it, so a weighted
sum of losses stays one value per image.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from imaging.metrics import SSIM_K1, SSIM_K2, gaussian_window
from training.losses.pixelwise import difference

TAPS, SIGMA = 11, 1.5
"""Side and standard deviation of the window in pixels, as in the paper."""


def ssim(
    reference: keras.KerasTensor, restored: keras.KerasTensor, *, data_range: float, low: float
) -> keras.KerasTensor:
    """1 - SSIM per image: (N,) float32, 0 for a perfect image, at most 2.

    Args:
        reference, restored: (N, H, W, 1) in the network's unit. Sides below `TAPS` get the largest odd window that
            fits; a single pixel has no structure left, only luminance.
        data_range: decides how small a difference counts; contrasts far below 3 % of it do not. In the network's unit.
        low: the lowest value of the unit. Intensities are counted from here, because the luminance term is made for
            values from 0 upwards: about 0, where water lies in HU, it would punish every HU of bias in water a hundred
            times more than in bone.

    Raises:
        ValueError: as `difference`.
    """
    difference(reference, restored)  # refuses what would broadcast
    x, y = (ops.cast(image, "float32") for image in (reference, restored))
    moments = _window_means(ops.concatenate([x, y, x * x, y * y, x * y], axis=0))
    mean_x, mean_y, square_x, square_y, product = ops.split(moments, 5, axis=0)
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    above_x, above_y = mean_x - low, mean_y - low
    luminance = (2 * above_x * above_y + c1) / (ops.square(above_x) + ops.square(above_y) + c1)
    variances = square_x - ops.square(mean_x) + square_y - ops.square(mean_y)
    structure = (2 * (product - mean_x * mean_y) + c2) / (variances + c2)
    return 1 - ops.mean(luminance * structure, axis=(1, 2, 3))


def _window_means(images: keras.KerasTensor) -> keras.KerasTensor:
    """Gaussian-weighted means of every window that lies inside: (M, H, W, 1) -> (M, H - taps + 1, W - taps + 1, 1)."""
    for axis in (1, 2):
        side = images.shape[axis]
        taps = TAPS if side is None else min(TAPS, side - 1 + side % 2)
        window = gaussian_window(taps, SIGMA).astype(np.float32)
        shape = (taps, 1, 1, 1) if axis == 1 else (1, taps, 1, 1)
        images = ops.conv(images, ops.reshape(window, shape), padding="valid", data_format="channels_last")
    return images
