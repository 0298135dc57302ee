"""Recipes: a loss with its training settings. `RECIPES` shows them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from imaging.image import Unit
from training.errors import UnknownRecipe
from training.losses.pixelwise import l2

Loss = Callable[[Any, Any], Any]
"""(reference, restored) -> one value per image; both (N, H, W, 1) in the network's unit."""


@dataclass(frozen=True)
class Recipe:
    """One row of the table.

    Attributes:
        name: as in `ct-<name>`.
        loss: see `training.losses`.
        says: when theory predicts it best.
        settings: the loss's own parameters, for the manifest.
    """

    name: str
    loss: Loss
    says: str
    settings: dict[str, float]


RECIPES = {
    recipe.name: recipe
    for recipe in (Recipe("l2", l2, "Gaussian noise: the posterior mean, and with it the best PSNR", {}),)
}

Domain = Literal["ct"]

DOMAINS: dict[Domain, Unit] = {"ct": "HU"}
"""Domain, the first part of a model's name -> unit of its images."""


def parse_model_name(name: str) -> tuple[Domain, Recipe]:
    """`ct-l2` -> (`ct`, the recipe l2).

    Raises:
        UnknownRecipe: the domain or the recipe does not exist; the message lists those that do.
    """
    domain, _, recipe = name.partition("-")
    if domain not in DOMAINS or recipe not in RECIPES:
        known = ", ".join(f"ct-{each}" for each in RECIPES)
        raise UnknownRecipe(f"no recipe {name!r}; there is: {known}")
    return domain, RECIPES[recipe]
