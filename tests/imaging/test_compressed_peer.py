"""dcmtk compresses real CT slices; every stored value comes back, and its decoders say the same.

dcmtk 3.6.7 has encoders and decoders of its own for JPEG, JPEG-LS and RLE. For JPEG 2000 the real slices are compressed
by OpenJPEG.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from imaging.dicom_pixels import image_from_dataset, read_dicom
from imaging.limits import Limits
from imaging.series import read_series

DATA = Path(os.environ.get("CLEARSLICE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
SERIES = sorted(DATA.glob("ct/*/*.zip"))[::4]
"""Signed and unsigned, 12 and 16 bits, padding of -2000, -1500 and none, of five or six."""

LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 22)

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="dcmcjpeg (Debian package dcmtk) is not installed"),
    pytest.mark.shared_data,
    pytest.mark.skipif(not SERIES, reason="no real series: set CLEARSLICE_TEST_DATA"),
]

LOSSLESS = {
    "JPEG Lossless .57": (["dcmcjpeg", "+el"], "dcmdjpeg"),
    "JPEG Lossless .57, other predictor, small fragments": (["dcmcjpeg", "+el", "+sv", "6", "+fs", "16"], "dcmdjpeg"),
    "JPEG Lossless .70": (["dcmcjpeg", "+e1"], "dcmdjpeg"),
    "JPEG-LS .80": (["dcmcjpls", "+el"], "dcmdjpls"),
    "JPEG-LS .80, small fragments": (["dcmcjpls", "+el", "+fs", "16", "-ot"], "dcmdjpls"),
    "RLE": (["dcmcrle"], "dcmdrle"),
    "big endian": (["dcmconv", "+tb"], "dcmconv"),
    "deflated": (["dcmconv", "+td"], "dcmconv"),
    "implicit": (["dcmconv", "+ti"], "dcmconv"),
}

LOSSY = {
    "JPEG .50": (["dcmcjpeg", "+eb", "+q", "95"], "dcmdjpeg"),
    "JPEG .51": (["dcmcjpeg", "+ee", "+q", "95"], "dcmdjpeg"),
    "JPEG-LS .81": (["dcmcjpls", "+en", "+md", "3"], "dcmdjpls"),
}


def middle_slice(archive):
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".dcm"))
        return files.read(names[len(names) // 2])


@pytest.fixture(scope="module")
def natives(tmp_path_factory):
    """The middle slice of each series as explicit little endian."""
    folder = tmp_path_factory.mktemp("native")
    paths = []
    for archive in SERIES:
        source = folder / f"{archive.stem}.source"
        source.write_bytes(middle_slice(archive))
        paths.append(folder / f"{archive.stem}.dcm")
        subprocess.run(["dcmconv", "+te", str(source), str(paths[-1])], check=True, capture_output=True)
    return paths


def image_of(path):
    return image_from_dataset(read_dicom(path.read_bytes(), limits=LIMITS), max_pixels=LIMITS.max_pixels)


def converted(command, source, target):
    subprocess.run([*command, str(source), str(target)], check=True, capture_output=True)
    return target


@pytest.mark.parametrize("name", LOSSLESS)
def test_every_stored_value_comes_back(natives, tmp_path, name):
    encode, decode = LOSSLESS[name]
    for native in natives:
        compressed = converted(encode, native, tmp_path / "compressed.dcm")
        image, plain = image_of(compressed), image_of(native)
        assert image.dataset.file_meta.TransferSyntaxUID != plain.dataset.file_meta.TransferSyntaxUID
        np.testing.assert_array_equal(image.stored, plain.stored)
        np.testing.assert_array_equal(image.pixels, plain.pixels)
        assert (image.padding is None) == (plain.padding is None)
        back = converted([decode, "+te"] if decode == "dcmconv" else [decode], compressed, tmp_path / "back.dcm")
        np.testing.assert_array_equal(image.stored, dcmread(back).pixel_array)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_pixels_are_those_of_the_other_decoder(natives, tmp_path, name):
    encode, decode = LOSSY[name]
    unsigned = [path for path in natives if dcmread(path).PixelRepresentation == 0]
    assert unsigned
    for native in unsigned:
        compressed = converted(encode, native, tmp_path / "compressed.dcm")
        back = converted([decode], compressed, tmp_path / "back.dcm")
        image = image_of(compressed)
        np.testing.assert_array_equal(image.stored, dcmread(back).pixel_array)
        error = np.abs(image.pixels - image_of(native).pixels)
        step = image.rescale.slope
        assert np.percentile(error, 99) <= (3 if "LS" in name else 12 * step)


def test_jpeg_2000_of_real_slices(natives, tmp_path):
    for native in natives:
        dataset = dcmread(native)
        stored = dataset.pixel_array.copy()
        dataset.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        dataset.save_as(tmp_path / "compressed.dcm")
        np.testing.assert_array_equal(image_of(tmp_path / "compressed.dcm").stored, stored)


def test_a_compressed_series_is_read_as_its_native_one(tmp_path):
    folders = {name: tmp_path / name for name in ("native", "compressed")}
    for folder in folders.values():
        folder.mkdir()
    with zipfile.ZipFile(SERIES[0]) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".dcm"))[:6]
        for number, name in enumerate(names):
            path = folders["native"] / f"{number}.dcm"
            path.write_bytes(files.read(name))
            commands = [["dcmcjpeg", "+e1"], ["dcmcjpls", "+el"], ["dcmcrle"]]
            converted(commands[number % 3], path, folders["compressed"] / path.name)
    (native,), (compressed,) = (read_series(folder) for folder in folders.values())
    np.testing.assert_array_equal(compressed.volume, native.volume)
    np.testing.assert_array_equal(compressed.positions, native.positions)
    assert compressed.series_uid == native.series_uid
