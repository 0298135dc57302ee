"""Compressed DICOM through the API: strength 0 is exact, what was lossy is told on, a decoder's death harms nobody."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import jpeg_ls
import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from imaging import codec_process
from imaging.dicom_pixels import image_from_dataset, read_dicom
from imaging.formats import Limits
from service.dicom import rules

DATA = Path(os.environ.get("CLEARSLICE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
SERIES = sorted(DATA.glob("ct/*/*.zip"))[::7]
LIMITS = Limits(max_bytes=10**8, max_pixels=10**7)

pytestmark = pytest.mark.anyio
real_series = pytest.mark.skipif(not SERIES, reason="no real series: set CLEARSLICE_TEST_DATA")
dcmtk = pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="dcmcjpeg (Debian package dcmtk) is not installed")


def tissue(dtype="int16"):
    """(64, 72): smooth shapes and noise, negative values only where the type has them."""
    rows, columns = np.mgrid[:64, :72]
    smooth = 600 * np.sin(rows / 9) * np.cos(columns / 7) + (0 if dtype == "int16" else 1200)
    return (smooth + np.random.default_rng(2).normal(0, 15, rows.shape)).astype(dtype)


@pytest.fixture
def compressed_slice(ct_dataset, to_bytes):
    """(stored, stream, syntax, Keyword=...) -> a file."""

    def make(stored, stream, syntax, **attributes):
        dataset = ct_dataset(stored, **attributes)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
        return to_bytes(dataset)

    return make


@pytest.fixture
def to_bytes():
    """A data set as a file."""

    def write(dataset):
        file = io.BytesIO()
        dataset.preamble = bytes(128)
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()

    return write


def converted(command, source, target):
    subprocess.run([*command, str(source), str(target)], check=True, capture_output=True)
    return target.read_bytes()


def j2k(stored, **options):
    return bytes(encode_array(stored, photometric_interpretation=2, use_mct=False, codec_format=0, **options))


def jls(stored, **options):
    return bytes(jpeg_ls.encode_buffer(stored.tobytes(), *stored.shape, 1, 16, **options))


def native_of(stored, answer):
    """The derived data set, after checking that it is what a lossless source asks for."""
    derived = pydicom.dcmread(io.BytesIO(answer.content))
    assert derived.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(derived.pixel_array, stored)
    return derived


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("dtype", ["int16", "uint16"])
async def test_strength_0_gives_back_what_was_compressed(serve, ct_dataset, to_bytes, syntax, dtype):
    stored = tissue(dtype)
    dataset = ct_dataset(stored, BitsStored=13, HighBit=12, PixelPaddingValue=int(stored.min()))
    dataset["PixelPaddingValue"].VR = "SS" if dtype == "int16" else "US"
    plugin = "pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg"
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    async with serve(offset=50.0) as client:
        answer = await client.post(to_bytes(dataset), strength="0")
        assert answer.status_code == 200, answer.text
        derived = native_of(stored, answer)
        assert "LossyImageCompression" not in derived
        assert (derived.BitsStored, derived.PixelRepresentation) == (13, int(dtype == "int16"))
        changed = await client.post(to_bytes(dataset))
    shifted = pydicom.dcmread(io.BytesIO(changed.content)).pixel_array.astype(int) - stored
    assert np.median(shifted) == 50


LOSSY = {
    "ISO_15444_1": (JPEG2000, lambda stored: j2k(stored, compression_ratios=[6])),
    "ISO_14495_1": (JPEGLSNearLossless, lambda stored: jls(stored, lossy_error=2)),
}


@pytest.mark.parametrize("method", LOSSY)
async def test_a_lossy_source_is_told_on(serve, compressed_slice, method):
    syntax, encode = LOSSY[method]
    stored = tissue("uint16")
    stream = encode(stored)
    file = compressed_slice(stored, stream, syntax)
    async with serve() as client:
        answer = await client.post(file, strength="0")
    assert answer.status_code == 200, answer.text
    derived = pydicom.dcmread(io.BytesIO(answer.content))
    assert derived.LossyImageCompression == "01"
    assert derived.LossyImageCompressionMethod == method
    assert float(derived.LossyImageCompressionRatio) == pytest.approx(stored.nbytes / len(stream), rel=0.01)
    assert np.abs(derived.pixel_array.astype(int) - stored).max() < 80


@pytest.mark.peer
@pytest.mark.parametrize("method", LOSSY)
async def test_dciodvfy_finds_nothing_new_in_it(serve, compressed_slice, new_findings, method):
    syntax, encode = LOSSY[method]
    file = compressed_slice(tissue("uint16"), encode(tissue("uint16")), syntax)
    async with serve() as client:
        answer = await client.post(file)
    assert new_findings(file, answer.content) == set()


@pytest.mark.peer
@dcmtk
async def test_signed_12_bit_jpeg_is_refused(serve, ct_slice, tmp_path):
    source, target = tmp_path / "source.dcm", tmp_path / "target.dcm"
    source.write_bytes(ct_slice(tissue("uint16"), BitsStored=12, HighBit=11))
    unsigned = converted(["dcmcjpeg", "+ee"], source, target)
    dataset = pydicom.dcmread(target)
    dataset.PixelRepresentation = 1
    dataset.save_as(target)
    async with serve() as client:
        assert (await client.post(unsigned)).status_code == 200
        answer = await client.post(target.read_bytes())
    assert answer.status_code == 422
    assert "signed pixels" in answer.json()["detail"]


@pytest.mark.peer
@pytest.mark.shared_data
@dcmtk
@real_series
@pytest.mark.parametrize("archive", SERIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("command", [["dcmcjpeg", "+e1"], ["dcmcjpls", "+el"], ["dcmcrle"]], ids=" ".join)
async def test_real_slices_compressed_by_dcmtk(serve, tmp_path, archive, command, new_findings):
    source, target = tmp_path / "source.dcm", tmp_path / "target.dcm"
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".dcm"))
        source.write_bytes(files.read(names[len(names) // 2]))
    file = converted(command, source, target)
    async with serve(offset=-7.0) as client:
        exact = await client.post(file, strength="0")
        changed = await client.post(file)
    assert exact.status_code == changed.status_code == 200, exact.text + changed.text
    native_of(pydicom.dcmread(source).pixel_array, exact)
    compressed, derived = (read_dicom(data, limits=LIMITS) for data in (file, changed.content))
    image = image_from_dataset(compressed, max_pixels=LIMITS.max_pixels)
    assert rules.findings(compressed, derived, padding=image.padding) == ()
    assert new_findings(file, changed.content) == set()


DAMAGED = {
    "no stream": (lambda _: b"text, and no JPEG 2000", 400, "no JPEG 2000 stream"),
    "half zeroed": (
        lambda stream: stream[: len(stream) // 2] + bytes(len(stream) // 2),
        400,
        "truncated or overwritten",
    ),
    "another size": (lambda _: j2k(np.zeros((128, 128), np.int16), bits_stored=16), 422, "128 rows and 128 columns"),
    "another sign, lossy": (lambda _: j2k(tissue("uint16"), compression_ratios=[9]), 422, "PixelRepresentation"),
}


@pytest.mark.parametrize("name", DAMAGED)
async def test_damaged_streams_get_a_problem_document(serve, compressed_slice, name):
    damage, status, told = DAMAGED[name]
    stored = tissue()
    async with serve() as client:
        answer = await client.post(compressed_slice(stored, damage(j2k(stored)), JPEG2000))
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert told in answer.json()["detail"]
        again = await client.post(compressed_slice(stored, j2k(stored), JPEG2000Lossless), strength="0")
        native_of(stored, again)


async def test_workers_are_started_ahead_and_a_killed_one_is_replaced(serve, compressed_slice):
    stored = tissue()
    file = compressed_slice(stored, jls(stored.view(np.uint16)), JPEGLSLossless)
    async with serve(codec_threads=2, codec_seconds=9.0) as client:
        workers = codec_process._current().pids()
        assert len(workers) == 2
        native_of(stored, await client.post(file, strength="0"))
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        native_of(stored, await client.post(file, strength="0"))
        assert not set(workers) & set(codec_process._current().pids())
