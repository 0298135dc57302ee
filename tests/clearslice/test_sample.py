"""`clearslice sample` as a newcomer runs it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pydicom
import pytest
from typer.testing import CliRunner

from clearslice.commands.sample import KernelName
from clearslice.main import app
from imaging.low_dose import KERNELS


def _run(*arguments):
    return CliRunner().invoke(app, ["sample", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    folder = tmp_path_factory.mktemp("with space") / "new" / "sample"
    result = _run(folder)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def test_it_writes_a_pair_and_says_what_to_do_with_it(single):
    folder, output = single
    low, full = folder / "low-dose.dcm", folder / "full-dose.dcm"
    assert sorted(folder.iterdir()) == [full, low]
    assert [pydicom.dcmread(path).XRayTubeCurrent for path in (low, full)] == [50, 200]
    lines = output.splitlines()
    assert lines[:2] == [str(low), str(full)]
    psnr, ssim = re.search(
        r"PSNR ([0-9.]+) dB, SSIM ([0-9.]+) \(soft tissue window \[-160, 240\] HU\)", output
    ).groups()
    assert 26 < float(psnr) < 29
    assert 0.7 < float(ssim) < 0.9
    curl, offline = (
        shlex.split(output[output.index(f"  {program} ") :].split("\n\n")[0]) for program in ("curl", "clearslice")
    )
    assert curl[:2] == ["curl", "-f"]
    assert {f"image=@{low}", f"reference=@{full}", "http://127.0.0.1:8000/v1/reconstructions"} <= set(curl)
    assert offline[1:4] == ["reconstruct", str(low), str(folder / "restored.dcm")]
    assert offline[-1] == str(full)


def test_a_sample_is_only_replaced_when_told_to(single):
    folder, _ = single
    before = {path: path.read_bytes() for path in folder.iterdir()}
    refused = _run(folder, "--seed", 1)
    assert refused.exit_code == 1
    assert "exists; --overwrite replaces it" in refused.stderr.replace("\n", " ")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    replaced = _run(
        folder, "--seed", 1, "--region", "chest", "--kernel", "very-soft", "--dose-fraction", 0.1, "--force"
    )
    assert replaced.exit_code == 0, replaced.output
    low = pydicom.dcmread(folder / "low-dose.dcm")
    assert (low.PatientID, low.BodyPartExamined, low.ConvolutionKernel) == ("PHANTOM-1", "CHEST", "VERY SOFT")
    assert low.XRayTubeCurrent == 20
    again = _run(folder, "--force")
    assert again.exit_code == 0
    assert {path: path.read_bytes() for path in folder.iterdir()} == before  # the same seed, the same bytes


def test_several_slices_go_into_folders_of_their_own(tmp_path):
    arguments = (tmp_path, "--slices", 2)
    result = _run(*arguments)
    assert result.exit_code == 0, result.output
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.dcm"))
    assert names == ["full-dose/001.dcm", "full-dose/002.dcm", "low-dose/001.dcm", "low-dose/002.dcm"]
    assert f"reconstruct {tmp_path / 'low-dose'} {tmp_path / 'restored'}" in result.stdout
    (tmp_path / "low-dose" / "003.dcm").touch()  # of a longer sample: the folder would hold two series
    mixed = _run(*arguments, "--overwrite")
    assert mixed.exit_code == 1
    assert "003.dcm" in mixed.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--dose-fraction", "0"), "dose fraction"),
        (("--dose-fraction", "1"), "dose fraction"),
        (("--noise", "nan"), "noise"),
        (("--slices", "0"), "slices"),
        (("--seed", "-1"), "seed"),
        (("--kernel", "hard"), "very-soft"),
    ],
)
def test_impossible_options_are_usage_errors(tmp_path, options, says):
    result = _run(tmp_path / "never", *options)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not (tmp_path / "never").exists()


def test_a_place_that_is_no_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    result = _run(tmp_path / "file")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert result.stderr.count("error:") == 1


def test_kernels_have_the_names_of_the_physics():
    assert [name.replace("-", " ") for name in KernelName] == [kernel.name for kernel in KERNELS]


def test_tensorflow_is_not_loaded(tmp_path):
    code = f"""
import sys
from clearslice.main import app
try:
    app(["sample", {str(tmp_path)!r}])
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"tensorflow", "keras", "fastapi"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "low-dose.dcm").is_file()
