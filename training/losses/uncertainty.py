"""Losses of networks that also say how sure they are: their further channels hold a spread for every pixel.

    restored (N, H, W, C) --channel 0: the image, the others: sigma, or lower and upper--> (N,)

`reference` stays (N, H, W, 1); both are in the network's unit (1.0 = 1000 HU for CT). Otherwise the conventions are
those of `training.losses.pixelwise`.
"""

from __future__ import annotations

import keras
from keras import ops

from training.losses.pixelwise import difference

SIGMA_RANGE = (1e-4, 1e4)
"""What a sigma counts as at least and at most (0.1 HU to 10 million HU): beyond, powers of it leave float32."""


def gaussian_nll(reference: keras.KerasTensor, restored: keras.KerasTensor, *, beta: float) -> keras.KerasTensor:
    """Mean of sg(s^(2 beta)) (0.5 e^2 / s^2 + log s) per image: (N,) float32; below 0 where s is small.

    The negative logarithm of a normal density (but for 0.5 log 2 pi) when beta = 0. Its gradient in e is e / s^2, so
    pixels that are hard at first are given a large s and then no longer learnt; the weight s^(2 beta), which passes
    no gradient (sg), takes that back: 0.5 is half way to `l2`, whose gradients in e those of beta = 1 are. Seitzer et
    al., "On the Pitfalls of Heteroscedastic Uncertainty Estimation with Probabilistic Neural Networks", ICLR 2022.

    Args:
        reference: (N, H, W, 1).
        restored: (N, H, W, 2), the image and s > 0; s counts within `SIGMA_RANGE` only.
        beta: 0 to 1. For any of them the best s is the standard deviation of e. Weighted values are for the gradient:
            only those of beta = 0 can be compared between models.

    Raises:
        ValueError: the shapes differ otherwise than in the channels, or there are not two.
    """
    error, sigma = _channels(reference, restored, 2)
    sigma = ops.clip(sigma, *SIGMA_RANGE)
    weight = ops.stop_gradient(ops.power(sigma, 2 * beta))
    return ops.mean(weight * (0.5 * ops.square(error / sigma) + ops.log(sigma)), axis=(1, 2, 3))


def pinball(
    reference: keras.KerasTensor, restored: keras.KerasTensor, *, channel: int, level: float
) -> keras.KerasTensor:
    """Mean of max(level r, (level - 1) r), r = reference - channel, per image: (N,) float32, 0 and above.

    What minimises it is the quantile of that level; at 0.5 it is half of `l1`. Koenker & Bassett, "Regression
    Quantiles", Econometrica 46 (1), 1978.

    Args:
        reference: (N, H, W, 1).
        restored: (N, H, W, 3): the image, lower, upper.
        channel: of `restored`, 0 to 2.
        level: of the quantile, above 0 and below 1.

    Raises:
        ValueError: the shapes differ otherwise than in the channels, or there are not three.
    """
    _channels(reference, restored, 3)
    rest = -difference(reference, restored[..., channel : channel + 1])
    return ops.mean(ops.maximum(level * rest, (level - 1) * rest), axis=(1, 2, 3))


def _channels(
    reference: keras.KerasTensor, restored: keras.KerasTensor, count: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The error of channel 0, (N, H, W, 1), and the other channels, float32; refuses what would broadcast."""
    if len(restored.shape) != 4 or restored.shape[3] != count:  # noqa: PLR2004 - N, H, W, channel
        raise ValueError(f"this loss takes (N, H, W, {count}) of the network, not the shape {tuple(restored.shape)}")
    return difference(reference, restored[..., :1]), ops.cast(restored[..., 1:], "float32")
