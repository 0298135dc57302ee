from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from imaging.quality.phantom import quality_phantom
from training.data.pairs import PreparedSeries
from training.degradations import DoseProtocol, parse_degradation
from training.degradations.low_dose import TYPICAL_NOISE_HU
from training.evaluation.phantom_tests import (
    degrade_phantom,
    measure_restorer,
    phantom_series,
    result_from_json,
    untouched,
)

SIGMA = 0.1


@pytest.fixture(scope="module")
def white(tmp_path_factory):
    series = phantom_series("relative", tmp_path_factory.mktemp("cache"))
    return degrade_phantom(series, parse_degradation("gaussian", "relative", {"sigma": SIGMA}))


def blur(image):
    return ndimage.gaussian_filter(image, 1.0)


TRUTH = quality_phantom("relative").image


def perfect(_image):
    return TRUTH


def test_white_noise_measures_as_what_it_is(white):
    result = untouched(white)
    assert result.noise == pytest.approx(SIGMA, rel=0.02)
    assert result.bias < 0.1 * SIGMA
    assert result.spectrum.deviation == pytest.approx(SIGMA, rel=0.03)
    assert np.mean(result.spectrum.curve.values) == pytest.approx(SIGMA**2, rel=0.1)  # pixels of 1 x 1
    assert result.shape_distance == 0
    assert result.repetitions == 8
    for disc in result.discs[:4]:
        assert disc.recovered == pytest.approx(1, abs=0.15)


def test_a_blur_lowers_noise_and_resolution_at_every_contrast(white):
    before, after = untouched(white), measure_restorer(blur, white)
    assert after.noise < 0.35 * before.noise
    assert after.bias > 3 * max(before.bias, 0.001)
    assert after.spectrum.mean_frequency < 0.6 * before.spectrum.mean_frequency
    assert after.shape_distance > 0.3
    # a linear filter: the same at both contrasts. Its Gaussian and the phantom's own 0.6 and pixel: f50 by hand 0.155
    assert after.transfer["high"].f50 == pytest.approx(0.155, rel=0.06)
    assert after.transfer["low"].f50 == pytest.approx(0.155, rel=0.15)
    assert after.transfer["high"].f50 < 0.75 * before.transfer["high"].f50
    assert after.discs[-1].recovered < after.discs[0].recovered  # small things suffer most


def test_a_restorer_that_drops_what_is_faint_shows_at_low_contrast_only(white):
    faint = (TRUTH > 0.42) & (TRUTH < 0.6)

    def drop(image):
        return np.where(faint, np.float32(0.4), blur(image))

    result = measure_restorer(drop, white)
    assert result.transfer["high"] is not None
    assert all(abs(disc.recovered) < 0.3 for disc in result.discs)


def test_a_perfect_restorer_leaves_no_noise_to_describe(white):
    result = measure_restorer(perfect, white)
    assert (result.noise, result.bias, result.shape_distance) == (0, 0, None)
    assert result.spectrum.mean_frequency is None
    assert [disc.recovered for disc in result.discs] == pytest.approx([1] * 6, abs=1e-5)
    nothing = measure_restorer(np.zeros_like, white)
    assert nothing.transfer == {"high": None, "low": None}


def test_results_survive_json(white):
    for result in (untouched(white), measure_restorer(perfect, white)):
        assert result_from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))) == result


def test_a_restorer_that_breaks_its_word_is_refused(white):
    with pytest.raises(ValueError, match="images of"):
        measure_restorer(lambda image: image[1:], white)
    with pytest.raises(ValueError, match="NaN"):
        measure_restorer(lambda image: image * np.float32(np.nan), white)


def test_copies_of_a_ct_phantom_have_noise_of_their_own(tmp_path):
    series = phantom_series("HU", tmp_path, repetitions=2, processes=1)
    assert isinstance(series, PreparedSeries)
    assert series.noise_level == TYPICAL_NOISE_HU
    degraded = degrade_phantom(series, DoseProtocol(0.25, electronic_noise=0.0))
    noise = degraded.images - degraded.phantom.image
    inside = degraded.phantom.body
    assert abs(np.corrcoef(noise[0][inside], noise[1][inside])[0, 1]) < 0.03
    result = untouched(degraded)
    # a quarter of the dose adds sqrt(3) times the noise of the full dose, where soft tissue is
    assert result.noise == pytest.approx(np.sqrt(3) * TYPICAL_NOISE_HU, rel=0.1)
    assert result.spectrum.mean_frequency == pytest.approx(0.21, abs=0.03)  # soft kernel: below half of 0.625
