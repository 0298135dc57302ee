from __future__ import annotations

import keras
import numpy as np
import pytest

from training.errors import MissingNetwork, UnknownRecipe, UnknownSetting
from training.keras_loss import RecipeLoss
from training.losses.pixelwise import l1, l2
from training.losses.structural import ssim
from training.recipes import RECIPES, parse_model_name

RNG = np.random.default_rng(0)
REFERENCE, RESTORED = (RNG.normal(0, 0.1, (2, 16, 16, 1)).astype(np.float32) for _ in range(2))


def test_names_are_domain_and_recipe():
    domain, recipe = parse_model_name("ct-l1-ssim")
    assert (domain, recipe) == ("ct", RECIPES["l1-ssim"])


@pytest.mark.parametrize("name", ["", "ct", "l2", "ct-", "mr-l2", "ct-l3", "CT-L2", "ct-l2 "])
def test_other_names_are_refused_with_those_that_exist(name):
    with pytest.raises(UnknownRecipe, match="domains: ct, relative; recipes: l2, l1, "):
        parse_model_name(name)


def test_relative_images_have_settings_of_their_own():
    assert parse_model_name("relative-huber")[1].settings == {"delta": pytest.approx(1.345 * 0.03)}
    assert parse_model_name("ct-huber")[1].settings == {"delta": pytest.approx(1.345 * 0.01)}
    own = parse_model_name("relative-l1-ssim")[1].settings
    assert own == {"l1_weight": 0.8, "ssim_weight": 0.01, "data_range": 1.0, "low": 0.0}
    assert list(own) == list(RECIPES["l1-ssim"].settings)
    for recipe in RECIPES.values():
        assert set(recipe.relative or {}) <= set(recipe.settings), recipe.name  # nothing that its terms do not take


def test_a_recipe_that_needs_a_window_of_hu_is_refused_for_relative_images():
    with pytest.raises(UnknownRecipe, match="window-l1 is for CT only: images read in the soft-tissue window"):
        parse_model_name("relative-window-l1")
    parse_model_name("ct-window-l1")


def test_a_recipe_is_the_weighted_sum_of_its_terms():
    given = RECIPES["l1-ssim"].settings
    parts = given["l1_weight"] * l1(REFERENCE, RESTORED) + given["ssim_weight"] * ssim(
        REFERENCE, RESTORED, data_range=given["data_range"], low=given["low"]
    )
    np.testing.assert_allclose(np.asarray(RECIPES["l1-ssim"].loss(REFERENCE, RESTORED)), np.asarray(parts), rtol=1e-6)
    np.testing.assert_array_equal(
        np.asarray(RECIPES["l2"].loss(REFERENCE, RESTORED)), np.asarray(l2(REFERENCE, RESTORED))
    )


def test_a_keras_loss_is_the_mean_over_the_batch():
    loss = RecipeLoss("l2")
    assert float(loss(REFERENCE, RESTORED)) == pytest.approx(float(np.mean((REFERENCE - RESTORED) ** 2)), rel=1e-6)
    assert float(loss(REFERENCE, RESTORED, sample_weight=np.array([1.0, 0.0]))) == pytest.approx(
        float(np.mean((REFERENCE[0] - RESTORED[0]) ** 2)) / 2, rel=1e-6
    )


def test_settings_replace_the_recipes_own_and_survive_saving():
    loss = RecipeLoss("l1-ssim", ssim_weight=0.0)
    assert float(loss(REFERENCE, RESTORED)) == pytest.approx(
        0.8 * float(np.mean(np.abs(REFERENCE - RESTORED))), rel=1e-6
    )
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(again, RecipeLoss)
    assert again.recipe.settings == loss.recipe.settings
    assert float(again(REFERENCE, RESTORED)) == float(loss(REFERENCE, RESTORED))


def test_unknown_names_are_refused_with_those_that_exist():
    with pytest.raises(UnknownRecipe, match="there is: l2, l1, "):
        RecipeLoss("l3")
    with pytest.raises(
        UnknownSetting, match="no setting 'delta'; its settings: l1_weight, ssim_weight, data_range, low"
    ):
        RecipeLoss("l1-ssim", delta=0.1)
    with pytest.raises(UnknownSetting, match="its settings: none"):
        RecipeLoss("l2", delta=0.1)


def test_a_recipe_that_needs_a_network_says_so_until_it_is_given_one():
    perceptual = RECIPES["perceptual"]
    with pytest.raises(MissingNetwork, match=r"RecipeLoss\('perceptual', features=PATH\)"):
        perceptual.loss(REFERENCE, RESTORED)
    double = perceptual.with_network(lambda image: [2 * image]).with_settings({"feature_weight": 0.25})
    np.testing.assert_allclose(  # 1/4 of the square of twice the error is another L2
        np.asarray(double.loss(REFERENCE, RESTORED)), 2 * np.asarray(l2(REFERENCE, RESTORED)), rtol=1e-6
    )
    adversarial = RECIPES["adversarial"].with_network(lambda image: image[:, :2, :2] * 0)  # takes nothing for real
    terms = adversarial.terms(REFERENCE, RESTORED, **adversarial.settings)
    np.testing.assert_array_equal(np.asarray(terms["l2"]), np.asarray(l2(REFERENCE, RESTORED)))
    np.testing.assert_allclose(np.asarray(terms["adversarial"]), adversarial.settings["adversarial_weight"] / 2)
    with pytest.raises(ValueError, match="recipe l2 takes no network"):
        RECIPES["l2"].with_network(lambda image: [image])


def test_recipes_that_can_invent_or_shift_warn():
    assert "invent structure" in RECIPES["adversarial"].warning
    assert "HU bias" in RECIPES["perceptual"].warning
    assert {recipe.name for recipe in RECIPES.values() if recipe.needs} <= {
        recipe.name for recipe in RECIPES.values() if recipe.warning
    }
