from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from imaging.metrics import SOFT_TISSUE
from training.degradations import DoseProtocol, DoseRange, parse_degradation
from training.fit import FitSettings, fit, load_run
from training.networks.unet import UNetConfig, build_unet
from training.probes import choose_probes, interval_scores, restore_slice, score_probes

TINY = FitSettings(model="ct-l2", epochs=1, steps=3, batch=2, patch=32, network=UNetConfig((4, 6), 1))
SIGMA, INTERVAL = ("restored", "sigma"), ("restored", "lower", "upper")


def _answer(*channels):
    return np.stack([np.asarray(channel, np.float32) for channel in channels], axis=-1)


def test_coverage_and_width_by_hand():
    """Of four references in the window the last two lie outside; the fifth, air, does not count."""
    reference = np.array([[0, 100, 40, -100, -1000]], np.float32)
    restored = np.array([[5, 90, 0, 0, 0]], np.float32)
    lower, upper = restored - np.float32([[5, 20, 10, 30, 0]]), restored + np.float32([[0, 10, 20, 5, 0]])
    expected = {"coverage": 0.5, "interval width": (5 + 30 + 30 + 35) / 4}
    assert interval_scores(_answer(restored, lower, upper), INTERVAL, reference) == pytest.approx(expected)


def test_the_90_percent_of_a_normal_distribution_lie_within_the_sigma_that_it_has():
    rng = np.random.default_rng(0)
    reference = rng.uniform(-100, 200, (200, 300)).astype(np.float32)
    sigma = rng.uniform(2, 40, reference.shape).astype(np.float32)
    restored = reference + sigma * rng.standard_normal(reference.shape)
    for factor in (0.5, 1, 2):
        scores = interval_scores(_answer(restored, factor * sigma), SIGMA, reference)
        expected = 1 - 2 * stats.norm.sf(1.6449 * factor)
        assert scores["coverage"] == pytest.approx(expected, abs=0.005)
        assert scores["interval width"] == pytest.approx(2 * 1.6449 * factor * sigma.mean(), rel=1e-3)


def test_where_nothing_is_in_the_window_or_nothing_is_given_there_is_no_coverage():
    air = np.full((4, 4), -1000, np.float32)
    assert interval_scores(_answer(air, air), SIGMA, air) == {}
    assert interval_scores(_answer(air), ("restored",), air) == {}


def test_probes_are_spread_over_the_series_under_the_noise_of_training(prepared):
    series = [prepared("a", 1), prepared("b", 2)]
    probes = choose_probes(series, DoseRange())
    assert len(probes) == 4
    np.testing.assert_array_equal(probes[2].reference, series[1].images[0])
    assert [probe.contract for probe in probes] == [SOFT_TISSUE] * 4
    # a range of doses is probed at a quarter of the dose, anything else as it is
    window = (0, slice(0, 96), slice(0, 96))
    np.testing.assert_array_equal(probes[0].degraded, DoseProtocol().repeat(series[0], window, 0))
    white = choose_probes(series, parse_degradation("gaussian", "ct", {"sigma": 30}))[0]
    body = white.reference > -900  # in air the noise ends at the end of the scale
    assert (white.degraded - white.reference)[body].std() == pytest.approx(30, rel=0.05)


@pytest.mark.parametrize("outputs", [("restored",), SIGMA, INTERVAL])
def test_the_image_is_scored_by_channel_0(prepared, outputs):
    """Untrained networks are the identity, so the scores are those of the degraded image, whatever else they give."""
    probes = choose_probes([prepared("a", 1)], DoseRange())
    model = build_unet(UNetConfig((4, 6), 1), "HU", outputs=outputs)
    scores, pictures = score_probes(model, outputs, probes)
    errors = [
        np.clip(probe.degraded, -160, 240).astype(np.float64) - np.clip(probe.reference, -160, 240) for probe in probes
    ]
    assert scores["rmse"] == pytest.approx(np.mean([np.sqrt(np.mean(error**2)) for error in errors]), rel=1e-4)
    assert set(scores) == {"psnr", "ssim", "rmse", "bias"} | ({"coverage", "interval width"} if outputs[1:] else set())
    if outputs == INTERVAL:
        assert scores["interval width"] == pytest.approx(70, rel=1e-4)
    assert all(picture.shape == (96, 3 * 96) for picture in pictures.values())
    np.testing.assert_array_equal(restore_slice(model)(probes[0].degraded), probes[0].degraded)


@pytest.mark.parametrize("recipe", ["heteroscedastic", "quantile"])
def test_a_run_logs_the_coverage_of_its_intervals_and_is_loaded_with_all_channels(prepared, tmp_path, recipe):
    model = fit(replace(TINY, model=f"ct-{recipe}"), [prepared("a", 1)], [prepared("b", 2)], tmp_path)
    (line,) = json.loads((tmp_path / "history.json").read_text())
    assert 0 <= line["coverage"] <= 1
    assert line["interval width"] > 2
    shares = [value for name, value in line.items() if name.startswith("gradient share of")]
    assert len(shares) == {"heteroscedastic": 0, "quantile": 3}[recipe]
    loaded, settings = load_run(tmp_path)
    image = prepared("b", 2).images[:1, ..., None]
    answer = loaded.predict_on_batch(image)
    np.testing.assert_array_equal(answer, model.predict_on_batch(image))
    assert answer.shape[-1] == len(settings.recipe.outputs)
    np.testing.assert_array_equal(restore_slice(loaded)(image[0, ..., 0]), answer[0, ..., 0])


def test_without_tune_series_there_are_no_scores():
    assert score_probes(build_unet(UNetConfig((4, 6), 1), "HU"), ("restored",), []) == ({}, {})
