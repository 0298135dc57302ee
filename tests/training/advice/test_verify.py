from __future__ import annotations

import numpy as np
import pytest

from training.advice.noisy_images import NoisyImages
from training.advice.verdict import UNTREATED
from training.advice.verify import Budget, Contender, _scored_pairs, hold_out, measured_pairs, median_noise, verify
from training.data.pictures import picture_series
from training.degradations import parse_degradation
from training.errors import UnverifiableAdvice
from training.networks.unet import UNetConfig

TINY = Budget(epochs=1, steps=2, batch=2, patch=16, network=UNetConfig((4, 4), 1), precision="float32")


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    clean = tuple(0.4 + 0.2 * rng.random((32, 32), np.float32) for _ in range(4))
    noisy = tuple((image + rng.normal(0, 0.1, image.shape)).astype(np.float32) for image in clean)
    return NoisyImages("relative", ("a", "a", "b", "c"), noisy, clean)


def test_the_recorded_noise_is_what_training_sees(pairs):
    series, degradation = measured_pairs(pairs, "relative")
    assert [(each.patient, len(each.images)) for each in series] == [("a", 2), ("b", 1), ("c", 1)]
    window = (1, slice(3, 20), slice(0, 9))
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(degradation(series[0], window, rng), pairs.noisy[1][3:20, :9])
    np.testing.assert_array_equal(series[0].images[1], pairs.clean[1])
    with pytest.raises(UnverifiableAdvice, match="no clean images"):
        measured_pairs(NoisyImages("relative", ("a",), pairs.noisy[:1]), "relative")


def test_sources_are_not_shared():
    series = [picture_series(str(number), np.zeros((1, 8, 8), np.float32), str(number // 2)) for number in range(20)]
    fitted, held_out = hold_out(series)
    assert {each.patient for each in fitted}.isdisjoint(each.patient for each in held_out)
    assert len(fitted) + len(held_out) == 20
    assert len({each.patient for each in held_out}) == 3  # of ten
    with pytest.raises(UnverifiableAdvice, match="at least two"):
        hold_out(series[:2])


def test_the_usual_noise_of_series_without_one_is_unknown():
    assert np.isnan(median_noise([picture_series("a", np.zeros((1, 8, 8), np.float32))]))


def test_every_contender_is_trained_once_and_scored_on_what_was_held_out(pairs, tmp_path):
    series, degradation = measured_pairs(pairs, "relative")
    fitted, held_out = hold_out(series)
    contenders = [Contender("huber", {"delta": 0.1}), Contender("l2", {})]
    told = []

    def run():
        return verify(
            contenders,
            fitted,
            held_out,
            degradation,
            tmp_path,
            domain="relative",
            budget=TINY,
            advance=lambda *state: told.append(state),
        )

    found = run()
    assert found.advised == "huber"
    assert set(found.psnr) == {UNTREATED, "huber", "l2"}
    # the noise of the held-out images themselves: 20 dB at a deviation of 0.1
    assert found.psnr[UNTREATED] == pytest.approx(20, abs=0.5)
    assert [each.other for each in found.comparisons] == ["l2"]
    assert found.comparisons[0].gain == pytest.approx(found.psnr["huber"] - found.psnr["l2"])
    assert found.sources == len({each.patient for each in held_out})
    assert ("huber", 2, 2) in told
    told.clear()
    again = run()  # finished runs are found again
    assert again.psnr == pytest.approx(found.psnr, abs=1e-4)
    assert told == []


def test_other_images_are_another_run(pairs, tmp_path):
    series, degradation = measured_pairs(pairs, "relative")
    contenders = [Contender("l1", {}), Contender("l2", {})]
    for fitted in (series[:2], series[:1]):
        verify(contenders, fitted, series[2:], degradation, tmp_path, domain="relative", budget=TINY)
    assert len(list(tmp_path.iterdir())) == 4


def test_long_series_are_scored_in_part(monkeypatch):
    monkeypatch.setattr("training.advice.verify.SCORED_IMAGES", 6)
    images = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((1, 8, 8), np.float32) / 20
    series = [picture_series("a", images), picture_series("b", images[:2])]
    pairs = list(_scored_pairs(series, parse_degradation("gaussian", "relative", {"sigma": 0})))
    assert [source for source, _, _ in pairs] == ["a", "a", "a", "b", "b"]
    assert [round(20 * float(clean[0, 0])) for _, _, clean in pairs] == [3, 10, 17, 0, 1]


def test_one_recipe_is_no_comparison(pairs, tmp_path):
    series, degradation = measured_pairs(pairs, "relative")
    with pytest.raises(UnverifiableAdvice, match="nothing to compare"):
        verify([Contender("l2", {})], series[:2], series[2:], degradation, tmp_path, domain="relative", budget=TINY)
