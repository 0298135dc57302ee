"""A worker's life: it starts or says why not, outlives signals to its group, and never its parent."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imaging.codec_process import CodecProcesses
from imaging.errors import NotAnImage

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
from imaging.errors import NotAnImage
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
        if seconds == 1:  # it was there, and perhaps a slow test meets it no more
            assert hostile.hanging_in(tmp_path) == worker
        else:
            assert hostile.exists(worker)
        parent.kill()
    hostile.wait_until(lambda: not hostile.exists(worker))


def test_a_worker_that_cannot_start_is_no_fault_of_the_image():
    pool = CodecProcesses(workers=1, modules=["missing_codecs"])

    def function():
        """Found nowhere."""

    function.__module__, function.__qualname__ = "missing_codecs", "function"
    with pytest.raises(RuntimeError, match="did not start"):
        pool.run(function, output_bytes=0)
    pool.close()


def test_a_process_that_cannot_be_started_leaves_nothing_behind(pool, monkeypatch):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/missing/python")
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                pool.run(hostile.pid, output_bytes=0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert pool.run(hostile.echo, 5, output_bytes=0) == 5


class Unkillable:
    """A process in the kernel's hands, as while a disk does not answer: it is killed, and does not end for now."""

    def __init__(self, process):
        self._process = process

    def poll(self):
        return None

    def kill(self):
        self._process.kill()

    def wait(self, seconds):
        raise subprocess.TimeoutExpired("worker", seconds)


def test_a_worker_that_is_slow_to_die_is_replaced_all_the_same(pool):
    pid = pool.run(hostile.pid, output_bytes=0)
    (worker,) = pool._idle
    process, worker._process = worker._process, Unkillable(worker._process)
    with pytest.raises(NotAnImage, match="the decoder answered with"):
        pool.run(hostile.answer_raw, b"\xff\xff\xff\xff", output_bytes=0)
    assert pool.run(hostile.pid, output_bytes=0) != pid
    assert process.wait(20) == -signal.SIGKILL
