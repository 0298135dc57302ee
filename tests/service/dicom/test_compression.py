"""Lossless compression: the same instance, bit for bit, by our readers, pydicom's and dcmtk's."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames, parse_basic_offsets

from service.dicom import compression
from service.dicom.compression import MIN_SIDE, SYNTAXES, compressed
from service.errors import RuleViolated

DCMTK = {"jpeg-ls": "dcmdjpls", "rle": "dcmdrle"}
"""Decoders; Debian's dcmtk has none for JPEG 2000."""

ALL_BITS = [(allocated, bits) for allocated in (8, 16) for bits in range(1, allocated + 1)]


def instance(values, *, bits=None, padding=None):
    """A file with (N, H, W) stored values, as small as the functions under test allow."""
    dataset = Dataset()
    allocated = 8 * values.itemsize
    dataset.PatientName, dataset.NumberOfFrames = "A^B", values.shape[0]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *values.shape[1:], 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    bits = bits or allocated
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OW" if allocated > 8 else "OB", data + b"\0" * (len(data) % 2))
    if padding is not None:
        dataset.add_new(0xFFFCFFFC, "OB", padding)
    dataset.file_meta = Dataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.preamble = b"\0" * 128
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def by_pydicom(file, shape):
    return dcmread(io.BytesIO(file)).pixel_array.reshape(shape)


def random_values(rng, shape, allocated, bits, *, signed):
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return rng.integers(low, high + 1, shape).astype(f"{'i' if signed else 'u'}{allocated // 8}")


@st.composite
def images(draw):
    """Stored values (N, H, W), BitsStored, and a syntax that takes them."""
    syntax = draw(st.sampled_from(sorted(SYNTAXES)))
    allocated, bits = draw(st.sampled_from(ALL_BITS))
    side = st.integers(1 if syntax == "rle" else MIN_SIDE, 45)
    shape = draw(st.integers(1, 3)), draw(side), draw(side)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values = random_values(rng, shape, allocated, bits, signed=draw(st.booleans()))
    if draw(st.booleans()):  # large areas of one value, as outside of a patient
        values[:, : shape[1] // 2] = values.min()
    return values, bits, syntax


@settings(max_examples=60)
@given(images())
def test_every_stored_value_comes_back(case):
    values, bits, syntax = case
    file = instance(values, bits=bits)
    made = compressed(file, syntax)
    assert made == compressed(file, syntax)
    np.testing.assert_array_equal(by_pydicom(made, values.shape), values)
    dataset = dcmread(io.BytesIO(made))
    assert dataset.file_meta.TransferSyntaxUID == SYNTAXES[syntax]
    assert dataset["PixelData"].VR == "OB"
    assert dataset["PixelData"].is_undefined_length
    count = values.shape[0]
    offsets = parse_basic_offsets(dataset.PixelData)
    assert len(offsets) == count
    assert offsets[0] == 0
    fragments = list(generate_frames(dataset.PixelData, number_of_frames=count))
    for offset, fragment in zip(offsets, fragments, strict=True):
        begin = 8 + 4 * count + offset
        assert struct.unpack_from("<HHI", dataset.PixelData, begin) == (0xFFFE, 0xE000, len(fragment))
        assert len(fragment) % 2 == 0


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("dcmdjpls") is None, reason="dcmdjpls (Debian package dcmtk) is not installed")
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", sorted(DCMTK))
def test_dcmtk_decodes_all_bits(tmp_path, syntax, signed):
    rng = np.random.default_rng(3)
    for allocated, bits in ALL_BITS:
        values = random_values(rng, (2, 33, 35), allocated, bits, signed=signed)
        (tmp_path / "made").write_bytes(compressed(instance(values, bits=bits), syntax))
        command = [DCMTK[syntax], str(tmp_path / "made"), str(tmp_path / "back")]
        subprocess.run(command, check=True, capture_output=True)
        np.testing.assert_array_equal(by_pydicom((tmp_path / "back").read_bytes(), values.shape), values)


@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
def test_only_the_transfer_syntax_and_the_pixel_data_change(work, ct_slice, syntax):
    values = np.random.default_rng(5).integers(0, 4096, (40, 37)).astype(np.uint16)
    text = {"PatientName": "M\xfcller^Hans", "StudyDescription": "x  ", "LossyImageCompression": "00"}
    file = work(ct_slice(values, BitsStored=12, HighBit=11, **text), 1.0).write()
    made = compressed(file, syntax)
    before, after = file.index(b"\x08\x00\x05\x00CS"), made.index(b"\x08\x00\x05\x00CS")
    assert file[before : file.index(b"\xe0\x7f\x10\x00OW")] == made[after : made.index(b"\xe0\x7f\x10\x00OB")]
    native, packed = dcmread(io.BytesIO(file)), dcmread(io.BytesIO(made))
    assert packed.SOPInstanceUID == packed.file_meta.MediaStorageSOPInstanceUID == native.SOPInstanceUID
    syntax_tag = packed.file_meta["TransferSyntaxUID"].tag
    for element in native.file_meta:
        if element.tag != syntax_tag and element.tag.element != 0:
            assert packed.file_meta[element.tag] == element
    np.testing.assert_array_equal(packed.pixel_array, native.pixel_array)


@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
def test_multi_frame_instances(frames_work, enhanced, syntax):
    values = np.random.default_rng(6).integers(-2048, 2048, (3, 34, 33)).astype(np.int16)
    file = frames_work(enhanced.enhanced_file(enhanced.enhanced_ct(values, bits=12)), 1.0).write()
    made = compressed(file, syntax)
    np.testing.assert_array_equal(by_pydicom(made, values.shape), by_pydicom(file, values.shape))


@pytest.mark.peer
@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
def test_dciodvfy_finds_no_new_error(work, ct_slice, new_findings, syntax):
    values = np.random.default_rng(7).integers(0, 4096, (40, 37)).astype(np.uint16)
    file = work(ct_slice(values, BitsStored=12, HighBit=11), 1.0).write()
    assert not [line for line in new_findings(file, compressed(file, syntax)) if "Error" in line]


@pytest.mark.peer
@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
def test_dciodvfy_finds_no_new_error_in_multi_frame_instances(frames_work, enhanced, new_findings, syntax):
    values = np.random.default_rng(7).integers(0, 4096, (3, 40, 37)).astype(np.uint16)
    file = frames_work(enhanced.enhanced_file(enhanced.enhanced_ct(values, bits=12)), 1.0).write()
    assert not [line for line in new_findings(file, compressed(file, syntax)) if "Error" in line]


@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
def test_what_follows_the_pixel_data_stays(syntax):
    values = np.zeros((1, 32, 32), np.int16)
    made = compressed(instance(values, padding=b"\0" * 6), syntax)
    assert made.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0" + b"\xfc\xff\xfc\xffOB\0\0" + b"\x06\0\0\0" + b"\0" * 6)


def test_smooth_slices_get_smaller():
    rows, columns = np.mgrid[:64, :64]
    file = instance((1000 + rows + 2 * columns)[None].astype(np.int16))
    for syntax in SYNTAXES:
        assert len(compressed(file, syntax)) < 0.7 * len(file)


@pytest.mark.parametrize("syntax", ["jpeg-ls", "jpeg-2000"])
@pytest.mark.parametrize("shape", [(1, 31, 64), (2, 64, 31)])
def test_tiny_images_are_refused(syntax, shape):
    with pytest.raises(ValueError, match="32 x 32"):
        compressed(instance(np.zeros(shape, np.int16)), syntax)


def test_what_is_no_derived_instance_is_refused(ct_slice):
    packed = compressed(instance(np.zeros((1, 32, 32), np.int16)), "rle")
    for file in (b"", ct_slice(syntax="implicit"), packed):
        with pytest.raises(ValueError, match=r"derived instance|length"):
            compressed(file, "rle")


@pytest.mark.parametrize("missing", [b"\x28\x00\x10\x00US", b"\x28\x00\x01\x01US", b"\xe0\x7f\x10\x00OW"])
def test_an_instance_that_does_not_describe_its_pixels_is_refused(missing):
    file = instance(np.zeros((1, 32, 32), np.int16))
    renamed = bytes((missing[0], missing[1], 0xFF, missing[3], *missing[4:]))
    with pytest.raises(ValueError, match=r"PixelData|lacks"):
        compressed(file.replace(missing, renamed), "rle")


@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
@pytest.mark.parametrize("damage", [lambda words: words ^ 1, lambda words: words[:, :-1]], ids=["bit", "column"])
def test_an_encoder_that_errs_delivers_nothing(monkeypatch, syntax, damage):
    encode = compression._encoded
    monkeypatch.setattr(compression, "_encoded", lambda words, *rest: encode(damage(words), *rest))
    values = np.random.default_rng(8).integers(0, 4096, (1, 40, 40)).astype(np.uint16)
    with pytest.raises(RuleViolated, match=syntax):
        compressed(instance(values, bits=12), syntax)
