"""Recipes: a loss with its training settings. `RECIPES` shows them all.

    name + settings --terms--> {"l1": (N,), "ssim": (N,)} --sum--> one value per image --RecipeLoss--> compile

A recipe is a sum of weighted terms, and is kept as such: how much of the gradient each term has is what decides, and
it cannot be read off the weights (`training.gradients`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from training.domains import DOMAINS, Domain
from training.errors import UnknownRecipe, UnknownSetting
from training.losses.adversarial import Discriminator
from training.losses.perceptual import Features
from training.losses.pixelwise import barron, charbonnier, huber, l1, l2, log_cosh, psnr
from training.losses.structural import ms_ssim, ssim
from training.losses.uncertainty import gaussian_nll
from training.targets import Target
from training.terms import (
    Terms,
    adversarial_terms,
    focal_frequency_terms,
    gradient_terms,
    l1_ssim_terms,
    ms_ssim_l1_terms,
    only,
    perceptual_terms,
    quantile_terms,
    window_l1_terms,
)

Loss = Callable[[Any, Any], Any]
"""(reference, restored) -> one value per image; (N, H, W, 1) in the network's unit, `restored` with a channel for each
of `Recipe.outputs`."""


@dataclass(frozen=True)
class Recipe:
    """One row of the table.

    Attributes:
        name: as in `ct-<name>`.
        terms: what is summed; see `training.losses`.
        says: when theory predicts it best.
        settings: the numbers that `terms` takes, for CT (network's unit: 1.0 = 1000 HU).
        relative: those that differ for relative images (network's unit: 1.0 = white); None where the recipe makes no
            sense for them.
        outputs: the channels that the network gives; the first is always `restored`. See
            `training.networks.unet.build_unet`.
        target: what `fit` passes as the reference; see `training.targets`.
        needs: a network that its terms compare or judge by, bound with `with_network`: feature maps
            (`training.networks.features`), or a discriminator (`training.networks.adversary`), which `fit` trains too.
        warning: what whoever uses such a model has to know; shown in the table and on the model card.
    """

    name: str
    terms: Terms
    says: str
    settings: Mapping[str, float]
    relative: Mapping[str, float] | None = field(default_factory=dict)
    outputs: tuple[str, ...] = ("restored",)
    target: Target = "reference"
    needs: Literal["features", "discriminator"] | None = None
    warning: str = ""

    def loss(self, reference: Any, restored: Any) -> Any:
        """One value per image, (N,) float32, under `settings`.

        Args:
            reference: (N, H, W, 1) in the network's unit.
            restored: (N, H, W, C) in the same, with a channel for each of `outputs`.
        """
        return sum(self.terms(reference, restored, **self.settings).values())

    def with_settings(self, numbers: Mapping[str, float]) -> Recipe:
        """The same recipe with some of its settings replaced.

        Raises:
            UnknownSetting: it has no setting of such a name; the message lists those that it has.
        """
        unknown = sorted(set(numbers) - set(self.settings))
        if unknown:
            takes = ", ".join(self.settings) or "none"
            raise UnknownSetting(f"recipe {self.name} has no setting {unknown[0]!r}; its settings: {takes}")
        return replace(self, settings={**self.settings, **numbers})

    def for_domain(self, domain: Domain) -> Recipe:
        """The same recipe with the numbers of a domain as its `settings`.

        Raises:
            UnknownRecipe: it makes no sense there.
        """
        if domain == "ct":
            return self
        if self.relative is None:
            raise UnknownRecipe(f"recipe {self.name} is for CT only: {self.says}")
        return replace(self, settings={**self.settings, **self.relative})

    def with_network(self, network: Features | Discriminator) -> Recipe:
        """The same recipe with what it `needs`; before that its loss raises `MissingNetwork`."""
        if self.needs is None:
            raise ValueError(f"recipe {self.name} takes no network")
        return replace(self, terms=partial(self.terms, **{self.needs: network}))


ERROR = 0.01
"""10 HU, about the error that remains in tune patients after restoring a quarter dose: what is usual below it, and an
outlier well above. In the network's unit, as all settings."""

WINDOW = {"data_range": 0.4, "low": -1.024}
"""For SSIM: the width of the soft-tissue window [-160, 240] HU, and the lowest HU that the network sees."""

RELATIVE_ERROR = 0.03
"""Of 1, about the error that remains of white noise of 0.1: what `ERROR` is for CT."""

RELATIVE_RANGE = {"data_range": 1.0, "low": 0.0}
"""For SSIM: black to white."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("l2", only("l2", l2), "Gaussian noise: the posterior mean, and with it the best PSNR", {}),
        Recipe("l1", only("l1", l1), "Laplace and impulse noise: the posterior median", {}),
        Recipe(
            "huber",
            only("huber", huber),
            "contaminated Gaussian noise, outliers",
            {"delta": 1.345 * ERROR},  # 95 % as good as L2 under Gaussian noise (Huber 1964)
            {"delta": 1.345 * RELATIVE_ERROR},
        ),
        Recipe("charbonnier", only("charbonnier", charbonnier), "as L1, smooth around 0", {"eps": 1e-3}),
        Recipe("log-cosh", only("log_cosh", log_cosh), "moderate tails", {"scale": ERROR}, {"scale": RELATIVE_ERROR}),
        Recipe(
            "barron",
            only("barron", barron),
            "unknown tails, by the choice of its shape",
            {"shape": 1.0, "scale": ERROR},
            {"scale": RELATIVE_ERROR},
        ),
        Recipe(
            "psnr",
            only("psnr", psnr),
            "images of very different noise, each of which counts alike",
            {"eps": 1e-5},  # (3 HU)^2, as good as perfect; with 1e-8 the few clean patches take over the gradient
            {"eps": 1e-4},  # 0.01^2, as much below the error that remains
        ),
        Recipe("ssim", only("ssim", ssim), "structure that the window [-160, 240] HU shows", WINDOW, RELATIVE_RANGE),
        Recipe(
            "ms-ssim",
            only("ms_ssim", ms_ssim),
            "structure at several scales",
            {**WINDOW, "scales": 3},
            RELATIVE_RANGE,
        ),
        Recipe(
            "l1-ssim",
            l1_ssim_terms,
            "images judged by several scores: L1 keeps the HU, SSIM what the window [-160, 240] HU shows",
            # The weight of SSIM was chosen on tune patients; the classic 0.2 is worse in PSNR and in SSIM
            # (docs/training.md, "Losses").
            {"l1_weight": 0.8, "ssim_weight": 0.005, **WINDOW},
            {"ssim_weight": 0.01, **RELATIVE_RANGE},  # the same share of the gradient, a sixth; not tuned
        ),
        Recipe(
            "ms-ssim-l1",
            ms_ssim_l1_terms,
            "images for viewers (0.84 is Zhao's weight for photographs, not tuned here)",
            {"ms_ssim_weight": 0.84, **WINDOW},
            RELATIVE_RANGE,
        ),
        Recipe(
            "window-l1",
            window_l1_terms,
            "images read in the soft-tissue window: errors that it shows count more",
            {"window_weight": 0.8, "window_low": -0.16, "window_high": 0.24},
            None,
        ),
        Recipe("gradient", gradient_terms, "edges to be kept", {"gradient_weight": 0.1}),
        Recipe(
            "focal-frequency",
            focal_frequency_terms,
            "correlated noise, lost high frequencies",
            {"frequency_weight": 1.0},
        ),
        Recipe(
            "perceptual",
            perceptual_terms,
            "texture, as far as a network sees it",
            # A tenth of L2 for white noise, whatever the features (training.networks.features). On tune patients, 300
            # steps: L2 33.21 dB; 0.1 33.24; 1 33.13 and -0.1 HU of bias; 5 32.98, -0.4 HU and faint checks in flat
            # organs.
            {"feature_weight": 0.1},
            needs="features",
            warning="It was trained to look alike to a network as well as in HU: check the HU bias before measuring.",
        ),
        Recipe(
            "adversarial",
            adversarial_terms,
            "texture that looks real, and only that",
            # A quarter of the gradient. On tune patients, 300 steps: L2 33.21 dB; 1e-4 33.22; 3e-4 33.16; from 3e-3 on,
            # and so with the usual 0.01 to 0.1, the restorer leaves all noise in, which looks real at once.
            {"adversarial_weight": 3e-4, "discriminator_rate": 2e-4},  # Isola et al.'s rate
            # as much beside L2, whose errors are three times larger in this unit
            relative={"adversarial_weight": 3e-3},
            needs="discriminator",
            warning="It was trained to look real and can invent structure that is not there: never for reading.",
        ),
        Recipe(
            "heteroscedastic",
            only("nll", gaussian_nll),
            "noise that varies over the image: a sigma for every pixel, its expected error",
            {"beta": 0.5},  # the balance of image and sigma that Seitzer et al. 2022 recommend
            outputs=("restored", "sigma"),
        ),
        Recipe(
            "quantile",
            quantile_terms,
            "as L1; an interval for every pixel that holds 90 % of the references",
            {"coverage": 0.9},
            outputs=("restored", "lower", "upper"),
        ),
        Recipe(
            "noise2noise",
            only("l2", l2),
            "no clean images, but two of each whose noise is independent and of mean 0",
            {},
            target="second",
        ),
        Recipe(
            "noise2inverse",
            only("l2", l2),
            "no clean images, but the raw data of one noisy scan: half of the views against the other half",
            {},
            target="halves",
        ),
    )
}


def parse_model_name(name: str) -> tuple[Domain, Recipe]:
    """`ct-l2` -> (`ct`, the recipe l2); the recipe has the domain's settings.

    Raises:
        UnknownRecipe: the domain or the recipe does not exist, or the recipe not for this domain; the message lists
            those that do.
    """
    domain, _, recipe = name.partition("-")
    if domain not in DOMAINS or recipe not in RECIPES:
        raise UnknownRecipe(
            f"no recipe {name!r}: a name is a domain and a recipe, such as ct-l2;"
            f" domains: {', '.join(DOMAINS)}; recipes: {', '.join(RECIPES)}"
        )
    return domain, RECIPES[recipe].for_domain(domain)
