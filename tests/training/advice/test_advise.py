from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from imaging.noise.pairs import profile_from_pairs
from training.advice.advise import FIRST, NETWORK_UNIT, RULES, Winner, advise, settings_for
from training.advice.noise_families import Family
from training.networks.unet import UNIT_RANGE
from training.recipes import RECIPES

CLEAN = np.full((96, 96), 40, np.float32) + np.linspace(0, 20, 96, dtype=np.float32)


def profile(noise, unit="HU", clean=CLEAN):
    return profile_from_pairs([(clean + noise).astype(np.float32)], [clean], unit)


@pytest.fixture(scope="module")
def gaussian():
    return profile(np.random.default_rng(0).normal(0, 20, CLEAN.shape))


@pytest.fixture(scope="module")
def contaminated():
    rng = np.random.default_rng(1)
    return profile(rng.normal(0, 20, CLEAN.shape) * np.where(rng.random(CLEAN.shape) < 0.06, 8, 1))


def test_the_table_names_recipes_that_exist():
    assert set(RULES) == set(Family.__args__)
    for family, rule in RULES.items():
        assert set(rule.runners_up) <= set(RECIPES)
        assert FIRST not in rule.runners_up, family
    assert all(NETWORK_UNIT[unit] == scale for unit, (_, _, scale) in UNIT_RANGE.items())


def test_gaussian_noise_takes_l2(gaussian):
    advice = advise(gaussian, "ct")
    assert (advice.family, advice.recipe, advice.settings) == ("gaussian", "l2", {})
    assert "white and Gaussian, with a level of 20" in advice.reason
    assert "HU" in advice.reason
    assert advice.doubts == ()


def test_tails_of_the_input_take_l2_too_and_tails_of_the_targets_a_doubt():
    laplace = profile(np.random.default_rng(2).laplace(0, 20, CLEAN.shape))
    advice = advise(laplace, "ct")
    assert (advice.family, advice.recipe) == ("laplace", "l2")
    assert "in the input, not in the targets" in advice.reason
    doubts = advise(laplace, "ct", targets="second").doubts
    assert any("the tails are in the targets too" in doubt for doubt in doubts)


def test_outliers_take_l2_and_huber_beside_it_has_a_delta_of_the_bulk(contaminated):
    advice = advise(contaminated, "ct")
    assert (advice.family, advice.recipe, advice.settings) == ("contaminated", "l2", {})
    assert "huber" in advice.runners_up
    settings = settings_for("huber", contaminated)
    # 1.345 times 20 HU in units of 1000 HU
    assert settings["delta"] == pytest.approx(0.0269, rel=0.05)
    assert RECIPES["huber"].with_settings(settings).settings == settings
    assert settings_for("l2", contaminated) == {}


def test_impulses_take_l2_and_name_the_noise_and_the_filter_beside_them(gaussian):
    rng = np.random.default_rng(3)
    noisy = CLEAN + rng.normal(0, 20, CLEAN.shape)
    noisy[rng.random(CLEAN.shape) < 0.05] = 3071
    advice = advise(profile_from_pairs([noisy.astype(np.float32)], [CLEAN], "HU"), "ct")
    assert (advice.family, advice.recipe) == ("impulse", "l2")
    assert any("median filter" in doubt for doubt in advice.doubts)
    assert any("beside the impulses there is noise of 20" in doubt for doubt in advice.doubts)
    assert advise(advised := gaussian, "ct", targets="second").recipe == "noise2noise"
    assert advised is gaussian


def test_two_noisy_images_of_each_place_take_noise2noise_but_not_with_impulses(gaussian):
    assert advise(gaussian, "ct", targets="second").recipe == "noise2noise"
    lost = dataclasses.replace(gaussian, impulse_share=0.05)
    advice = advise(lost, "ct", targets="second")
    assert advice.recipe == "l1"
    assert any("do not have mean 0" in doubt for doubt in advice.doubts)


def test_without_any_target_it_says_what_to_train_on(gaussian):
    advice = advise(gaussian, "ct", targets="none")
    assert advice.recipe == "l2"
    assert any("train on others" in doubt for doubt in advice.doubts)


def test_no_noise_takes_the_plain_choice():
    advice = advise(profile(np.zeros(CLEAN.shape)), "ct")
    assert (advice.family, advice.recipe, advice.runners_up) == ("none", "l2", ())


def test_a_measured_winner_overrides_theory_and_says_so(contaminated, gaussian):
    evidence = {"contaminated": Winner("l1-ssim", {"ssim_weight": 0.01}, ("l1", "l1:x=1"), "report.json")}
    advice = advise(contaminated, "ct", evidence=evidence)
    assert (advice.recipe, advice.settings, advice.measured) == ("l1-ssim", {"ssim_weight": 0.01}, True)
    assert "where the rule says l2" in advice.reason
    assert "not clearly ahead of l1, l1:x=1" in advice.reason
    assert advice.runners_up == ("l1", "l2")
    assert not advise(contaminated, "ct", targets="second", evidence=evidence).measured
    assert not advise(gaussian, "ct", evidence=evidence).measured  # the study has no such noise
    agrees = advise(contaminated, "ct", evidence={"contaminated": Winner("l2")})
    assert "as the rule says" in agrees.reason


def test_the_rule_stands_where_a_study_cannot_tell_its_recipe_from_the_best(contaminated):
    advice = advise(contaminated, "ct", evidence={"contaminated": Winner("l1", {}, ("huber", "l2"))})
    assert (advice.recipe, advice.settings, advice.runners_up) == ("l2", {}, ("l1", "huber"))
    assert advice.measured
    assert "nothing is better than l2 by more than chance" in advice.reason


def test_a_filter_that_beat_all_recipes_is_a_doubt(contaminated):
    evidence = {"contaminated": Winner("huber", filter="median (3 px)", ahead=4.0)}
    doubts = advise(contaminated, "ct", evidence=evidence).doubts
    assert "in the study no recipe reached median (3 px), which was 4.0 dB better" in doubts


def test_a_bias_is_a_doubt():
    advice = advise(profile(np.random.default_rng(4).normal(5, 20, CLEAN.shape)), "ct")
    assert any("off by 5" in doubt or "off by 4" in doubt for doubt in advice.doubts)


def test_units_must_agree(gaussian):
    with pytest.raises(ValueError, match="HU"):
        advise(gaussian, "relative")
