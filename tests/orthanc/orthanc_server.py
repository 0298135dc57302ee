"""Orthanc, as a process of its own with a database in a folder: a PACS that speaks DIMSE and DICOMweb.

configuration --start--> Orthanc --REST--> upload, send by C-STORE, send by STOW-RS     --DICOMweb--> QIDO, WADO
"""

from __future__ import annotations

import email
import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx

AET, USER, PASSWORD = "TESTPACS", "svc", "svcpw"
PATIENCE = 30.0
PLUGINS = [
    path
    for folder in ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
    for path in Path(folder).glob("libOrthancDicomWeb.so*")
]


def missing():
    """What of it is not installed; empty: nothing."""
    if shutil.which("Orthanc") is None:
        return "Orthanc (Debian package orthanc) is not installed"
    return "" if PLUGINS else "its DICOMweb plugin (Debian package orthanc-dicomweb) is not installed"


class Orthanc:
    """One Orthanc, which may be stopped and started again.

    Args:
        folder: for its database and log.
        ports: of its DIMSE service and its web server.
        node_port, node_url: where the node takes associations, and where STOW-RS.
        keys: name under which the node is known for STOW-RS -> API key.
    """

    def __init__(self, folder, ports, *, node_port, node_url, keys):
        self.dimse_port, self._http_port = ports
        self.url = f"http://127.0.0.1:{self._http_port}"
        self._folder = folder
        self._process = None
        node = {"AET": "CLEARSLICE", "Host": "127.0.0.1", "Port": node_port, "AllowStorageCommitment": True}
        configuration = {
            "Name": AET,
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "Plugins": [str(PLUGINS[0])],
            "HttpPort": self._http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "DicomAet": AET,
            "DicomPort": self.dimse_port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": False,
            "OverwriteInstances": False,
            "StorageAccessOnFind": "Always",
            "DicomModalities": {"clearslice": node},
            "DicomWeb": {
                "Enable": True,
                "Root": "/dicom-web/",
                "Host": f"127.0.0.1:{self._http_port}",
                "Servers": {
                    name: {"Url": node_url, "HttpHeaders": {"Authorization": f"Bearer {key}"}}
                    for name, key in keys.items()
                },
            },
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")

    def start(self):
        """It is there when this returns."""
        with (self._folder / "orthanc.log").open("ab") as log:
            command = ["Orthanc", str(self._folder / "orthanc.json")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "orthanc.log").read_text(encoding="utf-8")
            assert time.monotonic() < end, "Orthanc never answered"

    def stop(self):
        """It is gone when this returns."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def running(self):
        """Whether it is there."""
        return self._process is not None

    def _answers(self):
        try:
            return self.ask("GET", "/system").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, method, path, **more):
        """Its REST service."""
        return httpx.request(method, self.url + path, auth=(USER, PASSWORD), timeout=PATIENCE, **more)

    def upload(self, files):
        """Puts instances in, as if they had always been there; their ids, by which the others name them."""
        answers = [self.ask("POST", "/instances", content=data) for data in files]
        assert all(answer.status_code == 200 for answer in answers), answers[-1].text
        return [answer.json()["ID"] for answer in answers]

    def find(self, uid):
        """The id of something with this UID."""
        found = self.ask("POST", "/tools/lookup", content=uid).json()
        return found[0]["ID"]

    def store(self, ids):
        """Sends to the node by C-STORE; what the job says."""
        asked = {"Resources": ids, "Synchronous": True}
        return self.ask("POST", "/modalities/clearslice/store", json=asked)

    def stow(self, ids, *, server="web"):
        """Sends to the node by STOW-RS."""
        asked = {"Resources": ids, "Synchronous": True}
        return self.ask("POST", f"/dicom-web/servers/{server}/stow", json=asked)

    def listed(self, study, series):
        """SOPInstanceUIDs that QIDO-RS finds."""
        answer = self.ask("GET", f"/dicom-web/studies/{study}/series/{series}/instances")
        return {item["00080018"]["Value"][0] for item in answer.json()} if answer.status_code == 200 else set()

    def series_of(self, study):
        """SeriesInstanceUIDs that QIDO-RS finds in a study."""
        return {item["0020000E"]["Value"][0] for item in self.ask("GET", f"/dicom-web/studies/{study}/series").json()}

    def fetched(self, study, series, instance):
        """An instance by WADO-RS, as it lies there."""
        accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"
        answer = self.ask("GET", path, headers=accept)
        assert answer.status_code == 200, answer.text
        head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
        boundary = email.message_from_bytes(head).get_boundary().encode()
        part = answer.content.split(b"--" + boundary)[1]
        return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
