"""The optimiser: Adam on gradients of norm 1, so that the scale of a loss decides nothing.

    gradients --divide by their common norm--> Adam, learning rate: rise, then cosine to zero

Adam alone is meant to be indifferent to the scale, but its epsilon of 1e-7 is not small beside the gradients of a
squared error in units of 1000 HU (some 1e-6 for a weight): half of L2 trained worse than L2, and both worse than L1,
whose gradients are fifty times larger. A comparison of losses would have measured that (docs/decisions/0008).
Steps of one length also bound what the rare batch with metal can undo, as a clip would.

Normalised gradients: Hazan, Levy, Shalev-Shwartz, "Beyond convexity", NeurIPS 2015. Adam: Kingma & Ba, ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

_TINY = 1e-30
"""Keeps the quotient of a gradient of zeros a number; squares of float32 gradients below it are lost anyway."""


class NormalisedAdam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras ships no types
    """Adam, to which each step's gradients have the global L2 norm 1."""

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        norm = ops.sqrt(sum(ops.sum(ops.square(ops.cast(grad, "float32"))) for grad in grads))
        super().apply([grad / ops.cast(norm + _TINY, grad.dtype) for grad in grads], trainable_variables)


def build_optimiser(*, learning_rate: float, epochs: int, steps: int) -> NormalisedAdam:
    """The optimiser of a run of `epochs` times `steps`.

    The learning rate rises to `learning_rate` over the first epoch, or the first tenth if that is shorter, and falls
    along a cosine to zero.
    """
    total = epochs * steps
    warm_up = min(steps, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / 100,
        decay_steps=max(total - warm_up, 1),
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )
    return NormalisedAdam(schedule, name="adam")
