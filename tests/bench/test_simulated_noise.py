"""Simulated noise beside real noise: figures of series whose noise is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench import simulated_noise
from imaging.low_dose import KERNELS, SOFT
from training.data.unit_noise import DRAWS


def test_noise_of_the_simulation_is_found_to_be_like_it(phantom_for_bench, monkeypatch):
    for name, value in (("REGION", 8), ("SQUARE", 8), ("_FEW", 5)):  # a small phantom has small organs
        monkeypatch.setattr(simulated_noise, name, value)
    series, prepared = phantom_for_bench
    draw = KERNELS.index(SOFT) * DRAWS + 1
    noise = np.asarray(prepared.unit_noise.quantum[:, draw], np.float32)
    scan = replace(series, volume=series.volume + 80 * noise)  # above 40 HU: each slice for itself
    like = replace(prepared, noise_correlation=0.57)  # of a soft kernel
    found = simulated_noise.compare(scan, like)
    assert found.regions >= 5
    real, made = (power.relative(power.mean_frequency) for power in (found.real, found.simulated))
    assert real == pytest.approx(made, abs=0.06)
    sharp = simulated_noise.compare(scan, replace(prepared, noise_correlation=0.05))
    assert sharp.simulated.mean_frequency > 1.3 * found.simulated.mean_frequency
    assert simulated_noise.render([found]).count("\n") == 3


def test_slices_that_do_not_touch_say_nothing(phantom_for_bench):
    series, prepared = phantom_for_bench
    apart = replace(series, positions=50.0 * np.arange(len(series.volume)))
    assert simulated_noise.compare(apart, prepared) is None


def test_touching_slices_give_their_noise_without_anatomy(phantom_for_bench):
    series, _ = phantom_for_bench
    still = np.repeat(series.volume[:1], 3, axis=0)
    noise = np.random.default_rng(0).normal(0, 10, still.shape).astype(np.float32)
    thin = replace(series, volume=still + noise, slice_thickness=1.0, positions=np.arange(3.0))
    pairs = list(simulated_noise.pairs_of(thin))
    assert [number for number, *_ in pairs] == [0, 1]
    for _, difference, _ in pairs:
        assert difference.std() == pytest.approx(10, rel=0.02)
