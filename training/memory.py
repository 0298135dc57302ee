"""Memory: what a process that trains one model after another must let go of between them.

`keras.backend.clear_session` is not enough on TensorFlow 2.21: `tf.custom_gradient`, which Keras' training step goes
through, registers a function for every trace under a name of its own and for ever, and with it the whole graph, 50 MB
for a network of ours. Those names are removed here.
"""

from __future__ import annotations

import keras

_PREFIX = "CustomGradient-"


def forget_models() -> None:
    """Frees what no longer used models have left behind. Models that are still used must not be trained further."""
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework import ops  # noqa: PLC0415 - only on this backend

        # not of its public interface: where it is gone, memory grows, and nothing else happens
        registered = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
        for name in [each for each in registered if each.startswith(_PREFIX)]:
            del registered[name]
    keras.backend.clear_session()  # which collects garbage last
