from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from imaging.metrics import FULL_RANGE, RELATIVE, SOFT_TISSUE, measure, tissue_bias
from imaging.phantom import trunk
from imaging.quality.detail import BANDS
from imaging.quality.residuals import residual_structure
from training.evaluation.image_scores import AGREEMENT, CONTRACTS, score_against, scores

MAIN = SOFT_TISSUE.name


@pytest.fixture(scope="module")
def slices():
    rng = np.random.default_rng(0)
    reference = trunk((128, 128), (2.6, 2.6), rng)
    degraded = (reference + rng.normal(0, 30, reference.shape)).astype(np.float32)
    return reference, degraded


def test_the_scores_are_those_of_the_metrics(slices):
    reference, degraded = slices
    restored = ndimage.gaussian_filter(degraded, 1.0)
    found = scores(restored, degraded, score_against(reference, "HU"))
    for contract in (SOFT_TISSUE, FULL_RANGE):
        measured = measure(restored, reference, contract)
        for metric in AGREEMENT:
            assert found[metric, contract.name] == getattr(measured, metric)
    assert found["bias", "soft tissue"] == tissue_bias(restored, reference)["soft tissue"][0]
    assert found["structure", MAIN] == residual_structure(degraded, restored)
    assert found["edge slope", MAIN] < 0.87
    for band in BANDS:
        assert found[f"{band} kept", MAIN] < 1


def test_the_degraded_image_has_no_structure_removed(slices):
    reference, degraded = slices
    found = scores(degraded, degraded.copy(), score_against(reference, "HU"))
    assert math.isnan(found["structure", MAIN])
    assert found["edge slope", MAIN] == pytest.approx(1, abs=0.03)
    assert found["noise", "soft tissue"] == pytest.approx(30, rel=0.15)


def test_tissues_with_few_pixels_have_no_bias():
    water = np.zeros((64, 64), np.float32)
    water[:7, :7] = 900  # under 50 pixels of bone
    found = scores(water + 1, water + 2, score_against(water, "HU"))
    assert found["bias", "soft tissue"] == pytest.approx(1)
    assert ("bias", "bone") not in found


def test_relative_images_have_one_contract_and_a_bias_over_all():
    rng = np.random.default_rng(1)
    reference = rng.uniform(0.2, 0.8, (32, 32)).astype(np.float32)
    found = scores(reference + np.float32(0.05), reference, score_against(reference, "relative"))
    assert {contract for _, contract in found} == {RELATIVE.name} == {each.name for each in CONTRACTS["relative"]}
    assert found["bias", RELATIVE.name] == pytest.approx(0.05, abs=1e-6)
    assert found["rmse", RELATIVE.name] == pytest.approx(0.05, abs=1e-6)


def test_other_shapes_are_refused(slices):
    reference, degraded = slices
    with pytest.raises(ValueError, match="same shape"):
        scores(degraded[1:], degraded[1:], score_against(reference, "HU"))
