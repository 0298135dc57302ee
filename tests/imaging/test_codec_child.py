"""A worker's life: it starts or says why not, outlives signals to its group, and never its parent."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imaging.codec_process import CodecProcesses

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("hostile_codecs", HERE / "hostile_codecs.py")
hostile = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hostile)


@pytest.fixture
def pool():
    """One worker over `hostile_codecs`."""
    made = CodecProcesses(workers=1, modules=["hostile_codecs"], folders=[HERE])
    yield made
    made.close()


def exists(pid):
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        threading.Event().wait(0.01)


def hanging_in(folder):
    """The process that `hostile.hang` holds, once it does."""
    wait_until(lambda: any(folder.iterdir()))
    return int(next(folder.iterdir()).name)


def test_signals_to_the_group_of_the_server_do_not_end_workers(pool):
    pid = pool.run(hostile.pid, output_bytes=0)
    assert os.getpgid(pid) != os.getpgid(0)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert pool.run(hostile.pid, output_bytes=0) == pid


PARENT = """
import importlib, sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from imaging.codec_process import CodecProcesses
hostile = importlib.import_module("hostile_codecs")
pool = CodecProcesses(workers=1, seconds={seconds}, modules=["hostile_codecs"], folders=[Path({folder!r})])
print(pool.run(hostile.pid, output_bytes=0), flush=True)
{then}
"""


@pytest.mark.parametrize(
    ("then", "seconds"),
    [("input()", 60), ("pool.run(hostile.hang, {running!r}, output_bytes=0)", 1)],
    ids=["idle", "in a native loop"],
)
def test_a_worker_does_not_outlive_a_parent_that_was_killed(tmp_path, then, seconds):
    program = PARENT.format(folder=str(HERE), seconds=seconds, then=then.format(running=str(tmp_path)))
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        worker = int(parent.stdout.readline())
        if seconds == 1:
            assert hanging_in(tmp_path) == worker
        assert exists(worker)
        parent.kill()
    wait_until(lambda: not exists(worker))


def test_a_worker_that_cannot_start_is_no_fault_of_the_image():
    pool = CodecProcesses(workers=1, modules=["missing_codecs"])

    def function():
        """Found nowhere."""

    function.__module__, function.__qualname__ = "missing_codecs", "function"
    with pytest.raises(RuntimeError, match="did not start"):
        pool.run(function, output_bytes=0)
    pool.close()
