"""The README's commands run: `make serve`'s server is started here on a free port, and each shell block is executed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from clearslice.main import app as command_line

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
READY_SECONDS = 120
PORT_IN_README = "8000"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CLEARSLICE_")}
    environment["CLEARSLICE_SPOOL"] = str(tmp_path_factory.mktemp("served") / "spool")  # as `make serve` has it
    process = subprocess.Popen(
        [sys.executable, "-m", "clearslice.main", "serve", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + READY_SECONDS
    while not _ready(port):
        assert time.monotonic() < deadline, "the server did not become ready"
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"the server ended with {process.wait(0.2)}")
    yield port
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def _ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_the_shell_blocks_of_the_readme_run(server, tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    # `make` would build the environment that this test runs in, and train for hours
    script = "\n".join(block for block in blocks if not block.startswith("make "))
    assert script.count("curl") == 6
    script = script.replace(f"127.0.0.1:{PORT_IN_README}", f"127.0.0.1:{server}").replace(
        ".venv/bin/", f"{Path(sys.executable).parent}/"
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("restored.dcm", "restored-offline.dcm"):
        assert pydicom.dcmread(tmp_path / name).ImageType[0] == "DERIVED"
    with zipfile.ZipFile(tmp_path / "restored-series.zip") as series:
        assert series.namelist() == [*(f"{number:05d}.dcm" for number in range(1, 5)), "report.json"]
    assert np.load(tmp_path / "restored.npy").shape == (512, 512)
    assert json.loads((tmp_path / "answer.json").read_text())["metrics"]
    # what the README promises of its first request
    soft_tissue, _ = json.loads(re.search(r"clearslice-metrics: (.*)", done.stdout).group(1))
    for name in ("degraded", "restored"):
        assert f"{soft_tissue[name]['psnr']:.1f}" in README


def test_the_python_blocks_of_the_readme_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.keras").exists()


def test_links_and_commands_of_the_documentation_exist():
    targets = {target for page in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")) for target in _links(page)}
    assert targets
    for target in targets:
        assert target.exists(), target
    commands = set(re.findall(r"clearslice ([a-z]+)", README))
    known = {command.name for command in command_line.registered_commands}
    known |= {group.name for group in command_line.registered_groups}
    assert commands <= known


def _links(page):
    text = page.read_text(encoding="utf-8")
    return [page.parent / target for target in re.findall(r"\]\((?!http)([^)#]+)\)", text)]
