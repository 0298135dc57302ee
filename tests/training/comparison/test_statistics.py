from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.comparison.statistics import LEVEL, all_pairs, holm, interval, joint_bootstrap, ranks, sign_flips


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_holm_by_hand():
    """Sorted 0.005, 0.01, 0.03, 0.04 of four: times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04, which must not fall."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_p_values_and_bonferroni(values):
    adjusted = holm(values)
    for p, corrected in zip(values, adjusted, strict=True):
        assert p <= corrected <= min(1.0, len(values) * p) or corrected == pytest.approx(
            max(p, min(1, len(values) * p))
        )
    in_order = [adjusted[place] for place in np.argsort(values, kind="stable")]
    assert in_order == sorted(in_order)


def test_sign_flips_by_hand():
    """Of 1, 2, 3, -4 the flips whose sums are as far from 0 as the 2 seen; of six positive ones 2 of the 2^6."""
    differences = np.array([1.0, 2.0, 3.0, -4.0])
    sums = [abs(np.dot(signs, differences)) for signs in product((1, -1), repeat=4)]
    expected = np.mean([each >= 2 for each in sums])
    assert sign_flips(differences[:, None], rng())[0] == expected
    assert sign_flips(np.full((6, 1), 0.1), rng())[0] == 2 / 2**6
    assert sign_flips(np.zeros((8, 1)), rng())[0] == 1


def test_sign_flips_of_many_patients_are_drawn():
    """20 patients, all positive: one of a million flips is as far, so nearly only the one seen is."""
    p = sign_flips(np.full((20, 2), [[0.1, 0.0]]), rng())
    assert p[0] == pytest.approx(1 / 20_001, abs=3 / 20_001)
    assert p[1] == 1


def test_random_flips_agree_with_all_of_them(monkeypatch):
    differences = rng(3).normal(0.3, 1, (12, 3))
    exact = sign_flips(differences, rng())
    monkeypatch.setattr("training.comparison.statistics._EXACT_PATIENTS", 5)
    np.testing.assert_allclose(sign_flips(differences, rng()), exact, atol=0.012)


def test_the_tests_keep_their_level_where_nothing_differs():
    """Share of 300 studies of 11 equal recipes on 10 patients in which anything is called different; 5 % is allowed."""
    draws = rng(1)
    against_first, against_best, chosen_afterwards = 0, 0, 0
    for _ in range(300):
        means = draws.normal(size=(10, 11)) + 3 * draws.normal(size=(10, 1))
        against_first += min(holm(list(sign_flips(means[:, 1:] - means[:, :1], draws)))) <= LEVEL
        best = int(means.mean(axis=0).argmax())
        against_best += all_pairs(means, draws)[best].min() <= LEVEL
        others = np.delete(means[:, [best]] - means, best, axis=1)
        chosen_afterwards += min(holm(list(sign_flips(others, draws)))) <= LEVEL
    assert against_first / 300 <= 0.08  # 5 % and three standard errors
    assert against_best / 300 <= 0.08
    assert chosen_afterwards / 300 > 0.08  # which is why ties with the best are not tested by Holm


def test_all_pairs_find_what_differs():
    means = 3 * rng(2).normal(size=(10, 1)) + 0.05 * rng(4).normal(size=(10, 4)) + np.array([0.0, 0.0, 0.0, -1.0])
    p = all_pairs(means, rng())
    assert p[3, :3].max() <= LEVEL
    assert p[:3, :3].min() > LEVEL
    np.testing.assert_array_equal(p, p.T)
    np.testing.assert_array_equal(np.diag(p), 1)


def test_all_pairs_of_two_methods_are_the_sign_flips():
    means = rng(7).normal(size=(9, 2))
    assert all_pairs(means, rng())[0, 1] == sign_flips(means[:, :1] - means[:, 1:], rng())[0]
    assert all_pairs(means[:, :1], rng()).tolist() == [[1.0]]
    assert all_pairs(np.zeros((9, 2)), rng())[0, 1] == 1


def test_the_bootstrap_draws_the_same_patients_and_slices_for_all_methods():
    patients = [rng(each).normal(10 * each, 5, (1, slices)) for each, slices in enumerate((3, 1, 4))]
    shifted = [np.concatenate([values, values + 2]) for values in patients]
    draws = joint_bootstrap(shifted, rng(), 200)
    assert draws.shape == (200, 2)
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], 2)
    assert np.ptp(draws[:, 0]) > 5


def test_the_bootstrap_has_the_variance_of_patients_and_slices():
    """In closed form, for P patients of n slices: (Var_p(mean_p) + Mean_p(Var_slices / n)) / P."""
    generator = rng(5)
    patients = [generator.normal(generator.normal(), 4.0, (1, 6)) for _ in range(40)]
    means = np.array([values.mean() for values in patients])
    within = np.mean([values.var() / values.size for values in patients])
    deviation = np.sqrt((means.var() + within) / len(patients))
    draws = joint_bootstrap(patients, generator)[:, 0]
    assert draws.mean() == pytest.approx(means.mean(), abs=0.1 * deviation)
    assert draws.std() == pytest.approx(deviation, rel=0.06)
    low, high = interval(draws)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.08)


def test_ranks_share_the_better_place():
    assert ranks(np.array([[3.0, 1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0]])).tolist() == [[1, 4, 1, 3], [4, 3, 2, 1]]
