"""Losses that look at one pixel at a time.

Every loss takes (reference, restored), both (N, H, W, 1) in the network's unit (1.0 = 1000 HU for CT), and returns one
value per image, (N,) float32, whatever the compute precision; the mean over the batch is the trainer's. That is Keras'
own convention, so each works as `model.compile(loss=...)`.
"""

from __future__ import annotations

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
