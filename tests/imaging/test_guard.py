from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from imaging.guard import BLOCK, MEASURES, Finding, GuardMeasures, findings, measure_answer
from imaging.phantom import trunk

SPACING = (1.4, 1.4)


@pytest.fixture(scope="module")
def body():
    return trunk((256, 256), SPACING, np.random.default_rng(0)).astype(np.float32)


def noise(level, seed=1):
    return np.random.default_rng(seed).normal(0, level, (256, 256)).astype(np.float32)


def test_noise_that_is_removed_whole_leaves_nothing_to_say(body):
    found = measure_answer(body + noise(20), body, "HU")
    assert found.shift == pytest.approx(0, abs=0.3)
    assert found.drift < 3 * 20 / BLOCK  # of a block's mean
    assert found.level == pytest.approx(1, abs=0.1)
    assert abs(found.structure) < 0.1
    assert 0.5 < found.tissue <= 1


@pytest.mark.parametrize(
    ("measure", "answer"),
    [
        ("shift", lambda body: body + 12),
        ("drift", lambda body: body + np.where(np.arange(256) < 150, 0, 30).astype(np.float32)),
        ("level", lambda body: body + noise(60, seed=2)),
        ("structure", lambda body: ndimage.gaussian_filter(body, 3)),
    ],
)
def test_each_measure_sees_what_it_is_for(body, measure, answer):
    clean = measure_answer(body + noise(20), body, "HU")
    found = measure_answer(body + noise(20), answer(body).astype(np.float32), "HU")
    assert abs(getattr(found, measure)) > 2 * abs(getattr(clean, measure)) + 0.1


@pytest.mark.parametrize("change", [lambda body: body + 300, lambda body: body * 6, lambda body: 600 - 0.1 * body])
def test_what_is_not_in_hu_has_hardly_any_tissue(body, change):
    image = change(body).astype(np.float32)
    assert measure_answer(image + noise(20), image, "HU").tissue < 0.5 * measure_answer(body, body, "HU").tissue


def test_relative_images_count_whole():
    image = np.full((40, 48), 0.5, np.float32)
    found = measure_answer(image, image - np.float32(0.1), "relative")
    assert found.shift == pytest.approx(-0.1)
    assert found.tissue == 1
    assert math.isnan(found.level)  # nothing varies


def test_air_says_nothing():
    air = np.full((256, 256), -1000, np.float32)
    assert all(math.isnan(getattr(measure_answer(air, air, "HU"), name)) for name in MEASURES)


@given(height=st.integers(1, 70), width=st.integers(1, 70), unit=st.sampled_from(["HU", "relative"]))
def test_any_size_can_be_measured(height, width, unit):
    rng = np.random.default_rng(0)
    image = rng.normal(0.5, 0.2, (height, width)).astype(np.float32)
    found = measure_answer(image, image + np.float32(0.25), unit)
    assert math.isnan(found.shift) or found.shift == pytest.approx(0.25, abs=1e-4)


def test_only_what_lies_beyond_its_bounds_is_found_and_said():
    measures = GuardMeasures(shift=-3.0, drift=2.0, level=math.nan, structure=0.4, tissue=0.5)
    bounds = {"shift": (-1.0, 1.0), "drift": (0.0, 5.0), "level": (0.0, 1.0), "structure": (-0.2, 0.1)}
    found = findings(measures, bounds)
    assert found == [Finding("shift", -3.0, -1.0, 1.0), Finding("structure", 0.4, -0.2, 0.1)]
    assert str(found[1]) == "what was removed follows edges by 0.4, calibrated -0.2 to 0.1"
    assert str(found[0]).startswith("values moved by -3 on average")


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        measure_answer(np.zeros((8, 8), np.float32), np.zeros((8, 9), np.float32), "HU")
