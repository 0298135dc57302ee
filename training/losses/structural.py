"""Losses that look at a neighbourhood: SSIM and what is built on it.

    (reference, restored) --Gaussian window--> local means, variances, covariance --> luminance x structure --> (N,)

Conventions as in `training.losses.pixelwise`. SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from
error visibility to structural similarity", IEEE Transactions on Image Processing 13 (4), 2004, with its window of 11
taps and sigma 1.5, and its constants. Its mean over the image is taken before anything is added to it, so a weighted
sum of losses stays one value per image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from keras import ops

from imaging.metrics import SSIM_K1, SSIM_K2, gaussian_window
from training.losses.pixelwise import difference

TAPS, SIGMA = 11, 1.5
"""Side and standard deviation of the window in pixels, as in the paper."""


MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first, from experiments with viewers (Wang, Simoncelli, Bovik, "Multiscale structural
similarity for image quality assessment", Asilomar 2003). Fewer scales use the first ones, divided by their sum."""

MS_SSIM_EPS = 1e-4
"""What structure below it counts as: the power of an exponent below 1 has an infinite slope at 0, and none below; and a
product of two negative ones would praise an inverted image."""

MS_SSIM_SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Standard deviations in pixels of the windows of Zhao et al. 2017, which stand for scales."""


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
    luminance, structure = _similarity(reference, restored, data_range, low)
    return 1 - ops.mean(luminance * structure, axis=(1, 2, 3))


def ms_ssim(
    reference: keras.KerasTensor, restored: keras.KerasTensor, *, data_range: float, low: float, scales: float
) -> keras.KerasTensor:
    """1 - MS-SSIM per image: (N,) float32, 0 for a perfect image, at most 1.

    The product over scales of mean structure ^ weight, with luminance at the coarsest only; each scale is half as large
    as the one before (mean of 2 x 2 pixels). Terms are clipped to `MS_SSIM_EPS` first, so that images without any
    likeness have a finite gradient, which is 0.

    Args:
        reference, restored, data_range, low: as `ssim`.
        scales: how many, 1 to 5. Five need sides of 161 pixels; images that are too small for the scales asked for get
            fewer.
    """
    difference(reference, restored)
    x, y = (ops.cast(image, "float32") for image in (reference, restored))
    sides = [side for side in x.shape[1:3] if side is not None]
    count = min([int(scales), *(side.bit_length() for side in sides)])
    weights = np.array(MS_SSIM_WEIGHTS[:count]) / sum(MS_SSIM_WEIGHTS[:count])
    product = 1.0
    for scale, weight in enumerate(weights, start=1):
        luminance, structure = _similarity(x, y, data_range, low)
        similarity = ops.mean(luminance * structure if scale == count else structure, axis=(1, 2, 3))
        product = product * ops.power(ops.maximum(similarity, MS_SSIM_EPS), float(weight))
        if scale < count:
            x, y = (ops.average_pool(image, 2, strides=2, data_format="channels_last") for image in (x, y))
    return 1 - product


def multi_sigma_ssim(
    reference: keras.KerasTensor, restored: keras.KerasTensor, *, data_range: float, low: float
) -> keras.KerasTensor:
    """1 - MS-SSIM of one scale and several windows, per image: (N,) float32, 0 for a perfect image, at most 1.

    The mean over pixels of the product over `MS_SSIM_SIGMAS` of structure, with luminance of the widest window only, as
    Zhao et al. 2017 trained with. Unlike in `ms_ssim` no exponent takes weight from the finest structure, where noise
    is. Windows end two deviations from their middle; what lies beyond the image counts nothing. Structure is clipped to
    `MS_SSIM_EPS`.

    Args:
        reference, restored, data_range, low: as `ssim`; any size.
    """
    difference(reference, restored)
    product: keras.KerasTensor | float = 1.0
    for sigma in MS_SSIM_SIGMAS:
        means = partial(_means_around, sigma=sigma)
        luminance, structure = _similarity(reference, restored, data_range, low, means)
        product = product * ops.maximum(structure, MS_SSIM_EPS)
    return 1 - ops.mean(luminance * product, axis=(1, 2, 3))


def windowed_l1(reference: keras.KerasTensor, restored: keras.KerasTensor) -> keras.KerasTensor:
    """Mean over all windows of the Gaussian-weighted mean absolute error in each, per image: (N,) float32.

    The L1 that Zhao et al. put beside MS-SSIM ("Loss Functions for Image Restoration with Neural Networks", IEEE
    Transactions on Computational Imaging 3 (1), 2017): pixels at the border of a patch, whose surroundings the network
    does not see, count less.
    """
    return ops.mean(_window_means(ops.abs(difference(reference, restored))), axis=(1, 2, 3))


def _similarity(
    x: keras.KerasTensor,
    y: keras.KerasTensor,
    data_range: float,
    low: float,
    means: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The maps of luminance and of contrast and structure, (N, H', W', 1) float32 each, by windows of `means`."""
    x, y = (ops.cast(image, "float32") for image in (x, y))
    moments = (means or _window_means)(ops.concatenate([x, y, x * x, y * y, x * y], axis=0))
    mean_x, mean_y, square_x, square_y, product = ops.split(moments, 5, axis=0)
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    above_x, above_y = mean_x - low, mean_y - low
    luminance = (2 * above_x * above_y + c1) / (ops.square(above_x) + ops.square(above_y) + c1)
    variances = square_x - ops.square(mean_x) + square_y - ops.square(mean_y)
    structure = (2 * (product - mean_x * mean_y) + c2) / (variances + c2)
    return luminance, structure


def _window_means(images: keras.KerasTensor) -> keras.KerasTensor:
    """Gaussian-weighted means of every window that lies inside: (M, H, W, 1) -> (M, H - taps + 1, W - taps + 1, 1)."""
    for axis in (1, 2):
        side = images.shape[axis]
        taps = TAPS if side is None else min(TAPS, side - 1 + side % 2)
        window = gaussian_window(taps, SIGMA).astype(np.float32)
        shape = (taps, 1, 1, 1) if axis == 1 else (1, taps, 1, 1)
        images = ops.conv(images, ops.reshape(window, shape), padding="valid", data_format="channels_last")
    return images


def _means_around(images: keras.KerasTensor, *, sigma: float) -> keras.KerasTensor:
    """Gaussian-weighted means around every pixel, of what of the window lies inside: (M, H, W, 1) -> the same."""
    taps = 2 * round(2 * sigma) + 1
    window = gaussian_window(taps, sigma).astype(np.float32)
    inside = ops.ones_like(images[:1])
    for shape in ((taps, 1, 1, 1), (1, taps, 1, 1)):
        kernel = ops.reshape(window, shape)
        images, inside = (
            ops.conv(each, kernel, padding="same", data_format="channels_last") for each in (images, inside)
        )
    return images / inside
