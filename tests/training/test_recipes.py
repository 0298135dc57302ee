from __future__ import annotations

import pytest

from training.errors import UnknownRecipe
from training.recipes import RECIPES, parse_model_name


def test_names_are_domain_and_recipe():
    domain, recipe = parse_model_name("ct-l2")
    assert (domain, recipe) == ("ct", RECIPES["l2"])


@pytest.mark.parametrize("name", ["", "ct", "l2", "ct-", "mr-l2", "ct-l3", "CT-L2", "ct-l2 "])
def test_other_names_are_refused_with_those_that_exist(name):
    with pytest.raises(UnknownRecipe, match="there is: ct-l2"):
        parse_model_name(name)
