"""The network: a residual U-Net that takes and gives physical values.

    image (HU) --clip, / 1000--> fine --> encoder, stride 2 on --> decoder --> + --> head --* 1000--> residual
         |                 |       |         ^                                 ^ |                      |
         |                 |       '-------------------------------------------' '--> spread --> sigma, or lower, upper
         |                 '--> noise bands -'                                                          |
         '--------------------------------------------------------------------------------------------> + --> restored

A few channels stay at full resolution: sharp noise and thin vessels do not survive on half of it (docs/networks.md).
Normalisation, its inverse and the residual sum are float32 and inside the graph, so training and serving cannot
disagree and an untrained network is the identity, bit for bit. Skips are sums rather than concatenations, and the width
grows more slowly than it doubles: at equal speed that leaves fewer parameters (docs/decisions/0003-network.md). Only
networks that say how sure they are have the second head, and it changes nothing of the first.

U-Net: Ronneberger et al., MICCAI 2015. Residual learning of noise: Zhang et al., IEEE TIP 2017 (DnCNN).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from training.networks.noise_bands import CELL, NoiseBands


@dataclass(frozen=True)
class UNetConfig:
    """Shape of the network.

    Attributes:
        widths: channels at each resolution; the first is at half the image's.
        blocks: convolutions at each resolution, on the way down (the deepest also once) and again on the way up.
        noise_bands: in how many bands of frequency the noise around a pixel is measured for the network (`NoiseBands`);
            0 leaves that to it.
        fine: channels at the image's own resolution, beside the rest; with 0 the stem sees the image itself and the
            head doubles what the decoder gives.
    """

    widths: tuple[int, ...] = (32, 56, 80, 104)
    blocks: int = 2
    noise_bands: int = 3
    fine: int = 8

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> UNetConfig:
        """What `dataclasses.asdict` gave, also before there was all of it: networks of then have none of the rest."""
        return cls(**{"noise_bands": 0, "fine": 0, **plain, "widths": tuple(plain["widths"])})

    @property
    def size_multiple(self) -> int:
        """Image sides are padded to a multiple of this inside the graph."""
        own = int(2 ** len(self.widths))
        return math.lcm(own, CELL) if self.noise_bands else own

    @property
    def receptive_field(self) -> int:
        """Side of the square of input pixels that can change one output pixel, in pixels; an upper bound by counting.

        At a resolution of stride s every 3 x 3 convolution reaches s further to each side, the convolution into it half
        a cell, and reading its cells from the finer grid up to half a cell; the head reaches one cell of stride 2, or
        there is one convolution before the stem and two at the end. The noise bands are of a square and its neighbours,
        whose pixels look as far as the coarsest band's filter.
        """
        reach = 3 if self.fine else 2
        if self.noise_bands:
            reach += 2 * CELL + 2**self.noise_bands
        for level in range(len(self.widths)):
            stride = 2 ** (level + 1)
            deepest = level == len(self.widths) - 1
            reach += stride * self.blocks * (1 if deepest else 2) + stride
        return 2 * reach + 1


@keras.saving.register_keras_serializable("clearslice")
class Normalise(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Physical values to the network's unit: clip to [low, high], divide by `scale`, pad to whole cells. float32.

    For CT low = -1024 and high = 3071 HU are the ends of the 12-bit scale and scale = 1000 HU: metal beyond says no
    more.
    Padding repeats the last row and column, so any size from 1 x 1 works.
    """

    def __init__(self, low: float, high: float, scale: float, multiple: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.low, self.high, self.scale, self.multiple = low, high, scale, multiple

    def call(self, image: keras.KerasTensor) -> keras.KerasTensor:
        normal = ops.clip(image, self.low, self.high) / self.scale
        for axis in (1, 2):
            size = ops.shape(image)[axis]
            padded = -(-size // self.multiple) * self.multiple
            if not isinstance(size, int) or size != padded:
                index = ops.minimum(ops.arange(padded, dtype="int32"), size - 1)
                normal = ops.take(normal, index, axis=axis)
        return normal

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        sides = (None if side is None else -(-side // self.multiple) * self.multiple for side in shape[1:3])
        return (shape[0], *sides, shape[3])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "low": self.low,
            "high": self.high,
            "scale": self.scale,
            "multiple": self.multiple,
        }


@keras.saving.register_keras_serializable("clearslice")
class AddResidual(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """restored = image + scale * residual, padding cropped away; float32 whatever the compute precision."""

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.scale = scale

    def call(self, inputs: tuple[keras.KerasTensor, keras.KerasTensor]) -> keras.KerasTensor:
        image, residual = inputs
        _, height, width, _ = ops.shape(image)
        return image + self.scale * ops.cast(residual, "float32")[:, :height, :width, :]

    def compute_output_shape(self, shapes: tuple[tuple[int | None, ...], ...]) -> tuple[int | None, ...]:
        return shapes[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


SPREAD_START = 0.035
"""What an untrained network gives as sigma, and as the distance of lower and upper: 35 HU, the noise of a low dose."""

SPREAD_FLOOR = 1e-3
"""The least spread, 1 HU: patches without noise would otherwise drive log sigma to minus infinity."""

SPREADS = {("restored", "sigma"), ("restored", "lower", "upper")}
"""The outputs of networks that say how sure they are."""


@keras.saving.register_keras_serializable("clearslice")
class AddSpread(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """restored and what the second head says -> (N, H, W, C) with the channels `outputs`; float32 always.

    The spread is scale * (softplus(x + start) + floor), above 0 for any x: sigma is that, lower = restored - spread and
    upper = restored + spread, so they never cross. x may be larger than `restored`; padding is cropped away.

    Raises:
        ValueError: `outputs` are none of `SPREADS`.
    """

    def __init__(self, outputs: Sequence[str], scale: float, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        if tuple(outputs) not in SPREADS:
            raise ValueError(f"outputs must be one of {sorted(SPREADS)}, not {tuple(outputs)}")
        self.outputs, self.scale = tuple(outputs), scale

    def call(self, inputs: tuple[keras.KerasTensor, keras.KerasTensor]) -> keras.KerasTensor:
        restored, raw = inputs
        _, height, width, _ = ops.shape(restored)
        start = math.log(math.expm1(SPREAD_START - SPREAD_FLOOR))  # softplus of it is what is missing to the start
        x = ops.cast(raw, "float32")[:, :height, :width, :] + start
        spread = self.scale * (ops.softplus(x) + SPREAD_FLOOR)
        if self.outputs == ("restored", "sigma"):
            return ops.concatenate([restored, spread], axis=-1)
        return ops.concatenate([restored, restored - spread[..., :1], restored + spread[..., 1:]], axis=-1)

    def compute_output_shape(self, shapes: tuple[tuple[int | None, ...], ...]) -> tuple[int | None, ...]:
        return (*shapes[0][:3], len(self.outputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "outputs": self.outputs, "scale": self.scale}


UNIT_RANGE = {"HU": (-1024.0, 3071.0, 1000.0), "relative": (0.0, 1.0, 1.0)}
"""Unit -> (low, high, scale) of `Normalise`: the network's unit is 1000 HU for CT, and 1 for relative images."""

SEEN = {"HU": UNIT_RANGE["HU"][:2], "relative": (-1.0, 2.0)}
"""Unit -> what the network sees of an image, the rest is clipped. Relative images lie in 0..1, but unclipped noise
reaches beyond, and what the network cannot see it cannot take out of the residual sum."""


def build_unet(
    config: UNetConfig, unit: str, *, outputs: tuple[str, ...] = ("restored",), dtype: str = "float32"
) -> keras.Model:
    """The model image, (N, H, W, 1) float32 in `unit`, of any size -> `outputs`, (N, H, W, C) float32 in `unit`.

    Channel 0 is always restored, by layers that do not depend on the others: they bear the same names, and with the
    same seed start from the same weights, whatever `outputs` are.

    Args:
        config: shape of the network.
        unit: `HU` or `relative`.
        outputs: the channels: `("restored",)`, `("restored", "sigma")` with sigma > 0, or `("restored", "lower",
            "upper")` with lower < restored < upper (`AddSpread`).
        dtype: Keras policy of the convolutions: `float32`, `mixed_bfloat16` to train, `bfloat16` to serve.

    Raises:
        ValueError: `outputs` are none of these.
    """
    (low, high), (_, _, scale) = SEEN[unit], UNIT_RANGE[unit]
    image = keras.Input((None, None, 1), name="image", dtype="float32")
    normal = Normalise(low, high, scale, config.size_multiple, name="normalise")(image)
    fine = _convolve(normal, config.fine, "fine", dtype) if config.fine else None
    x = _decode(_encode(normal, fine, config, dtype), fine, config, dtype)
    restored = AddResidual(scale, name="restored")([image, _head(x, 1, "head", config, dtype)])
    if outputs == ("restored",):
        return keras.Model(image, restored, name="unet")
    add_spread = AddSpread(outputs, scale, name="outputs")  # refuses other outputs, before they make a head
    spread = _head(x, len(outputs) - 1, "spread", config, dtype)
    return keras.Model(image, add_spread([restored, spread]), name="unet")


def _encode(normal: Any, fine: Any, config: UNetConfig, dtype: str) -> list[Any]:
    """The features at each resolution, finest first."""
    x, skips = normal if fine is None else fine, []
    for level, width in enumerate(config.widths):
        x = layers.Conv2D(width, 4, strides=2, padding="same", activation="relu", dtype=dtype, name=f"down{level}")(x)
        if level == 0 and config.noise_bands:
            bands = NoiseBands(config.noise_bands, name="noise_bands")(normal)
            x = layers.Concatenate(dtype=dtype, name="with_noise_bands")([x, bands])
        for block in range(config.blocks):
            x = _convolve(x, width, f"encode{level}_{block}", dtype)
        skips.append(x)
    return skips


def _decode(skips: Sequence[Any], fine: Any, config: UNetConfig, dtype: str) -> Any:
    """What the heads see, from the deepest features up."""
    x = skips[-1]
    for level in reversed(range(len(skips) - 1)):
        x = _rise(x, skips[level], level, dtype)
        for block in range(config.blocks):
            x = _convolve(x, config.widths[level], f"decode{level}_{block}", dtype)
    return x if fine is None else _convolve(_rise(x, fine, "_fine", dtype), config.fine, "decode_fine", dtype)


def _convolve(x: Any, width: int, name: str, dtype: str) -> Any:
    return layers.Conv2D(width, 3, padding="same", activation="relu", dtype=dtype, name=name)(x)


def _rise(x: Any, skip: Any, level: int | str, dtype: str) -> Any:
    x = layers.Conv2DTranspose(skip.shape[-1], 2, strides=2, dtype=dtype, name=f"up{level}")(x)
    return layers.Add(dtype=dtype, name=f"skip{level}")([x, skip])


def _head(x: Any, channels: int, name: str, config: UNetConfig, dtype: str) -> Any:
    """Starts at zero; at the image's resolution, or from half of it."""
    start = {"kernel_initializer": "zeros", "padding": "same", "dtype": dtype, "name": name}
    if config.fine:
        return layers.Conv2D(channels, 3, **start)(x)
    return layers.Conv2DTranspose(channels, 4, strides=2, **start)(x)


def restored_only(model: keras.Model) -> keras.Model:
    """The model image -> restored, (N, H, W, 1), within a model of `build_unet`: the same layers and weights."""
    return keras.Model(model.input, model.get_layer("restored").output, name="unet")
