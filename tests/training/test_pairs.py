from __future__ import annotations

import numpy as np
import pytest

from imaging.low_dose import KERNELS, noise_region
from training import pairs
from training.errors import NoTrainingData
from training.pairs import DRAWS, average_neighbours, prepare


def _prepare(monkeypatch, cache, *series, **options):
    monkeypatch.setattr(pairs, "read_series", lambda _: list(series))
    return prepare([cache / "some.zip"], cache, **{"processes": 1, **options})


def test_thick_slices_are_their_own_targets(ct_series):
    series = ct_series(slices=4)
    assert average_neighbours(series) is series.volume


def test_thin_contiguous_slices_are_averaged_and_gaps_are_not_bridged(ct_series):
    positions = np.array([0.0, 1.0, 2.0, 3.0, 9.0, 10.0])
    series = ct_series(slices=6, slice_thickness=1.0, positions=positions)
    means = average_neighbours(series)
    expected = [series.volume[first : first + 3].astype(np.float64).mean(axis=0) for first in (0, 1)]
    np.testing.assert_allclose(means, expected, atol=1e-3)


def test_what_cannot_be_a_target_is_left_out_and_said_so(monkeypatch, tmp_path, ct_series):
    noisy = ct_series("noisy", noise=60)
    sparse = ct_series("sparse", slice_thickness=1.0)  # 5 mm apart
    told = []
    with pytest.raises(NoTrainingData, match=r"some\.zip"):
        _prepare(monkeypatch, tmp_path, noisy, sparse, notice=told.append)
    assert any("noisy" in line and "HU of noise" in line for line in told)
    assert any("sparse" in line and "contiguous" in line for line in told)
    (kept,) = _prepare(monkeypatch, tmp_path, noisy, average=False)  # an evaluation takes it as it is
    assert kept.noise_hu > 40


def test_unit_noise_has_deviation_one_and_its_scale_is_kept(prepared):
    series = prepared()
    count = len(KERNELS) * DRAWS
    assert series.hu.shape == (2, 96, 96)
    assert series.quantum.shape == series.electronic.shape == (2, count, 96, 96)
    region = noise_region(np.asarray(series.hu[1]))
    for noise in (series.quantum, series.electronic):
        np.testing.assert_allclose(noise[1][:, region].astype(np.float64).std(axis=1), 1, rtol=0.01)
    # the ramp lets more noise through than any Hann window, the softest least
    sds = series.quantum_sd[0, ::DRAWS]
    assert sds[0] > sds[1] > sds[2] > sds[3] > 0
    first, second = (series.quantum[0, k][region].astype(np.float64) for k in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2  # the draws are independent


def test_the_cache_is_found_again_and_does_not_depend_on_the_number_of_processes(monkeypatch, tmp_path, ct_series):
    series = ct_series(seed=3)
    (one,) = _prepare(monkeypatch, tmp_path / "one", series, processes=1)
    (two,) = _prepare(monkeypatch, tmp_path / "two", series, processes=2)
    np.testing.assert_array_equal(one.quantum, two.quantum)
    np.testing.assert_array_equal(one.electronic_sd, two.electronic_sd)
    monkeypatch.setattr(pairs, "_make", lambda *_, **__: pytest.fail("made again"))
    (again,) = _prepare(monkeypatch, tmp_path / "one", series)
    np.testing.assert_array_equal(again.hu, series.volume)


def test_a_killed_preparation_is_not_taken_for_a_finished_one(monkeypatch, tmp_path, ct_series):
    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    series = ct_series(seed=4)
    with monkeypatch.context() as patch:
        patch.setattr(pairs, "ProcessPoolExecutor", killed)
        with pytest.raises(KeyboardInterrupt):
            _prepare(patch, tmp_path, series)
    (made,) = _prepare(monkeypatch, tmp_path, series)
    assert np.abs(made.quantum[0]).max() > 0
