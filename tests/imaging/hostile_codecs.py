"""What a decoder may do on hostile bytes: functions that the tests have called in a codec worker, and only there.

Those at the end are for the tests themselves: what is seen of such a worker from outside.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np

from imaging.errors import TooLarge, UnsuitableImage


def echo(value):
    return value


def both(left, right):
    return left, right


def pid():
    return os.getpid()


def seen(name):
    return os.environ.get(name)


def modules_with(part):
    import sys  # noqa: PLC0415 - what is loaded when this runs

    return ",".join(name for name in sys.modules if part in name)


def segmentation_fault():
    ctypes.string_at(0)


def abort():
    os.abort()


def leave(status):
    os._exit(status)


def hang(folder):
    """Says that it runs, then holds the interpreter for ever, as a native loop does: no signal handler would run."""
    os.mkdir(f"{folder}/{os.getpid()}")  # noqa: PTH102
    while True:
        pass


def fill(count):
    return int(np.ones(count, np.uint8).sum())


def killed_from_outside_once(flag):
    """What an operator, or a system short of memory, does to a worker: at the first call, not at the second."""
    try:
        os.unlink(flag)  # noqa: PTH108
    except FileNotFoundError:
        return "done"
    return os.kill(os.getpid(), signal.SIGKILL)


def killed_always():
    os.kill(os.getpid(), signal.SIGKILL)


def unsuitable():
    raise UnsuitableImage("three components, and one is needed")


def too_large():
    raise TooLarge("more pixels than allowed", limit="max_pixels")


def defect():
    raise KeyError("Doe^Jane")


def write(path):
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("x")
    return 0


def answer_raw(data):
    """Speaks past the protocol, as code that was taken over could."""
    os.write(0, data)
    signal.pause()


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
    """The process that `hang` holds, once it does."""
    wait_until(lambda: any(folder.iterdir()))
    return int(next(folder.iterdir()).name)
