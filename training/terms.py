"""Terms: the sums of losses that the recipes are made of.

    (reference, restored), settings --losses, weights--> {"l1": (N,), "ssim": (N,)}

Every function takes images in the network's unit and its recipe's settings by name, and returns each term with its
weight, (N,) float32: the recipe's loss is their sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.errors import MissingNetwork
from training.losses.adversarial import Discriminator, realness
from training.losses.edges import gradient_l1
from training.losses.perceptual import Features, feature_distance
from training.losses.pixelwise import l1, l1_inside, l2
from training.losses.spectral import focal_frequency
from training.losses.structural import multi_sigma_ssim, ssim, windowed_l1
from training.losses.uncertainty import pinball

Terms = Callable[..., dict[str, Any]]
"""(reference, restored, **settings) -> the weighted terms by name, each one value per image, (N,) float32."""


def only(name: str, loss: Callable[..., Any]) -> Terms:
    """The terms of a recipe that is one loss, whose own parameters are its settings."""
    return lambda reference, restored, **settings: {name: loss(reference, restored, **settings)}


def l1_ssim_terms(
    reference: Any, restored: Any, *, l1_weight: float, ssim_weight: float, data_range: float, low: float
) -> dict[str, Any]:
    return {
        "l1": l1_weight * l1(reference, restored),
        "ssim": ssim_weight * ssim(reference, restored, data_range=data_range, low=low),
    }


def ms_ssim_l1_terms(
    reference: Any, restored: Any, *, ms_ssim_weight: float, data_range: float, low: float
) -> dict[str, Any]:
    structure = multi_sigma_ssim(reference, restored, data_range=data_range, low=low)
    return {
        "ms_ssim": ms_ssim_weight * structure,
        "l1": (1 - ms_ssim_weight) * windowed_l1(reference, restored),
    }


def window_l1_terms(
    reference: Any, restored: Any, *, window_weight: float, window_low: float, window_high: float
) -> dict[str, Any]:
    inside = l1_inside(reference, restored, low=window_low, high=window_high)
    return {"window": window_weight * inside, "l1": (1 - window_weight) * l1(reference, restored)}


def gradient_terms(reference: Any, restored: Any, *, gradient_weight: float) -> dict[str, Any]:
    return {"l1": l1(reference, restored), "gradient": gradient_weight * gradient_l1(reference, restored)}


def focal_frequency_terms(reference: Any, restored: Any, *, frequency_weight: float) -> dict[str, Any]:
    return {"l1": l1(reference, restored), "frequency": frequency_weight * focal_frequency(reference, restored)}


def perceptual_terms(
    reference: Any, restored: Any, *, feature_weight: float, features: Features | None = None
) -> dict[str, Any]:
    if features is None:
        raise MissingNetwork(
            "recipe perceptual compares by features: `clearslice train` makes them; elsewhere, take those of a file,"
            " RecipeLoss('perceptual', features=PATH) or recipe.with_network(read_features(PATH, unit))"
        )
    distance = feature_distance(reference, restored, features=features)
    return {"l2": l2(reference, restored), "features": feature_weight * distance}


def adversarial_terms(
    reference: Any,
    restored: Any,
    *,
    adversarial_weight: float,
    discriminator_rate: float,
    discriminator: Discriminator | None = None,
) -> dict[str, Any]:
    del discriminator_rate  # of the discriminator's own steps (training.networks.adversary)
    if discriminator is None:
        raise MissingNetwork(
            "recipe adversarial trains a discriminator along, which a Keras loss cannot hold: use `clearslice train`;"
            " its other term is recipe l2"
        )
    supervised = l2(reference, restored)
    return {"l2": supervised, "adversarial": adversarial_weight * realness(discriminator(restored))}


def quantile_terms(reference: Any, restored: Any, *, coverage: float) -> dict[str, Any]:
    levels = {"median": 0.5, "lower": (1 - coverage) / 2, "upper": (1 + coverage) / 2}  # in the order of channels
    return {
        name: pinball(reference, restored, channel=channel, level=level)
        for channel, (name, level) in enumerate(levels.items())
    }
