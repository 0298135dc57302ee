from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from imaging.low_dose import KERNELS, noise_region
from training.data import pairs, unit_noise
from training.data.pairs import average_neighbours, prepare
from training.data.unit_noise import DRAWS
from training.errors import NoTrainingData


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
    assert kept.noise_level > 40


def test_unit_noise_has_deviation_one_and_its_scale_is_kept(prepared):
    series = prepared()
    count = len(KERNELS) * DRAWS
    assert series.images.shape == (2, 96, 96)
    unit = series.unit_noise
    assert unit.quantum.shape == unit.electronic.shape == (2, count, 96, 96)
    region = noise_region(np.asarray(series.images[1]))
    for noise in (unit.quantum, unit.electronic):
        np.testing.assert_allclose(noise[1][:, region].astype(np.float64).std(axis=1), 1, rtol=0.01)
    # the ramp lets more noise through than any Hann window, the softest least
    sds = unit.quantum_sd[0, ::DRAWS]
    assert sds[0] > sds[1] > sds[2] > sds[3] > 0
    first, second = (unit.quantum[0, k][region].astype(np.float64) for k in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2  # the draws are independent


def test_the_cache_is_found_again_and_does_not_depend_on_the_number_of_processes(monkeypatch, tmp_path, ct_series):
    series = ct_series(seed=3)
    (one,) = _prepare(monkeypatch, tmp_path / "one", series, processes=1)
    (two,) = _prepare(monkeypatch, tmp_path / "two", series, processes=2)
    np.testing.assert_array_equal(one.unit_noise.quantum, two.unit_noise.quantum)
    np.testing.assert_array_equal(one.unit_noise.electronic_sd, two.unit_noise.electronic_sd)
    monkeypatch.setattr(pairs, "make_folder", lambda *_, **__: pytest.fail("made again"))
    (again,) = _prepare(monkeypatch, tmp_path / "one", series)
    np.testing.assert_array_equal(again.images, series.volume)


def test_other_pixels_spacing_or_seed_are_another_cache(tmp_path, ct_series):
    one = ct_series(seed=3)
    cases = [(one, 0), (one, 1), (ct_series(seed=4), 0), (ct_series(seed=3, spacing=(3.0, 3.1)), 0)]
    assert (
        len(
            {
                unit_noise.cache_folder(series.name, series.volume, series.spacing, tmp_path, seed)
                for series, seed in cases
            }
        )
        == 4
    )
    renamed = ct_series("other", seed=3, patient="q")
    assert unit_noise.cache_folder(renamed.name, renamed.volume, renamed.spacing, tmp_path, 0).name.startswith("other-")
    noises = [unit_noise._unit_noise((one.volume[0], one.spacing, seed))[0] for seed in ((0, 0), (0, 1), (1, 0))]
    assert len({noise.tobytes() for noise in noises}) == 3  # slices and seeds have noise of their own


def test_a_killed_preparation_is_not_taken_for_a_finished_one(write_dicom, tmp_path):
    """Killed for real after the first of two slices: no cleaning up, files half written."""
    write_dicom(tmp_path / "series", patient="p", seed=4)
    cache = tmp_path / "cache"
    code = f"""
import os, signal
from pathlib import Path
from training.data.pairs import prepare
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
prepare([Path({str(tmp_path / "series")!r})], Path({str(cache)!r}), processes=1, progress=die)
"""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **quiet) as process:
        try:
            assert process.wait(timeout=120) == -signal.SIGKILL
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its worker
    (aside,) = cache.iterdir()
    assert aside.name.startswith(".making-")
    assert list(aside.rglob("quantum.npy"))  # it had begun
    (made,) = prepare([tmp_path / "series"], cache, processes=1)
    assert all(np.abs(noise).max() > 0 for noise in made.unit_noise.quantum)
    assert made.unit_noise.quantum_sd.min() > 0


def test_zip_files_and_folders_of_a_role_are_all_read(write_dicom, tmp_path):
    role = tmp_path / "train"
    for seed, name in enumerate(("a", "b", "c"), start=1):
        write_dicom(role / name, patient=f"patient {name}", seed=seed)
    with zipfile.ZipFile(role / "b.zip", "w") as archive:
        for file in sorted((role / "b").iterdir()):
            archive.write(file, file.name)
    shutil.rmtree(role / "b")
    (role / "README.md").write_text("Where these come from.")
    (role / "papers").mkdir()
    (role / "papers" / "paper.txt").write_text("No series at all.")
    series = list(pairs._all_series([role]))
    assert [each.name for each in series] == ["a", "b", "c"]
    assert len({each.patient for each in series}) == 3
    shutil.copy(role / "a" / "0.dcm", role / "loose.dcm")
    with pytest.raises(NoTrainingData, match="beside zip files"):
        list(pairs._all_series([role]))
    (role / "b.zip").unlink()
    (role / "loose.dcm").rename(role / "DICOMDIR")  # a list of the others, as on a CD
    assert [each.name for each in pairs._all_series([role])] == ["a", "c"]
