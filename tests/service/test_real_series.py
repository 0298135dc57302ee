"""One slice of every real series through the API: our rules hold, the validators find nothing, strength 0 is exact."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from imaging.dicom_pixels import image_from_dataset, read_dicom
from imaging.formats import Limits
from service.dicom import rules

DATA = Path(os.environ.get("CLEARSLICE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
SERIES = sorted(DATA.glob("ct/*/*.zip"))
LIMITS = Limits(max_bytes=10**8, max_pixels=10**7)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.shared_data,
    pytest.mark.skipif(not SERIES, reason="no real series: set CLEARSLICE_TEST_DATA"),
]
every_series = pytest.mark.parametrize("archive", SERIES, ids=lambda path: f"{path.parent.name}-{path.stem}")


def middle_slice(archive: Path) -> bytes:
    """The file in the middle of the names: inside of the patient, where there are many."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".dcm"))
        return files.read(names[len(names) // 2])


def smooth(batch):
    """What a network does to the range of values: less in the tissue, and beyond the ends of the scale in air."""
    noise = np.random.default_rng(1).normal(0, 3, batch.shape)
    return (ndimage.gaussian_filter(batch, (0, 1, 1, 0)) + noise).astype(np.float32)


def parsed(file: bytes):
    return read_dicom(file, limits=LIMITS)


@every_series
async def test_what_is_derived_holds_our_rules(serve, archive):
    file = middle_slice(archive)
    async with serve(answer=smooth) as client:
        answer = await client.post(file)
    assert answer.status_code == 200, answer.text
    source, derived = parsed(file), parsed(answer.content)
    image = image_from_dataset(source, max_pixels=LIMITS.max_pixels)
    assert rules.findings(source, derived, padding=image.padding) == ()
    restored = image_from_dataset(derived, max_pixels=LIMITS.max_pixels)
    measured = np.ones(image.shape, np.bool_) if image.padding is None else ~image.padding
    expected = smooth(image.pixels[None, :, :, None])[0, :, :, 0]
    # half a step of rounding, or one step where a result stood on the padding value
    assert np.abs(restored.pixels - expected)[measured].max() <= 1.01 * restored.rescale.slope


@every_series
async def test_strength_0_gives_back_every_stored_value(serve, archive):
    file = middle_slice(archive)
    async with serve(answer=smooth) as client:
        answer = await client.post(file, strength="0")
    source, derived = pydicom.dcmread(io.BytesIO(file)), pydicom.dcmread(io.BytesIO(answer.content))
    np.testing.assert_array_equal(derived.pixel_array, source.pixel_array)
    for keyword in ("RescaleSlope", "RescaleIntercept", "BitsStored", "PixelRepresentation"):
        assert derived.get(keyword) == source.get(keyword)


@pytest.mark.peer
@every_series
async def test_dciodvfy_finds_nothing_new(serve, new_findings, archive):
    file = middle_slice(archive)
    async with serve(answer=smooth) as client:
        answer = await client.post(file)
    assert new_findings(file, answer.content) == set()


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dcentvfy") is None, reason="dcentvfy (Debian package dicom3tools) is not installed")
@every_series
async def test_dcentvfy_finds_source_and_derived_to_be_of_one_patient_study_and_frame(serve, tmp_path, archive):
    file = middle_slice(archive)
    async with serve(answer=smooth) as client:
        answer = await client.post(file)
    paths = [tmp_path / "source.dcm", tmp_path / "derived.dcm"]
    for path, data in zip(paths, (file, answer.content), strict=True):
        path.write_bytes(data)
    alone = dcentvfy(paths[0])
    assert [line for line in dcentvfy(*paths) if line not in alone] == []


def dcentvfy(*paths: Path) -> list[str]:
    done = subprocess.run(["dcentvfy", *map(str, paths)], capture_output=True, text=True, errors="replace", check=False)
    return (done.stdout + done.stderr).splitlines()
