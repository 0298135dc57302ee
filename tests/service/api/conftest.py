"""STOW-RS: bodies of a request, and a node behind the app.

kit.node(<setting>=...) -> as `serve`, with a node      kit.post(client, body, ...) -> the answer
kit.multipart(file, ...) -> a body      kit.Body(bytes, size) -> one in chunks      kit.told(answer) -> what it says
"""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
from pydicom import Dataset

BOUNDARY = "a-boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
DICOM = b"Content-Type: application/dicom\r\n"
CONFIGURATION = """
[node]
reserve = {reserve}
associations = {associations}
quiet_seconds = 3600

[[rules]]
name = "heads"
body_part = "HEAD"
action = "refuse"

[[rules]]
name = "all"
action = "keep"
"""


def multipart(*files, boundary=BOUNDARY, headers=DICOM, end=True):
    parts = [f"--{boundary}\r\n".encode() + headers + b"\r\n" + data + b"\r\n" for data in files]
    return b"".join(parts) + (f"--{boundary}--\r\n".encode() if end else b"")


class Body:
    """A body in chunks of a size, which tells how many were read; `wait` is awaited before the last."""

    def __init__(self, data, size, wait=None):
        self._data, self._size, self._wait = data, size, wait
        self.read = 0

    async def __aiter__(self):
        for place in range(0, len(self._data), self._size):
            if self._wait is not None and place + self._size >= len(self._data):
                await self._wait()
            self.read += 1
            yield self._data[place : place + self._size]


def told(answer):
    """UIDs that were taken; UID -> reason of those that failed; reasons of those without a UID."""
    assert answer.headers["content-type"] == "application/dicom+json"
    assert answer.headers["cache-control"] == "no-store"
    found = Dataset.from_json(json.loads(answer.text))
    return (
        [item.ReferencedSOPInstanceUID for item in found.get("ReferencedSOPSequence", [])],
        {item.ReferencedSOPInstanceUID: item.FailureReason for item in found.get("FailedSOPSequence", [])},
        [item.FailureReason for item in found.get("OtherFailuresSequence", [])],
    )


@pytest.fixture
def stow(serve, tmp_path, ct_slice):
    """kit.node(<setting>=...) -> as `serve`, with a node; kit.files(n) -> n instances; kit.post(client, body, ...)."""
    spool = tmp_path / "spool"

    def node(*, reserve=0, associations=10, **settings):
        path = tmp_path / "pacs.toml"
        path.write_text(CONFIGURATION.format(reserve=reserve, associations=associations), encoding="utf-8")
        return serve(pacs=path, spool=spool, spool_reserve=0, **settings)

    def files(count, **changes):
        made = []
        for number in range(1, count + 1):
            pixels = np.random.default_rng(number).integers(-200, 1500, (12, 16)).astype(np.int16)
            made.append(ct_slice(pixels, **{"SOPInstanceUID": f"1.2.3.4.{number}", **changes}))
        return made

    async def post(client, body, *, kind=RELATED, study="", **headers):
        place = f"/dicom-web/studies/{study}" if study else "/dicom-web/studies"
        return await client.http.post(place, content=body, headers={"content-type": kind, **headers})

    def left():
        """SOPInstanceUIDs that are on the disk."""
        assert not list((spool / "pacs" / "incoming").iterdir())
        assert not list((spool / "pacs").rglob("*.part"))
        return sorted(path.stem for path in (spool / "pacs").rglob("source/*.dcm"))

    return types.SimpleNamespace(
        node=node, files=files, file=ct_slice, post=post, left=left, multipart=multipart, Body=Body, told=told
    )
