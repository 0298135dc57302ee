"""The adversary: a discriminator that is trained against the restorer, step by step, in the same loop.

    degraded --restorer--> restored --+--> discriminator --telling_apart--> its own step, first
    reference ------------------------+         |
                                                '--realness, beside L2--> the restorer's step

A PatchGAN (Isola et al., CVPR 2017) under least-squares losses (Mao et al., ICCV 2017): it sees one image, never the
degraded one, and of that only the fine texture, so that it cannot pull at the HU. It scores patches of 34 x 34 pixels,
1 for real and 0 for restored. Its kernels are kept at spectral norm 1 (Miyato et al., "Spectral normalization for
generative adversarial networks", ICLR 2018). The step needs TensorFlow.

What looks real need not be there: such a restorer can invent structure. `Recipe.warning` says so wherever it is shown.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from training.errors import IncompatibleRun, UnsupportedBackend
from training.losses.adversarial import accuracy, telling_apart
from training.networks.unet import UNIT_RANGE
from training.recipes import Recipe

WIDTHS = (32, 64, 64)
"""Of the convolutions before the scores; the first two halve the resolution. A tenth of the restorer's cost."""

LEAK = 0.2  # of the ReLUs, as Isola et al.
MOMENTUM = 0.5  # Adam's first; adversarial training swings with the usual 0.9 (Radford et al. 2016, Isola et al. 2017)


TEXTURE_SIDE = 9
"""Pixels: what varies more slowly, and with it the HU, is none of the adversary's business."""

TEXTURE_SCALE = 0.01
"""In the network's unit. 10 HU, about the noise that is left, become 1: in units of the whole range a discriminator of
this size had learnt nothing after 300 steps."""

TEXTURE_LIMIT = 10.0
"""Of edges of bone and metal, which would else drown the rest."""


def texture(image: Any) -> Any:
    """What the discriminator sees of (N, H, W, 1) in the network's unit: the same less its local mean, in 10 HU."""
    mean = ops.average_pool(image, TEXTURE_SIDE, strides=1, padding="same", data_format="channels_last")
    return ops.clip((image - mean) / TEXTURE_SCALE, -TEXTURE_LIMIT, TEXTURE_LIMIT)


def build_discriminator() -> keras.Model:
    """The model `texture` (N, H, W, 1) -> scores (N, ceil(H / 4), ceil(W / 4), 1), float32.

    Weights come from Keras' generator, as those of `training.networks.unet.build_unet`.
    """

    def convolve(x: keras.KerasTensor, width: int, strides: int) -> keras.KerasTensor:
        layer = layers.Conv2D(width, 4, strides=strides, padding="same", dtype="float32")
        return layers.SpectralNormalization(layer, dtype="float32")(x)

    image = keras.Input((None, None, 1), dtype="float32")
    x = image
    for number, width in enumerate(WIDTHS):
        x = layers.LeakyReLU(LEAK, dtype="float32")(convolve(x, width, strides=2 if number < 2 else 1))  # noqa: PLR2004
    return keras.Model(image, convolve(x, 1, strides=1), name="discriminator")


class Adversary:
    """The discriminator of one run, with its optimiser: the training step, its scores, its part of the checkpoint.

    Args:
        model: the restorer in physical values, compiled with its optimiser.
        recipe: one that needs a discriminator, with the settings `discriminator_rate`.
        unit: of the images.

    Attributes:
        recipe: the same with this discriminator, as it is at any time.

    Raises:
        UnsupportedBackend: Keras does not run on TensorFlow.
    """

    def __init__(self, model: keras.Model, recipe: Recipe, unit: str) -> None:
        if keras.backend.backend() != "tensorflow":
            raise UnsupportedBackend(
                f"recipe {recipe.name} trains two networks in turn, which needs KERAS_BACKEND=tensorflow,"
                f" not {keras.backend.backend()}"
            )
        import tensorflow as tf  # noqa: PLC0415 - heavy, and not there on other backends

        self._tf, self._model = tf, model
        _, _, self._scale = UNIT_RANGE[unit]
        self.network = build_discriminator()
        rate = recipe.settings["discriminator_rate"]
        self.network.compile(optimizer=keras.optimizers.Adam(rate, beta_1=MOMENTUM))
        self.network.optimizer.build(self.network.trainable_variables)
        self.recipe = recipe.with_network(self.judge)
        self._train = tf.function(self._both, jit_compile=model.jit_compile)  # as train_on_batch
        self._seen: list[tuple[float, float]] = []

    def judge(self, image: Any) -> Any:
        """Scores (N, h, w, 1) of (N, H, W, 1) in the network's unit; changes nothing."""
        return self.network(texture(image), training=False)

    def step(self, degraded: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
        """One step of the discriminator and one of the restorer, on (N, H, W, 1) float32; the restorer's loss."""
        loss, apart, right = self._train(degraded, reference)
        self._seen.append((float(apart), float(right)))
        return float(loss)

    def scores(self) -> dict[str, float]:
        """Means over the steps since the last call. An accuracy of 1 means that the restorer has nothing to follow."""
        apart, right = np.mean(self._seen, axis=0)
        self._seen.clear()
        return {"discriminator loss": float(apart), "discriminator accuracy": float(right)}

    def save(self, run: Path, epoch: int) -> None:
        """Writes weights and optimiser of a finished epoch, and deletes all but those of the one before.

        Call it before the restorer's checkpoint is written: of whichever of the two epochs that is when the run is
        killed, its discriminator is there.
        """
        aside = run / "aside.discriminator.weights.h5"
        self.network.save_weights(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(_file(run, epoch))
        for old in set(run.glob("discriminator-*")) - {_file(run, epoch), _file(run, epoch - 1)}:
            old.unlink()

    def resume(self, run: Path, epoch: int) -> None:
        """Back to the state after `epoch` epochs; nothing to do for 0.

        Raises:
            IncompatibleRun: the run's folder lacks it.
        """
        if epoch == 0:
            return
        if not _file(run, epoch).is_file():
            raise IncompatibleRun(
                f"{run} lacks {_file(run, epoch).name}, so it cannot be resumed; choose another folder with --run"
            )
        self.network.load_weights(_file(run, epoch))

    def _both(self, degraded: Any, reference: Any) -> tuple[Any, Any, Any]:
        reference = ops.cast(reference, "float32") / self._scale
        with self._tf.GradientTape() as tape:
            restored = ops.cast(self._model(degraded, training=True), "float32") / self._scale
            apart, right = self._teach(reference, ops.stop_gradient(restored))
            loss = ops.mean(self.recipe.loss(reference, restored))
        _descend(self._model, tape, loss)
        return loss, apart, right

    def _teach(self, reference: Any, restored: Any) -> tuple[Any, Any]:
        with self._tf.GradientTape() as tape:
            both = texture(ops.concatenate([reference, restored], axis=0))
            real, made = ops.split(self.network(both, training=True), 2, axis=0)
            apart = ops.mean(telling_apart(real, made))
        _descend(self.network, tape, apart)
        return apart, ops.mean(accuracy(real, made))


def _descend(model: keras.Model, tape: Any, loss: Any) -> None:
    variables = model.trainable_variables
    model.optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)


def _file(run: Path, epoch: int) -> Path:
    return run / f"discriminator-{epoch:04d}.weights.h5"
