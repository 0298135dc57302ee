from __future__ import annotations

import numpy as np
import pytest

from imaging.formats import encode_npy
from training.data import sources
from training.data.sources import series_of_role
from training.errors import NoTrainingData


def test_pictures_need_no_data_and_scans_do(tmp_path):
    assert [each.name for each in series_of_role("relative", None, "tune", tmp_path)][:2] == ["chelsea", "ihc"]
    with pytest.raises(NoTrainingData, match="give a folder of DICOM series with --data DIR"):
        series_of_role("ct", None, "fit", tmp_path)


def test_roles_of_ones_own_pictures_are_folders(tmp_path):
    data = tmp_path / "data"
    for number, name in enumerate(("train", "tune")):
        (data / name).mkdir(parents=True)
        (data / name / "p.npy").write_bytes(encode_npy([np.full((8, 8), number, np.float32)]))
    values = {
        role: [e.images.mean() for e in series_of_role("relative", data, role, tmp_path)] for role in ("fit", "tune")
    }
    assert values == {"fit": [0.0], "tune": [1.0]}
    assert series_of_role("relative", data, "report", tmp_path) == []
    assert len(series_of_role("relative", data / "train", "fit", tmp_path)) == 1  # a plain folder is all to fit
    assert series_of_role("relative", data / "train", "tune", tmp_path) == []


def test_scans_are_prepared_in_the_cache(write_dicom, tmp_path):
    write_dicom(tmp_path / "data" / "tune" / "s", patient="p", seed=1)
    told = []
    (series,) = series_of_role(
        "ct", tmp_path / "data", "tune", tmp_path / "cache", progress=lambda *state: told.append(state)
    )
    assert (series.unit, series.folder.parent) == ("HU", tmp_path / "cache")
    assert series.unit_noise.quantum.shape[0] == len(series.images)
    assert told[-1][1:] == (len(series.images), len(series.images))
    with pytest.raises(NoTrainingData, match="does not exist"):
        series_of_role("ct", tmp_path / "nowhere", "fit", tmp_path)


def test_only_what_is_fitted_is_averaged(tmp_path, monkeypatch):
    for name in ("train", "tune", "validation"):
        (tmp_path / name).mkdir()
    asked = []
    monkeypatch.setattr(sources, "prepare", lambda paths, _, *, average, **__: asked.append((*paths, average)) or [])
    for role in ("fit", "tune", "report"):
        series_of_role("ct", tmp_path, role, tmp_path / "cache")
    assert asked == [(tmp_path / "train", True), (tmp_path / "tune", False), (tmp_path / "validation", False)]
