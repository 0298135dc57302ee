"""Noise bands: how much the surroundings of a pixel vary, told to the network beside the image itself.

    image --2 x 2, again and again--> bands --second difference, root, squares of 16 pixels--> logarithms

How noisy the surroundings are, and how coarse their noise is, decides what to take out of a pixel. A network can find
that out by itself; told so, it learns the same in a fraction of the steps (docs/networks.md).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

CELL = 16
"""Pixels, the side of the squares in which `NoiseBands` measures."""

_SECOND_DIFFERENCE = [[1, -2, 1], [-2, 4, -2], [1, -2, 1]]
"""Blind to planes and edges along the axes; white noise of deviation s gives 6 s (Immerkaer, Computer Vision and Image
Understanding 64 (2), 1996)."""


@keras.saving.register_keras_serializable("clearslice")
class NoiseBands(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """(N, H, W, 1) -> (N, H / 2, W / 2, bands) float32: how much the surroundings vary, band by band, as logarithms.

    In each band the absolute second difference, its root averaged over the squares of 16 pixels and then over their
    neighbours: the root lets edges count for little. From band to band the image is averaged over 2 x 2 pixels, so the
    first is the finest. How they compare tells the texture of the noise, how large they are its level.

    Args:
        bands: 1 to 4.
    """

    def __init__(self, bands: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.bands = bands

    def call(self, normal: keras.KerasTensor) -> keras.KerasTensor:
        kernel = ops.reshape(ops.convert_to_tensor(_SECOND_DIFFERENCE, "float32") / 6, (3, 3, 1, 1))
        image, found = normal, []
        for band in range(self.bands):
            size = CELL // 2**band
            # the summand keeps the root's slope finite, the limit what metal can do to its surroundings
            root = ops.minimum(ops.sqrt(ops.abs(ops.conv(image, kernel, padding="same")) + 1e-6), 0.4)
            cells = ops.average_pool(root, size, strides=size, padding="same")
            around = ops.average_pool(cells, 3, strides=1, padding="same")
            found.append(ops.log(around + 0.02) + 2.5)  # about 0 for the noise of a low dose
            image = ops.average_pool(image, 2, strides=2, padding="same")
        maps = ops.concatenate(found, axis=-1)
        return ops.repeat(ops.repeat(maps, CELL // 2, axis=1), CELL // 2, axis=2)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        sides = (None if side is None else side // 2 for side in shape[1:3])
        return (shape[0], *sides, self.bands)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bands": self.bands}
