"""The perceptual loss: images compared by what a frozen network sees in them.

    reference, restored --features, frozen--> maps at several depths --mean squared difference--> (N,)

Conventions as in `training.losses.pixelwise`. Johnson, Alahi, Fei-Fei, "Perceptual losses for real-time style transfer
and super-resolution", ECCV 2016; for low-dose CT: Yang et al., "Low-dose CT image denoising using a generative
adversarial network with Wasserstein distance and perceptual loss", IEEE Transactions on Medical Imaging 37 (6), 2018.
The networks, and what makes their distances comparable, are in `training.networks.features`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from training.losses.pixelwise import difference

Features = Callable[[Any], Sequence[Any]]
"""(N, H, W, 1) in the network's unit -> maps at one or more depths, each (N, h, w, C) float32; never trained."""


def feature_distance(
    reference: keras.KerasTensor, restored: keras.KerasTensor, *, features: Features
) -> keras.KerasTensor:
    """Mean over depths of the mean squared difference of the maps, per image: (N,) float32, 0 and above.

    No gradient flows through the reference.

    Raises:
        ValueError: as `difference`.
    """
    difference(reference, restored)  # refuses what would broadcast
    goal, seen = (features(ops.cast(image, "float32")) for image in (ops.stop_gradient(reference), restored))
    apart = [ops.mean(ops.square(b - ops.stop_gradient(a)), axis=(1, 2, 3)) for a, b in zip(goal, seen, strict=True)]
    return sum(apart) / len(apart)
