from __future__ import annotations

import numpy as np
import pytest

from training.advice.verdict import Comparison, Verification, compare, judge


def comparison(low, high, other="l2"):
    return Comparison(other, (low + high) / 2, (low, high))


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ([comparison(0.1, 0.3), comparison(0.05, 0.2, "l1")], "right"),
        ([comparison(0.1, 0.3), comparison(-0.05, 0.2, "l1")], "within the interval"),
        ([comparison(0.1, 0.3), comparison(-0.3, -0.1, "l1")], "wrong"),
        ([Comparison("l2", 3.0, None)], "within the interval"),
    ],
)
def test_what_intervals_allow_to_say(comparisons, verdict):
    assert judge(comparisons, {"untreated": 20, "l1": 30}) == verdict
    assert judge(comparisons, {"untreated": 29.8, "l1": 30}) == "within the interval"  # nothing was learned


def test_differences_are_paired_and_drawn_by_source():
    """Sources differ by 20 dB, the recipes by 0.5 in each image: pairing leaves no doubt."""
    rng = np.random.default_rng(0)
    theirs = np.repeat(rng.uniform(20, 40, 8), 3)
    found = compare(list(theirs + 0.5), list(theirs), [str(number) for number in np.repeat(range(8), 3)], "l2", 0)
    assert found.gain == pytest.approx(0.5)
    assert found.interval == pytest.approx((0.5, 0.5))


def test_images_of_one_source_are_drawn_themselves():
    found = compare([1.0, 3.0], [0.0, 0.0], ["p", "p"], "l2", 0)
    assert found.gain == 2
    assert found.interval == (1, 3)
    assert compare([1.0], [0.0], ["p"], "l2", 0).interval is None


def verification(comparisons, scores, sources=8):
    scores = {"untreated": 20, **scores}
    return Verification(judge(comparisons, scores), "l1", scores, tuple(comparisons), sources, 24, "9 steps")


def test_the_sentence_says_who_was_better():
    wrong = verification([comparison(-0.4, -0.2), comparison(0.1, 0.2, "huber")], {"l1": 30, "l2": 30.3, "huber": 29.8})
    assert "was wrong here: l2 is better than l1 by 0.30 dB [+0.20, +0.40]" in wrong.sentence
    right = verification([comparison(0.2, 0.4), comparison(0.1, 0.2, "huber")], {"l1": 30, "l2": 29.7, "huber": 29.8})
    assert "was right here: l1 is the best, 0.15 dB above huber [+0.10, +0.20]" in right.sentence
    open_ = verification([comparison(-0.1, 0.2)], {"l1": 30, "l2": 29.9}, sources=3)
    assert "neither be confirmed nor refuted" in open_.sentence
    assert "few" in open_.sentence


def test_trainings_that_taught_nothing_are_said_to():
    idle = verification([comparison(0.1, 0.2)], {"untreated": 29.9, "l1": 30, "l2": 29.9})
    assert "no recipe is 0.5 dB above the noisy images (the best, l1, by +0.10 dB)" in idle.sentence
    assert "Train longer" in idle.sentence


def test_only_a_recipe_that_is_better_beyond_the_interval_is_named():
    found = verification(
        [comparison(-1.2, 0.2, "barron"), comparison(-0.3, -0.1, "l1")], {"l1": 30, "barron": 30.5, "l2": 30.2}
    )
    assert found.verdict == "wrong"
    assert "l1 is better" in found.sentence
