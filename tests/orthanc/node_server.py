"""`clearslice serve` as a PACS node between a scanner and Orthanc, as a process of its own.

pacs.toml, keys --start--> node --/v1/pacs--> jobs, counts      log: what it said, as JSON lines
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

PROGRAM = str(Path(sys.executable).with_name("clearslice"))
PATIENCE = 120.0
"""Seconds after which a test fails instead of waiting on: models load, and whole slices are restored on two cores."""

GIVE_UP_SECONDS = 3
"""After which a peer that is not there has a dead letter."""

_PAUSE = threading.Event()
"""Never set: between two looks, so that the models get the processor."""

CONFIGURATION = """
[node]
port = {port}
quiet_seconds = 1
reserve = 0

[peers.orthanc]
aet = "TESTPACS"
host = "127.0.0.1"
port = {orthanc_port}
may_send = true
verify = "commitment"
retry_seconds = 0.5
give_up_seconds = {give_up}
timeout_seconds = 20

[peers.web]
url = "{orthanc_url}/dicom-web"
username = "svc"
password_file = "password"
retry_seconds = 0.5
give_up_seconds = {give_up}

[[rules]]
name = "counted"
sender = "counted"
expect = "web"
to = ["web"]

[[rules]]
name = "by web"
sender = "web"
to = ["web"]

[[rules]]
name = "by dimse"
to = ["orthanc"]
"""


class NodeServer:
    """The process.

    Args:
        folder: for its spool, configuration and log.
        ports: of its DIMSE service and its web server.
    """

    def __init__(self, folder, ports):
        self._folder = folder
        self.port, http_port = ports
        self.url = f"http://127.0.0.1:{http_port}"
        self.spool, self._log, self._keys_file = folder / "spool", folder / "node.log", folder / "keys"
        self.keys = {name: self._new_key(name, "reconstruct") for name in ("web", "counted")}
        self._admin = self._new_key("admin", "admin")
        self._environment = {
            **os.environ,
            "CLEARSLICE_PORT": str(http_port),
            "CLEARSLICE_PACS": str(folder / "pacs.toml"),
            "CLEARSLICE_SPOOL": str(self.spool),
            "CLEARSLICE_API_KEYS_FILE": str(self._keys_file),
            "CLEARSLICE_SPOOL_RESERVE": "0",
        }
        self._process = None

    def _new_key(self, name, scope):
        command = [PROGRAM, "keys", "new", "--name", name, "--scope", scope, "--file", str(self._keys_file)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def start(self, orthanc):
        """It takes series when this returns."""
        (self._folder / "password").write_text("svcpw\n", encoding="utf-8")
        text = CONFIGURATION.format(
            port=self.port, orthanc_port=orthanc.dimse_port, orthanc_url=orthanc.url, give_up=GIVE_UP_SECONDS
        )
        (self._folder / "pacs.toml").write_text(text, encoding="utf-8")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([PROGRAM, "serve"], stdout=log, stderr=log, env=self._environment)
        self.until(self._ready)

    def stop(self):
        """It has ended, in order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def _ready(self):
        assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
        try:
            return httpx.get(f"{self.url}/v2/health/ready", timeout=PATIENCE).status_code == 200
        except httpx.TransportError:
            return False

    def until(self, condition):
        """Waits for it."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"it never came true; {self.counts()}"
            _PAUSE.wait(0.05)

    def command(self, *words):
        """What a command of `clearslice pacs` prints."""
        command = [PROGRAM, "pacs", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=self._environment).stdout

    def ask(self, path):
        """Something that an administrator may know."""
        headers = {"Authorization": f"Bearer {self._admin}"}
        return httpx.get(self.url + path, headers=headers, timeout=PATIENCE).json()

    def counts(self):
        """Of instances and series."""
        return self.ask("/v1/pacs")

    def jobs(self, series):
        """Of a series, the newest first."""
        return [job for job in self.ask("/v1/pacs/series")["series"] if job["series"] == series]

    def ended(self, series, *, count):
        """Its jobs when so many instances of it are done with, the newest first."""

        def over():
            jobs = self.jobs(series)
            return sum(job["instances"] for job in jobs) == count and all("finished" in job for job in jobs)

        self.until(over)
        return self.jobs(series)

    def told(self, event, **facts):
        """Whether its log has such a line."""
        lines = [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines() if line[:1] == "{"]
        return any(each.get("event") == event and facts.items() <= each.items() for each in lines)

    def derived(self, series):
        """All derived instances of a source series, as they lie in the spool."""
        paths = (self.spool / "pacs" / "series" / series / "jobs").glob("*/derived/*.dcm")
        return [path.read_bytes() for path in sorted(paths)]
