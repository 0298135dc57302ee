"""Every bad input gets a clear 4xx as a problem document, never a 500, and leaves the service as it was."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
GRAY = {"model": "gray-tiny"}
PIXELS = np.random.default_rng(1).integers(0, 255, (6, 8)).astype(np.uint8)


def npy_header(header: str, payload: bytes = b"") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + payload


def npy_of(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def png_header(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    return struct.pack(">II5B", width, height, depth, colour, 0, 0, 0)


def nested(depth: int) -> Dataset:
    inner = Dataset()
    inner.PatientID = "x"
    for _ in range(depth):
        outer = Dataset()
        outer.RequestAttributesSequence = Sequence([inner])
        inner = outer
    return inner


FILES = {
    "empty": b"",
    "text": b"hello, this is no image\n",
    "html": b"<!doctype html><html></html>",
    "pdf": b"%PDF-1.7\n%...",
    "zip": b"PK\x03\x04" + b"\0" * 30,
    "random": bytes(range(256)) * 4,
    "npy truncated": npy_of(PIXELS)[:-5],
    "npy too long": npy_of(PIXELS) + b"xx",
    "npy lies about its size": npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (6, 9), }", bytes(48)),
    "npy bomb": npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"),
    "npy objects": npy_of(np.array([[{}]], dtype=object)),
    "npy complex": npy_of(np.zeros((3, 3), np.complex64)),
    "npy 0-d": npy_of(np.float32(1)),
    "npy 1-d": npy_of(np.zeros(4, np.float32)),
    "npy 3-d": npy_of(np.zeros((1, 4, 4), np.float32)),
    "npy 5-d": npy_of(np.zeros((1, 1, 1, 4, 4), np.float32)),
    "npy no pixels": npy_of(np.zeros((0, 4), np.float32)),
    "npy structured": npy_of(np.zeros((2, 2), [("a", "f4")])),
    "npy strings": npy_of(np.array([["a"]])),
    "npy header of nonsense": npy_header("__import__('os').system('true')"),
    "npy all NaN": npy_of(np.full((4, 4), np.nan, np.float32)),
    "npy infinite": npy_of(np.full((4, 4), np.inf, np.float32)),
    "npy float beyond 0..1": npy_of(np.full((4, 4), 2, np.float32)),
    "png bomb": png((b"IHDR", png_header(60000, 60000)), (b"IDAT", b""), (b"IEND", b"")),
    "png 1 bit": png((b"IHDR", png_header(8, 8, depth=1)), (b"IDAT", b""), (b"IEND", b"")),
    "png palette": png((b"IHDR", png_header(8, 8, colour=3)), (b"IDAT", b""), (b"IEND", b"")),
    "png rgb": png((b"IHDR", png_header(8, 8, colour=2)), (b"IDAT", b""), (b"IEND", b"")),
    "png truncated": png((b"IHDR", png_header(8, 8))),
    "png without pixels": png((b"IHDR", png_header(8, 8)), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")),
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(40),
    "tiff": b"II*\0" + bytes(40),
}


@pytest.mark.parametrize("name", FILES)
async def test_files_that_are_no_image(serve, name):
    async with serve() as client:
        answer = await client.post(FILES[name], **GRAY)
        check(answer)
        check(await client.post(npy_of(PIXELS), reference=FILES[name], **GRAY))
        await check_unharmed(client)


DICOM = {
    "no preamble": lambda data: data[128:],
    "preamble only": lambda data: data[:132],
    "meta only": lambda data: data[:200],
    "truncated pixels": lambda data: data[:-50],
    "truncated in an element": lambda data: data[:400],
    "trailing garbage instead of a meta": lambda _: bytes(128) + b"DICM" + b"\xff" * 100,
}


@pytest.mark.parametrize("name", DICOM)
async def test_broken_dicom_files(serve, ct_slice, name):
    async with serve() as client:
        check(await client.post(DICOM[name](ct_slice())))
        await check_unharmed(client)


ATTRIBUTES = {
    "Rows 0": {"Rows": 0},
    "Rows too many for the pixels": {"Rows": 65535, "Columns": 65535},
    "BitsAllocated 12": {"BitsAllocated": 12},
    "BitsStored 20": {"BitsStored": 20},
    "HighBit not BitsStored - 1": {"HighBit": 3},
    "RescaleIntercept empty": {"RescaleIntercept": None},
    "RescaleSlope 0": {"RescaleSlope": "0"},
    "RescaleSlope missing": {"drop": ("RescaleSlope",)},
    "Rows missing": {"drop": ("Rows",)},
    "PhotometricInterpretation missing": {"drop": ("PhotometricInterpretation",)},
    "PixelRepresentation missing": {"drop": ("PixelRepresentation",)},
    "RGB": {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
    "palette": {"PhotometricInterpretation": "PALETTE COLOR"},
    "MR": {"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"},
    "localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "RescaleType Z_EFF": {"RescaleType": "Z_EFF"},
    "multi-energy": {"MultienergyCTAcquisition": "YES"},
    "virtual monoenergetic": {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "VMI"]},
    "several frames": {"NumberOfFrames": "2"},
    "burned in": {"BurnedInAnnotation": "YES"},
    "no StudyInstanceUID": {"drop": ("StudyInstanceUID",)},
    "UID with a path": {"SeriesInstanceUID": "../../etc/passwd"},
}


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about the bad values while the file is made
async def test_dicom_attributes_that_make_no_ct_slice(serve, ct_slice, name):
    async with serve() as client:
        check(await client.post(ct_slice(**ATTRIBUTES[name])))
        await check_unharmed(client)


@pytest.mark.parametrize("text", [b"abc ", b"nan ", b"inf ", b"1e400 "])
async def test_a_rescale_that_is_no_number(serve, ct_slice, text):
    data = ct_slice(RescaleIntercept="-77777")
    assert b"-77777" in data
    async with serve() as client:
        check(await client.post(data.replace(b"-77777", text.ljust(6))))


async def test_deeply_nested_sequences(serve, ct_dataset):
    dataset = ct_dataset()
    file = io.BytesIO()
    dataset.RequestAttributesSequence = Sequence([nested(100)])
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    async with serve() as client:
        check(await client.post(file.getvalue()))
        await check_unharmed(client)


async def test_a_deflate_bomb_stops_at_the_cap(serve, ct_slice):
    bomb = ct_slice(np.zeros((1000, 1500), np.int16), syntax="deflated")
    assert len(bomb) < 20_000
    async with serve(max_upload_bytes=1_000_000) as client:
        answer = check(await client.post(bomb))
    assert answer.status_code == 413
    assert answer.json()["setting"] == "CLEARSLICE_MAX_UPLOAD_BYTES"


async def test_a_program_in_the_preamble_does_not_come_back(serve, ct_slice):
    data = b"MZ" + b"\x90" * 126 + ct_slice()[128:]
    async with serve() as client:
        answer = await client.post(data)
    assert answer.status_code == 200
    assert answer.content[:128] == bytes(128)


GOOD_SHAPES = [(1, 1), (1, 10000), (15, 17)]


@pytest.mark.parametrize("shape", GOOD_SHAPES)
async def test_odd_sizes_are_fine(serve, npy, shape):
    async with serve() as client:
        answer = await client.post(npy(np.full(shape, 7, np.float32)), **HU)
    assert answer.status_code == 200
    assert np.load(io.BytesIO(answer.content)).shape == shape


async def test_too_many_pixels_names_the_setting(serve, npy):
    async with serve(max_pixels=100) as client:
        answer = await client.post(npy(np.zeros((11, 10), np.uint8)), **GRAY)
    assert answer.status_code == 413
    assert answer.json()["setting"] == "CLEARSLICE_MAX_PIXELS"
    assert "CLEARSLICE_MAX_PIXELS" in answer.json()["detail"]


FIELDS = {
    "strength 2": ({"strength": "2"}, 422),
    "strength -0.1": ({"strength": "-0.1"}, 422),
    "strength abc": ({"strength": "abc"}, 422),
    "strength nan": ({"strength": "nan"}, 422),
    "strength inf": ({"strength": "inf"}, 422),
    "metrics nonsense": ({"metrics": "beauty"}, 422),
    "metrics without reference": ({"metrics": "psnr"}, 422),
    "slope alone": ({"rescale_slope": "1"}, 422),
    "slope 0": ({"rescale_slope": "0", "rescale_intercept": "0"}, 422),
    "slope nan": ({"rescale_slope": "nan", "rescale_intercept": "0"}, 422),
    "slope huge": ({"rescale_slope": "1e30", "rescale_intercept": "0", "model": "ct-tiny"}, 422),
    "model a path": ({"model": "../../etc"}, 400),
    "model quotes": ({"model": "ct'\"<script>"}, 400),
    "model slashes": ({"model": "a/b@1"}, 400),
    "model unknown": ({"model": "nothing"}, 404),
    "model unknown version": ({"model": "ct-tiny@99"}, 404),
    "model unknown label": ({"model": "ct-tiny@canary"}, 404),
    "model of 1000 letters": ({"model": "a" * 1000}, 400),
    "model of 10000 letters": ({"model": "a" * 10000}, 400),
    "unknown field": ({"stength": "1"}, 400),
}


@pytest.mark.parametrize("name", FIELDS)
async def test_fields(serve, name):
    fields, status = FIELDS[name]
    async with serve() as client:
        answer = check(await client.post(npy_of(PIXELS), **{**GRAY, **fields}))
        await check_unharmed(client)
    assert answer.status_code == status
    assert len(answer.text) < 1000  # no echo of what was sent


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (npy_of(np.zeros((6, 9), np.uint8)), "6 x 9"),
        (npy_of(np.zeros((8, 6), np.uint8)), "8 x 6"),
    ],
)
async def test_a_reference_of_another_size(serve, reference, reason):
    async with serve() as client:
        answer = check(await client.post(npy_of(PIXELS), reference=reference, **GRAY))
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


async def test_a_reference_of_another_unit(serve, ct_slice, ct_dataset):
    reference = npy_of(np.zeros(ct_dataset().pixel_array.shape, np.uint8))
    async with serve() as client:
        answer = check(await client.post(ct_slice(), reference=reference))
    assert answer.status_code == 422
    assert "unit" in answer.json()["detail"]


async def test_a_rescale_for_dicom_is_refused(serve, ct_slice):
    async with serve() as client:
        assert check(await client.post(ct_slice(), **HU)).status_code == 422


@pytest.mark.parametrize("value", ["0", "-1", "abc", "nan", "1e400", ""])
async def test_a_deadline_that_is_none(serve, npy, value):
    async with serve() as client:
        answer = await client.post(npy(PIXELS), headers={"x-request-timeout": value}, **GRAY)
    assert check(answer).status_code == 422


@pytest.mark.parametrize("accept", ["image/gif", "text/html", "image/png;q=0", "nonsense", ",".join(["a/b"] * 50)])
async def test_accept_that_cannot_be_met_lists_what_could(serve, npy, accept):
    async with serve() as client:
        answer = check(await client.post(npy(PIXELS), headers={"accept": accept}, **GRAY))
    assert answer.status_code == 406
    assert "application/json" in answer.json()["available"]


async def test_dicom_of_a_png_cannot_be_had(serve, npy):
    async with serve() as client:
        answer = check(await client.post(npy(PIXELS), headers={"accept": "application/dicom"}, **GRAY))
    assert answer.status_code == 406
    assert "application/dicom" not in answer.json()["available"]


def check(answer):
    """A problem document with a 4xx status and a sentence."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"].startswith("/problems/")
    assert len(problem["detail"]) > 10
    return answer


async def check_unharmed(client):
    """No place is still taken, and the next request works."""
    assert client.engine._in_progress == 0
    answer = await client.post(npy_of(PIXELS), **GRAY)
    assert answer.status_code == 200
