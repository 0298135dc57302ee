"""How much each term of a recipe pulls at the image: its share of the gradient.

    terms(reference, restored) --d/d restored, one term at a time--> L2 norms --> shares that sum to 1

"0.8 L1 + 0.2 SSIM" is not 80 % L1: the share depends on units, data range and noise, and on low-dose CT the SSIM term
of these weights pulls several times harder. So a run logs the shares instead of trusting the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from training.recipes import Recipe


def gradient_shares(recipe: Recipe, reference: NDArray[np.float32], restored: NDArray[np.float32]) -> dict[str, float]:
    """Term -> its part, 0 to 1, of the sum of the L2 norms of d term / d restored.

    Args:
        recipe: whose terms, under its own settings.
        reference, restored: (N, H, W, 1) float32 in the network's unit; not equal.

    Raises:
        NotImplementedError: a Keras backend other than TensorFlow and JAX.
    """
    names = list(recipe.terms(reference, restored, **recipe.settings))

    def term(name: str) -> Callable[[Any], Any]:
        return lambda image: ops.sum(recipe.terms(reference, image, **recipe.settings)[name])

    norms = {name: float(np.linalg.norm(_gradient(term(name), restored))) for name in names}
    total = sum(norms.values())
    return {name: norm / total if total else 1 / len(norms) for name, norm in norms.items()}


def share_scores(recipe: Recipe, reference: NDArray[np.float32], restored: NDArray[np.float32]) -> dict[str, float]:
    """`gradient share of <term>` for the history of a run; empty for recipes of one term, whose share is no news."""
    shares = gradient_shares(recipe, reference, restored)
    return {f"gradient share of {term}": share for term, share in shares.items()} if len(shares) > 1 else {}


def _gradient(function: Callable[[Any], Any], image: NDArray[np.float32]) -> NDArray[np.float32]:
    """d function / d image; Keras has no name of its own for this."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax  # noqa: PLC0415 - only the backend in use is loaded

        return np.asarray(jax.grad(function)(ops.convert_to_tensor(image)))
    if backend != "tensorflow":
        raise NotImplementedError(f"gradient shares need the Keras backend tensorflow or jax, not {backend}")
    import tensorflow as tf  # noqa: PLC0415 - as above

    variable = tf.Variable(image)
    with tf.GradientTape() as tape:
        value = function(variable)
    gradient: NDArray[np.float32] = tape.gradient(value, variable).numpy()
    return gradient
