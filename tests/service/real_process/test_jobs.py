"""Jobs in a real server process that is killed, or told to end, in the middle of one."""

from __future__ import annotations

import io
import os
import signal
import threading
import zipfile

import httpx
import numpy as np
import pydicom
import pytest

PATIENCE = 20.0
INSTANCES = 6


@pytest.fixture
def archive(ct_slice):
    """A zip file of a series."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for number in range(1, INSTANCES + 1):
            stored = np.full((12, 16), 1000 + number, np.int16)
            file.writestr(f"{number}.dcm", ct_slice(stored, SOPInstanceUID=f"1.2.3.4.{number}"))
    return made.getvalue()


@pytest.fixture
def serving(start_server, published, tmp_path):
    """(name of the gate) -> a server with a spool that outlives it."""
    settings = {"spool": str(tmp_path / "spool"), "spool_reserve": "0", "batch_pixels": "1"}
    return lambda gate: start_server(published.writable, tmp_path / gate if gate else None, **settings)


def submit(server, archive, key):
    return httpx.post(
        f"{server.url}/v1/jobs", files={"series": archive}, headers={"Idempotency-Key": key}, timeout=PATIENCE
    )


def pass_through(server, spool, images):
    """Lets so many images through the gate, one after the other, and waits until they are derived."""
    for number in range(1, images + 1):
        server.open_gate().close()
        server.until(lambda number=number: len(list(spool.rglob("derived/*.dcm"))) >= number)


def keep_open(server):
    """The gate stays open from now on."""
    stop = threading.Event()

    def hold() -> None:
        descriptor = os.open(str(server.gate), os.O_RDWR)  # a reader of our own, so that it never blocks
        os.close(descriptor)
        while not stop.is_set():
            try:
                os.close(os.open(str(server.gate), os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                stop.wait(0.005)

    threading.Thread(target=hold, daemon=True).start()
    return stop


def checked(server, job_id):
    """The derived instances, when the job is done: each source once."""
    server.until(lambda: server.get(f"/v1/jobs/{job_id}").json()["state"] == "done")
    with zipfile.ZipFile(io.BytesIO(server.get(f"/v1/jobs/{job_id}/result").content)) as result:
        made = [pydicom.dcmread(io.BytesIO(result.read(f"{number:05d}.dcm"))) for number in range(1, INSTANCES + 1)]
        assert len(result.namelist()) == INSTANCES + 1
    sources = [each.SourceImageSequence[0].ReferencedSOPInstanceUID for each in made]
    assert sources == [f"1.2.3.4.{number}" for number in range(1, INSTANCES + 1)]
    assert [int(each.pixel_array[0, 0]) for each in made] == [1000 + number for number in range(1, INSTANCES + 1)]
    assert len({each.SeriesInstanceUID for each in made}) == len({each.SeriesTime for each in made}) == 1
    assert len({each.SOPInstanceUID for each in made}) == INSTANCES
    return made


@pytest.mark.parametrize("passed", [0, 1, 4])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_series_survives_the_end_of_the_process(serving, tmp_path, archive, how, passed):
    spool = tmp_path / "spool"
    with serving("gate") as server:
        answer = submit(server, archive, "one")
        assert answer.status_code == 202
        pass_through(server, spool, passed)
        server.process.send_signal(how)
        assert server.process.wait(PATIENCE) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    before = {path.name for path in spool.rglob("derived/*.dcm")}
    assert len(before) >= passed
    with serving("other-gate") as server:
        stop = keep_open(server)
        job_id = answer.json()["id"]
        replayed = submit(server, archive, "one")
        assert (replayed.json()["id"], replayed.headers["idempotency-replayed"]) == (job_id, "true")
        checked(server, job_id)
        stop.set()


def test_an_upload_that_is_cut_off_is_no_job(serving, tmp_path, archive):
    spool = tmp_path / "spool"
    with serving(None) as server:
        body = b'--b\r\nContent-Disposition: form-data; name="series"\r\n\r\n' + archive + b"\r\n--b--\r\n"
        head = (
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        connection = server.raw(head.encode() + body[:-1000])
        server.until(lambda: any(spool.glob("incoming/*")))
        connection.close()
        server.until(lambda: not any(spool.glob("incoming/*")))
        assert server.get("/v1/jobs").json() == {"jobs": []}


def test_events_end_when_the_server_is_told_to_end(serving, archive):
    with serving("gate") as server:
        job = submit(server, archive, "one").json()
        with httpx.stream("GET", server.url + job["links"]["events"], timeout=PATIENCE) as events:
            lines = events.iter_lines()
            assert next(lines).startswith("event: ")
            server.process.send_signal(signal.SIGTERM)
            assert not any(line == "done" for line in lines)
        assert server.process.wait(PATIENCE) == 0
