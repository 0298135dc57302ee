from __future__ import annotations

import numpy as np
import pytest

from imaging.phantom import head
from training.evaluation.hard_cases import HARD_CASES, SHAPE, measure_hard_case


def _by_name(part):
    return next(each for each in HARD_CASES if part in each.name)


@pytest.mark.parametrize("drawing", HARD_CASES, ids=lambda each: each.name)
def test_every_drawing_has_pixels_that_are_counted(drawing):
    truth = drawing.draw(np.random.default_rng(0))
    counted = drawing.counted(truth)
    assert truth.shape == counted.shape == SHAPE
    assert 0.005 < counted.mean() < 0.6


def test_errors_are_against_the_truth_where_they_are_counted():
    nothing = measure_hard_case(_by_name("no noise"), lambda image: image, {})
    assert (nothing.before, nothing.after, nothing.warned) == (0, 0, ())
    moved = measure_hard_case(_by_name("no noise"), lambda image: image + 3, {"shift": (-1, 1)})
    assert moved.after == pytest.approx(3)
    assert moved.warned == ("shift",)
    lungs = _by_name("chest")
    truth = lungs.draw(np.random.default_rng(20261128))
    only_lungs = measure_hard_case(lungs, lambda image: np.where(lungs.counted(truth), truth, image), {})
    assert only_lungs.before > 20
    assert only_lungs.after == 0


def test_the_counted_pixels_are_where_the_name_says():
    metal = _by_name("screws")
    truth = metal.draw(np.random.default_rng(0))
    near = metal.counted(truth)
    assert not near[truth >= 3071].any()
    assert near.sum() * 0.75**2 < np.pi * (13 + 25 + 20) ** 2  # mm^2 around two screws
    lung = _by_name("chest")
    truth = lung.draw(np.random.default_rng(0))
    assert truth[lung.counted(truth)].max() < -500
    assert not lung.counted(truth)[0].any()  # the air around the patient


def test_a_head_has_bone_brain_fluid_and_blood():
    hu = head((256, 256), (0.9, 0.9), np.random.default_rng(0))
    assert hu.dtype == np.float32
    assert hu[0, 0] == -1000
    for low, high, least in ((700, 1400, 0.02), (20, 50, 0.15), (2, 15, 0.003), (58, 75, 0.0005)):
        assert ((hu > low) & (hu < high)).mean() > least
