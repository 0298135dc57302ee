"""Every bad input meets a real server process, which may write no file and has one place for requests.

refuse(file, slug) -> the problem document, after it was checked that
    the status and the kind of problem are right, and the answer names no defect
    it took little time and memory
    the next good request works: no place was left taken, no process or thread died
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import jpeg_ls
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from service.api.problems import TABLE

UPLOAD_BYTES = 3_000_000
PIXELS = 1_000_000
"""The server's limits: small, so that what breaks them is quick to make."""

MOST_SECONDS = 5.0
"""Of one answer, on a busy machine. A bomb that goes off takes longer, or for ever."""

MOST_BYTES = 64_000_000
"""By which the process may ever grow, over all inputs together: a few copies of one upload and of one image as
float32. The bombs here would take 98 MB and more."""

STATUS = {kind.slug: kind.status for kind in TABLE.values()}


class Refuse(Protocol):
    """Posts a bad input and checks the refusal; returns the problem document."""

    def __call__(
        self, image: bytes, slug: str, *, reference: bytes | None = None, headers: Any = None, **fields: str
    ) -> dict[str, Any]: ...


@pytest.fixture(scope="session")
def server(start_server, published_once):
    """One process for all bad inputs."""
    limits = {"max_requests": "1", "max_upload_bytes": str(UPLOAD_BYTES), "max_pixels": str(PIXELS)}
    with start_server(published_once.writable, None, **limits) as server:
        server.forbid_writing_files()
        yield server


@pytest.fixture(scope="session")
def client(server):
    with httpx.Client(base_url=server.url, timeout=20.0) as client:
        yield client


@pytest.fixture(scope="session")
def good() -> bytes:
    """A file that the model `gray-tiny` takes."""
    file = io.BytesIO()
    np.save(file, np.arange(48, dtype=np.uint8).reshape(6, 8))
    return file.getvalue()


@pytest.fixture(scope="session")
def peak_before(server, client, good) -> int:
    """The most memory of the process after one small good request, which has loaded all code."""
    answer = client.post("/v1/reconstructions", files={"image": good, "reference": good}, data=GRAY)
    assert answer.status_code == 200, answer.text
    return server.peak_bytes()


GRAY = {"model": "gray-tiny"}


@pytest.fixture
def refuse(server, client, good, peak_before) -> Refuse:
    """See `Refuse`."""

    def refusing(
        image: bytes, slug: str, *, reference: bytes | None = None, headers: Any = None, **fields: str
    ) -> dict[str, Any]:
        files = {"image": image} if reference is None else {"image": image, "reference": reference}
        begin = time.monotonic()
        answer = client.post("/v1/reconstructions", files=files, data=fields, headers=headers)
        assert time.monotonic() - begin < MOST_SECONDS
        problem = checked(answer, slug)
        grown = server.peak_bytes() - peak_before
        assert grown < MOST_BYTES, f"the process has grown by {grown} bytes"
        after = client.post("/v1/reconstructions", files={"image": good}, data=GRAY)
        assert (after.status_code, after.content) == (200, good)
        return problem

    return refusing


def checked(answer: httpx.Response, slug: str) -> dict[str, Any]:
    """The problem document of an answer that has the right kind, status and headers, and echoes little."""
    problem = answer.json()
    assert problem["type"] == f"/problems/{slug}", problem
    assert answer.status_code == problem["status"] == STATUS[slug]
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    assert 10 < len(problem["detail"]) < 700
    return problem


COMPRESSED = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "jpeg 2000": JPEG2000Lossless}
COMPRESSED_SHAPE = (40, 48)
"""JPEG 2000 halves an image five times, and OpenJPEG refuses to encode one that becomes nothing."""


@pytest.fixture(scope="session")
def compressed(ct_dataset) -> Callable[[str], bytes]:
    """syntax -> a valid file of one frame, made by the reference encoder of that syntax."""
    made: dict[str, bytes] = {}

    def make(name: str) -> bytes:
        if name not in made:
            dataset = ct_dataset(np.random.default_rng(7).integers(-200, 1500, COMPRESSED_SHAPE).astype(np.int16))
            dataset.compress(COMPRESSED[name], generate_instance_uid=False)
            file = io.BytesIO()
            pydicom.dcmwrite(file, dataset, enforce_file_format=True)
            made[name] = file.getvalue()
        return made[name]

    return make


@pytest.fixture(scope="session")
def valid_files(ct_slice, compressed, enhanced) -> dict[str, bytes]:
    """One small valid file of each kind that is read, by name."""
    gray = np.random.default_rng(2).integers(0, 255, (9, 11)).astype(np.uint8)
    arrays = {
        "npy uint8": gray,
        "npy float32": (gray / 255).astype(np.float32),
        "npy int16": gray.astype(np.int16) - 99,
    }
    files = {name: written(np.save, array) for name, array in arrays.items()}
    for name, array in (("png 8", gray), ("png 16", gray.astype(np.uint16) * 257)):
        files[name] = written(lambda file, pixels: Image.fromarray(pixels).save(file, format="PNG"), array)
    for name, options in (("tiff", {}), ("tiff deflate", {"compression": "zlib"}), ("tiff tiled", {"tile": (16, 16)})):
        files[name] = written(lambda file, pixels, o=options: tifffile.imwrite(file, pixels, metadata=None, **o), gray)
    files["tiff float pages"] = written(
        lambda file, pixels: tifffile.imwrite(file, pixels, metadata=None), np.stack([arrays["npy float32"]] * 2)
    )
    for syntax in ("explicit", "implicit", "deflated", "big"):
        files[f"dicom {syntax}"] = ct_slice(syntax=syntax)
    files |= {f"dicom {name}": compressed(name) for name in COMPRESSED}
    files["dicom of frames"] = enhanced.enhanced_file(enhanced.enhanced_ct())
    stack = enhanced.stack_of(2, COMPRESSED_SHAPE)
    streams = [bytes(jpeg_ls.encode_array(frame)) for frame in stack]
    frames = enhanced.compressed(enhanced.enhanced_ct(stack, legacy=True), streams, JPEGLSLossless, fragments=2)
    files["dicom of compressed frames"] = enhanced.enhanced_file(frames)
    files["dicom of a scanner"] = Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes()
    return files


def written(write: Callable[[io.BytesIO, Any], Any], array: Any) -> bytes:
    """What `write` puts into a file."""
    file = io.BytesIO()
    write(file, array)
    return file.getvalue()
