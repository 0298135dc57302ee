"""Scores by hand, and the two things that JSON cannot say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from service.scores import compact, score, score_frames


def test_hu_images_are_scored_under_both_contracts():
    reference = np.zeros((11, 11), np.float32)
    image = np.full((11, 11), 1000, np.float32)
    soft, full = score({"restored": image}, reference, unit="HU")
    # the window clips 1000 to 240
    assert soft["restored"]["rmse"] == 240
    assert soft["restored"]["psnr"] == pytest.approx(20 * math.log10(400 / 240))
    assert full["restored"]["rmse"] == 1000
    assert full["restored"]["bias"] == 1000
    assert full["contract"] == {
        "name": "full range", "low": -1024, "high": 3071, "unit": "HU", "clip": True,
        "ssim_taps": 11, "ssim_sigma": 1.5, "ssim_k1": 0.01, "ssim_k2": 0.03,
    }  # fmt: skip


def test_identical_images():
    image = np.random.default_rng(1).random((12, 14), np.float32)
    (entry,) = score({"a": image, "b": image + np.float32(0.1)}, image, unit="relative")
    assert entry["a"] == {"identical": True, "psnr": None, "ssim": pytest.approx(1), "rmse": 0, "bias": 0}
    assert entry["b"]["identical"] is False
    assert json.loads(json.dumps(entry, allow_nan=False))["a"]["psnr"] is None


def test_identical_is_told_under_the_contract():
    # beyond the window both are clipped to the same
    soft, full = score({"a": np.full((11, 11), 900, np.float32)}, np.full((11, 11), 800, np.float32), unit="HU")
    assert (soft["a"]["identical"], full["a"]["identical"]) == (True, False)


@pytest.mark.parametrize("shape", [(1, 1), (10, 500), (500, 10)])
def test_ssim_of_an_image_smaller_than_its_window_is_null(shape):
    (entry,) = score({"a": np.zeros(shape, np.float32)}, np.ones(shape, np.float32), unit="relative")
    assert entry["a"]["ssim"] is None
    assert entry["a"]["psnr"] == 0


def test_only_the_metrics_that_were_asked_for():
    image = np.zeros((11, 11), np.float32)
    (entry,) = score({"a": image}, image, unit="relative", metrics=("bias",))
    assert entry["a"] == {"identical": True, "bias": 0}


def test_the_header_is_one_short_line():
    image = np.random.default_rng(1).normal(0, 50, (16, 16)).astype(np.float32)
    scores = score({"restored": image, "degraded": image * 2}, image, unit="HU")
    line = compact(scores)
    assert "\n" not in line
    assert line.isascii()
    assert len(line) < 700
    assert json.loads(line)[1]["degraded"]["rmse"] == pytest.approx(scores[1]["degraded"]["rmse"], rel=1e-5)


def test_frames_are_scored_one_by_one_and_averaged():
    reference = [np.zeros((11, 11), np.float32)] * 3
    images = [np.full((11, 11), value, np.float32) for value in (0, 20, 40)]
    entries = score_frames({"image": images}, reference, unit="HU")
    assert [entry["contract"]["name"] for entry in entries] == ["soft tissue window", "full range"]
    full = entries[1]
    assert [frame["image"]["rmse"] for frame in full["frames"]] == [0, 20, 40]
    assert full["frames"][2]["image"] == score({"image": images[2]}, reference[2], unit="HU")[1]["image"]
    assert (full["image"]["rmse"], full["image"]["bias"], full["image"]["identical"]) == (20, 20, False)
    # the identical frame has no PSNR that JSON could say: the mean is that of the others
    assert full["frames"][0]["image"]["psnr"] is None
    decibels = (20 * math.log10(4095 / 20) + 20 * math.log10(4095 / 40)) / 2
    assert full["image"]["psnr"] == pytest.approx(decibels)


def test_means_that_no_frame_has_are_null():
    same = [np.ones((3, 4), np.float32)] * 2
    (entry,) = score_frames({"a": same}, same, unit="relative")
    assert entry["a"] == {"identical": True, "psnr": None, "ssim": None, "rmse": 0, "bias": 0}


def test_one_frame_is_scored_as_one_image_and_the_header_has_no_frames():
    image = np.random.default_rng(1).random((12, 14), np.float32)
    assert score_frames({"a": [image]}, [image / 2], unit="relative") == score({"a": image}, image / 2, unit="relative")
    many = score_frames({"a": [image] * 64}, [image / 2] * 64, unit="relative")
    (line,) = json.loads(compact(many))
    assert set(line) == {"contract", "a"}
    assert line["a"]["rmse"] == pytest.approx(many[0]["frames"][0]["a"]["rmse"], rel=1e-5)
