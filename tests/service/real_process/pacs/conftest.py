"""A PACS node in a real server process, a scanner that sends to it, and a PACS that it delivers to.

node -> Node: a spool and a pacs.toml that outlive every server process; node.serving() -> context with a `Server`
node.archive -> the PACS, see `fake_archive.py`         kit.series(n, "1.2.3") -> n instances, source UID -> bytes
kit.settled(server) -> the counts, when nothing moves   kit.check(node, server, uids) -> nothing is lost or doubled
"""

from __future__ import annotations

import io
import runpy
import threading
import types
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest

from imaging.dicom_file import encoded_data_set

FAKE = types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fake_archive.py"))))

CONFIGURATION = """
[node]
port = {port}
any_caller = true
quiet_seconds = {quiet}
reserve = 0
apart = {apart}

[peers.archive]
aet = "ARCHIVE"
host = "127.0.0.1"
port = {archive_port}
verify = "{verify}"
retry_seconds = 0.2
give_up_seconds = 120
timeout_seconds = {timeout}
verify_seconds = {verify_seconds}

[[rules]]
name = "not wanted"
description = "Kept*"
action = "keep"

[[rules]]
name = "everything"
to = ["archive"]
"""

USUAL = {"verify": "none", "verify_seconds": 60, "quiet": 0.5, "apart": "false", "timeout": 10}

ENDS = {"delivered", "kept", "failed", "dead"}


class Node:
    """What outlives the server processes of a test."""

    def __init__(self, folder, start_server, store, **changes):
        self.port = FAKE.free_port()
        self.archive = FAKE.Archive(self.port)
        self.spool, self.configuration = folder / "spool", folder / "pacs.toml"
        self._folder, self._start, self._store, self._gates = folder, start_server, store, 0
        text = CONFIGURATION.format(port=self.port, archive_port=self.archive.port, **{**USUAL, **changes})
        self.configuration.write_text(text, encoding="utf-8")

    def serving(self, *, gated=False):
        """A server with this spool; gated, each restoration waits."""
        self._gates += 1
        gate = self._folder / f"gate-{self._gates}" if gated else None
        settings = {"spool": str(self.spool), "pacs": str(self.configuration), "spool_reserve": "0"}
        return self._start(self._store, gate, batch_pixels="1", **settings)

    def send(self, files):
        """As `fake_archive.send`; all of it is acknowledged."""
        answers = FAKE.send(self.port, files)
        assert [status for _, status in answers] == [0x0000] * len(files)

    def there(self, pattern):
        """Files of the node that fit; none that a process was writing when it was killed."""
        return [path for path in (self.spool / "pacs").glob(pattern) if path.suffix != ".part"]


def series(ct_slice, count, uid, *, study="1.2.3", shape=(12, 16), first=1, **attributes):
    """SOPInstanceUID -> bytes of `count` CT instances of a series."""
    files = {}
    for number in range(first, first + count):
        seed = zlib.crc32(f"{uid} {number}".encode())
        pixels = np.random.default_rng(seed).integers(-200, 1500, shape).astype(np.int16)
        instance = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": uid,
            "SOPInstanceUID": f"{uid}.{number}",
            "InstanceNumber": str(number),
            "ImagePositionPatient": ["-100", "-100", str(5 * number)],
        }
        files[f"{uid}.{number}"] = ct_slice(pixels, **{**instance, **attributes})
    return files


def counts(server):
    """What GET /v1/pacs says."""
    return server.get("/v1/pacs").json()


def settled(server, expected):
    """The counts of instances, when there are so many and nothing is on its way any more."""
    seen = {}

    def over():
        seen.update(now=counts(server))
        told = seen["now"]
        moving = {"waiting", "restoring", "delivering", "arriving"}
        return (
            not moving & told["instances"].keys()
            and not any(told["series"].get(state) for state in moving)
            and sum(told["instances"].values()) == expected
        )

    try:
        server.until(over)
    except AssertionError:
        pytest.fail(f"it never settled at {expected} instances: {seen['now']}")
    return seen["now"]["instances"]


def check(node, server, uids):
    """Each of these sources is counted once; what was delivered has come as it lies in the spool, one for each source.

    Args:
        node, server: the node as it is now.
        uids: SOPInstanceUIDs that the node acknowledged; or them and how they end, which is `delivered` otherwise.
    """
    ends = uids if isinstance(uids, dict) and set(uids.values()) <= ENDS else dict.fromkeys(uids, "delivered")
    assert settled(server, len(ends)) == Counter(ends.values())
    ours = {}
    for path in node.there("series/*/jobs/*/derived/*.dcm"):
        data = path.read_bytes()
        derived = pydicom.dcmread(io.BytesIO(data))
        ours[str(derived.SOPInstanceUID)] = encoded_data_set(data)
        assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID in ends
    archive = node.archive
    assert archive.stored.keys() <= ours.keys()
    for uid, copies in archive.stored.items():
        assert set(copies) == {ours[uid]}
    assert len(set(archive.sources.values())) == len(archive.stored), "a source has two derived instances"
    assert {uid for uid, end in ends.items() if end == "delivered"} <= set(archive.sources.values())
    assert not node.there("arriving/*")


def pass_through(node, server, images):
    """Lets so many images through the gate, one after the other, and waits until they are derived."""
    for number in range(1, images + 1):
        server.open_gate().close()
        server.until(lambda number=number: len(node.there("series/*/jobs/*/derived/*.json")) >= number)


class Sending(threading.Thread):
    """Sends in the background; `heard` are the SOPInstanceUIDs that were acknowledged."""

    def __init__(self, node, files, **how):
        super().__init__()
        self.heard = []
        self._how = {"heard": self.heard, **how}
        self._node, self._files = node, list(files)
        self.start()

    def run(self):
        FAKE.send(self._node.port, self._files, **self._how)


@pytest.fixture(scope="session")
def kit(ct_slice):
    """What these tests do again and again; see the functions of this file."""
    return types.SimpleNamespace(
        series=lambda *args, **more: series(ct_slice, *args, **more),
        counts=counts,
        settled=settled,
        check=check,
        pass_through=pass_through,
        Sending=Sending,
        Node=Node,
        send=FAKE.send,
    )


@pytest.fixture
def node(tmp_path, start_server, published_once, request):
    """A node and its archive, which is there; `parametrize("node", [{...}], indirect=True)` changes it."""
    made = Node(tmp_path, start_server, published_once.writable, **getattr(request, "param", {}))
    made.archive.start()
    yield made
    made.archive.stop()
