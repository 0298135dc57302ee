"""Statistics of comparisons: what differences between methods, seen on the same patients, say about other patients.

    (methods, slices) of each patient --joint_bootstrap--> (draws, methods) --> intervals of means, differences, ranks
    patient means, (patients, methods) --sign_flips--> p of each difference --holm--> p of comparisons chosen beforehand
                                       --all_pairs---> p of all pairs at once: who is tied with the best

Patients are the units: slices of one patient are alike and models see all patients, so n is their number. Seeds are
averaged before anything here: two or three of them are too few to draw from. What is said is therefore true of these
trained models, and reports show the spread between seeds beside it.

Why two corrections: Holm's is for a family of comparisons that was fixed before anyone saw the scores, such as each
recipe against L2. The best recipe is chosen by the scores; Holm over "best against each other one" would then find a
difference among 11 equal recipes in 11 % of studies rather than 5 % (simulated;
`tests/training/comparison/test_statistics.py`). `all_pairs` does not depend on which one is looked at.

Sources: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (hierarchical bootstrap); Fisher,
The Design of Experiments, 1935, section 21 (sign flips); Holm, Scand J Statist 1979; 6:65-70; Westfall & Young,
Resampling-Based Multiple Testing, 1993, section 2.3 (single-step maximum).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

DRAWS = 2000
"""Of the bootstrap: its own error in the ends of a 95 % interval is then a tenth of its half-width."""

MINIMUM_PATIENTS = 6
"""With fewer nothing is called significant: among five patients no two-sided sign-flip test can reach 5 %."""

LEVEL = 0.05

_EXACT_PATIENTS = 16
"""Up to here all 2^n flips are counted."""

_RANDOM_FLIPS = 20_000
_ROUNDING = 1e-9  # flips that tie with what was seen count, whatever the order of summation did to their last digits


def joint_bootstrap(patients: Sequence[Float64], rng: np.random.Generator, draws: int = DRAWS) -> Float64:
    """(draws, methods): means over redrawn patients of means over redrawn slices, the same for all methods.

    Args:
        patients: for each patient (methods, slices).
        rng: source of randomness.
        draws: how many.
    """
    places = (draws, len(patients))
    # [patient, draw, place, method]: what each patient's slices would average to if it were drawn there
    drawn = np.stack(
        [values.T[rng.integers(values.shape[1], size=(*places, values.shape[1]))].mean(axis=2) for values in patients]
    )
    chosen = rng.integers(len(patients), size=places)
    means: Float64 = np.take_along_axis(drawn, chosen[None, ..., None], axis=0)[0].mean(axis=1)
    return means


def interval(draws: Float64) -> tuple[float, float]:
    """95 % of (draws,): from the 2.5th to the 97.5th percentile."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def ranks(values: Float64) -> NDArray[np.int64]:
    """Of (..., methods), 1 for the highest; equal values share the better rank."""
    higher = values[..., None, :] > values[..., :, None]
    counted: NDArray[np.int64] = 1 + higher.sum(axis=-1)
    return counted


def sign_flips(differences: Float64, rng: np.random.Generator) -> Float64:
    """(m,) two-sided p-values of m columns of paired differences, (patients, m), against "symmetric around 0".

    The share of sign flips whose mean is at least as far from 0 as the one seen: all 2^n up to 16 patients, else 20 000
    random ones and the one seen.
    """
    scale = np.abs(differences).sum(axis=0)
    seen = np.abs(differences.sum(axis=0))
    flipped = np.abs(_signs(len(differences), rng) @ differences)
    p: Float64 = (flipped >= seen - _ROUNDING * scale).mean(axis=0)
    return p


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family, in its order: the i-th smallest of m times m - i + 1, never falling, at most 1."""
    adjusted = [1.0] * len(p)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda each: p[each])):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        adjusted[index] = largest
    return adjusted


def all_pairs(means: Float64, rng: np.random.Generator) -> Float64:
    """(methods, methods) p-values of all pairs at once, symmetric, 1 on the diagonal.

    The share of sign flips, the same for all methods of a patient, in which any pair reaches the t-statistic of this
    pair.

    Args:
        means: (patients, methods) means over slices.
        rng: for more than 16 patients.
    """
    methods = means.shape[1]
    first, second = np.triu_indices(methods, 1)
    p = np.ones((methods, methods))
    if len(first):
        differences = means[:, first] - means[:, second]
        # |sum| / sqrt(sum of squares) rises with |t|, stays finite, and its denominator does not change with signs
        size = np.sqrt((differences**2).sum(axis=0))
        unit = np.divide(differences, size, out=np.zeros_like(differences), where=size > 0)
        largest = np.abs(_signs(len(means), rng) @ unit).max(axis=1)
        seen = np.abs(unit.sum(axis=0))
        p[first, second] = p[second, first] = (largest[:, None] >= seen - _ROUNDING).mean(axis=0)
    return p


def _signs(patients: int, rng: np.random.Generator) -> Float64:
    """(flips, patients) of -1 and 1, the first row all 1."""
    if patients <= _EXACT_PATIENTS:
        # a flip and its opposite give the same distance from 0: half of them suffice
        rows = [(1, *rest) for rest in product((1, -1), repeat=patients - 1)]
        return np.asarray(rows, np.float64)
    flips = rng.choice((-1.0, 1.0), size=(_RANDOM_FLIPS + 1, patients))
    flips[0] = 1
    return flips
