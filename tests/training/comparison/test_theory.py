from __future__ import annotations

import numpy as np
import pytest

from training.comparison.theory import CLAIMS, FAVOURITES, judge
from training.degradations import DEGRADATIONS
from training.recipes import RECIPES


def values(gain: float, patients: int = 10, chance: float = 0.01):
    rng = np.random.default_rng(int(1e4 * abs(gain)))
    return {f"p{each}": 30 + each + gain + chance * rng.normal(size=(2, 2)) for each in range(patients)}


def scores(degradation: str = "gaussian", patients: int = 10, chance: float = 0.01, **gains: float):
    methods = {name.replace("_", "-"): ("recipe", values(gain, patients, chance)) for name, gain in gains.items()}
    return {degradation: {"psnr": methods, "ssim": methods}}


def of(judgements, better: str, worse: str):
    return next(each for each in judgements if (each.claim.better, each.claim.worse) == (better, worse))


def test_claims_are_about_recipes_and_degradations_that_exist():
    for claim in CLAIMS:
        assert {claim.better, claim.worse} <= RECIPES.keys()
        assert set(claim.degradations) <= DEGRADATIONS["ct"].keys()
    assert set(FAVOURITES) == DEGRADATIONS["ct"].keys()
    assert set(FAVOURITES.values()) <= RECIPES.keys()


def test_a_claim_is_confirmed_refuted_or_left_open():
    judgements = judge(scores(l2=0.5, l1=0.0))
    assert of(judgements, "l2", "l1").verdict == "confirmed"
    assert of(judgements, "l1", "l2").verdict == "refuted"  # in SSIM, whatever the degradation
    assert [each.verdict for each in judge(scores(l2=0.0, l1=0.0001, chance=0.5))] == ["undecided"] * 2


def test_claims_about_a_degradation_are_corrected_together():
    """Each pair differs for all 10 patients, p 2/1024; Holm over the 3 claims about l2, l1 and l1-ssim."""
    judgements = judge(scores(l2=0.5, l1=0.0, l1_ssim=0.2))
    assert len(judgements) == 3
    assert [each.difference.p for each in judgements] == pytest.approx([3 * 2 / 1024] * 3)
    both = judge(scores(l2=0.5, l1=0.0, l1_ssim=0.2) | scores("laplace:sigma=20", l2=0.5, l1=0.0))
    assert [each.difference.p for each in both[:3]] == pytest.approx([3 * 2 / 1024] * 3)
    assert of(both[3:], "l1", "l2").degradation == "laplace:sigma=20"


def test_five_patients_decide_nothing():
    assert {each.verdict for each in judge(scores(l2=5.0, l1=0.0, patients=5))} == {"undecided"}


def test_a_claim_needs_both_recipes_and_its_degradation():
    assert judge(scores(l2=0.5)) == []
    assert all(each.claim.metric == "ssim" for each in judge(scores("sparse-views", l2=0.5, l1=0.0)))


@pytest.mark.parametrize(
    ("gain", "chance", "verdict"),
    [(0.05, 0.01, "confirmed"), (-0.3, 0.01, "refuted"), (0.3, 0.01, "refuted"), (0.09, 0.2, "undecided")],
)
def test_an_equivalence_is_judged_by_its_interval(gain, chance, verdict):
    judgement = of(judge(scores(l2=0.0, noise2noise=gain, chance=chance)), "noise2noise", "l2")
    assert judgement.verdict == verdict
    assert judgement.difference.p is None
    assert judgement.claim.says == "noise2noise is within 0.1 of l2 in PSNR"
