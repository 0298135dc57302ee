from __future__ import annotations

import numpy as np
import pytest

from imaging.quality.disc_transfer import REACH, disc_transfer
from imaging.quality.phantom import CONTRASTS, SIDE, quality_phantom


@pytest.mark.parametrize("unit", ["HU", "relative"])
def test_every_part_has_its_stated_value(unit):
    phantom, values = quality_phantom(unit), CONTRASTS[unit]
    assert phantom.image.shape == (SIDE, SIDE)
    assert phantom.image.dtype == np.float32
    assert phantom.image[0, 0] == pytest.approx(values.outside)
    np.testing.assert_allclose(phantom.image[phantom.uniform], values.body, rtol=1e-5)
    for discs, contrast in ((phantom.high, values.high), (phantom.low, values.low), (phantom.small[:2], values.low)):
        for disc in discs:
            assert disc.contrast == contrast
            centre = phantom.image[round(disc.row), round(disc.column)]
            assert centre == pytest.approx(values.body + contrast, rel=1e-3)


def test_area_and_contrast_of_small_discs_are_kept():
    """What a disc adds sums up to contrast times area, however small it is against the pixels."""
    phantom = quality_phantom("HU")
    y, x = np.mgrid[:SIDE, :SIDE]
    for disc in phantom.small:
        near = np.hypot(y - disc.row, x - disc.column) < disc.radius + 5
        added = (phantom.image[near] - CONTRASTS["HU"].body).sum()
        assert added == pytest.approx(disc.contrast * np.pi * disc.radius**2, rel=0.03)


def test_parts_keep_out_of_each_others_way():
    phantom = quality_phantom("HU")
    discs = [*phantom.high, *phantom.low, *phantom.small]
    for i, one in enumerate(discs):
        for other in discs[i + 1 :]:
            assert np.hypot(one.row - other.row, one.column - other.column) > one.radius + other.radius + REACH
        rows, columns = phantom.uniform
        nearest = np.hypot(
            one.row - np.clip(one.row, rows.start, rows.stop - 1),
            one.column - np.clip(one.column, columns.start, columns.stop - 1),
        )
        assert nearest > one.radius + 8
        assert phantom.body[round(one.row), round(one.column)]
    assert [disc.radius for disc in phantom.small] == [6, 5, 4, 3, 2, 1.5]


def test_its_edges_have_the_stated_blur():
    phantom = quality_phantom("relative")
    for discs in (phantom.high, phantom.low):
        curve = disc_transfer(phantom.image[None], discs, phantom.spacing)
        f = curve.frequency
        expected = np.exp(-2 * np.pi**2 * 0.6**2 * f**2) * np.sinc(f)  # Gaussian, then the mean over a pixel
        np.testing.assert_allclose(curve.values, expected, atol=0.04)
