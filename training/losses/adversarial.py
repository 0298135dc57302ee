"""Least-squares adversarial losses, of what a discriminator says about patches.

    restored --discriminator--> scores (N, h, w, 1) --(s - 1)^2 / 2--> the restorer's loss: look real
    reference, restored ------> scores of both --(r - 1)^2 / 2 + f^2 / 2--> the discriminator's: tell them apart

One score for each of h x w overlapping patches; 1 says real, 0 restored. Mao et al., "Least squares generative
adversarial networks", ICCV 2017, equation 9; scores per patch: Isola et al., "Image-to-image translation with
conditional adversarial networks", CVPR 2017. The discriminator is in `training.networks.adversary`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Discriminator = Callable[[Any], Any]
"""(N, H, W, 1) in the network's unit -> scores (N, h, w, 1): 1 real, 0 restored."""

MIDDLE = 0.5
"""A score above it counts as "real"."""


def realness(scores: keras.KerasTensor) -> keras.KerasTensor:
    """What the restorer minimises: mean (s - 1)^2 / 2 per image, (N,) float32; 0 where all patches look real.

    Raises:
        ValueError: scores are not (N, h, w, 1).
    """
    return ops.mean(ops.square(_scores(scores) - 1), axis=(1, 2, 3)) / 2


def telling_apart(real: keras.KerasTensor, restored: keras.KerasTensor) -> keras.KerasTensor:
    """What the discriminator minimises: mean (r - 1)^2 / 2 + mean f^2 / 2 per image, (N,) float32.

    0 is a perfect discriminator, 0.25 one that says 0.5 to everything.

    Raises:
        ValueError: scores are not (N, h, w, 1), or not as many of one kind as of the other.
    """
    _alike(real, restored)
    return realness(real) + ops.mean(ops.square(_scores(restored)), axis=(1, 2, 3)) / 2


def accuracy(real: keras.KerasTensor, restored: keras.KerasTensor) -> keras.KerasTensor:
    """Share of the patches, 0 to 1, that are told right, per image: (N,) float32. 0.5 is guessing.

    Raises:
        ValueError: as `telling_apart`.
    """
    _alike(real, restored)
    right = ops.cast(_scores(real) > MIDDLE, "float32") + ops.cast(_scores(restored) <= MIDDLE, "float32")
    return ops.mean(right, axis=(1, 2, 3)) / 2


def _scores(scores: keras.KerasTensor) -> keras.KerasTensor:
    if len(scores.shape) != 4 or scores.shape[-1] != 1:  # noqa: PLR2004 - N, h, w, channel
        raise ValueError(f"a discriminator gives scores of shape (N, h, w, 1), not {scores.shape}")
    return ops.cast(scores, "float32")


def _alike(real: keras.KerasTensor, restored: keras.KerasTensor) -> None:
    if tuple(real.shape) != tuple(restored.shape):
        raise ValueError(f"scores of real images have shape {real.shape}, of restored ones {restored.shape}")
