"""Losses that look at one pixel at a time.

Every loss takes (reference, restored), both (N, H, W, 1) in the network's unit (1.0 = 1000 HU for CT), and returns one
value per image, (N,) float32, whatever the compute precision; the mean over the batch is the trainer's. That is Keras'
own convention, so each works as `model.compile(loss=...)`.
"""

from __future__ import annotations

import math

import keras
from keras import ops


def difference(reference: keras.KerasTensor, restored: keras.KerasTensor) -> keras.KerasTensor:
    """restored - reference as float32, (N, H, W, 1).

    Raises:
        ValueError: the shapes differ, or are not (N, H, W, 1): broadcasting would hide it.
    """
    if len(reference.shape) != 4 or len(restored.shape) != 4:  # noqa: PLR2004 - N, H, W, channel
        raise ValueError(f"losses compare (N, H, W, 1) images, not {reference.shape} with {restored.shape}")
    for ours, theirs in zip(reference.shape, restored.shape, strict=True):
        if ours is not None and theirs is not None and ours != theirs:
            raise ValueError(f"reference has shape {reference.shape}, restored {restored.shape}")
    return ops.cast(restored, "float32") - ops.cast(reference, "float32")


def l2(reference: keras.KerasTensor, restored: keras.KerasTensor) -> keras.KerasTensor:
    """Mean squared error, mean e^2, per image: (N,) float32, 0 and above.

    The network that minimises it gives the posterior mean: best in PSNR under Gaussian noise, and the plain choice
    where the targets are noisy themselves (Lehtinen et al., Noise2Noise, ICML 2018).
    """
    return ops.mean(ops.square(difference(reference, restored)), axis=(1, 2, 3))


def l1(reference: keras.KerasTensor, restored: keras.KerasTensor) -> keras.KerasTensor:
    """Mean absolute error, mean abs(e), per image: (N,) float32, 0 and above.

    The network that minimises it gives the posterior median: theory favours it under Laplace and impulse noise.
    """
    return ops.mean(ops.abs(difference(reference, restored)), axis=(1, 2, 3))


def huber(reference: keras.KerasTensor, restored: keras.KerasTensor, *, delta: float) -> keras.KerasTensor:
    """Huber's loss per image: mean of 0.5 e^2 where abs(e) <= delta, of delta abs(e) - 0.5 delta^2 beyond.

    Theory favours it under contaminated Gaussian noise (Huber, "Robust estimation of a location parameter", 1964).

    Args:
        reference, restored: (N, H, W, 1) in the network's unit.
        delta: in the network's unit. It has to lie inside of the distribution of errors: beyond all of them the loss is
            half of `l2`, whatever its name. Huber's own choice is 1.345 standard deviations.
    """
    size = ops.abs(difference(reference, restored))
    inside = ops.minimum(size, delta)  # and so no branch has a gradient that is not finite
    return ops.mean(inside * (size - 0.5 * inside), axis=(1, 2, 3))


def charbonnier(reference: keras.KerasTensor, restored: keras.KerasTensor, *, eps: float) -> keras.KerasTensor:
    """Mean of sqrt(e^2 + eps^2) - eps per image: L1 that is smooth below `eps`, in the network's unit.

    Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed imaging", ICIP 1994;
    `eps` is subtracted, so that a perfect image costs 0.
    """
    error = difference(reference, restored)
    return ops.mean(ops.sqrt(ops.square(error) + eps**2) - eps, axis=(1, 2, 3))


def log_cosh(reference: keras.KerasTensor, restored: keras.KerasTensor, *, scale: float) -> keras.KerasTensor:
    """Mean of log cosh(e / scale) per image: squares well below `scale` (network's unit), straight lines above.

    Computed as abs(x) + log1p(exp(-2 abs(x))) - log 2, since cosh overflows float32 at x = 89.
    """
    size = ops.abs(difference(reference, restored)) / scale
    return ops.mean(size + ops.softplus(-2 * size) - math.log(2), axis=(1, 2, 3))


def barron(
    reference: keras.KerasTensor, restored: keras.KerasTensor, *, shape: float, scale: float
) -> keras.KerasTensor:
    """Barron's general robust loss, mean per image, of x = e / scale.

        abs(a - 2) / a ((x^2 / abs(a - 2) + 1)^(a / 2) - 1);  a = 2: x^2 / 2;  a = 0: log(x^2 / 2 + 1)

    a = 1 is Charbonnier's, 0 Cauchy's, -2 Geman-McClure's loss. Barron, "A General and Adaptive Robust Loss Function",
    CVPR 2019, equation 8.

    Args:
        reference, restored: (N, H, W, 1) in the network's unit.
        shape: a, the smaller the less an outlier counts.
        scale: in the network's unit, where the loss leaves the parabola.
    """
    squared = ops.square(difference(reference, restored) / scale)
    if shape == 2:  # noqa: PLR2004 - the formula's own limits
        cost = squared / 2
    elif shape == 0:
        cost = ops.log1p(squared / 2)
    else:
        bend = abs(shape - 2)
        cost = bend / shape * (ops.power(squared / bend + 1, shape / 2) - 1)
    return ops.mean(cost, axis=(1, 2, 3))


def psnr(reference: keras.KerasTensor, restored: keras.KerasTensor, *, eps: float) -> keras.KerasTensor:
    """10 log10(mean e^2 + eps) per image: the negative PSNR but for a constant, 10 log10(eps) for a perfect image.

    A tenth less error counts the same in a noisy image as in a clean one, where `l2` looks at the noisy ones.

    Args:
        reference, restored: (N, H, W, 1) in the network's unit.
        eps: in its square; keeps the gradient of nearly perfect images finite.
    """
    return (10 / math.log(10)) * ops.log(l2(reference, restored) + eps)


def l1_inside(
    reference: keras.KerasTensor, restored: keras.KerasTensor, *, low: float, high: float
) -> keras.KerasTensor:
    """Mean absolute error per image of what a display window shows: both images are clipped to low .. high first.

    Args:
        reference, restored: (N, H, W, 1) in the network's unit.
        low, high: the window, in the network's unit. Where both images are outside there is no gradient, so it needs
            a loss beside it that looks everywhere.
    """
    difference(reference, restored)  # refuses what would broadcast
    seen = (ops.clip(ops.cast(image, "float32"), low, high) for image in (reference, restored))
    return l1(*seen)
