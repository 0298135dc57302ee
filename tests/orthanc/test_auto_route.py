"""deploy/orthanc/auto_route.py in a real Orthanc, which announces series to a server that stands in for clearslice.

    unshare -n .venv/bin/python -m pytest -m orthanc tests/orthanc/test_auto_route.py

Debian's Orthanc 1.10 binds all addresses whatever its configuration says: it is only started where there is nothing but
a loopback interface.
"""

from __future__ import annotations

import fcntl
import io
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt

from imaging.phantom_dicom import PhantomSeries, series_files

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
SCRIPT = Path(__file__).parents[2] / "deploy" / "orthanc" / "auto_route.py"
PAGE = SCRIPT.parents[2] / "docs" / "orthanc.md"
EXAMPLE = SCRIPT.with_name("orthanc-auto-route.json")
KEY = "a-key-that-no-log-shows"
PATIENCE = 30.0
STABLE_SECONDS = 1
IFF_UP, IFF_LOOPBACK = 0x1, 0x8


def _why_not_here():
    """Brings loopback up; why Orthanc must not run here, or None."""
    if shutil.which("Orthanc") is None or not PLUGIN.exists():
        return "Orthanc or its Python plugin (Debian: orthanc, orthanc-python) is not here"
    flags = {path.name: int((path / "flags").read_text(), 16) for path in Path("/sys/class/net").iterdir()}
    with socket.socket() as any_socket:  # /sys may be that of another namespace: the kernel is asked
        names = [name for _, name in socket.if_nameindex()]
        for name in names:
            asked = fcntl.ioctl(any_socket, 0x8913, struct.pack("16sh14s", name.encode(), 0, b""))
            flags[name] = struct.unpack_from("16sh", asked)[1]
        if any(flags[name] & IFF_UP and not flags[name] & IFF_LOOPBACK for name in names):
            return "not in a network namespace of its own (unshare -n): Orthanc binds all addresses"
        with suppress(OSError):
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14s", b"lo", IFF_UP | 0x40, b""))
    return None if flags["lo"] & IFF_UP or _loopback_works() else "the loopback interface is down"


def _loopback_works():
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        with socket.create_connection(probe.getsockname(), timeout=1):
            return True
    return False


@pytest.fixture(scope="module", autouse=True)
def _apart():
    reason = _why_not_here()
    if reason is not None:
        pytest.skip(reason)


pytestmark = pytest.mark.orthanc


def until(condition, what, seconds=PATIENCE):
    """The first true value of a condition; fails when it takes too long."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for: {what}"
        pause.wait(0.05)
    return found


class StandIn:
    """Answers POST /v1/pacs/pulls as clearslice does.

    Attributes:
        asked: (Idempotency-Key, Authorization, document) of each request, whatever was answered.
        accepted: Idempotency-Key -> document, of those that were accepted.
        status, headers: of its answers.
    """

    def __init__(self):
        self.asked, self.accepted, self.status, self.headers = [], {}, 202, {}
        self._server = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def start(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = self.headers["Idempotency-Key"]
                outer.asked.append((key, self.headers["Authorization"], document))
                if outer.status == 202:
                    assert outer.accepted.setdefault(key, document) == document
                status = outer.status if self.path == "/v1/pacs/pulls" else 404
                body = json.dumps({"state": "waiting"} if status == 202 else {"detail": "of the stand-in"}).encode()
                self.send_response(status)
                for name, value in {**outer.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class Orthanc:
    """A process with the script, that can be stopped, killed and started again on the same database."""

    def __init__(self, folder, url, **section):
        self._folder = folder
        (folder / "db").mkdir()
        (folder / "api-key").write_text(KEY + "\n")
        ports = []
        for probe in [socket.socket(), socket.socket()]:
            with probe:
                probe.bind(("127.0.0.1", 0))
                ports.append(probe.getsockname()[1])
        configuration = json.loads(EXAMPLE.read_text(encoding="utf-8"))
        configuration |= {
            "Name": "TEST",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "Plugins": [str(PLUGIN)],
            "PythonScript": str(SCRIPT),
            "HttpPort": ports[0],
            "DicomPort": ports[1],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "StableAge": STABLE_SECONDS,
        }
        configuration["Clearslice"] |= {"Url": url, "KeyFile": "api-key"} | section
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self.url = f"http://127.0.0.1:{ports[0]}"
        self.log = folder / "orthanc.log"
        self._process = None

    def change(self, **configuration):
        """For the next start."""
        path = self._folder / "orthanc.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | configuration))

    def start(self):
        with self.log.open("a") as log:
            command = ["Orthanc", str(self._folder / "orthanc.json")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        until(self._up, "Orthanc to start")

    def _up(self):
        assert self._process.poll() is None, self.log.read_text()
        with suppress(urllib.error.URLError, OSError):
            return self.get("/system")
        return None

    def stop(self, how=signal.SIGTERM):
        if self._process is not None:
            self._process.send_signal(how)
            code = self._process.wait(PATIENCE)
            self._process = None
            assert code == (0 if how == signal.SIGTERM else -how), self.log.read_text()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.loads(answer.read())

    def post(self, path, body):
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=body), timeout=10) as answer:
            return json.loads(answer.read())

    def store(self, *files):
        for data in files:
            assert self.post("/instances", data)["Status"] == "Success"

    def queue(self):
        return self.get("/clearslice/queue")

    def stable(self):
        changes = self.get("/changes?limit=1000")["Changes"]
        return [change["ID"] for change in changes if change["ChangeType"] == "StableSeries"]


@pytest.fixture
def server():
    made = StandIn()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def orthanc(tmp_path, server):
    made = Orthanc(tmp_path, f"http://127.0.0.1:{server.port}")
    made.start()
    yield made
    made.stop()
    log = made.log.read_text()
    assert KEY not in log
    assert "Traceback" not in log


def files_of(name, count=3, **attributes):
    """Files of a series of a phantom, as of some scanner."""
    series = PhantomSeries(patient=name, study="1", description="Chest", number=1, spacing=(1.0, 1.0), thickness=1.0)
    files = []
    for data in series_files(np.zeros((count, 16, 16), np.float32), series):
        ds = pydicom.dcmread(io.BytesIO(data))
        for keyword, value in {"Manufacturer": "Acme", **attributes}.items():
            setattr(ds, keyword, value)
        buffer = io.BytesIO()
        ds.save_as(buffer)
        files.append(buffer.getvalue())
    return files


def uids(data):
    ds = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    return {"peer": "orthanc", "study": ds.StudyInstanceUID, "series": ds.SeriesInstanceUID}


def test_a_series_that_is_complete_is_announced_once(orthanc, server):
    files = files_of("once")
    orthanc.store(*files)
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")
    ((key, authorization, document),) = server.asked
    assert document == uids(files[0])
    assert authorization == f"Bearer {KEY}"
    assert len(key) == 64
    assert orthanc.queue() == {"waiting": 0, "sent": 1, "refused": 0, "rows": []}


def test_slices_that_come_late_are_another_announcement(orthanc, server):
    *files, late = files_of("late", 4)
    orthanc.store(*files)
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")
    orthanc.store(late)
    until(lambda: orthanc.queue()["sent"] == 2, "the late slice to be sent")
    first, second = server.asked
    assert first[2] == second[2] == uids(late)
    assert first[0] != second[0]


def test_only_what_is_wanted_is_announced(orthanc, server):
    orthanc.store(*files_of("ours", Manufacturer="Clearslice"))
    orthanc.store(*files_of("named", SeriesDescription="Chest AI-DN"))
    orthanc.store(*files_of("mr", Modality="MR"))
    orthanc.store(*(wanted := files_of("wanted")))
    until(lambda: len(set(orthanc.stable())) == 4, "all to be stable")
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")
    # what came before it in the list of changes was looked at before it
    assert [document for _, _, document in server.asked] == [uids(wanted[0])]


def test_a_server_that_is_down_gets_it_later(orthanc, server):
    server.stop()
    orthanc.store(*(files := files_of("down")))
    (row,) = until(lambda: [row for row in orthanc.queue()["rows"] if row["attempts"] == 1], "a failed attempt")
    assert row["state"] == "waiting"
    assert "refused" in row["reason"]  # the connection
    assert uids(files[0])["series"] not in json.dumps(row)
    server.start()
    assert orthanc.post("/clearslice/queue", b'{"retry": true}') == {"retried": 1}
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")
    assert list(server.accepted.values()) == [uids(files[0])]


def test_what_is_refused_is_set_aside_until_somebody_asks(orthanc, server):
    server.status = 422
    orthanc.store(*files_of("refused"))
    (row,) = until(lambda: [row for row in orthanc.queue()["rows"] if row["state"] == "refused"], "a refusal")
    assert row["reason"].endswith("of the stand-in")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        orthanc.post("/clearslice/queue", b"retry")
    server.status = 202
    orthanc.post("/clearslice/queue", b'{"retry": true}')
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_waits_outlives_orthanc(orthanc, server, how):
    server.status, server.headers = 503, {"Retry-After": "5"}
    orthanc.store(*files_of("waits"))
    until(lambda: [row for row in orthanc.queue()["rows"] if row["attempts"] >= 1], "a failed attempt")
    orthanc.stop(how)
    server.status = 202
    orthanc.start()
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")
    assert len(server.accepted) == 1
    assert len({key for key, _, _ in server.asked}) == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_series_that_orthanc_never_calls_stable_are_announced_after_its_next_start(orthanc, server, how):
    """It forgets at its end which series were still coming in."""
    files = files_of("forgotten", 4)
    orthanc.stop()
    orthanc.change(StableAge=600)
    orthanc.start()
    orthanc.store(*files[:3])
    orthanc.stop(how)
    orthanc.start()
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")
    orthanc.store(files[3])
    orthanc.stop(how)
    orthanc.start()
    until(lambda: orthanc.queue()["sent"] == 2, "the late slice to be sent")
    assert orthanc.stable() == []
    assert len(server.accepted) == 2


def test_what_became_stable_without_the_script_is_announced_when_it_is_back(orthanc, server):
    orthanc.stop()
    orthanc.change(Plugins=[])
    orthanc.start()
    orthanc.store(*(files := files_of("without")))
    deleted = files_of("deleted")
    orthanc.store(*deleted)
    until(lambda: len(set(orthanc.stable())) == 2, "both to be stable")
    (one,) = [
        series
        for series in orthanc.get("/series?expand")
        if series["MainDicomTags"]["SeriesInstanceUID"] == uids(deleted[0])["series"]
    ]
    request = urllib.request.Request(f"{orthanc.url}/series/{one['ID']}", method="DELETE")
    urllib.request.urlopen(request, timeout=10).close()
    orthanc.stop()
    orthanc.change(Plugins=[str(PLUGIN)])
    orthanc.start()
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")
    assert list(server.accepted.values()) == [uids(files[0])]


def test_orthanc_stops_in_time_while_the_server_does_not_answer(orthanc, server):
    server.stop()
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", server.port))
        silent.listen()
        silent.settimeout(PATIENCE)
        orthanc.store(*files_of("silent"))
        connection, _ = silent.accept()
        with connection:
            begin = time.monotonic()
            orthanc.stop()
            assert time.monotonic() - begin < 25
    server.start()
    orthanc.start()
    orthanc.post("/clearslice/queue", b'{"retry": true}')
    until(lambda: orthanc.queue()["sent"] == 1, "the series to be sent")


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"KeyFile": "absent"}, "KeyFile cannot be read"),
        ({"Url": "http://clearslice.example.org"}, "in the clear"),
        ({"Modality": ["CT"]}, "unknown: Modality"),
        ({"QueueFile": "absent/queue.sqlite3"}, "cannot be used"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_and_orthanc_runs(tmp_path, server, section, told):
    orthanc = Orthanc(tmp_path, f"http://127.0.0.1:{server.port}", **section)
    orthanc.start()
    assert told in orthanc.log.read_text()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        orthanc.queue()
    orthanc.stop()


def test_the_lua_script_of_the_page_sends_once_and_a_failed_send_is_repeated_by_hand_only(orthanc, tmp_path):
    """Way 1 of docs/orthanc.md, and what it says of its weakness."""
    page = PAGE.read_text(encoding="utf-8")
    (lua,) = re.findall(r"```lua\n(.*?)```", page, re.DOTALL)
    (fragment,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (tmp_path / "send.lua").write_text(lua)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    known = json.loads(fragment)["DicomModalities"]
    known["clearslice"] |= {"Host": "127.0.0.1", "Port": port}
    orthanc.stop()
    orthanc.change(Plugins=[], LuaScripts=[str(tmp_path / "send.lua")], DicomModalities=known)
    orthanc.start()
    orthanc.store(*files_of("ours", Manufacturer="Clearslice"))
    orthanc.store(*files_of("sent"))
    (job,) = until(lambda: [each for each in orthanc.get("/jobs?expand") if each["State"] == "Failure"], "a failed job")
    assert len(until(lambda: set(orthanc.stable()) if len(set(orthanc.stable())) == 2 else None, "both stable")) == 2
    came = []
    receiver = AE("CLEARSLICE")
    receiver.add_supported_context(CTImageStorage)
    handlers = [(evt.EVT_C_STORE, lambda event: came.append(event.request.AffectedSOPInstanceUID) or 0x0000)]
    server = receiver.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        orthanc.stop()
        orthanc.start()
        assert [each["State"] for each in orthanc.get("/jobs?expand")] == ["Failure"]
        assert came == []
        orthanc.post(f"/jobs/{job['ID']}/resubmit", b"")
        until(lambda: orthanc.get(f"/jobs/{job['ID']}")["State"] == "Success", "the job to be repeated")
        assert len(came) == 3
        assert orthanc.post("/modalities/clearslice/store", job["Content"]["ParentResources"][0].encode())
        assert len(came) == 6
    finally:
        server.shutdown()
