"""CT series: order and checks; the real ones are in test_real_series.py."""

from __future__ import annotations

import hashlib
import logging
import math
import zipfile

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG2MPML, JPEG2000Lossless, JPEGLSLossless, MRImageStorage, RLELossless

from imaging.archive import ArchiveLimits
from imaging.errors import NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat
from imaging.series import read_series


@pytest.fixture
def write(tmp_path, make_file):
    """Writes slices (dictionaries of changes to a CT data set) as `scan.zip`, in the order given."""

    def write(*slices, extra=None):
        path = tmp_path / "scan.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number, changes in enumerate(slices):
                archive.writestr(f"{number:04}", make_file(**{"SOPInstanceUID": f"1.2.3.4.{number + 1}", **changes}))
            for name, data in (extra or {}).items():
                archive.writestr(name, data)
        return path

    return write


def at(z, **changes):
    """A slice whose first pixel holds its position as HU."""
    stored = np.zeros((3, 4), np.int16)
    stored[0, 0] = round(z) + 1024
    return {"stored": stored, "ImagePositionPatient": [10, 20, z], **changes}


def test_slices_are_ordered_by_position_and_not_by_number(write):
    path = write(at(4, InstanceNumber=1), at(-2, InstanceNumber=2), at(1, InstanceNumber=3))
    (series,) = read_series(path)
    assert series.positions.tolist() == [-2, 1, 4]
    assert series.volume[:, 0, 0].tolist() == [-2, 1, 4]
    assert (series.volume.shape, series.volume.dtype) == ((3, 3, 4), np.float32)
    assert (series.name, series.series_uid) == ("scan", "1.2.3.4")
    assert (series.spacing, series.slice_thickness, series.gaps, series.tilt) == ((0.5, 0.75), 2, (), 0)
    assert (series.padding, series.warnings) == (None, ())
    for array in (series.volume, series.positions):
        assert not array.flags.writeable


def test_a_folder_gives_the_same_as_a_zip_file(write, tmp_path):
    path = write(at(0), at(2))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "patient.folder" / "deeper")
    (zipped,), (folder,) = read_series(path), read_series(tmp_path / "patient.folder")
    assert folder.name == "patient.folder"
    assert np.array_equal(zipped.volume, folder.volume)
    (single,) = read_series(tmp_path / "patient.folder" / "deeper" / "0001")
    assert single.positions.tolist() == [2]


def test_positions_are_along_the_normal_of_oblique_slices(write):
    # rows along y, columns along -z: the normal is -x (sagittal)
    sagittal = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    (series,) = read_series(
        write({"ImagePositionPatient": [5, 0, 0], **sagittal}, {"ImagePositionPatient": [8, 0, 0], **sagittal})
    )
    assert series.positions.tolist() == [-8, -5]


def test_a_tilted_gantry_is_tolerated_and_told(write):
    angle = math.radians(15)
    axes = [1, 0, 0, 0, round(math.cos(angle), 7), round(-math.sin(angle), 7)]
    slices = [{"ImagePositionPatient": [0, 0, 5 * n], "ImageOrientationPatient": axes} for n in range(3)]
    (series,) = read_series(write(*slices))
    assert series.tilt == pytest.approx(15, abs=1e-4)
    assert np.diff(series.positions) == pytest.approx([5 * math.cos(angle)] * 2, abs=1e-5)
    assert "tilted by 15.0 degrees" in series.warnings[0]
    (single,) = read_series(write({**slices[0], "GantryDetectorTilt": -15}))
    assert single.tilt == 15


@pytest.mark.parametrize(
    ("positions", "thicknesses", "gaps"),
    [
        ([0, 2, 4, 6], [2] * 4, ()),
        ([0, 2, 6, 8], [2] * 4, (1,)),
        ([0, 1, 2, 15, 16, 17], [1] * 6, (2,)),
        ([0, 12.5, 25], [2.5] * 3, ()),  # thin slices far apart, regularly
        ([0, 4, 8, 12, 19, 26], [4, 4, 4, 7, 7, 7], ()),  # the thickness changes with the distance
        ([0, 4, 8, 12, 23], [4, 4, 4, 7, 7], (3,)),
        ([0, 2, 6, 8], [None] * 4, (1,)),
        ([0], [2], ()),
    ],
)
def test_gaps_are_reported(write, positions, thicknesses, gaps):
    (series,) = read_series(
        write(*(at(z, SliceThickness=thickness) for z, thickness in zip(positions, thicknesses, strict=True)))
    )
    assert series.gaps == gaps
    assert any("gaps" in warning for warning in series.warnings) is bool(gaps)
    known = [thickness for thickness in thicknesses if thickness is not None]
    assert series.slice_thickness == (min(known) if known else None)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"PatientID": "P2"}, "mixes patients"),
        ({"StudyInstanceUID": "1.2.4"}, "mixes studies"),
        ({"SOPInstanceUID": "1.2.3.4.1"}, "SOPInstanceUID.* twice"),
        ({"ImagePositionPatient": [10, 20, 0]}, "same position"),
        ({"ImagePositionPatient": [10, 20, 0.004]}, "same position"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}, "several orientations"),
        ({"stored": np.zeros((4, 4), np.int16)}, r"\(3, 4\) and \(4, 4\)"),
        ({"PixelSpacing": [0.5, 0.8]}, "PixelSpacing"),
    ],
)
def test_slices_that_are_no_series_are_refused(write, second, message):
    with pytest.raises(UnsuitableImage, match=message):
        read_series(write(at(0), {**at(2), **second}))


def test_rounded_geometry_is_the_same_geometry(write):
    other = {"ImageOrientationPatient": [0.9999, 0.0001, 0, 0, 1, 0], "PixelSpacing": [0.500001, 0.75]}
    assert len(read_series(write(at(0), at(2, **other)))) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"SeriesInstanceUID": None}, "SeriesInstanceUID"),
        ({"StudyInstanceUID": None}, "StudyInstanceUID"),
        ({"ImagePositionPatient": [1, 2]}, "ImagePositionPatient must be 3"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "length 1"),
        ({"RescaleSlope": None}, "RescaleSlope"),
    ],
)
def test_a_slice_that_cannot_be_placed_stops_everything(write, changes, message):
    with pytest.raises(UnsuitableImage, match=f"file 2 in the order of names: .*{message}"):
        read_series(write(at(0), at(2, **changes)))


def test_several_series_are_kept_apart_and_numbered(write):
    path = write(at(2), at(0, SeriesInstanceUID="9.9", PixelSpacing=[1, 1]), at(0))
    first, second = read_series(path)
    assert [(one.name, one.series_uid, len(one.volume)) for one in (first, second)] == [
        ("scan-1", "1.2.3.4", 2),
        ("scan-2", "9.9", 1),
    ]
    assert first.patient == second.patient


def test_the_patient_is_a_hash(write):
    (series,) = read_series(write(at(0, PatientID="Meier 1950")))
    assert series.patient == hashlib.sha256(b"Meier 1950").hexdigest()[:16]
    (other,) = read_series(write(at(0, PatientID="")))
    assert other.patient == hashlib.sha256(b"study 1.2.3").hexdigest()[:16]
    assert "PatientID is missing" in other.warnings[0]


def test_what_is_no_ct_slice_is_left_out_loudly(write, make_file, caplog):
    localizer = at(0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    other = make_file(SOPClassUID=MRImageStorage, Modality="MR", SOPInstanceUID="1.2")
    with caplog.at_level(logging.WARNING):
        (series,) = read_series(write(at(0), localizer, at(2), extra={"README": b"text", "x.dcm": other}))
    assert len(series.volume) == 2
    assert series.warnings == ("1 localizers were left out",)
    for what in ("1 files: no DICOM", "1 files: other DICOM objects", "1 files: localizers"):
        assert what in caplog.text


def test_nothing_usable(write):
    with pytest.raises(NotAnImage, match="none of the 1 files is a DICOM file"):
        read_series(write(extra={"README": b"text"}))
    with pytest.raises(UnsuitableImage, match="no CT image"):
        read_series(write(at(0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])))
    with pytest.raises(UnsuitableImage, match="no CT image"):
        read_series(write())


def test_errors_keep_their_class_and_limit_and_tell_no_name(write, make_file, tmp_path):
    damaged = {"Meier^Hans.dcm": make_file(PixelData=b"\0\0")}
    with pytest.raises(NotAnImage, match="file 2 in the order of names: PixelData has 2 bytes") as refused:
        read_series(write(at(0), extra=damaged))
    assert "Meier" not in str(refused.value)
    with pytest.raises(TooLarge) as too_large:
        read_series(write(at(0), at(2)), ArchiveLimits(max_entries=1))
    assert too_large.value.limit == "max_entries"
    (tmp_path / "video.dcm").write_bytes(make_file(syntax=MPEG2MPML, PixelData=encapsulate([b"data"])))
    with pytest.raises(UnsupportedFormat, match="MPEG2"):
        read_series(tmp_path / "video.dcm")


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_series_are_those_that_they_were(tmp_path, write, make_ct, make_file, syntax):
    rng = np.random.default_rng(1)
    slices = [at(2 * number, stored=rng.integers(-1024, 2000, (32, 40)).astype(np.int16)) for number in range(3)]
    folder = tmp_path / "compressed"
    folder.mkdir()
    plugin = "pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg"
    for number, changes in enumerate(slices):
        dataset = make_ct(**changes)
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        changed = {**changes, "SOPInstanceUID": f"1.2.3.4.{number}", "syntax": syntax, "PixelData": dataset.PixelData}
        (folder / f"{number}.dcm").write_bytes(make_file(**changed))
    (plain,) = read_series(write(*slices))
    (series,) = read_series(folder)
    np.testing.assert_array_equal(series.volume, plain.volume)
    np.testing.assert_array_equal(series.positions, plain.positions)


def test_padding_of_some_slices_covers_all(write):
    (series,) = read_series(write(at(0), at(2, stored=np.full((3, 4), -2000, np.int16)), at(4)))
    assert series.padding.any(axis=(1, 2)).tolist() == [False, True, False]
    assert not series.padding.flags.writeable
    assert series.volume[1].tolist() == [[-1000.0] * 4] * 3


def test_descriptions_may_be_missing_malformed_or_many(write, tmp_path, make_file):
    (bare,) = read_series(write(at(0)))
    assert (bare.kernel, bare.kvp, bare.manufacturer) == ("", None, "")
    (full,) = read_series(write(at(0, ConvolutionKernel=["Br40d", "3"], KVP=120, Manufacturer="Maker ")))
    assert (full.kernel, full.kvp, full.manufacturer) == ("Br40d/3", 120, "Maker")
    (tmp_path / "one.dcm").write_bytes(make_file(KVP="120.125", SliceThickness="0").replace(b"120.125 ", b"unknown "))
    (odd,) = read_series(tmp_path / "one.dcm")
    assert (odd.kvp, odd.slice_thickness) == (None, None)
    (mixed,) = read_series(write(at(0, KVP=100), at(2, KVP=120)))
    assert mixed.kvp == 100
    assert "varies" in mixed.warnings[0]
