from __future__ import annotations

import numpy as np
import pytest

from training.comparison.standings import compare_two, stand

KEY = ("psnr", "window")


def values(gain: float, *, patients: int = 8, seeds: int = 2, chance: float = 0.02, seed: int = 0, by_seed=(0.0, 0.0)):
    """Patient -> (seeds, slices): patients differ by decibels, all slices gain the same but for a little chance."""
    rng = np.random.default_rng((seed, int(1000 * abs(gain))))
    return {
        f"p{each}": 30 + each + gain + np.array(by_seed[:seeds])[:, None] + chance * rng.normal(size=(seeds, 2))
        for each in range(patients)
    }


def recipes(**gains: float):
    return {name: ("recipe", values(gain)) for name, gain in gains.items()}


def test_a_clear_winner_is_first_and_alone():
    standings = stand("noise", KEY, recipes(l2=0.0, good=0.5, bad=-1.0), "l2")
    assert [each.method for each in standings.recipes] == ["good", "l2", "bad"]
    assert [each.rank for each in standings.recipes] == [1, 2, 3]
    assert [each.tied for each in standings.recipes] == [True, False, False]
    assert standings["good"].rank_interval == (1, 1)
    assert standings["good"].to_best is None
    assert standings["l2"].to_reference is None
    difference = standings["bad"].to_reference
    assert difference.mean == pytest.approx(-1, abs=0.02)
    assert difference.real
    assert difference.p == pytest.approx(2 * 2 / 2**8)  # Holm: the smaller of two equal ones times 2, the other no less
    assert standings["good"].to_reference.p == pytest.approx(2 * 2 / 2**8)


def test_recipes_that_chance_could_have_ordered_are_tied():
    standings = stand(
        "noise", KEY, {name: ("recipe", values(0.0, chance=0.3, seed=n)) for n, name in enumerate("abc")}, "a"
    )
    assert [each.tied for each in standings.recipes] == [True, True, True]
    low, high = standings.recipes[1].rank_interval
    assert low == 1
    assert high >= 2
    assert not any(each.to_reference.real for each in standings.recipes if each.to_reference)


def test_nothing_is_real_among_five_patients():
    methods = {name: ("recipe", values(gain, patients=5)) for name, gain in (("l2", 0.0), ("better", 3.0))}
    standings = stand("noise", KEY, methods, "l2")
    difference = standings["better"].to_reference
    assert difference.mean == pytest.approx(3, abs=0.05)
    assert (difference.p, difference.interval, difference.real) == (None, None, False)
    assert standings["l2"].tied


def test_seeds_that_disagree_make_a_difference_doubtful():
    """0.1 dB ahead on the mean of two trainings, on all patients alike; but one of the trainings is behind."""
    methods = {
        "l2": ("recipe", values(0.0)),
        "lucky": ("recipe", values(0.1, by_seed=(0.3, -0.3))),
    }
    difference = stand("noise", KEY, methods, "l2")["lucky"].to_reference
    assert difference.p <= 0.05
    assert not difference.seeds_agree
    assert not difference.real


def test_seeds_are_averaged_and_shown():
    standing = stand("noise", KEY, {"l2": ("recipe", values(0.0, by_seed=(0.0, 0.4), chance=0))}, "l2")["l2"]
    assert standing.mean == pytest.approx(30 + 3.5 + 0.2)
    assert standing.seed_means == pytest.approx((33.5, 33.9))


def test_filters_and_taken_runs_are_compared_but_not_ranked():
    methods = recipes(l2=0.0, l1=0.2)
    methods["median"] = ("baseline", values(2.0, seeds=1))
    methods["old"] = ("taken", values(1.0, seeds=1))
    standings = stand("noise", KEY, methods, "l2")
    assert [each.method for each in standings.methods] == ["l1", "l2", "old", "median"]
    median = standings["median"]
    assert (median.rank, median.rank_interval, median.to_best, median.tied) == (None, None, None, False)
    assert median.to_reference.mean == pytest.approx(2, abs=0.03)
    assert median.to_reference.p is None  # not one of the family that is corrected
    assert standings["l1"].rank == 1
    assert standings["l1"].to_reference.p == 2 / 2**8  # alone in its family
    assert (standings.patients, standings.slices, standings.seeds) == (8, 16, 2)


def test_two_methods_are_compared_without_correction():
    difference = compare_two(values(0.5), values(0.0))
    assert difference.mean == pytest.approx(0.5, abs=0.02)
    assert difference.p == 2 / 2**8
    low, high = difference.interval
    assert low < difference.mean < high < 0.55
