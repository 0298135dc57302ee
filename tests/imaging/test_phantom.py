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


def _at(hu, x, y, side=2):
    """Mean HU of 5 x 5 pixels at (x, y) in fractions of the trunk's half axes, which its outline gives."""
    rows, columns = (np.flatnonzero((hu > -500).any(axis=axis)) for axis in (1, 0))
    row, column = (
        round((ends[0] + ends[-1]) / 2 + place * (ends[-1] - ends[0]) / 2) for ends, place in ((rows, y), (columns, x))
    )
    return hu[row - side : row + side + 1, column - side : column + side + 1].mean()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("region", "place", "low", "high"),
    [
        ("abdomen", (0.0, 0.62), 100, 340),  # marrow of the vertebra
        ("abdomen", (0.0, 0.80), 15, 35),  # spinal canal
        ("abdomen", (-0.03, 0.31), 130, 230),  # aorta
        ("abdomen", (-0.40, 0.40), 75, 180),  # liver or kidney
        ("abdomen", (0.33, 0.45), 150, 190),  # kidney
        ("abdomen", (0.55, 0.05), 90, 130),  # spleen
        ("abdomen", (0.22, -0.42), -1000, -960),  # gas in the stomach
        ("abdomen", (0.0, -0.96), -115, -85),  # fat under the skin
        ("chest", (0.08, -0.22), 55, 130),  # heart
        ("chest", (0.0, -0.96), -115, -85),
    ],
)
def test_tissues_are_where_anatomy_has_them(region, place, low, high, seed):
    hu = trunk((400, 400), (1.0, 1.0), np.random.default_rng(seed), region=region)
    assert low <= _at(hu, *place) <= high


def test_lungs_lie_on_both_sides_and_screws_in_the_vertebra():
    chest = trunk((400, 400), (1.0, 1.0), np.random.default_rng(0), region="chest")
    for side in (-0.46, 0.46):
        assert _at(chest, side, -0.02, 12) < -600  # with vessels in it
    metal = trunk((800, 800), (0.5, 0.5), np.random.default_rng(0), metal=True)
    assert _at(metal, -0.09, 0.66) > 2500
    assert _at(metal, 0.09, 0.66) > 2500
    assert metal.max() == METAL_HU


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (90, 31)])
def test_any_size_is_drawn(shape):
    hu = trunk(shape, (2.0, 3.0), np.random.default_rng(0))
    assert hu.shape == shape
    assert np.isfinite(hu).all()


def test_unequal_spacings_keep_the_shape_in_mm():
    hu = trunk((128, 256), (3.0, 1.5), np.random.default_rng(2))
    wide, deep = (
        np.ptp(np.flatnonzero((hu > -500).any(axis=0))) * 1.5,
        np.ptp(np.flatnonzero((hu > -500).any(axis=1))) * 3,
    )
    assert wide / deep == pytest.approx(330 / 230, rel=0.03)
