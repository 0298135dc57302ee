from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imaging.metrics import RELATIVE, SOFT_TISSUE, psnr
from training.data.datasets import evaluation_pairs
from training.degradations import DoseProtocol
from training.evaluation.baselines import (
    BASELINES,
    USUAL_NOISE_HU,
    Baseline,
    TunedBaseline,
    bilateral,
    noise_level,
    tune,
)

BY_NAME = {baseline.name: baseline for baseline in BASELINES}


@pytest.fixture(scope="module")
def pairs(prepared):
    return list(evaluation_pairs(prepared("b", 2), DoseProtocol(0.25, 25.0)))


@pytest.fixture(scope="module")
def relative_pair():
    """Two steps under white noise of 0.08."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((72, 80))
    reference = (0.3 + 0.2 * (rows > 30) + 0.2 * (columns > 41)).astype(np.float32)
    return (reference + rng.normal(0, 0.08, reference.shape)).astype(np.float32), reference


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_each_filter_helps_once_tuned_and_keeps_a_constant(baseline, pairs):
    with ThreadPoolExecutor(2) as pool:
        tuned = tune(baseline, pairs, "HU", pool)
    degraded, reference = pairs[0]
    restored = tuned(degraded)
    assert restored.dtype == np.float32
    assert psnr(restored, reference, SOFT_TISSUE) > psnr(degraded, reference, SOFT_TISSUE) + 0.3
    flat = np.full((40, 41), 57, np.float32)
    np.testing.assert_allclose(tuned(flat), flat, atol=0.01)
    assert tuned.label == f"{baseline.name} ({tuned.parameter:g} {baseline.unit})"


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_each_filter_helps_relative_images(baseline, relative_pair):
    degraded, reference = relative_pair
    with ThreadPoolExecutor(2) as pool:
        tuned = tune(baseline, [relative_pair], "relative", pool)
    restored = tuned(degraded)
    assert restored.dtype == np.float32
    assert psnr(restored, reference, RELATIVE) > psnr(degraded, reference, RELATIVE) + 3
    np.testing.assert_array_equal(tuned(reference * 0), reference * 0)


@pytest.mark.parametrize("name", ["bilateral", "total variation", "non-local means"])
def test_a_parameter_in_noise_levels_suits_every_scale(name, relative_pair):
    """The same image in units a thousand times as large: the same restored image, in them."""
    degraded, _ = relative_pair
    tuned = TunedBaseline(BY_NAME[name], 1.0, "relative")
    np.testing.assert_allclose(tuned(1000 * degraded), 1000 * tuned(degraded), atol=0.5)


def test_the_median_is_for_impulses(relative_pair):
    _, reference = relative_pair
    rng = np.random.default_rng(1)
    degraded = np.where(rng.random(reference.shape) < 0.08, np.float32(1), reference)
    scores = {}
    with ThreadPoolExecutor(2) as pool:
        for baseline in BASELINES:
            restored = tune(baseline, [(degraded, reference)], "relative", pool)(degraded)
            scores[baseline.name] = float(psnr(restored, reference, RELATIVE))
    assert max(scores, key=scores.__getitem__) == "median"


def test_the_bilateral_filter_by_hand():
    """Far above the noise each side of a step is averaged apart: what lies beyond weighs exp(-0.5 * 50^2) = 0."""
    step = np.zeros((20, 20), np.float32)
    step[:, 10:] = 50
    np.testing.assert_allclose(bilateral(step - 1000, 1.0, 1.0), step - 1000, atol=1e-3)
    single = np.zeros((15, 15), np.float32)
    single[7, 7] = 2  # two noise levels above its neighbours: exp(-0.5 * 4) each
    distance = np.hypot(*np.mgrid[-3:4, -3:4])
    weights = np.exp(-0.5 * (distance / 1.5) ** 2)
    expected = 2 / (1 + (weights.sum() - 1) * np.exp(-2))
    assert bilateral(single, 1.0, 1.0)[7, 7] == pytest.approx(expected, rel=1e-5)


def test_the_noise_level_of_relative_images():
    rng = np.random.default_rng(2)
    rows = np.indices((200, 200))[0]
    scene = 0.3 + 0.4 * (rows % 20 > 9)
    noisy = scene + rng.normal(0, 0.05, scene.shape)
    assert noise_level(noisy.astype(np.float32), "relative") == pytest.approx(0.05, rel=0.2)
    assert noise_level(scene.astype(np.float32), "relative") == 0
    hit = np.where(rng.random(scene.shape) < 0.03, 1.0, noisy)
    assert noise_level(hit.astype(np.float32), "relative") == pytest.approx(0.05, rel=0.5)
    assert noise_level(np.full((64, 64), -1000, np.float32), "HU") == USUAL_NOISE_HU  # no soft tissue


def test_tuning_takes_the_best_of_the_grid(pairs):
    degraded, reference = pairs[0]
    seen = []
    blend = Baseline(
        "blend", lambda image, share, _: image + np.float32(share) * (reference - image), (0, 0.9, 0.4), ""
    )
    with ThreadPoolExecutor(1) as pool:
        tuned = tune(blend, [(degraded, reference)], "HU", pool, lambda: seen.append(1))
    assert tuned.parameter == 0.9
    assert len(seen) == 3
