from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.noise.tails import MAX_VALUES, fit_contaminated, measure_tails

COUNT = 40_000


def test_gaussian_noise_is_gaussian():
    tails = measure_tails(np.random.default_rng(0).normal(3, 7, COUNT), effective=COUNT)
    assert tails.best == "gaussian"
    assert abs(tails.kurtosis) < 3 * tails.kurtosis_error
    assert tails.kurtosis_error == pytest.approx(math.sqrt(24 / COUNT))
    # the density of a Gaussian under the Laplace fit: 1/2 ln(2 pi e) against ln(2 e sqrt(2 / pi)), 0.0484 a value
    assert tails.aic["laplace"] - tails.aic["gaussian"] == pytest.approx(2 * COUNT * 0.04844, rel=0.1)


def test_laplace_noise_is_laplace():
    tails = measure_tails(np.random.default_rng(1).laplace(0, 5, COUNT), effective=COUNT)
    assert tails.best == "laplace"
    assert tails.kurtosis == pytest.approx(3, abs=0.5)
    assert tails.aic["laplace"] == 0


@settings(max_examples=15)
@given(st.floats(0.04, 0.2), st.floats(4, 12), st.floats(0.01, 100), st.integers(0, 99))
def test_the_parts_of_a_contaminated_gaussian_are_found(share, ratio, core, seed):
    rng = np.random.default_rng(seed)
    values = core * rng.standard_normal(COUNT) * np.where(rng.random(COUNT) < share, ratio, 1)
    tails = measure_tails(values, effective=COUNT)
    assert tails.best == "contaminated"
    assert tails.core * values.std() == pytest.approx(core, rel=0.05)
    assert tails.ratio == pytest.approx(ratio, rel=0.15)
    assert tails.share == pytest.approx(share, rel=0.25)
    # 3 (1 - p + p k^4) / (1 - p + p k^2)^2 - 3
    expected = 3 * (1 - share + share * ratio**4) / (1 - share + share * ratio**2) ** 2 - 3
    assert tails.kurtosis == pytest.approx(expected, rel=0.35)  # of fourth powers, which few outliers decide


def test_the_fit_is_at_least_as_likely_as_a_gaussian():
    z = np.random.default_rng(2).uniform(-1, 1, 5000)
    z /= z.std()
    assert fit_contaminated(z).log_likelihood >= -0.5 * (math.log(2 * math.pi) + 1) - 1e-3
    assert measure_tails(z, effective=5000).best == "gaussian"  # lighter tails than a Gaussian are no outliers


def test_few_independent_values_prove_nothing():
    """The same heavy tails, of values that are hardly independent."""
    values = np.random.default_rng(3).laplace(0, 1, COUNT)
    assert measure_tails(values, effective=20).best == "gaussian"
    assert measure_tails(values, effective=3000).best == "laplace"


def test_many_values_are_thinned_and_count_no_more():
    values = np.random.default_rng(4).normal(0, 1, 3 * MAX_VALUES)
    assert measure_tails(values, effective=1e9).values <= MAX_VALUES


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(500), np.full(500, 3.0), np.arange(5.0)])
def test_what_has_no_tails_has_no_family(values):
    tails = measure_tails(values, effective=len(values))
    assert tails.best == "gaussian"
    assert tails.aic == {}


@pytest.mark.parametrize("values", [np.zeros((3, 3)), np.array([1.0, np.nan])])
def test_nonsense_is_refused(values):
    with pytest.raises(ValueError, match="finite"):
        measure_tails(values, effective=9)
