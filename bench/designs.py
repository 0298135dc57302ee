"""Networks that were compared with the one that ships, and RED-CNN: name -> what builds it, image -> restored in HU.

All but RED-CNN and the one that ships are a U-Net of widths 40, 64, 80, 88 with noise bands, or differ from it in one
thing; what ships joins what was better among them. What `training.networks.unet` builds is built by it; the rest is
here, as short as it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from training.networks.noise_bands import NoiseBands
from training.networks.unet import SEEN, UNIT_RANGE, AddResidual, Normalise, UNetConfig, build_unet

WIDTHS = (40, 64, 80, 88)
"""Of what the others are compared with."""

Convolution = Callable[..., Any]


def design(
    *, widths: tuple[int, ...] = WIDTHS, stem: str = "strided", convolution: str = "plain", dtype: str = "float32"
) -> keras.Model:
    """A U-Net with noise bands whose stem or convolutions are others.

    Args:
        widths: as of `UNetConfig`.
        stem: `strided`, `space to depth` (2 x 2 pixels as channels, then 3 x 3), or `full resolution` (8 channels at
            full resolution before the strided stem and after the decoder).
        convolution: `plain`, `separable` (5 x 5 for each channel, then 1 x 1), or `reparameterised` (the sum of a
            3 x 3, a 1 x 1 and the identity, which is one 3 x 3 when it serves).
        dtype: Keras policy.
    """
    (low, high), (_, _, scale) = SEEN["HU"], UNIT_RANGE["HU"]
    config = UNetConfig(widths, fine=0)

    def convolve(x: Any, width: int, name: str) -> Any:
        if convolution == "separable":
            x = layers.DepthwiseConv2D(5, padding="same", dtype=dtype, name=f"{name}_depth")(x)
            return layers.Conv2D(width, 1, activation="relu", dtype=dtype, name=name)(x)
        kind = Reparameterised if convolution == "reparameterised" and x.shape[-1] == width else layers.Conv2D
        return kind(width, 3, padding="same", activation="relu", dtype=dtype, name=name)(x)

    image = keras.Input((None, None, 1), name="image", dtype="float32")
    normal = Normalise(low, high, scale, config.size_multiple, name="normalise")(image)
    bands = NoiseBands(config.noise_bands, name="noise_bands")(normal)
    fine = layers.Conv2D(8, 3, padding="same", activation="relu", dtype=dtype, name="fine")(normal)
    x, skips = fine if stem == "full resolution" else normal, []
    for level, width in enumerate(widths):
        if level == 0 and stem == "space to depth":
            x = convolve(SpaceToDepth(dtype=dtype, name="space_to_depth")(x), width, "down0")
        else:
            x = layers.Conv2D(width, 4, strides=2, padding="same", activation="relu", dtype=dtype, name=f"down{level}")(
                x
            )
        x = layers.Concatenate(dtype=dtype, name="with_noise_bands")([x, bands]) if level == 0 else x
        for block in range(config.blocks):
            x = convolve(x, width, f"encode{level}_{block}")
        skips.append(x)
    x = skips.pop()
    for level in reversed(range(len(skips))):
        x = layers.Conv2DTranspose(widths[level], 2, strides=2, dtype=dtype, name=f"up{level}")(x)
        x = layers.Add(dtype=dtype, name=f"skip{level}")([x, skips[level]])
        for block in range(config.blocks):
            x = convolve(x, widths[level], f"decode{level}_{block}")
    head = partial(layers.Conv2DTranspose, strides=2, padding="same", kernel_initializer="zeros", dtype=dtype)
    if stem == "full resolution":
        x = layers.Add(dtype=dtype)([head(8, 4, kernel_initializer="he_normal", name="up_fine")(x), fine])
        x = layers.Conv2D(8, 3, padding="same", activation="relu", dtype=dtype, name="decode_fine")(x)
        residual = layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros", dtype=dtype, name="head")(x)
    else:
        residual = head(1, 4, name="head")(x)
    return keras.Model(image, AddResidual(scale, name="restored")([image, residual]), name="unet")


class SpaceToDepth(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """(N, H, W, C) -> (N, H / 2, W / 2, 4 C)."""

    def call(self, x: Any) -> Any:
        return ops.concatenate([x[:, row::2, column::2] for row in (0, 1) for column in (0, 1)], axis=-1)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        sides = (None if side is None else side // 2 for side in shape[1:3])
        return (shape[0], *sides, 4 * (shape[3] or 1))


class Reparameterised(layers.Conv2D):  # type: ignore[misc]  # Keras ships no types
    """A 3 x 3 convolution whose kernel is the sum of a 3 x 3, a 1 x 1 and a scaled identity.

    Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", CVPR 2021, without batch normalisation.
    """

    def build(self, shape: tuple[int | None, ...]) -> None:
        super().build(shape)
        self.point = self.add_weight(shape=(1, 1, *self._kernel.shape[2:]), initializer="zeros", name="point")
        self.through = self.add_weight(shape=(self.filters,), initializer="zeros", name="through")

    @property
    def kernel(self) -> Any:
        """(3, 3, C, C), the sum."""
        middle = self.point + ops.diag(self.through)[None, None]
        return self._kernel + ops.pad(middle, ((1, 1), (1, 1), (0, 0), (0, 0)))


def red_cnn(dtype: str = "float32") -> keras.Model:
    """RED-CNN as published: five 5 x 5 convolutions of 96 filters without padding, five transposed ones, three sums.

    Chen et al., "Low-Dose CT with a Residual Encoder-Decoder Convolutional Neural Network", IEEE Transactions on
    Medical Imaging 36 (12), 2017, section II.C.
    """
    (low, high), (_, _, scale) = SEEN["HU"], UNIT_RANGE["HU"]
    image = keras.Input((None, None, 1), name="image", dtype="float32")
    x = Normalise(low, high, scale, 1, name="normalise")(image)
    kept = {0: x}
    for number in range(1, 6):
        x = layers.Conv2D(96, 5, activation="relu", dtype=dtype, name=f"convolution{number}")(x)
        kept[number] = x
    for number, shortcut in zip(range(1, 6), (4, None, 2, None, 0), strict=True):
        x = layers.Conv2DTranspose(1 if number == 5 else 96, 5, dtype=dtype, name=f"deconvolution{number}")(x)  # noqa: PLR2004 - the last
        if shortcut is not None:
            x = layers.Add(dtype=dtype)([x, layers.Activation("linear", dtype=dtype)(kept[shortcut])])
        x = layers.ReLU(dtype=dtype)(x)
    restored = layers.Rescaling(scale, dtype="float32", name="restored")(x)
    return keras.Model(image, restored, name="red_cnn")


def unet(
    widths: tuple[int, ...] = WIDTHS, *, blocks: int = 2, noise_bands: int = 3, fine: int = 0, dtype: str
) -> keras.Model:
    """What `training.networks.unet` builds."""
    return build_unet(UNetConfig(widths, blocks, noise_bands, fine), "HU", dtype=dtype)


def shipped(dtype: str) -> keras.Model:
    """What `training.networks.unet` builds unless it is told otherwise."""
    return build_unet(UNetConfig(), "HU", dtype=dtype)


SHIPPED = "32, 56, 80, 104, 8 at full resolution (ships)"
RED_CNN = "RED-CNN as published"
DESIGNS: dict[str, Callable[..., keras.Model]] = {
    SHIPPED: shipped,
    "the same, 16 at full resolution": partial(unet, (32, 56, 80, 104), fine=16),
    "40, 64, 80, 88 with noise bands": unet,
    "without noise bands": partial(unet, noise_bands=0),
    "32, 56, 80, 104": partial(unet, (32, 56, 80, 104)),
    "24, 40, 56, 72": partial(unet, (24, 40, 56, 72)),
    "48, 64, 80, 80": partial(unet, (48, 64, 80, 80)),
    "64, 64, 72, 72": partial(unet, (64, 64, 72, 72)),
    "three resolutions, 64, 88, 104": partial(unet, (64, 88, 104)),
    "one convolution a level, 64, 88, 104, 104": partial(unet, (64, 88, 104, 104), blocks=1),
    "full resolution beside": partial(design, stem="full resolution"),
    "space to depth": partial(design, stem="space to depth"),
    "separable 5 x 5, 64, 96, 128, 160": partial(design, widths=(64, 96, 128, 160), convolution="separable"),
    "reparameterised": partial(design, convolution="reparameterised"),
}
