from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage

from imaging.dicom_file import read_dicom
from imaging.dicom_pixels import image_from_dataset
from imaging.formats import Limits
from imaging.phantom_dicom import PhantomSeries, series_files, to_stored
from imaging.series import read_series

SERIES = PhantomSeries(
    patient="PHANTOM-7",
    study="a study",
    description="Phantom, a quarter of the dose",
    number=2,
    spacing=(0.8, 0.7),
    thickness=2.5,
    region="CHEST",
    kernel="SOFT",
    tube_current_ma=50,
)
LIMITS = Limits(max_bytes=10**7, max_pixels=10**6)


def _volume(slices=3, shape=(20, 31)):
    return np.random.default_rng(0).uniform(-1024, 3071, (slices, *shape)).astype(np.float32)


def _read(file):
    return pydicom.dcmread(io.BytesIO(file))


def test_pixels_come_back_in_whole_hu():
    volume = _volume()
    for plane, file in zip(volume, series_files(volume, SERIES), strict=True):
        image = image_from_dataset(read_dicom(file, limits=LIMITS), max_pixels=LIMITS.max_pixels)
        assert image.unit == "HU"
        assert image.padding is None
        assert image.spacing == (0.8, 0.7)
        np.testing.assert_array_equal(image.pixels, np.rint(plane))


def test_what_12_bits_cannot_hold_is_clipped():
    np.testing.assert_array_equal(
        to_stored(np.array([-2000.0, -1024.4, -0.4, 3071.6, 9000.0])), [0, 0, 1024, 4095, 4095]
    )


def test_the_slices_are_one_series_around_the_origin(tmp_path):
    volume = _volume()
    for number, file in enumerate(reversed(series_files(volume, SERIES))):
        (tmp_path / f"{number}.dcm").write_bytes(file)
    (series,) = read_series(tmp_path)
    np.testing.assert_array_equal(series.volume, np.rint(volume))
    np.testing.assert_allclose(series.positions, [-2.5, 0, 2.5])
    assert (series.spacing, series.slice_thickness, series.kernel, series.kvp) == ((0.8, 0.7), 2.5, "SOFT", 120)
    assert series.warnings == ()
    middle = _read(series_files(volume, SERIES)[1])
    corner = np.array(middle.ImagePositionPatient, float)
    # half way between the centres of the first and the last pixel
    np.testing.assert_allclose(corner + np.array([15 * 0.7, 9.5 * 0.8, 0]), [0, 0, 0], atol=1e-9)


def test_it_says_that_it_is_no_patient():
    ds = _read(series_files(_volume(1), SERIES)[0])
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == CTImageStorage
    assert (str(ds.PatientName), ds.PatientID, ds.QualityControlImage) == ("Phantom^Chest", "PHANTOM-7", "YES")
    assert "not a patient" in ds.ManufacturerModelName
    assert list(ds.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert ds.BurnedInAnnotation == "NO"
    assert (ds.XRayTubeCurrent, ds.Exposure) == (50, 25)  # mA, and mAs at half a second


def test_equal_arguments_give_equal_bytes_and_other_pixels_other_uids():
    volume = _volume(2)
    files = series_files(volume, SERIES)
    assert series_files(volume.copy(), SERIES) == files
    changed = volume.copy()
    changed[1, 0, 0] = 5
    instances, others = ([_read(file) for file in made] for made in (files, series_files(changed, SERIES)))
    assert len({ds.SOPInstanceUID for ds in (*instances, *others)}) == 4
    assert len({ds.SeriesInstanceUID for ds in instances}) == 1
    assert others[0].SeriesInstanceUID != instances[0].SeriesInstanceUID
    assert others[0].StudyInstanceUID == instances[0].StudyInstanceUID
    assert all(len(ds.SOPInstanceUID) <= 64 and ds.SOPInstanceUID.is_valid for ds in instances)


@pytest.mark.parametrize(
    ("change", "same_study"), [({"patient": "q"}, False), ({"study": "b"}, False), ({"number": 9}, True)]
)
def test_series_studies_and_patients_keep_apart(change, same_study):
    one, other = (_read(series_files(_volume(1), series)[0]) for series in (SERIES, replace(SERIES, **change)))
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    assert (one.StudyInstanceUID == other.StudyInstanceUID) == same_study
    assert (one.FrameOfReferenceUID == other.FrameOfReferenceUID) == same_study


@pytest.mark.parametrize("shape", [(3, 4), (0, 3, 4), (1, 2, 3, 4)])
def test_no_volume_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(N, H, W\)"):
        series_files(np.zeros(shape, np.float32), SERIES)


@pytest.mark.peer
@pytest.mark.parametrize("shape", [(16, 16), (15, 17)])
def test_dicom3tools_find_nothing_to_complain_about(tmp_path, shape):
    if shutil.which("dciodvfy") is None or shutil.which("dcentvfy") is None:
        pytest.skip("dciodvfy and dcentvfy (Debian's dicom3tools) are not installed")
    paths = []
    for name, series in (("full", SERIES), ("low", replace(SERIES, number=3, description="other"))):
        for number, file in enumerate(series_files(_volume(2, shape), series)):
            paths.append(tmp_path / f"{name}-{number}.dcm")
            paths[-1].write_bytes(file)
    for path in paths:
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        assert (done.stdout + done.stderr).split() == ["CTImage"]  # the class it recognised; no error, no warning
    done = subprocess.run(["dcentvfy", *paths], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
