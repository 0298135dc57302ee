from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import iradon, radon

from imaging.backprojection import outside_circle
from imaging.low_dose import RAMP, SOFT
from imaging.phantom import trunk
from imaging.sparse_views import ALL_VIEWS, OFFSETS, sparse_view_artefacts

SIDE = 96
VIEWS = 24


@pytest.fixture(scope="module")
def phantom():
    return trunk((SIDE, SIDE), (3.8, 3.8), np.random.default_rng(0))


@pytest.fixture(scope="module")
def artefacts(phantom):
    return sparse_view_artefacts(phantom[None], VIEWS)[0]


def _theirs(hu, first, views):
    """scikit-image's reconstruction of every `ALL_VIEWS` / `views`-th view; its Hann filter is the soft kernel."""
    image = hu + 1000.0
    image[outside_circle(SIDE)] = 0
    angles = (np.arange(ALL_VIEWS) * 180 / ALL_VIEWS)[first :: ALL_VIEWS // views]
    return iradon(radon(image, angles, circle=True), angles, circle=True, filter_name="hann")


@pytest.mark.parametrize("offset", range(OFFSETS))
def test_the_streaks_are_those_of_scikit_images_reconstructions(phantom, artefacts, offset):
    step = ALL_VIEWS // VIEWS
    expected = _theirs(phantom, round(offset * step / OFFSETS), VIEWS) - _theirs(phantom, 0, ALL_VIEWS)
    inside = ~outside_circle(SIDE)
    ours, theirs = artefacts[offset][inside], expected[inside]
    # scikit-image has one bin a pixel and interpolates linearly, which blurs: the same streaks, a little weaker
    assert np.corrcoef(ours, theirs)[0, 1] > 0.965
    assert np.polyfit(ours, theirs, 1)[0] == pytest.approx(0.87, abs=0.05)


def test_more_views_leave_fewer_streaks_and_a_sharper_kernel_more(phantom):
    body = phantom > -200
    levels = [sparse_view_artefacts(phantom[None], views)[0, 0][body].std() for views in (12, 24, 48, 96)]
    assert levels[0] > 1.5 * levels[1] > 1.5**2 * levels[2] > 1.5**3 * levels[3]
    sharp = sparse_view_artefacts(phantom[None], 24, kernel=RAMP)[0, 0][body].std()
    assert sharp > 1.2 * levels[1]


def test_the_offsets_are_different_patterns_of_one_strength(phantom, artefacts):
    body = phantom > -200
    levels = artefacts[:, body].std(axis=1)
    np.testing.assert_allclose(levels, levels.mean(), rtol=0.25)
    correlations = np.corrcoef(artefacts[:, body])[np.triu_indices(OFFSETS, 1)]
    assert correlations.max() < 0.5


def test_nothing_is_added_outside_the_circle_nor_to_air(artefacts):
    assert not artefacts[:, outside_circle(SIDE)].any()
    assert not sparse_view_artefacts(np.full((1, 32, 32), -1000, np.float32), 10).any()
    assert not sparse_view_artefacts(np.full((1, 32, 32), -3000, np.float32), 10).any()  # nothing is below vacuum


def test_the_mean_hu_stays(phantom, artefacts):
    inside = ~outside_circle(SIDE)
    assert np.abs(artefacts[:, inside].mean(axis=1)).max() < 0.002 * (phantom[inside] + 1000).mean()


def test_images_of_any_shape_one_by_one_or_together(phantom):
    wide = np.stack([phantom[:60], phantom[20:80]])
    before = wide.copy()
    together = sparse_view_artefacts(wide, 20)
    assert (together.shape, together.dtype) == ((2, OFFSETS, 60, SIDE), np.float32)
    np.testing.assert_allclose(together[1], sparse_view_artefacts(wide[1:], 20, kernel=SOFT)[0], atol=0.01)
    np.testing.assert_array_equal(wide, before)


@pytest.mark.parametrize("views", [1, 181])
def test_as_many_views_as_make_streaks(views, phantom):
    with pytest.raises(ValueError, match=r"views must lie in 2\.\.180"):
        sparse_view_artefacts(phantom[None], views)
