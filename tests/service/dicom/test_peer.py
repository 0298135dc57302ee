"""Derived instances against dciodvfy: it must find nothing that it did not find in the source; and on real series.

dciodvfy (Debian's dicom3tools) prints its findings and exits 0 whatever they are, so its output is read.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest

from service.dicom import rules

DCIODVFY = shutil.which("dciodvfy")
needs_dciodvfy = pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian package dicom3tools) is not installed")

DATA = Path(os.environ.get("CLEARSLICE_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
SERIES = sorted(DATA.glob("ct/*/*.zip"))

KNOWN = (
    # DeviceUID is in the macro of PS3.3 C.12.1.1.5 since 2010; dciodvfy's tables are older
    "Warning - Attribute is not present in standard DICOM IOD - (0x0018,0x1002) UI Device UID",
    "Warning - Dicom dataset contains attributes not present in standard DICOM IOD - this is a Standard Extended SOP",
)

BUNDLED = (
    "CT_small.dcm",
    "dicomdirtests/77654033/CT2/17106",
    "dicomdirtests/98892001/CT5N/2062",
)


def bundled(name: str) -> bytes:
    return (Path(pydicom.data.__file__).parent / "test_files" / name).read_bytes()


def first_slice(archive: Path) -> bytes:
    with zipfile.ZipFile(archive) as files:
        return files.read(min(name for name in files.namelist() if name.endswith(".dcm")))


def findings(file: bytes, folder: Path) -> set[str]:
    path = folder / "instance.dcm"
    path.write_bytes(file)
    done = subprocess.run([str(DCIODVFY), str(path)], capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return {line.strip() for line in lines if "Error" in line or "Warning" in line}


def new_findings(source: bytes, derived: bytes, folder: Path) -> set[str]:
    new = findings(derived, folder) - findings(source, folder)
    return {line for line in new if not line.startswith(KNOWN)}


def half_way_to_water(image):
    return image.pixels * np.float32(0.5)


def into_metal(image):
    restored = image.pixels.copy()
    restored[3, 4] = 20000
    return restored


@pytest.mark.peer
@needs_dciodvfy
@pytest.mark.parametrize("change", [half_way_to_water, into_metal])
@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_ct_files(work, tmp_path, name, change):
    file = bundled(name)
    assert new_findings(file, work(file, change).write(), tmp_path) == set()


@pytest.mark.peer
@needs_dciodvfy
def test_the_comparison_does_find(work, tmp_path):
    file = bundled("CT_small.dcm")
    made = work(file, half_way_to_water)
    del made.derived.dataset.ImageType
    assert any("ImageType" in line for line in new_findings(file, made.write(), tmp_path))


@pytest.mark.peer
@pytest.mark.shared_data
@needs_dciodvfy
@pytest.mark.skipif(not SERIES, reason="no real series: set CLEARSLICE_TEST_DATA")
@pytest.mark.parametrize("archive", SERIES, ids=lambda path: path.stem)
def test_a_slice_of_every_real_series(work, tmp_path, archive):
    file = first_slice(archive)
    assert new_findings(file, work(file, half_way_to_water).write(), tmp_path) == set()


@pytest.mark.shared_data
@pytest.mark.skipif(not SERIES, reason="no real series: set CLEARSLICE_TEST_DATA")
@pytest.mark.parametrize("archive", SERIES, ids=lambda path: path.stem)
def test_an_identity_gives_back_every_stored_value_of_real_slices(work, archive):
    file = first_slice(archive)
    made = work(file, 0.0)
    assert rules.findings(made.image.dataset, made.derived.dataset, padding=made.image.padding) == ()
    source, derived = pydicom.dcmread(io.BytesIO(file)), made.written()
    np.testing.assert_array_equal(derived.pixel_array, source.pixel_array)
    for keyword in ("RescaleSlope", "RescaleIntercept", "BitsStored", "PixelRepresentation"):
        assert derived.get(keyword) == source.get(keyword)


@pytest.mark.parametrize("name", BUNDLED)
def test_an_identity_gives_back_every_stored_value_of_bundled_slices(work, name):
    file = bundled(name)
    made = work(file, 0.0)
    assert rules.findings(made.image.dataset, made.derived.dataset, padding=made.image.padding) == ()
    np.testing.assert_array_equal(made.written().pixel_array, pydicom.dcmread(io.BytesIO(file)).pixel_array)
