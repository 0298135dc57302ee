"""Series in archives, and a server with a spool.

serving(...) -> as `serve`, with a spool below tmp_path that outlives it
kit.gated(n) -> an answer that waits after n images      kit.until(condition) -> waits for it
kit.series(n, ...) -> n CT instances, name -> bytes        kit.zipped(files), kit.tarred(files) -> an archive of them
kit.submit(client, archive, ...) -> the answer of POST /v1/jobs      kit.finished(client, id) -> the job that has ended
"""

from __future__ import annotations

import asyncio
import io
import tarfile
import threading
import time
import types
import zipfile
from collections.abc import Mapping

import numpy as np
import pydicom
import pytest

PATIENCE = 20.0


def make_zip(files: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file, in the order given."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def make_tar(files: Mapping[str, bytes], *, mode: str = "w") -> bytes:
    """A tar file, in the order given."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def series_maker(ct_slice):
    """(n, Keyword=value) -> name -> bytes of n instances of one series; `stored(i)` may give the pixels of each."""

    def make(count, *, stored=None, **attributes):
        files = {}
        for number in range(1, count + 1):
            pixels = None if stored is None else stored(number)
            if pixels is None:
                pixels = np.random.default_rng(number).integers(-200, 1500, (12, 16)).astype(np.int16)
            files[f"IM{number:03d}"] = ct_slice(
                pixels,
                **{
                    "SOPInstanceUID": f"1.2.3.4.{number}",
                    "InstanceNumber": str(number),
                    "ImagePositionPatient": ["-100", "-100", str(5 * number)],
                    **attributes,
                },
            )
        return files

    return make


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def serving(serve, spool):
    """(...) -> as `serve`, with the spool."""
    return lambda **settings: serve(spool=spool, spool_reserve=0, **settings)


async def submit(client, archive, *, headers=None, **fields):
    """The answer of POST /v1/jobs."""
    files = {"series": ("series", archive, "application/zip")}
    return await client.http.post("/v1/jobs", files=files, data=fields, headers=headers)


async def finished(client, job_id, *, headers=None):
    """What is told of a job when it has ended."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        job = (await client.http.get(f"/v1/jobs/{job_id}", headers=headers)).json()
        if job["state"] in ("done", "failed"):
            return job
        await asyncio.sleep(0.02)
    raise AssertionError(f"the job never ended: {job}")


def unzipped(data):
    """A zip file -> name -> bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def parsed(data):
    """The bytes of a DICOM file -> its data set."""
    return pydicom.dcmread(io.BytesIO(data))


def gated(passes):
    """A restorer that passes a number of images and waits at the next."""
    seen = []
    gate = threading.Event()

    def answer(batch):
        seen.append(batch)
        if len(seen) > passes:
            gate.wait(20)
        return batch

    return seen, gate, answer


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never happened")


@pytest.fixture(scope="session")
def kit(ct_slice):
    """What tests of jobs do again and again; see the functions of this file."""
    return types.SimpleNamespace(
        series=series_maker(ct_slice),
        zipped=make_zip,
        tarred=make_tar,
        submit=submit,
        finished=finished,
        unzipped=unzipped,
        parsed=parsed,
        gated=gated,
        until=until,
    )
