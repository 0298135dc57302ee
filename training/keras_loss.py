"""A recipe as a plain Keras loss.

RecipeLoss("l1-ssim") --model.compile(loss=...)--> any Keras model, saved and loaded with it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from imaging.image import Unit
from training.errors import UnknownRecipe, UnknownSetting, UnusableFeatures
from training.networks.features import parse_features, read_features
from training.recipes import RECIPES


@keras.saving.register_keras_serializable("clearslice")
class RecipeLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras ships no types
    """A recipe for any Keras model: `model.compile(loss=RecipeLoss("l1-ssim", data_range=1.0, low=0.0))`.

    Takes (N, H, W, 1) batches in the unit that the settings are meant for, and is saved and loaded with the model. A
    recipe with several `outputs` needs a model with as many channels (`training.networks.unet.AddSpread` makes them).
    The recipe `adversarial` trains a second network, which a loss cannot hold: it raises on the first batch, naming
    what can.

    Args:
        recipe: its name, a key of `RECIPES`.
        features: of the recipe `perceptual`, `FILE.npz` or `FILE.npz:LAYER` as `training.networks.features` reads it.
            The file is not saved with the model, and has to lie there when it is loaded.
        unit: of images for `features`: `HU` (batches in 1000 HU) or `relative` (0..1).
        reduction, name, dtype: as every Keras loss.
        settings: numbers that replace the recipe's own.

    Raises:
        UnknownRecipe: there is no such recipe.
        UnknownSetting: as `Recipe.with_settings`, or `features` for a recipe that takes none.
        UnusableFeatures: as `training.networks.features.read_features`.
    """

    def __init__(
        self,
        recipe: str,
        *,
        features: str = "",
        unit: Unit = "HU",
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
        **settings: float,
    ) -> None:
        super().__init__(name=name or recipe.replace("-", "_"), reduction=reduction, dtype=dtype)
        if recipe not in RECIPES:
            raise UnknownRecipe(f"no recipe {recipe!r}; there is: {', '.join(RECIPES)}")
        self.recipe = RECIPES[recipe].with_settings(settings)
        self.features, self.unit = features, unit
        if features:
            if self.recipe.needs != "features":
                raise UnknownSetting(f"recipe {recipe} compares by no features; leave out features={features!r}")
            source = parse_features(features)
            if not source.file:
                raise UnusableFeatures(
                    "features 'encoder' has to be trained first, as `clearslice train` does; give the path of its"
                    " features-*.npz, in the cache"
                )
            self.recipe = self.recipe.with_network(read_features(Path(source.file), unit, source.layer))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(N,) of (N, H, W, 1) and (N, H, W, C), C as many as the recipe has outputs."""
        return self.recipe.loss(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        learned = {"features": self.features, "unit": self.unit} if self.features else {}
        return {**super().get_config(), "recipe": self.recipe.name, **learned, **self.recipe.settings}
