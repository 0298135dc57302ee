from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import iradon, radon

from imaging.backprojection import (
    BINS_PER_PIXEL,
    backproject,
    filter_sinograms,
    half_turn,
    outside_circle,
    project,
)
from imaging.low_dose import RAMP, SOFT
from imaging.phantom import trunk


def _phantom(side):
    image = np.maximum(trunk((side, side), (360 / side, 360 / side), np.random.default_rng(0)) + 1000, 0)
    image[outside_circle(side)] = 0
    return image.astype(np.float32)


def _places(side):
    """Of the bins, in pixels from the rotation axis."""
    bins = round(side * BINS_PER_PIXEL)
    return (np.arange(bins) - (bins - 1) / 2) / BINS_PER_PIXEL - (side // 2 - (side - 1) / 2)


@pytest.mark.parametrize("side", [127, 128])
def test_projections_are_those_of_scikit_image(side):
    image, angles = _phantom(side), half_turn(60)
    ours = project(image[None], angles)[..., 0]
    reference = radon(image, np.degrees(angles), circle=True)
    at = np.arange(side) - side // 2
    there = np.stack([np.interp(at, _places(side), view) for view in ours], axis=1)
    error = there - reference
    assert np.sqrt(np.mean(error**2)) < 0.002 * reference.max()  # both interpolate, each in its own way
    np.testing.assert_allclose(there.sum(axis=0), reference.sum(axis=0), rtol=0.002)


def test_a_disc_has_its_chords_from_every_side():
    side, radius = 128, 40
    y, x = np.mgrid[:side, :side] - side // 2
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    sums = project(disc[None], half_turn(37))[..., 0]
    place = _places(side)
    inside = np.abs(place) < radius - 3
    chord = 2 * np.sqrt(radius**2 - place[inside] ** 2)
    np.testing.assert_allclose(sums[:, inside], np.broadcast_to(chord, (37, inside.sum())), rtol=0.02)
    assert not sums[:, np.abs(place) > radius + 2].any()


def test_images_are_projected_together_as_alone():
    images = np.stack([_phantom(64), 2 * _phantom(64), np.zeros((64, 64), np.float32)])
    angles = half_turn(12)
    together = project(images, angles)
    alone = [project(image[None], angles)[..., 0] for image in images]
    for number, expected in enumerate(alone):
        np.testing.assert_allclose(together[..., number], expected, rtol=1e-6)


@pytest.mark.parametrize("side", [127, 128])
def test_the_way_there_and_back_gives_the_image_at_least_as_well_as_scikit_image(side):
    image, angles = _phantom(side), half_turn(300)
    back = backproject(filter_sinograms(project(image[None], angles), [RAMP], pixel_mm=1.0), side, angles)[0]
    reference = iradon(radon(image, np.degrees(angles), circle=True), np.degrees(angles), circle=True)
    inside = ~outside_circle(side)
    ours, theirs = (np.sqrt(np.mean((each - image)[inside] ** 2)) for each in (back, reference))
    assert ours < theirs
    assert np.mean(back[inside]) == pytest.approx(np.mean(image[inside]), rel=0.002)


def test_back_projection_is_linear_and_any_subset_of_views_is_a_scan_of_its_own():
    image, angles = _phantom(64)[None], half_turn(40)
    filtered = filter_sinograms(project(image, angles), [SOFT], pixel_mm=1.0)
    whole = backproject(filtered, 64, angles)
    parts = [backproject(filtered[first::4], 64, angles[first::4]) for first in range(4)]
    np.testing.assert_allclose(np.mean(parts, axis=0), whole, atol=1e-3 * np.abs(whole).max())
    tripled = backproject(3 * filtered, 64, angles)
    np.testing.assert_allclose(tripled, 3 * whole, rtol=1e-4, atol=1e-2)
