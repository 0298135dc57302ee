from __future__ import annotations

import pytest

from training.errors import InvalidSettings, UnknownSetting
from training.fit import FitSettings
from training.recipes import RECIPES, parse_model_name
from training.tuning.search_space import HELD, RANGES, TuneSettings, search_ranges, starting_points

MODELS = [f"ct-{name}" for name in RECIPES] + [f"relative-{name}" for name in RECIPES if name != "window-l1"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_a_recipe_is_searched_or_held_with_a_reason(name):
    for setting in RECIPES[name].settings:
        assert (setting in RANGES.get(name, {})) != (setting in HELD), setting
    assert set(RANGES.get(name, {})) <= set(RECIPES[name].settings)


@pytest.mark.parametrize("model", MODELS)
def test_starting_points_lie_inside_the_ranges(model):
    settings = TuneSettings(FitSettings(model))
    for point in settings.starting_points:
        numbers = settings.numbers_of(point)
        assert list(numbers) == list(settings.ranges)
        for name, each in settings.ranges.items():
            assert each.low <= numbers[name] <= each.high, (point, name)
            assert each.low < each.high
            assert each.low > 0 or not each.log


def test_the_classic_delta_is_half_of_the_range_in_every_domain():
    def classic(model):
        _, recipe = parse_model_name(model)
        settings = TuneSettings(FitSettings(model))
        return settings.numbers_of(starting_points(recipe, "HU" if model.startswith("ct") else "relative")[1])["delta"]

    assert classic("ct-huber") == pytest.approx(2.0475)  # 0.5 * 4095 HU / 1000 HU
    assert classic("relative-huber") == 0.5


def test_constants_that_are_the_recipes_own_are_no_second_point():
    names = [point.name for point in TuneSettings(FitSettings("ct-ms-ssim-l1")).starting_points]
    assert names == ["classic 0.84, the recipe's own"]
    assert [p.name for p in TuneSettings(FitSettings("ct-l2")).starting_points] == ["the recipe's own"]


def test_what_is_held_is_not_searched_and_keeps_its_value():
    fit = FitSettings("ct-l1-ssim", learning_rate=3e-3, loss={"ssim_weight": 0.7})
    settings = TuneSettings(fit, frozenset({"ssim_weight"}))
    assert list(settings.ranges) == ["learning_rate"]
    assert [point.name for point in settings.starting_points] == ["the recipe's own"]  # a classic would be the same
    found = settings.with_numbers({"learning_rate": 5e-4})
    assert (found.learning_rate, found.loss["ssim_weight"]) == (5e-4, 0.7)
    with pytest.raises(InvalidSettings, match="learning_rate, ssim_weight are held"):
        TuneSettings(fit, frozenset({"ssim_weight", "learning_rate"}))


def test_numbers_are_put_where_they_belong():
    settings = TuneSettings(FitSettings("ct-huber"))
    found = settings.with_numbers({"delta": 0.3, "learning_rate": 2e-3})
    assert (found.loss, found.learning_rate) == ({"delta": 0.3}, 2e-3)
    with pytest.raises(UnknownSetting):
        settings.with_numbers({"dleta": 0.3})
    assert "learning_rate" not in search_ranges(RECIPES["huber"], ["learning_rate"])
