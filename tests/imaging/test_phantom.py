from __future__ import annotations

import math

import numpy as np
import pytest

from imaging.anatomy import HALF_WIDTH_MM, METAL_HU, Ellipsoid
from imaging.image import AIR_HU
from imaging.metrics import TISSUES
from imaging.phantom import _paint, trunk


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


def _at(hu, x, y, side=1):
    """Mean HU of 3 x 3 pixels of 1 mm at (x, y) in mm of the standard patient; the outline gives the growth."""
    rows, columns = (np.flatnonzero((hu > -500).any(axis=axis)) for axis in (1, 0))
    grow = (columns[-1] - columns[0] + 1) / (2 * HALF_WIDTH_MM)
    row, column = (round((ends[0] + ends[-1]) / 2 + place * grow) for ends, place in ((rows, y), (columns, x)))
    return hu[row - side : row + side + 1, column - side : column + side + 1].mean()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("region", "place", "low", "high"),
    [
        ("abdomen", (0, 48), 120, 260),  # marrow of the vertebra
        ("abdomen", (0, 75), 30, 50),  # spinal cord
        ("abdomen", (0, 82), -10, 20),  # fluid around it
        ("abdomen", (42, 90), 45, 70),  # muscle of the back
        ("abdomen", (9, 18), 160, 205),  # aorta
        ("abdomen", (-20, 19), 120, 170),  # inferior vena cava
        ("abdomen", (-112, 10), 85, 120),  # liver, beside its lesions
        ("abdomen", (-36, 12), 0, 15),  # gall bladder
        ("abdomen", (105, 25), 108, 130),  # spleen
        ("abdomen", (72, -28), 10, 40),  # stomach
        ("abdomen", (48, -48), -1000, -960),  # gas in it
        ("abdomen", (0, -104), -115, -85),  # fat under the skin
        ("chest", (34, -20), 130, 175),  # left chamber of the heart
        ("chest", (62, -20), 45, 75),  # its wall
        ("chest", (24, 32), 160, 205),  # aorta
        ("chest", (30, 8), -1000, -950),  # main bronchus
        ("chest", (0, -104), -115, -85),
    ],
)
def test_tissues_are_where_anatomy_has_them(region, place, low, high, seed):
    hu = trunk((400, 400), (1.0, 1.0), np.random.default_rng(seed), region=region)
    assert low <= _at(hu, *place) <= high


def test_lungs_lie_on_both_sides_and_screws_in_the_vertebra():
    chest = trunk((400, 400), (1.0, 1.0), np.random.default_rng(0), region="chest")
    for side in (-1, 1):
        assert _at(chest, 80 * side, 0, 12) < -600  # with vessels in it
    metal = trunk((400, 400), (1.0, 1.0), np.random.default_rng(0), metal=True)
    for side in (-1, 1):
        assert _at(metal, 16 * side, 62) > 2500
    assert metal.max() == METAL_HU


def test_neighbouring_planes_show_the_same_patient():
    planes = [trunk((200, 200), (2.0, 2.0), np.random.default_rng(5), z=z) for z in (0.0, 3.0, 30.0)]
    other = trunk((200, 200), (2.0, 2.0), np.random.default_rng(6))
    inside = planes[0] > -500
    near, far, strange = (np.abs(plane - planes[0])[inside].mean() for plane in (*planes[1:], other))
    assert 0 < near < far < strange


def test_a_painted_ellipse_has_its_area_and_its_hu():
    """Partial coverage of the pixels at the edge makes the sum exact to a per mille of pi a b, wherever it lies."""
    x = np.arange(80) - 40.0
    for part in (Ellipsoid(0.3, -2.4, 12, 7, 50, turn=33), Ellipsoid(-3, 5.5, 20.25, 20.25, 50)):
        hu, grain = np.zeros((80, 80)), np.zeros((80, 80))
        _paint(part, hu, grain, x=x, y=x, pixel=1.0)
        assert hu.sum() == pytest.approx(50 * np.pi * part.a * part.b, rel=2e-3)
        assert hu.max() == 50
        assert hu.min() == 0


def test_a_superellipse_fills_its_box_and_a_wobble_keeps_the_area():
    """Area of |x/a|^p + |y/b|^p = 1: 4 a b Gamma(1 + 1/p)^2 / Gamma(1 + 2/p)."""
    x = np.arange(80) - 40.0
    full, grain = np.zeros((80, 80)), np.zeros((80, 80))
    _paint(Ellipsoid(0, 0, 20, 12, 1, power=4.0), full, grain, x=x, y=x, pixel=1.0)
    assert full.sum() == pytest.approx(4 * 20 * 12 * math.gamma(1.25) ** 2 / math.gamma(1.5), rel=5e-3)
    wobbled = np.zeros((80, 80))
    _paint(Ellipsoid(0, 0, 20, 20, 1, wobble=0.08, phase=1.0), wobbled, grain, x=x, y=x, pixel=1.0)
    assert wobbled.sum() == pytest.approx(np.pi * 400, rel=0.02)
    radii = np.hypot(*np.nonzero(wobbled > 0.5) - np.array([[40], [40]]))
    assert radii.max() > 21  # it did leave the circle


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (90, 31)])
def test_any_size_is_drawn(shape):
    hu = trunk(shape, (2.0, 3.0), np.random.default_rng(0))
    assert hu.shape == shape
    assert np.isfinite(hu).all()


def test_unequal_spacings_keep_the_shape_in_mm():
    hu = trunk((128, 256), (3.0, 1.5), np.random.default_rng(2))
    wide, deep = (np.count_nonzero((hu > -500).any(axis=axis)) * mm for axis, mm in ((0, 1.5), (1, 3.0)))
    assert wide / deep == pytest.approx(330 / 230, rel=0.03)  # the outline is no perfect oval
