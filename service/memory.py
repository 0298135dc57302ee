"""The memory of this process: how much it is, and giving back what is free."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """What of the process is in memory now (Linux: proc(5), statm); 0 where that is not told."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except OSError:
        return 0


def settle_down() -> None:
    """After the start: spares the collector the many objects that stay anyway, of TensorFlow above all."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Frees what is in reference cycles, as models are, and hands free memory to the system (glibc's malloc_trim)."""
    gc.unfreeze()
    settle_down()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
