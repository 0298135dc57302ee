from __future__ import annotations

import numpy as np
import pytest

from imaging.image import AIR_HU
from imaging.metrics import TISSUES
from imaging.phantom import METAL_HU, trunk


@pytest.mark.parametrize("region", ["chest", "abdomen"])
def test_every_tissue_is_there(region):
    hu = trunk((256, 256), (1.5, 1.5), np.random.default_rng(0), region=region)
    assert hu.dtype == np.float32
    for tissue in TISSUES:
        low, high = TISSUES[tissue]
        share = np.mean((hu >= low) & (hu < high))
        if tissue == "lung":
            assert (share > 0.05) == (region == "chest")
        else:
            assert share > 0.005, tissue
    assert hu[0, 0] == AIR_HU
    assert hu.max() < METAL_HU


def test_the_size_follows_the_spacing():
    fine = trunk((256, 256), (1.5, 1.5), np.random.default_rng(1))
    coarse = trunk((128, 128), (3.0, 3.0), np.random.default_rng(1))
    areas = [np.count_nonzero(image > -500) * mm**2 for image, mm in ((fine, 1.5), (coarse, 3.0))]
    assert areas[0] == pytest.approx(areas[1], rel=0.03)
    assert areas[0] == pytest.approx(np.pi / 4 * 330 * 230, rel=0.25)  # mm^2, within the variation of patients


def test_seeds_and_metal():
    def draw(seed, **options):
        return trunk((120, 121), (3.0, 3.0), np.random.default_rng(seed), **options)

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    assert draw(1, metal=True).max() > 2000
    assert draw(1).max() < 1500
