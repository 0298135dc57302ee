"""Advice that is kept, and what becomes of it beside made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from training.comparison.advised import agreement, is_advised, keep_advice
from training.comparison.standings import stand
from training.data.dead_leaves import dead_leaves

TERMS = {"tune": ["t0"]}


@pytest.fixture(scope="module")
def laplace(tmp_path_factory):
    """A folder with the advice for Laplace noise: l2."""
    rng = np.random.default_rng(0)
    clean = [dead_leaves((128, 128), each) for each in rng.spawn(3)]
    pairs = [((each + rng.laplace(0, 0.05, each.shape)).astype(np.float32), each) for each in clean]
    place = tmp_path_factory.mktemp("advice")
    keep_advice(place, pairs, "relative", TERMS)
    return place


def standings(chance: float = 0.01, **gains: float):
    rng = np.random.default_rng(0)
    methods = {
        name: ("recipe", {f"p{each}": gain + chance * rng.normal(size=(2, 2)) for each in range(10)})
        for name, gain in gains.items()
    }
    return stand("laplace", ("psnr", "window"), methods, next(iter(gains)))


@pytest.mark.parametrize(
    ("measured", "outcome", "behind"),
    [
        (standings(l1=30.0, l2=30.5), "best", 0.0),
        (standings(l1=30.5, l2=30.0), "behind", 0.5),
        (standings(l1=30.5, l2=30.0, chance=1.0), "tied", 0.14),
        (standings(l1=30.5, huber=30.0), "not ranked", None),
    ],
)
def test_advice_is_held_against_what_was_measured(laplace, measured, outcome, behind):
    found = agreement(laplace, measured)
    assert (found.family, found.recipe, found.outcome) == ("laplace", "l2", outcome)
    assert found.behind == (None if behind is None else pytest.approx(behind, abs=0.02))
    assert "heavy tails" in found.reason


def test_advice_under_other_terms_is_given_anew(laplace, tmp_path):
    assert is_advised(laplace, TERMS)
    assert not is_advised(laplace, {"tune": ["t1"]})
    assert not is_advised(tmp_path, TERMS)
    assert agreement(tmp_path, standings(l2=1.0, l1=2.0)) is None
