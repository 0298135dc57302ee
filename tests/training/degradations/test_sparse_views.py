from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from imaging.sparse_views import OFFSETS, sparse_view_artefacts
from training.data.datasets import evaluation_pairs
from training.data.pairs import prepare_series
from training.degradations import parse_degradation, prepare_degradation, sparse_views
from training.degradations.sparse_views import SparseViews
from training.errors import UnsuitableSeries

WHOLE = (1, slice(0, 96), slice(0, 96))


@pytest.fixture
def series(tmp_path, ct_series):
    return prepare_series(ct_series(seed=5, noise=0.5), tmp_path / "cache", processes=1)


def test_the_streaks_of_the_slice_are_added_and_kept(series, monkeypatch):
    degrade = SparseViews(20)
    expected = sparse_view_artefacts(np.asarray(series.images), 20)
    told = []
    degrade.prepare(series, processes=1, progress=lambda *state: told.append(state))
    assert told == [("streaks of phantom", 2, 2)]
    monkeypatch.setattr(sparse_views, "_make", lambda *_, **__: pytest.fail("made again"))
    degrade.prepare(series)
    for offset in range(OFFSETS):
        added = degrade.repeat(series, WHOLE, offset) - series.images[1]
        np.testing.assert_allclose(added, expected[1, offset], atol=0.3)  # float16 of up to 500 HU
    window = (1, slice(10, 40), slice(30, 50))
    np.testing.assert_array_equal(degrade.repeat(series, window, 1), degrade.repeat(series, WHOLE, 1)[10:40, 30:50])
    assert [file.name for file in series.folder.glob("sparse-views-*")] == ["sparse-views-20.npy"]


def test_other_numbers_of_views_have_files_of_their_own(series):
    few, many = SparseViews(20), SparseViews(40)
    assert np.std(few.repeat(series, WHOLE, 0) - series.images[1]) > 1.5 * np.std(
        many.repeat(series, WHOLE, 0) - series.images[1]
    )


def test_training_draws_all_offsets_and_evaluation_counts_them(series):
    degrade, rng = SparseViews(20), np.random.default_rng(0)
    draws = {degrade(series, WHOLE, rng).tobytes() for _ in range(40)}
    assert draws == {degrade.repeat(series, WHOLE, draw).tobytes() for draw in range(OFFSETS)}
    row = parse_degradation("sparse-views", "ct", {"views": 20})
    pairs = [next(iter(evaluation_pairs(series, row, draw=draw)))[0] for draw in (0, 1, OFFSETS)]
    np.testing.assert_array_equal(pairs[0], degrade.repeat(series, (0, *WHOLE[1:]), 0))
    assert not np.array_equal(pairs[0], pairs[1])
    np.testing.assert_array_equal(pairs[0], pairs[2])


def test_several_processes_give_the_same_and_progress_counts_slices(tmp_path, ct_series, monkeypatch):
    monkeypatch.setattr(sparse_views, "_SLICES_AT_ONCE", 2)
    long = ct_series(seed=6, slices=3)
    one, two = (prepare_series(long, tmp_path / name, processes=2) for name in ("one", "two"))
    row = parse_degradation("sparse-views", "ct", {"views": 12})
    told = []
    prepare_degradation(row, [one], processes=1)
    prepare_degradation(row, [two], processes=2, progress=lambda _, done, total: told.append((done, total)))
    assert told == [(2, 3), (3, 3)]
    files = [np.load(each.folder / "sparse-views-12.npy") for each in (one, two)]
    assert files[0].shape == (3, OFFSETS, 96, 96)
    np.testing.assert_array_equal(*files)


def test_a_killed_preparation_is_not_taken_for_a_finished_one(series):
    code = f"""
import os, signal
import numpy as np
from pathlib import Path
from training.degradations import sparse_views
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
file = Path({str(series.folder)!r}) / "sparse-views-20.npy"
sparse_views._make(file, np.load(file.parent / "hu.npy"), 20, processes=1, progress=die)
"""
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
        try:
            assert process.wait(timeout=120) == -signal.SIGKILL
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert [each.name[:8] for each in series.folder.glob(".making-*")] == [".making-"]  # it had begun
    assert not (series.folder / "sparse-views-20.npy").exists()
    added = SparseViews(20).repeat(series, WHOLE, 0) - series.images[1]
    assert added.std() > 10


@pytest.mark.parametrize("change", [{"folder": None}, {"unit": "relative"}])
def test_what_is_no_prepared_scan_is_refused(series, change):
    other = replace(series, **change)
    for use in (
        lambda: SparseViews(20)(other, WHOLE, np.random.default_rng(0)),
        lambda: prepare_degradation(SparseViews(20), [other]),
    ):
        with pytest.raises(UnsuitableSeries, match="'phantom' has no cached projections"):
            use()
