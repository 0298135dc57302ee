from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from imaging.metrics import SOFT_TISSUE, psnr
from training.baselines import BASELINES, Baseline, tune
from training.datasets import DoseProtocol, evaluation_pairs


@pytest.fixture(scope="module")
def pairs(prepared):
    return list(evaluation_pairs(prepared("b", 2), DoseProtocol(0.25, 25.0)))


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_each_filter_helps_once_tuned_and_keeps_a_constant(baseline, pairs):
    with ThreadPoolExecutor(2) as pool:
        tuned = tune(baseline, pairs, pool)
    degraded, reference = pairs[0]
    restored = tuned(degraded)
    assert restored.dtype == np.float32
    assert psnr(restored, reference, SOFT_TISSUE) > psnr(degraded, reference, SOFT_TISSUE) + 0.3
    flat = np.full((40, 41), 57, np.float32)
    np.testing.assert_allclose(tuned(flat), flat, atol=0.01)
    assert tuned.label == f"{baseline.name} ({tuned.parameter:g} {baseline.unit})"


def test_tuning_takes_the_best_of_the_grid(pairs):
    degraded, reference = pairs[0]
    seen = []
    blend = Baseline("blend", lambda image, share: image + np.float32(share) * (reference - image), (0, 0.9, 0.4), "")
    with ThreadPoolExecutor(1) as pool:
        tuned = tune(blend, [(degraded, reference)], pool, lambda: seen.append(1))
    assert tuned.parameter == 0.9
    assert len(seen) == 3
