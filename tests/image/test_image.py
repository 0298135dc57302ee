"""The built image does what it promises. `make test-image` builds it and runs this; elsewhere it is skipped.

    CLEARSLICE_IMAGE_TOOL (deploy/image-tool, or another with its verbs), CLEARSLICE_IMAGE (a tag)
          |
          v
    build (make) --> inspect: user, command, health check, size
                 --> run without keys: refused        run with a key: ready, restores, SIGTERM answers what it accepted

The tool runs images on the host's loopback, so the tests talk to a free port of it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

TOOL = os.environ.get("CLEARSLICE_IMAGE_TOOL", "")
TAG = os.environ.get("CLEARSLICE_IMAGE", "clearslice:cpu")

pytestmark = pytest.mark.skipif(not TOOL, reason="needs a built image and a container engine: make test-image")

UID = 10001
WRITABLE = {"/store", "/spool", "/tmp"}  # noqa: S108 - the image's, not this machine's
STICKY = {"/var/tmp", "/run/lock"}  # noqa: S108
"""Of every Debian system, empty; under a read-only root they cannot be written either."""
READY_SECONDS = 120
SENT = 8
"""Slices at once, large and many enough that some still wait when somebody looks."""

STOP_SECONDS = 10
"""Of SIGTERM with a few slices accepted; an orchestrator kills after 10 s (docker stop) or 30 s (Kubernetes)."""

LARGEST_BYTES = 2.2e9
"""TensorFlow's two libraries alone take 0.8 GB; more than this means that something crept in."""

WITH_A_KEY = (
    "clearslice keys new --name test --scope reconstruct --file /tmp/keys >/tmp/key; chmod 600 /tmp/keys;"
    ' echo "key $(cat /tmp/key)"; exec clearslice serve'
)
"""Shell program: a key made inside the image is printed, and the service takes the shell's place as process 1."""


def tool(*arguments, check=True):
    return subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=300, check=check)


def in_image(*command, check=True):
    return tool("run", TAG, *command, check=check)


def found(document, name):
    """The first value called `name` in nested JSON, however a builder arranges it."""
    if isinstance(document, dict):
        if document.get(name):
            return document[name]
        document = list(document.values())
    if isinstance(document, list):
        return next((value for item in document if (value := found(item, name))), None)
    return None


@pytest.fixture(scope="module")
def description():
    return json.loads(tool("inspect", TAG).stdout)


@pytest.fixture(scope="module")
def written_by_the_user():
    """What the image's user finds writable, beside devices."""
    return set(in_image("find", "/", "-xdev", "-writable", "-not", "-type", "l", check=False).stdout.split())


def test_it_runs_as_a_fixed_user_and_receives_signals(description):
    assert found(description, "User") == f"{UID}:{UID}"
    assert found(description, "Cmd") == ["clearslice", "serve"]
    assert in_image("id", "-u").stdout.strip() == str(UID)


def test_its_health_check_needs_no_shell_and_no_curl(description):
    assert found(description, "Healthcheck")["Test"] == ["CMD", "python", "-m", "clearslice.health"]
    done = in_image("env", "CLEARSLICE_PORT=1", "python", "-m", "clearslice.health", check=False)
    assert done.returncode == 1
    assert "no answer from port 1" in done.stderr


def test_it_names_itself_by_the_labels_of_oci(description):
    labels = found(description, "Labels")
    assert labels["org.opencontainers.image.title"] == "clearslice"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.skipif(TAG.endswith(":gpu"), reason="CUDA's libraries have their own size")
def test_its_size_is_tensorflows_and_little_more():
    number, unit = re.findall(r"([0-9.]+)\s*([kMG]B)", tool("size", TAG).stdout)[-1]
    assert 1e8 < float(number) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[unit] < LARGEST_BYTES


def test_it_holds_no_compiler_no_training_stack_and_no_tests():
    program = """
import importlib.util, pathlib, shutil, sys
print(*filter(shutil.which, ("gcc", "cc", "g++", "make", "curl", "git")))
print(*filter(importlib.util.find_spec, ("tensorboard", "jax", "pytest", "hypothesis", "pip", "tests")))
import clearslice, tensorflow
package = pathlib.Path(clearslice.__file__).parent
print(clearslice.__file__, (package.parent / "tests").exists(), (package.parent / "docs").exists())
print(len(list(package.glob("__pycache__/*.pyc"))) > 0)
"""
    done = in_image("python", "-c", program)
    programs, modules, place, compiled = done.stdout.split("\n")[:4]
    assert (programs, modules) == ("", "")
    assert place.startswith("/opt/clearslice/lib/")
    assert place.endswith("False False")
    assert compiled == "True"


def test_its_user_can_write_to_the_store_the_spool_and_tmp_only(written_by_the_user):
    mine = {path for path in written_by_the_user if not path.startswith(("/dev/", "/proc/", "/sys/"))}
    assert WRITABLE <= mine <= WRITABLE | STICKY


def test_without_keys_it_refuses_to_start_and_says_what_to_do():
    done = in_image("env", f"CLEARSLICE_PORT={free_port()}", "clearslice", "serve", check=False)
    assert done.returncode == 1
    assert "reachable from other machines" in done.stderr
    assert "clearslice keys new" in done.stderr
    assert "CLEARSLICE_API_KEYS_FILE" in done.stderr
    assert "CLEARSLICE_ALLOW_ANONYMOUS=1" in done.stderr
    assert "Traceback" not in done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Running:
    """The image's service on a port of the host, with a key of its own."""

    def __init__(self, log):
        self.port = free_port()
        command = ["env", f"CLEARSLICE_PORT={self.port}", "CLEARSLICE_API_KEYS_FILE=/tmp/keys", "sh", "-c", WITH_A_KEY]
        self.process = subprocess.Popen([TOOL, "run", TAG, *command], stdout=subprocess.PIPE, stderr=log, text=True)
        self.key = self.process.stdout.readline().removeprefix("key ").strip()

    def call(self, path, body=None, *, key=True, **headers):
        """Status and body of the answer."""
        if key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def restore(self, name, data, *, key=True, **fields):
        boundary = uuid.uuid4().hex
        body = io.BytesIO()
        for field, value in fields.items():
            body.write(f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode())
        body.write(f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode())
        body.write(data + f"\r\n--{boundary}--\r\n".encode())
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.call("/v1/reconstructions", body.getvalue(), key=key, **headers)

    def wait_until(self, holds, seconds):
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if holds():
                    return
            assert time.monotonic() < deadline, "it took too long"
            with contextlib.suppress(subprocess.TimeoutExpired):
                pytest.fail(f"the service ended with {self.process.wait(0.02)}")

    def queued(self):
        return int(float(re.search(rb"^clearslice_queue_depth (\S+)", self.call("/metrics")[1], re.MULTILINE)[1]))

    def terminate(self):
        """SIGTERM to the service: itself where it runs below the tool, else to the tool, which passes it on.

        Returns seconds until it had ended, without the time that a tool takes to clean up after it.
        """
        pid = service_below(self.process.pid) or self.process.pid
        begin = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        while pid != self.process.pid and Path(f"/proc/{pid}/cmdline").exists():
            assert time.monotonic() - begin < READY_SECONDS, "the service does not end"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
                break
        if pid == self.process.pid:
            self.process.wait(READY_SECONDS)
        return time.monotonic() - begin


def service_below(ancestor):
    """The pid of `clearslice serve` among the descendants of a process, or None (docker: a daemon is its parent)."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    below = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    for pid in sorted(below):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"python") and b"serve" in words:
                return pid
    return None


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    log = tmp_path_factory.mktemp("image") / "log"
    with log.open("w") as stream:
        running = Running(stream)
        running.log = log
        try:
            running.wait_until(lambda: running.call("/v2/health/ready", key=False)[0] == 200, READY_SECONDS)
            yield running
        finally:
            if running.process.poll() is None:
                running.terminate()
                running.process.wait(READY_SECONDS)
            running.process.stdout.close()


def test_with_a_key_it_restores_a_dicom_slice(service):
    data = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    status, _ = service.restore("in.dcm", data, key=False)
    assert status == 401
    status, body = service.restore("in.dcm", data)
    assert status == 200, body
    derived = pydicom.dcmread(io.BytesIO(body))
    assert derived.ImageType[0] == "DERIVED"
    source = pydicom.dcmread(io.BytesIO(data))
    assert derived.SeriesInstanceUID != source.SeriesInstanceUID
    assert not np.array_equal(derived.pixel_array, source.pixel_array)


def test_the_page_is_there_with_all_its_files(service):
    folder = Path(__file__).parents[2] / "service" / "web"
    assert service.call("/", key=False) == (200, (folder / "index.html").read_bytes())
    for path in folder.rglob("*"):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            assert service.call(f"/web/{name}", key=False) == (200, path.read_bytes()), name


def test_the_native_decoders_work_in_it(service):
    """Libraries of the system that a wheel needs and a slim image lacks would show here."""
    in_image("python", "-c", "import gdcm, jpeg_ls, openjpeg, rle")
    for syntax in (pydicom.uid.JPEGLSLossless, pydicom.uid.JPEG2000Lossless, pydicom.uid.RLELossless):
        source = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        source.compress(syntax, generate_instance_uid=False)
        file = io.BytesIO()
        source.save_as(file)
        status, body = service.restore("in.dcm", file.getvalue())
        assert status == 200, (syntax.name, body)


def test_with_sigterm_it_answers_what_it_accepted_and_ends_in_time(service):
    slices = io.BytesIO()
    np.save(slices, np.zeros((1024, 1024), np.float32))

    def restore(_):
        return service.restore("in.npy", slices.getvalue(), rescale_slope="1", rescale_intercept="0")[0]

    with concurrent.futures.ThreadPoolExecutor(SENT) as pool:
        answers = [pool.submit(restore, number) for number in range(SENT)]
        service.wait_until(lambda: service.queued() >= 2, 60)  # some on the device, others accepted and waiting
        assert service.terminate() < STOP_SECONDS
        assert [answer.result() for answer in answers] == [200] * SENT
    assert service.process.wait(READY_SECONDS) == 0
    log = service.log.read_text()
    assert "Application shutdown complete" in log
    assert "Permission denied" not in log
    assert "Read-only file system" not in log
