"""CT series of real scanners, as they are read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from imaging.series import read_series

pytestmark = pytest.mark.shared_data

DATA = Path(os.environ.get("CLEARSLICE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "ct"

REAL = {
    # name: (slices, spacing in mm, slice thickness, lowest and highest HU outside of padding, share of padding)
    "train/crlm-1004": (41, 0.796875, 5.0, -1024, 1377, 0.213),
    "train/acrin-flt-001": (50, 0.976562, 5.0, -1024, 3071, 0.213),
    "train/acrin-flt-001-b": (50, 0.976562, 5.0, -1024, 1246, 0.213),
    "train/rider-0117": (48, 0.644531, 1.25, -1024, 1462, 0.213),
    "train/lung-fcp-0001": (49, 0.759765625, 2.0, -1024, 3071, 0.0),
    "train/ge-head": (28, 0.4882812, 4.0, -1023, 2121, 0.237),
    "train/lidc-0314": (57, 0.78125, 1.0, -1000, 1870, 0.0),
    "train/cmb-crc-01068": (20, 0.898438, 2.5, -1024, 3071, 0.213),
    "tune/kits-00072": (18, 0.6640625, 3.0, -1024, 1334, 0.0),
    "tune/lung-dx-a0002": (30, 0.646484375, 8.0, -1024, 1548, 0.0),
    "validation/crlm-1006": (26, 0.804688, 5.0, -1024, 1184, 0.213),
}


def real(name):
    path = DATA / f"{name}.zip"
    if not path.is_file():
        pytest.skip(f"{path} is absent; set CLEARSLICE_TEST_DATA to the folder that holds ct/")
    return read_series(path)


@pytest.mark.parametrize("name", REAL)
def test_real_series(name):
    (series,) = real(name)
    slices, spacing, thickness, low, high, padding = REAL[name]
    assert series.name == name.split("/")[1]
    assert series.volume.shape == (slices, 512, 512)
    assert series.spacing == (spacing, spacing)
    assert series.slice_thickness == thickness
    measured = series.volume if series.padding is None else series.volume[~series.padding]
    assert (measured.min(), measured.max()) == (low, high)
    assert (0 if series.padding is None else series.padding.mean()) == pytest.approx(padding, abs=5e-4)
    assert (np.diff(series.positions) > 0).all()
    assert series.tilt == pytest.approx(18.5 if name == "train/ge-head" else 0, abs=0.01)
    runs = tuple(range(2, 56, 3)) if name == "train/lidc-0314" else ()
    assert series.gaps == runs


def test_real_series_of_one_patient_have_one_pseudonym():
    (first,), (later,), (other,) = (real(f"train/{name}") for name in ("acrin-flt-001", "acrin-flt-001-b", "crlm-1004"))
    assert first.patient == later.patient
    assert first.series_uid != later.series_uid
    assert other.patient != first.patient


def test_real_single_slices():
    paths = sorted((DATA / "validation").glob("ny-sbu-*.zip"))
    if not paths:
        pytest.skip(f"no series in {DATA / 'validation'}; set CLEARSLICE_TEST_DATA to the folder that holds ct/")
    found = [read_series(path) for path in paths]
    assert sum(map(len, found)) == 19
    assert len({series.patient for group in found for series in group}) == 10
    for series in (series for group in found for series in group):
        assert series.volume.shape == (1, 512, 512)
        # scanners fill the outside of the field of view, whether they declare it or not
        assert series.padding.mean() == pytest.approx(0.22, abs=0.03)
