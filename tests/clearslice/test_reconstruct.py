"""`clearslice reconstruct` with a real tiny model that adds 7: files, folders, refusals, what is left behind."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from clearslice import offline
from clearslice.commands.reconstruct import reconstruct

app = typer.Typer()
app.command()(reconstruct)

OFFSET = 7
CT = Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm"
STUDY = CT.parent / "dicomdirtests"
HU = ("--rescale-slope", "1", "--rescale-intercept", "0")


@pytest.fixture(scope="module")
def store(tiny_store):
    return tiny_store("offset")


@pytest.fixture
def run(store):
    def invoke(*arguments):
        options = ["--store", str(store.writable), "--device", "cpu", "--precision", "float32"]
        return CliRunner().invoke(app, [*options, *map(str, arguments)], env={"COLUMNS": "300"})

    return invoke


def stored(path):
    return pydicom.dcmread(path).pixel_array.astype(int)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_dicom_file(run, tmp_path):
    result = run(CT, tmp_path / "out.dcm")
    assert result.exit_code == 0, result.output
    assert "1 restored, 0 skipped, 0 failed" in result.output
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    padding = derived.pixel_array == derived.PixelPaddingValue
    np.testing.assert_array_equal(stored(tmp_path / "out.dcm"), stored(CT) + OFFSET * ~padding)
    assert derived.SeriesDate
    assert names(tmp_path) == ["out.dcm"]


def test_strength_0_gives_back_every_stored_value(run, tmp_path):
    assert run(CT, tmp_path / "out.dcm", "--strength", "0").exit_code == 0
    np.testing.assert_array_equal(stored(tmp_path / "out.dcm"), stored(CT))


def test_an_npy_file_with_a_reference_tells_metrics(run, tmp_path):
    image = np.random.default_rng(1).normal(0, 30, (20, 24)).astype(np.float32)
    np.save(tmp_path / "in.npy", image)
    np.save(tmp_path / "truth.npy", image + np.float32(OFFSET))
    result = run(tmp_path / "in.npy", tmp_path / "out.npy", *HU, "--reference", tmp_path / "truth.npy")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), image + np.float32(OFFSET))
    assert "soft tissue window, degraded: identical False" in result.output
    assert "soft tissue window, restored: identical True" in result.output


def pages_of(path):
    with tifffile.TiffFile(path) as file:
        return [page.asarray() for page in file.pages]


def test_a_tiff_of_several_pages_with_a_reference(run, tmp_path):
    stack = np.random.default_rng(2).integers(-900, 900, (3, 20, 24)).astype(np.int16)
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack", compression="zlib")
    np.save(tmp_path / "truth.npy", stack + OFFSET)
    result = run(tmp_path / "in.tif", tmp_path / "out.tif", *HU, "--reference", tmp_path / "truth.npy")
    assert result.exit_code == 0, result.output
    pages = pages_of(tmp_path / "out.tif")
    assert {page.dtype for page in pages} == {np.dtype(np.int16)}
    np.testing.assert_array_equal(np.stack(pages), stack + OFFSET)
    assert "full range, restored: identical True" in result.output
    assert run(tmp_path / "in.tif", tmp_path / "out.npy", *HU).exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), (stack + OFFSET).astype(np.float32))


def test_several_pages_cannot_become_png(run, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((3, 20, 24), np.int16), photometric="minisblack")
    result = run(tmp_path / "in.tif", tmp_path / "out.png", *HU)
    assert result.exit_code == 1
    assert "the input has 3 frames, and PNG holds one; name the output .tif" in result.output
    assert names(tmp_path) == ["in.tif"]


def test_dicom_as_tiff_is_float32_hu(run, tmp_path):
    assert run(CT, tmp_path / "hu.tiff").exit_code == 0
    (page,) = pages_of(tmp_path / "hu.tiff")
    assert page.dtype == np.float32
    np.testing.assert_allclose(page.max(), stored(CT).max() - 1024 + OFFSET)


def test_a_file_into_a_folder_and_into_another_format(run, tmp_path):
    assert run(CT, tmp_path).exit_code == 0
    assert names(tmp_path) == ["CT_small.dcm"]
    assert run(CT, tmp_path / "hu.npy").exit_code == 0
    np.testing.assert_allclose(np.load(tmp_path / "hu.npy").max(), stored(CT).max() - 1024 + OFFSET)


def test_a_png_cannot_become_dicom(run, tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((3, 4), np.float32))
    result = run(tmp_path / "in.npy", tmp_path / "out.dcm", *HU)
    assert result.exit_code == 1
    assert "cannot become DICOM" in result.output


def test_a_folder_is_mirrored_and_what_is_no_slice_is_told(run, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    (source / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(["17106", "17136", "17166"]):
        shutil.copy(STUDY / "77654033" / "CT2" / name, source / "deep" / f"slice{number}")
    shutil.copy(STUDY / "98892001" / "CT2N" / "6293", source / "localizer")
    shutil.copy(STUDY / "DICOMDIR", source / "DICOMDIR")
    (source / "deep" / "er" / "notes.txt").write_text("no image")
    (source / "deep" / "er" / "broken.dcm").write_bytes(CT.read_bytes()[:1000])
    result = run(source, target)
    assert result.exit_code == 1
    assert "3 restored, 3 skipped, 1 failed" in result.output
    for said in ("notes.txt", "looks like text", "localizer", "DICOMDIR", "broken.dcm"):
        assert said in result.output
    assert names(target) == ["deep/slice0", "deep/slice1", "deep/slice2"]
    derived = [pydicom.dcmread(target / name) for name in names(target)]
    assert len({instance.SeriesInstanceUID for instance in derived}) == 1
    assert len({(instance.SeriesDate, instance.SeriesTime) for instance in derived}) == 1
    assert len({instance.SOPInstanceUID for instance in derived}) == 3
    assert derived[0].SeriesInstanceUID != pydicom.dcmread(source / "deep" / "slice0").SeriesInstanceUID


def test_one_slice_that_leaves_its_encoding_takes_its_series_along(run, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    dataset = pydicom.dcmread(CT)
    for number, (series, highest) in enumerate([("1.2.1", 900), ("1.2.1", 32767), ("1.2.1", 900), ("1.2.2", 900)]):
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series, f"1.2.3.{number}"
        pixels = dataset.pixel_array.copy()
        pixels[64, 64] = highest
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(source / f"{number}.dcm")
    result = run(source, target)
    assert "4 restored, 0 skipped, 0 failed" in result.output
    derived = [pydicom.dcmread(target / name) for name in names(target)]
    assert [str(instance.RescaleIntercept) for instance in derived] == ["0", "0", "0", "-1024"]
    assert len({instance.SeriesInstanceUID for instance in derived}) == 2
    for number, instance in enumerate(derived):
        inside = instance.pixel_array != instance.PixelPaddingValue
        hounsfield = instance.pixel_array.astype(int) + int(instance.RescaleIntercept)
        expected = stored(source / f"{number}.dcm") - 1024 + OFFSET
        np.testing.assert_array_equal(hounsfield[inside], expected[inside])


def test_outputs_are_never_overwritten_unless_asked(run, tmp_path):
    target = tmp_path / "out.dcm"
    target.write_bytes(b"precious")
    refused = run(CT, target)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.output
    assert target.read_bytes() == b"precious"
    assert run(CT, target, "--overwrite").exit_code == 0
    assert stored(target).shape == stored(CT).shape


def test_a_second_run_over_a_folder_keeps_what_is_there(run, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    shutil.copy(CT, source / "a.dcm")
    assert run(source, target).exit_code == 0
    before = (target / "a.dcm").read_bytes()
    shutil.copy(CT, source / "b.dcm")
    again = run(source, target)
    assert again.exit_code == 0
    assert "1 restored, 1 skipped, 0 failed" in again.output
    assert (target / "a.dcm").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--strength", "2"),
        ("--strength", "nan"),
        ("--rescale-slope", "1"),
        ("--reference", "nothing.npy"),
        ("--precision", "float16"),
    ],
)
def test_usage_errors(run, tmp_path, arguments):
    assert run(CT, tmp_path / "out.dcm", *arguments).exit_code == 2
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "../../etc"), "no model ref"),
        (("--model", "nothing"), "nothing"),
    ],
)
def test_expected_errors_are_one_line(run, tmp_path, arguments, said):
    result = run(CT, tmp_path / "out.dcm", *arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output
    assert names(tmp_path) == []


def test_a_file_without_unit_names_what_is_missing(run, tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((3, 4), np.float32))
    result = run(tmp_path / "in.npy", tmp_path / "out.npy")
    assert result.exit_code == 1
    assert "rescale_slope and rescale_intercept" in result.output


def test_places_that_do_not_go_together(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    for source, target in (
        (tmp_path / "in", tmp_path / "in" / "out"),
        (tmp_path / "in", tmp_path / "in"),
        (tmp_path / "in", tmp_path / "file"),
        (tmp_path / "file", tmp_path / "file"),
        (tmp_path / "file", tmp_path),
        (tmp_path / "missing", tmp_path / "out"),
    ):
        with pytest.raises(offline.WrongPlace):
            offline.plan(source, target)


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "new" / "out.bin"
    offline.write_new(target, b"one", overwrite=False)
    with pytest.raises(offline.OutputExists):
        offline.write_new(target, b"two", overwrite=False)
    offline.write_new(target, b"three", overwrite=True)
    assert target.read_bytes() == b"three"

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        offline.write_new(tmp_path / "new" / "other.bin", b"x", overwrite=False)
    assert names(tmp_path) == ["new/out.bin"]


def test_the_rest_of_a_folder_survives_one_bad_file(run, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(source / "b.npy", np.ones((3, 4), np.float32))
    result = run(source, tmp_path / "out", *HU)
    assert result.exit_code == 1
    np.testing.assert_array_equal(np.load(io.BytesIO((tmp_path / "out" / "b.npy").read_bytes())), np.full((3, 4), 8.0))


def test_a_multi_frame_file_comes_back_with_as_many_frames(run, tmp_path, enhanced):
    (tmp_path / "in.dcm").write_bytes(enhanced.enhanced_file(enhanced.enhanced_ct()))
    for name in ("out.dcm", "out.tif", "out.npy"):
        result = run(tmp_path / "in.dcm", tmp_path / name, "--reference", tmp_path / "in.dcm")
        assert result.exit_code == 0, result.output
    expected = enhanced.stack_of().astype(int) + OFFSET
    np.testing.assert_array_equal(stored(tmp_path / "out.dcm"), expected)
    np.testing.assert_array_equal(np.stack(pages_of(tmp_path / "out.tif")), expected - 1024)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected - 1024)
    assert "soft tissue window, degraded: identical True" in result.output
    result = run(tmp_path / "in.dcm", tmp_path / "out.png")
    assert "the input has 3 frames, and PNG holds one" in result.output


def test_a_multi_frame_file_that_contradicts_itself_fails_and_is_not_skipped(run, tmp_path, enhanced):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.dcm").write_bytes(enhanced.enhanced_file(enhanced.enhanced_ct()))
    (folder / "bad.dcm").write_bytes(enhanced.enhanced_file(enhanced.enhanced_ct(NumberOfFrames=2)))
    result = run(folder, tmp_path / "out")
    assert result.exit_code == 1
    assert "1 restored, 0 skipped, 1 failed" in result.output
    assert names(tmp_path / "out") == ["good.dcm"]
